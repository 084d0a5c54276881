"""The way to slurmrestd, tried on a server that answers as slurmrestd was seen to answer."""

from __future__ import annotations

import contextlib
import json
import logging
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobmon.core.exceptions import ClusterBusy, ClusterError, ClusterUnreachable, ConfigError, SubmissionError
from jobmon.plugins.slurm.connection import Submission, connection_for
from jobmon.plugins.slurm.rest import SlurmRest, cancel_targets
from jobmon.plugins.slurm.rest_link import NEWEST_VERSION, is_near, version_of

SUBMISSION = Submission("name", "#!/bin/sh\n", 3)
UNSPECIFIED = {"errors": [{"error_number": -1, "error": "Unspecified error"}]}
ZERO_BYTES = {"errors": [{"error_code": 5005, "error": "Zero Bytes were transmitted or received"}]}
NOT_AUTHENTIC = {"errors": [{"error_number": 1007, "error": "Protocol authentication error"}]}
NOTHING: dict[str, Any] = {"errors": []}

Reply = tuple[int, Any]


class Restd:
    """Answers as told, and remembers what it was asked.

    Attributes:
        reply: what to answer to method, path and token.
        seen: method, path with its query, and token of each request.
        bodies: bodies of posted requests.
    """

    def __init__(self) -> None:
        self.reply: Callable[[str, str, str], Reply] = lambda method, path, token: (200, NOTHING)
        self.seen: list[tuple[str, str, str]] = []
        self.bodies: list[Any] = []
        restd = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                """Say nothing."""

            def answer(self) -> None:
                token = self.headers.get("X-SLURM-USER-TOKEN", "")
                length = int(self.headers.get("Content-Length", 0))
                if length:
                    restd.bodies.append(json.loads(self.rfile.read(length)))
                restd.seen.append((self.command, self.path, token))
                status, body = restd.reply(self.command, self.path, token)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                    self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names the server looks for

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def paths(self) -> list[str]:
        """What was asked, without the questions for the version."""
        return [f"{method} {path}" for method, path, _ in self.seen if not path.endswith("/ping")]


