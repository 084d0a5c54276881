"""The wrapper when the server is away, busy, somebody else, or has moved: nothing is lost, and the order stays."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobmon.core.states import TaskInstanceEvent
from jobmon.distributor.spool import Spool
from processes import wait_until
from wrapping import DROPPED, INSTANCE, LIVE, TOKEN, Answer, Event, Server, Site

pytestmark = pytest.mark.e2e

UNTIL_GO = "until [ -e go ]; do sleep 0.01; done"
START, HEARTBEAT, FINISH, TRIAGE = (
    TaskInstanceEvent.START,
    TaskInstanceEvent.HEARTBEAT,
    TaskInstanceEvent.FINISH,
    TaskInstanceEvent.TRIAGE,
)


def names(site: Site) -> list[TaskInstanceEvent]:
    return [event.event for event in site.spooled()]


def test_a_server_that_is_away_does_not_keep_a_command_from_running(site: Site, server: Server) -> None:
    """Start and end are left in the spool, in order, and the exit code is the command's."""
    server.stop()
    wrapped = site.start("echo done; exit 4", start_wait_seconds=0.1, report_wait_seconds=0.1)
    assert wrapped.end() == 4
    start, end = site.spooled()
    assert (start.event, start.task_instance_id, start.distributor_id) == (START, INSTANCE, "99_1")
    assert (end.event, end.exit_code, end.stdout_log) == (TaskInstanceEvent.FAIL, 4, "done\n")
    assert "The server was not told of the start: [Errno 111] Connection refused." in wrapped.said
    assert "The server was not told of the end: " in wrapped.said


def test_a_server_that_comes_back_gets_the_start_first(site: Site, server: Server) -> None:
    """What was in the spool is told and taken out of it again with the next sign of life."""
    server.stop()
    wrapped = site.start(UNTIL_GO, start_wait_seconds=0.1, heartbeat_seconds=0.2)
    wait_until(lambda: names(site) == [START], "the start in the spool")
    server.start()
    wait_until(lambda: "heartbeat" in server.told, "a sign of life")
    assert names(site) == []
    (site.work / "go").touch()
    assert wrapped.end() == 0
    told = server.told
    assert (told[:2], told[-1]) == (["start", "heartbeat"], "finish")


def test_a_server_that_comes_back_for_the_end_gets_the_start_first(site: Site, server: Server) -> None:
    """An end without its start would mean nothing to it."""
    server.stop()
    wrapped = site.start("touch ran", start_wait_seconds=0.1, report_wait_seconds=60)
    wait_until(lambda: names(site) == [START], "the start in the spool")
    site.wait_for("ran")
    server.start()
    assert wrapped.end() == 0
    assert (server.told, names(site)) == (["start", "finish"], [])


def test_a_server_that_is_away_for_a_while_is_no_harm(site: Site, server: Server) -> None:
    """Signs of life that cannot be given are left out; the end is told when it is back."""
    wrapped = site.start(UNTIL_GO, heartbeat_seconds=0.05, report_wait_seconds=60)
    wait_until(lambda: "heartbeat" in server.told, "a sign of life")
    server.stop()
    num_told = len(server.told)
    (site.work / "go").touch()
    wait_until(lambda: not wrapped_command(wrapped.process.pid), "the end of the command")
    server.start()
    assert wrapped.end() == 0
    assert server.told[num_told:] == ["finish"]
    assert names(site) == []