@pytest.fixture
def restd() -> Iterator[Restd]:
    """A server that listens."""
    restd = Restd()
    thread = threading.Thread(target=restd.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield restd
    restd.server.shutdown()
    thread.join()
    restd.server.server_close()


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A script that gives token1, token2 …"""
    script = tmp_path / "give"
    script.write_text(
        f"#!/bin/sh\nn=$(cat {tmp_path}/n 2>/dev/null || echo 0)\nn=$((n + 1))\necho $n > {tmp_path}/n\n"
        "echo SLURM_JWT=token$n\n"
    )
    script.chmod(stat.S_IRWXU)
    return script


@pytest.fixture
def rest(restd: Restd, tokens: Path) -> SlurmRest:
    """The way to it, in its first version."""
    return SlurmRest(
        url=restd.url, user="me", token_command=str(tokens), api_version="v0.0.38", command_timeout=5
    )


# -- versions -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", [38, 40, NEWEST_VERSION])
def test_the_newest_version_both_know_is_found_once(restd: Restd, tokens: Path, version: int) -> None:
    """Versions that are not there answer 404; errors of another kind mean that it is there."""

    def reply(method: str, path: str, token: str) -> Reply:
        if path == f"/slurm/v0.0.{version}/ping":
            return 200, NOTHING
        return (404, b"Unable find requested URL.") if path.endswith("/ping") else (200, {"partitions": []})

    restd.reply = reply
    rest = SlurmRest(url=restd.url, token_command=str(tokens))
    rest.partitions()
    rest.partitions()
    pings = [path for _, path, _ in restd.seen if path.endswith("/ping")]
    assert len(pings) == NEWEST_VERSION - version + 1
    assert restd.paths() == [f"GET /slurm/v0.0.{version}/partitions"] * 2


def test_no_version_in_common(restd: Restd, rest: SlurmRest) -> None:
    """Perhaps something else listens there."""
    restd.reply = lambda method, path, token: (404, b"Not here")
    with pytest.raises(ClusterUnreachable, match="knows none of the versions"):
        SlurmRest(url=restd.url, token_command="").partitions()


@pytest.mark.parametrize("text", ["v0.0.37", "v0.0.99", "latest", "v0.0."])
def test_versions_that_are_not_known(text: str) -> None:
    """They are refused when the cluster is set up."""
    with pytest.raises(ConfigError, match="api_version"):
        version_of(text)


# -- tokens -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "bad"),
    [(401, b"Authentication failure"), (500, UNSPECIFIED), (500, ZERO_BYTES), (200, NOT_AUTHENTIC)],
)
def test_a_token_that_is_not_accepted_is_replaced_once(
    restd: Restd, rest: SlurmRest, status: int, bad: object
) -> None:
    """However slurmrestd says so; even with status 200."""
    restd.reply = lambda method, path, token: (200, NOTHING) if token == "token2" else (status, bad)
    assert rest.listing(["7"]) == []
    assert [token for _, _, token in restd.seen] == ["token1", "token2"]
    rest.cancel(["7"])
    assert [token for _, _, token in restd.seen][2:] == ["token2"]


def test_no_token_is_accepted(restd: Restd, rest: SlurmRest) -> None:
    """Nothing is known then; the message names no token."""
    restd.reply = lambda method, path, token: (500, UNSPECIFIED)
    with pytest.raises(ClusterUnreachable, match="did not accept the token for me") as caught:
        rest.listing(["7"])
    assert "token1" not in str(caught.value)
    assert len(restd.seen) == 2


def test_a_submission_is_not_sent_again_when_it_may_have_arrived(restd: Restd, rest: SlurmRest) -> None:
    """The same words tell a bad token and a controller that broke off: whoever submits looks for the batch first."""
    restd.reply = lambda method, path, token: (500, ZERO_BYTES)
    with pytest.raises(ClusterUnreachable):
        rest.submit(SUBMISSION)
    assert len(restd.seen) == 1
    restd.reply = lambda method, path, token: (200, {"job_id": 5, "errors": []})
    assert rest.submit(SUBMISSION) == "5"
    assert restd.seen[-1][2] == "token2"


def test_a_submission_that_was_surely_not_heard_is_sent_again(restd: Restd, rest: SlurmRest) -> None:
    """Status 401 says so."""
    restd.reply = lambda method, path, token: (
        (401, b"Authentication failure") if token == "token1" else (200, {"job_id": 5, "errors": []})
    )
    assert rest.submit(SUBMISSION) == "5"


def test_no_token_where_none_is_needed(restd: Restd) -> None:
    """slurmrestd knows who is at the other end of a socket."""
    SlurmRest(url=restd.url, token_command="", api_version="v0.0.38").listing(["7"])
    assert restd.seen == [("GET", "/slurm/v0.0.38/job/7", "")]


def test_tokens_of_a_service(restd: Restd) -> None:
    """It is asked for the user's, whether its address has a place for the name or not."""
    restd.reply = lambda method, path, token: (
        (200, {"token": "given"}) if path.startswith("/give") else (200, NOTHING)
    )
    for address, asked in (("/give", "/give?username=me"), ("/give/{user}", "/give/me")):
        rest = SlurmRest(
            slurm_rest_host=restd.url,
            slurmtool_token_host=restd.url + address,
            user="me",
            api_version="v0.0.38",
        )
        rest.listing(["7"])
        assert [path for _, path, _ in restd.seen][-2:] == [asked, "/slurm/v0.0.38/job/7"]
        assert restd.seen[-1][2] == "given"
    restd.reply = lambda method, path, token: (500, b"broken")
    with pytest.raises(ClusterUnreachable, match="status 500"):
        SlurmRest(url=restd.url, slurmtool_token_host=restd.url, api_version="v0.0.38").listing(["7"])


def test_no_token_in_logs(restd: Restd, rest: SlurmRest, caplog: pytest.LogCaptureFixture) -> None:
    """Not even in those of the libraries, at their most talkative."""
    with caplog.at_level(logging.DEBUG):
        rest.listing(["7"])
    restd.reply = lambda method, path, token: (401, b"no")
    with caplog.at_level(logging.DEBUG), pytest.raises(ClusterUnreachable):
        rest.listing(["7"])
    assert caplog.records
    assert "token1" not in caplog.text


# -- answers ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (502, b"Bad gateway"),
        (500, {"errors": [{"error_number": 7000, "error": "away"}]}),
        (200, {"errors": [{"error_number": 7000, "error": "away"}]}),
        (200, {"jobs": [{"job_state": "RUNNING"}]}),
        (
            200,
            {"jobs": [{"job_id": 7, "array_job_id": 7, "job_state": "PENDING", "array_task_string": "1-"}]},
        ),
    ],
)
def test_nonsense_is_no_answer(restd: Restd, rest: SlurmRest, status: int, body: object) -> None:
    """Nothing is concluded from it."""
    restd.reply = lambda method, path, token: (status, body)
    with pytest.raises(ClusterUnreachable):
        rest.listing(["7"])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"errors": [{"error_number": 2017, "error": "Invalid job id specified"}], "jobs": []}),
        (400, {"errors": [{"error_number": 9002, "error": "not found"}]}),
        (200, {"errors": [{"error_number": 9003, "error": "Nothing found"}], "jobs": []}),
        (404, b"Unable find requested URL."),
    ],
)
def test_what_is_not_known_is_nothing(restd: Restd, rest: SlurmRest, status: int, body: object) -> None:
    """However it is said; the last also where there is no accounting."""
    restd.reply = lambda method, path, token: (status, body)
    assert rest.listing(["7"]) == []
    assert rest.recent(["7"]) == []
    assert rest.accounting(["7_1"]) == []
    rest.cancel(["7", "8_1"]) if status == 500 else None


def test_nobody_listens() -> None:
    """Neither at an address nor at a socket."""
    for url in ("http://127.0.0.1:9", "unix:///no/such/socket", "unix:/no/such/socket"):
        with pytest.raises(ClusterUnreachable, match="could not be reached"):
            SlurmRest(url=url, token_command="", api_version="v0.0.38").listing(["7"])


def test_no_answer_in_time(restd: Restd) -> None:
    """A slurmrestd without its controller does not answer at all."""
    over = threading.Event()
    restd.reply = lambda method, path, token: (over.wait(30), (200, NOTHING))[1]  # type: ignore[return-value]
    rest = SlurmRest(url=restd.url, token_command="", api_version="v0.0.38", command_timeout=0.3)
    try:
        with pytest.raises(ClusterUnreachable, match=r"within 0\.3 s"):
            rest.listing(["7"])
    finally:
        over.set()


# -- submission ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "number", "text", "error"),
    [
        (500, 2000, "Invalid partition name specified", SubmissionError),
        (400, 9001, "Failure during parsing", SubmissionError),
        (500, 11, "Resource temporarily unavailable", ClusterBusy),
        (500, 5004, "Socket timed out on send/recv operation", ClusterUnreachable),
        (500, 0, "", ClusterUnreachable),
        (200, 0, "", ClusterUnreachable),
    ],
)
def test_what_a_refusal_means(
    restd: Restd, rest: SlurmRest, status: int, number: int, text: str, error: type[ClusterError]
) -> None:
    """Never, later, or nobody knows; with Slurm's words."""
    restd.reply = lambda method, path, token: (status, {"errors": [{"error_code": number, "error": text}]})
    with pytest.raises(error, match=text or None):
        rest.submit(SUBMISSION)


@pytest.mark.parametrize(("most", "error"), [(None, SubmissionError), (4, ClusterBusy), (2, SubmissionError)])
def test_an_ambiguous_refusal_is_judged_by_the_limits(
    restd: Restd, rest: SlurmRest, most: int | None, error: type[ClusterError]
) -> None:
    """The same words tell a full house and a job that is too large: three elements, two jobs are there already."""
    running = {"user_name": "me", "job_id": 1, "array_job_id": 0, "job_state": "RUNNING"}
    others = [{**running, "user_name": "you"}, {**running, "job_state": "COMPLETED"}]
    answers: dict[str, Any] = {
        "associations": {"associations": [{"user": "me", "account": "a", "max": {"jobs": {"total": most}}}]},
        "qos": {"QOS": []},
        "jobs": {"jobs": [running, running, *others]},
    }

    def reply(method: str, path: str, token: str) -> Reply:
        if method == "POST":
            return 500, {"errors": [{"error_code": 2050, "error": "Job violates accounting/QOS policy (…)"}]}
        return 200, answers[path.split("?")[0].rpartition("/")[2]]

    restd.reply = reply
    with pytest.raises(error):
        rest.submit(SUBMISSION)