def wrapped_command(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def test_a_server_that_went_away_gets_the_end_from_the_spool(site: Site, server: Server) -> None:
    """The start was told, so that only the end is left."""
    wrapped = site.start(UNTIL_GO, report_wait_seconds=0.1)
    wait_until(lambda: server.told == ["start"], "the start")
    server.stop()
    (site.work / "go").touch()
    assert wrapped.end() == 0
    assert names(site) == [FINISH]


def test_answers_that_are_lost_make_events_come_twice_and_no_other(site: Site, server: Server) -> None:
    """Every second answer is lost: each event is told again until it is acknowledged."""

    def every_other(event: Event) -> Answer:
        return DROPPED if server.told.count(event["event"]) % 2 else LIVE

    server.answer = every_other
    assert site.run("true", start_wait_seconds=60, report_wait_seconds=60) == 0
    assert server.told == ["start", "start", "finish", "finish"]
    assert names(site) == []


@pytest.mark.parametrize(
    "answer",
    [
        (401, b'{"request_id":"1"}'),
        (403, b'{"request_id":"1"}'),
        (423, b""),
        (429, b""),
        (500, b""),
        (503, b'{"request_id":"1"}'),
        (404, b"<html>Not Found</html>"),
        (302, b""),
        (200, b"<html>Welcome</html>"),
        (200, b""),
    ],
)
def test_whatever_is_not_the_servers_own_word_is_no_word(site: Site, server: Server, answer: Answer) -> None:
    """A changed token, a busy server, a proxy, another service on its port: the command runs, its words are kept."""
    server.answer = lambda _: answer
    assert site.run("true", start_wait_seconds=0.05, report_wait_seconds=0.05) == 0
    assert set(server.told) == {"start"}  # the end is not told before the start was taken
    assert names(site) == [START, FINISH]


def test_nodes_that_cannot_reach_the_server_do_not_try(site: Site) -> None:
    """Without an address everything goes to the spool at once, however long one may wait for the server."""
    site.shared.write_server("", "", "somebody")
    wrapped = site.start("true", start_wait_seconds=500, report_wait_seconds=500)
    assert wrapped.end() == 0
    assert names(site) == [START, FINISH]
    assert "compute nodes cannot reach it" in wrapped.said


def test_a_server_that_moved_is_found(site: Site, server: Server) -> None:
    """Address and token are read again each time they are needed."""
    wrapped = site.start(UNTIL_GO, report_wait_seconds=60)
    wait_until(lambda: server.told == ["start"], "the start")
    server.stop()
    (site.work / "go").touch()
    other = Server()
    try:
        site.shared.write_server(other.url, "another", "somebody else")
        assert wrapped.end() == 0
        assert other.told == ["finish"]
        assert other.requests[0][1]["Authorization"] == "Bearer another"
        assert other.requests[0][1]["X-Jobmon-User"] == "somebody else"
    finally:
        other.stop()


@pytest.mark.parametrize("content", [None, "", "nonsense\n\n\n", "ftp://x\n\n\n", "http://h:port\n\n\n"])
def test_a_file_that_names_no_server_is_as_if_it_were_away(site: Site, content: str | None) -> None:
    """It may be written again any moment; until then words go to the spool."""
    if content is None:
        site.shared.server.unlink()
    else:
        site.shared.server.write_text(content)
    assert site.run("true", start_wait_seconds=0.05, report_wait_seconds=0.05) == 0
    assert names(site) == [START, FINISH]


def test_a_spool_that_cannot_be_written_loses_no_exit_code(site: Site, server: Server) -> None:
    """The cluster still knows how the job ended; its log says what could not be kept."""
    server.stop()
    wrapped = site.start("exit 6", spool="/no/such/spool", start_wait_seconds=0.05, report_wait_seconds=0.05)
    assert wrapped.end() == 6
    assert "A word for the server cannot be left in the spool: [Errno 2]" in wrapped.said


@pytest.fixture
def hanging(server: Server) -> Iterator[Server]:
    """The server takes events and does not answer."""
    released = threading.Event()

    def hang(_: Event) -> Answer:
        released.wait(60)
        return DROPPED

    server.answer = hang
    yield server
    released.set()


def test_sigterm_while_the_server_does_not_answer_to_the_start(site: Site, hanging: Server) -> None:
    """Nothing is run; start and reason are in the spool within the time a cluster leaves."""
    wrapped = site.start("touch ran", start_wait_seconds=60, report_wait_seconds=60)
    wait_until(lambda: hanging.told, "the start")
    wrapped.signal(signal.SIGTERM)
    wait_until(lambda: names(site) == [START, TRIAGE], "the words in the spool")
    assert wrapped.end() == 143
    assert not (site.work / "ran").exists()


def test_sigterm_while_the_server_does_not_answer_to_a_sign_of_life(site: Site, hanging: Server) -> None:
    """The command is ended at once, and the word about it kept."""
    hang, hanging.answer = hanging.answer, lambda _: LIVE
    wrapped = site.start("touch ready; exec sleep 600", heartbeat_seconds=0.1)
    wait_until(lambda: "heartbeat" in hanging.told, "a sign of life")
    hanging.answer = hang
    num_told = len(hanging.told)
    wait_until(lambda: len(hanging.told) > num_told, "one that is not answered")
    wrapped.signal(signal.SIGTERM)
    wait_until(lambda: names(site) == [TRIAGE], "the word in the spool", 8)
    assert wrapped.end() == 143


def test_the_end_of_the_command_is_not_held_up_by_a_server_that_does_not_answer(
    site: Site, hanging: Server
) -> None:
    """A sign of life is given up when there is something better to say."""
    hang, hanging.answer = hanging.answer, lambda _: LIVE
    wrapped = site.start(UNTIL_GO, heartbeat_seconds=0.1, report_wait_seconds=0.1)
    wait_until(lambda: "heartbeat" in hanging.told, "a sign of life")
    hanging.answer = hang
    num_told = len(hanging.told)
    wait_until(lambda: len(hanging.told) > num_told, "one that is not answered")
    (site.work / "go").touch()
    wait_until(lambda: "finish" in hanging.told, "the end, told", 8)
    assert wrapped.end() == 0
    assert names(site) == [FINISH]


def test_sigterm_while_the_end_cannot_be_told(site: Site, server: Server) -> None:
    """The job is over but for its word: that goes to the spool at once."""
    wrapped = site.start(UNTIL_GO, report_wait_seconds=600)
    wait_until(lambda: server.told == ["start"], "the start")
    server.stop()
    (site.work / "go").touch()
    wait_until(lambda: not wrapped_command(wrapped.process.pid), "the end of the command")
    wrapped.signal(signal.SIGTERM)
    assert wrapped.end() == 0
    assert names(site) == [FINISH]


def test_a_wrapper_that_is_killed_leaves_only_whole_words(site: Site, server: Server) -> None:
    """Killed after SIGTERM, as clusters do: what is in the spool can be read."""
    server.stop()
    wrapped = site.start("touch ready; exec sleep 600", start_wait_seconds=0.05)
    site.wait_for("ready")
    wrapped.signal(signal.SIGTERM)
    wait_until(lambda: len(Spool(site.shared.spool).take()) == 2, "the words in the spool")
    wrapped.process.kill()
    assert wrapped.end() in (-9, 143)
    assert names(site) == [START, TRIAGE]


def test_a_job_that_is_started_again_tells_after_what_it_told_before(site: Site, server: Server) -> None:
    """A cluster may run a job twice under the same id: the words of both are in order."""
    server.stop()
    for code in (1, 0):
        assert site.run(f"exit {code}", start_wait_seconds=0.05, report_wait_seconds=0.05) == code
    assert names(site) == [START, TaskInstanceEvent.FAIL, START, FINISH]


def test_a_server_behind_tls(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate is checked: one that nobody vouches for is as if it were away."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    told: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)  # HTTP/1.0: the end of the connection is the end of the answer
            self.end_headers()
            self.wfile.write(LIVE[1])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who does not trust it hangs up
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        site.shared.write_server(f"https://localhost:{server.server_port}/api/v3", TOKEN, "somebody")
        wrapped = site.start("true", start_wait_seconds=0.1, report_wait_seconds=0.1)
        assert wrapped.end() == 0
        assert "CERTIFICATE_VERIFY_FAILED" in wrapped.said
        assert names(site) == [START, FINISH]
        assert told == []
        trusting = {**os.environ, "SSL_CERT_FILE": str(certificate)}
        assert site.start_file(site.write("true", start_wait_seconds=20), env=trusting).end() == 0
        assert [b'"event":"start"' in told[0], b'"event":"finish"' in told[1], len(told)] == [True, True, 2]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