def test_a_doubtful_batch_is_found_by_the_controller_where_the_accounting_has_not_heard_of_it(
    restd: Restd, rest: SlurmRest
) -> None:
    """Jobs of others and of other names are not it; when the accounting is away, nothing is certain but a find."""
    jobs = [
        {"job_id": 1, "array_job_id": 0, "name": "name", "user_name": "you", "job_state": "PENDING"},
        {"job_id": 2, "array_job_id": 0, "name": "name2", "user_name": "me", "job_state": "PENDING"},
    ]
    own = {"job_id": 4, "array_job_id": 3, "array_task_id": 1, "name": "name", "user_name": "me"}
    accounted: Reply = (200, NOTHING)
    listed: list[dict[str, Any]] = jobs

    def reply(method: str, path: str, token: str) -> Reply:
        return accounted if path.startswith("/slurmdb/") else (200, {"jobs": listed})

    restd.reply = reply
    assert rest.find("name") is None
    listed = [*jobs, own]
    assert rest.find("name") == "3"
    accounted = (500, {"errors": [{"error_number": 1267, "error": "Unknown error 1267"}]})
    assert rest.find("name") == "3"
    listed = jobs
    with pytest.raises(ClusterUnreachable, match="1267"):
        rest.find("name")


def test_a_batch_that_the_accounting_knows_is_found_there(restd: Restd, rest: SlurmRest) -> None:
    """The whole queue is not asked for then; half of a story does not count."""
    half = {"job_id": 99, "array": {"job_id": 0}, "name": "name", "user": "me"}
    whole = {"job_id": 99, "array": {"job_id": 3, "task_id": 1}, "name": "name", "user": "me"}
    restd.reply = lambda method, path, token: (200, {"jobs": [half, whole]})
    assert rest.find("name") == "3"
    assert len(restd.seen) == 1


# -- questions and orders -----------------------------------------------------------------------------
def test_as_few_questions_as_may_be(restd: Restd, rest: SlurmRest) -> None:
    """One for each array, one for all that is accounted; lists in brackets make slurmrestd 22.05 fall over."""
    rest.listing(["7", "8", "7"])
    assert sorted(restd.paths()) == ["GET /slurm/v0.0.38/job/7", "GET /slurm/v0.0.38/job/8"]
    restd.seen.clear()
    rest.accounting(["7_1", "7_2", "8"])
    assert restd.paths() == ["GET /slurmdb/v0.0.38/jobs?step=7_1%2C7_2%2C8"]
    restd.seen.clear()
    rest.accounting([f"7_{index}" for index in range(1000)])
    assert len(restd.seen) == 3
    assert all("%5B" not in path and len(path) < 8000 for _, path, _ in restd.seen)
    restd.seen.clear()
    assert rest.listing([]) == rest.recent([]) == rest.accounting([]) == []
    rest.cancel([])
    assert restd.seen == []


def test_a_list_that_was_cut_is_completed_by_the_accounting(restd: Restd, rest: SlurmRest) -> None:
    """Without accounting all that may be there counts as there: unknown is not gone."""
    waiting = {"job_id": 7, "array_job_id": 7, "array_task_string": "3,5,1...%1", "job_state": "PENDING"}
    mask = {"job_id": 7, "array": {"job_id": 7, "task": "0x2028"}, "state": {"current": "PENDING"}}
    has_accounting = True

    def reply(method: str, path: str, token: str) -> Reply:
        if path.startswith("/slurmdb/"):
            return (200, {"jobs": [mask]}) if has_accounting else (500, {"errors": [{"error_number": 7000}]})
        return 200, {"jobs": [waiting], "job_id": 7}

    restd.reply = reply
    assert [row.indices for row in rest.listing(["7"])] == [(3, 5, 13)]
    has_accounting = False
    (row,) = rest.listing(["7"])
    assert {3, 5, 6, 10_000} <= set(row.indices)
    assert rest.submit(SUBMISSION) == "7"
    assert [row.indices for row in rest.listing(["7"])] == [(3, 5)]


def test_lost_codes_are_asked_of_the_controller(restd: Restd, rest: SlurmRest) -> None:
    """Few elements one by one, many by their array."""

    def failed(index: int) -> dict[str, Any]:
        return {
            "job_id": 100 + index,
            "name": "n",
            "partition": "p",
            "array": {"job_id": 7, "task_id": index},
            "state": {"current": "FAILED"},
            "exit_code": {"status": "SUCCESS", "return_code": 0},
        }

    count = 2

    def reply(method: str, path: str, token: str) -> Reply:
        if path.startswith("/slurmdb/"):
            return 200, {"jobs": [failed(index) for index in range(1, count + 1)]}
        index = path.partition("_")[2]
        indices = [int(index)] if index else range(1, count + 1)
        known = {"array_job_id": 7, "job_state": "FAILED", "job_id": 5}
        return 200, {"jobs": [{**known, "array_task_id": i, "exit_code": i << 8} for i in indices]}

    restd.reply = reply
    assert [job.exit_code for job in rest.accounting(["7"])] == [1, 2]
    assert len(restd.seen) == 3
    restd.seen.clear()
    count = 50
    assert [job.exit_code for job in rest.accounting(["7"])] == list(range(1, 51))
    assert len(restd.seen) == 2


def test_cancelling_names_many_at_once(restd: Restd, rest: SlurmRest) -> None:
    """As a list where slurmrestd takes it, and one by one where it does not."""
    rest.cancel(["7_1", "7_2", "7_5", "8"])
    assert sorted(restd.paths()) == [
        "DELETE /slurm/v0.0.38/job/7_%5B1-2%2C5%5D",
        "DELETE /slurm/v0.0.38/job/8",
    ]
    restd.seen.clear()
    restd.reply = lambda method, path, token: (
        (400, b"Unable to parse URL") if "%5B" in path else (200, NOTHING)
    )
    rest.cancel(["7_1", "7_2"])
    assert sorted(restd.paths())[1:] == ["DELETE /slurm/v0.0.38/job/7_1", "DELETE /slurm/v0.0.38/job/7_2"]


def test_targets_of_a_cancellation() -> None:
    """A whole array needs no elements beside it; long lists are divided."""
    assert cancel_targets(["7", "7_1", "8_3"]) == ["7", "8_3"]
    targets = cancel_targets([f"9_{index}" for index in range(1, 1500, 2)])
    assert len(targets) == 2
    assert all(len(target) < 4000 for target in targets)


def test_orders(restd: Restd, rest: SlurmRest) -> None:
    """The throttle is a number as text; 0 lifts it."""
    rest.throttle("7", 3)
    rest.throttle("7", 0)
    rest.hold("7")
    rest.release("7")
    assert restd.bodies == [{"array": "3"}, {"array": "0"}, {"hold": True}, {"hold": False}]
    assert set(restd.paths()) == {"POST /slurm/v0.0.38/job/7"}


@pytest.mark.parametrize("number", [2017, 2021, 2084])
def test_orders_to_what_has_ended(restd: Restd, rest: SlurmRest, number: int) -> None:
    """They are no error."""
    restd.reply = lambda method, path, token: (200, {"errors": [{"error_number": number, "error": "over"}]})
    rest.throttle("7", 3)
    rest.hold("7")
    rest.cancel(["7", "8"])


@pytest.mark.parametrize(
    ("status", "number", "error"),
    [(200, 2002, ClusterError), (500, 5004, ClusterUnreachable), (500, 0, ClusterUnreachable)],
)
def test_orders_that_are_not_carried_out(
    restd: Restd, rest: SlurmRest, status: int, number: int, error: type[ClusterError]
) -> None:
    """Slurm will not, or nobody knows."""
    restd.reply = lambda method, path, token: (status, {"errors": [{"error_number": number, "error": "no"}]})
    with pytest.raises(ClusterError) as caught:
        rest.cancel(["7"])
    assert type(caught.value) is error


# -- parameters ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url", ["", "slurm.example.org:6820", "ftp://slurm", "http://", "/run/slurmrestd.sock"]
)
def test_an_address_that_cannot_be_meant(url: str) -> None:
    """It is refused when the cluster is set up."""
    with pytest.raises(ConfigError, match="url"):
        SlurmRest(url=url)


def test_one_source_of_tokens() -> None:
    """Two are a contradiction."""
    with pytest.raises(ConfigError, match="token_file and token_command"):
        SlurmRest(url="http://localhost", token_file="t", token_command="c")


def test_the_older_names_choose_the_way() -> None:
    """A cluster that was set up with them needs nothing else."""
    assert isinstance(connection_for({"slurm_rest_host": "http://localhost:6820"}), SlurmRest)
    assert isinstance(
        connection_for({"connection": "rest", "url": "http://localhost", "requeue": True}), SlurmRest
    )


@pytest.mark.parametrize(
    ("host", "near"), [("localhost", True), ("127.0.0.1", True), ("::1", True), ("a.org", False)]
)
def test_no_proxy_to_this_machine(host: str, near: bool) -> None:
    """Proxies of the environment are for the world beyond."""
    assert is_near(host) is near


def test_proxies_are_not_asked_for_this_machine(
    restd: Restd, rest: SlurmRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor for a socket."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    SlurmRest(url=restd.url, token_command="", api_version="v0.0.38").listing(["7"])
    assert len(restd.seen) == 1
