"""slurmrestd of the real Slurm: the same as by the commands, with tokens that end, and with daemons that are away."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import lab
import pytest

from jobmon.core.exceptions import ClusterBusy, ClusterUnreachable, SubmissionError
from jobmon.plugins.slurm.command_line import SlurmCommandLine
from jobmon.plugins.slurm.connection import AccountedJob, RecentJob, Submission
from jobmon.plugins.slurm.discovery import describe
from jobmon.plugins.slurm.listing import ENDED_STATES
from jobmon.plugins.slurm.rest import SlurmRest

pytestmark = pytest.mark.e2e

ENDS = """#!/bin/sh
case $SLURM_ARRAY_TASK_ID in
    1) exit 0 ;;
    2) exit 3 ;;
    3) exit 137 ;;
    4) kill -TERM $$ ;;
    5) exec python3 -c "import time; held = b'x' * 128 * 2**20; time.sleep(20)" ;;
esac
"""
BLOCK = "#!/bin/sh\nexec sleep 300\n"
NOBODY = "nobody"


@pytest.fixture
def rest() -> SlurmRest:
    """The way over REST."""
    return SlurmRest(url=lab.REST_ADDRESS)


@pytest.fixture
def submission(job_prefix: str, tmp_path: Path) -> Callable[..., Submission]:
    """Makes submissions of this test."""

    def make(script: str = BLOCK, num_steps: int = 1, max_running: int = 0, **settings: Any) -> Submission:
        usual = {
            "partition": "short",
            "cores": 1,
            "memory_mib": 64,
            "minutes": 5,
            "working_dir": str(tmp_path),
            "standard_output": f"{tmp_path}/%A_%a.log",
            "standard_error": f"{tmp_path}/%A_%a.log",
            "requeue": False,
        }
        return Submission(f"{job_prefix}-rest", script, num_steps, {**usual, **settings}, max_running)

    return make


@contextmanager
def slurmrestd(listen: str, directory: Path, *options: str, config: Path | None = None) -> Iterator[None]:
    """Another slurmrestd, as nobody because it refuses to run as root; its log is in the directory."""
    environment = {**os.environ, "SLURM_JWT": "daemon"}
    if config is not None:
        environment["SLURM_CONF"] = str(config)
    words = ["setpriv", f"--reuid={NOBODY}", "--regid=nogroup", "--clear-groups", "slurmrestd", *options]
    log = directory / "slurmrestd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*words, "-a", "rest_auth/jwt", listen],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        lab.wait_for(lambda: listens(listen) or process.poll() is not None, "slurmrestd listens")
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(lab.COMMAND_SECONDS)


def listens(address: str) -> bool:
    """Whether somebody listens at ``unix:/path`` or ``host:port``."""
    host, _, port = address.partition(":")
    if host == "unix":
        return Path(port).is_socket()
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that nobody may write to; tests' own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="jobmon-rest-") as name:
        os.chmod(name, 0o755)
        inner = Path(name) / "run"
        inner.mkdir()
        inner.chmod(0o777)
        yield inner


def by_index(jobs: Sequence[AccountedJob | RecentJob]) -> dict[int | None, AccountedJob | RecentJob]:
    return {job.index: job for job in jobs}


def have_ended(jobs: Sequence[AccountedJob | RecentJob], count: int) -> bool:
    return sum(job.state in ENDED_STATES for job in jobs) == count


def without(job: AccountedJob | RecentJob, *names: str) -> AccountedJob | RecentJob:
    """The job with some fields as they are where nothing is known."""
    defaults = {field.name: field.default for field in fields(job)}
    return replace(job, **{name: defaults[name] for name in names})  # type: ignore[arg-type]


# -- the same as by the commands ----------------------------------------------------------------------
def test_ends_are_told_as_the_commands_tell_them(
    rest: SlurmRest, submission: Callable[..., Submission]
) -> None:
    """Exit codes, a signal, too much memory: what either way tells of five elements differs in nothing that counts."""
    commands = SlurmCommandLine()
    job_id = rest.submit(submission(ENDS, 5))
    lab.wait_for(lambda: have_ended(rest.accounting([job_id]), 5), "five ends", 60)
    lab.wait_for(lambda: have_ended(commands.accounting([job_id]), 5), "five ends by sacct", 60)
    accounted = by_index(rest.accounting([job_id]))
    assert [
        (accounted[index].state, accounted[index].exit_code, accounted[index].signal) for index in range(1, 6)
    ] == [
        ("COMPLETED", 0, 0),
        ("FAILED", 3, 0),
        ("FAILED", 9, 0),  # 137, as sacct tells it
        ("FAILED", 0, 15),
        ("OUT_OF_MEMORY", 0, 125),
    ]
    expected = by_index(commands.accounting([job_id]))
    for index, job in accounted.items():
        known = ("reason", "cpu", "energy", "wallclock")  # sacct rounds, and has no reason of the controller
        assert without(job, *known) == without(expected[index], *known)
    recent, expected_recent = by_index(rest.recent([job_id])), by_index(commands.recent([job_id]))
    assert recent[3].exit_code == 137
    for index, remembered in recent.items():
        assert without(remembered, "wallclock") == without(expected_recent[index], "wallclock")
    assert rest.listing([job_id]) == []


def test_a_queue_is_told_as_the_commands_tell_it(
    rest: SlurmRest, submission: Callable[..., Submission]
) -> None:
    """An array of which some run, one was cancelled by somebody and others wait; found by its name either way."""
    commands = SlurmCommandLine()
    wanted = submission(num_steps=9, max_running=2)
    job_id = rest.submit(wanted)
    lab.wait_until_running(wanted.name, 2)
    lab.run("scancel", f"{job_id}_5")
    lab.wait_for(lambda: len(rest.listing([job_id])) == 3, "three rows")

    def rows(connection: SlurmRest | SlurmCommandLine) -> set[object]:
        return set(connection.listing([job_id, "99999999"]))

    lab.wait_for(lambda: rows(rest) == rows(commands), "the same rows")
    assert {row.indices for row in rest.listing([job_id])} == {(1,), (2,), (3, 4, 6, 7, 8, 9)}
    assert rest.find(wanted.name) == commands.find(wanted.name) == job_id
    assert rest.find(wanted.name + "x") is None
    lab.wait_for(lambda: rest.count_jobs() >= 8, "eight jobs are counted")
    rest.cancel([job_id])
    lab.wait_for(lambda: not rest.listing([job_id]), "all are gone")
    # an element that is cancelled alone before it has started leaves no trace, neither here nor there
    ends = lab.wait_for(
        lambda: jobs if have_ended(jobs := rest.accounting([job_id]), 8) else [], "eight ends"
    )
    for jobs in (ends, rest.recent([job_id]), commands.accounting([job_id]), commands.recent([job_id])):
        assert 5 not in by_index(jobs)
    assert {(job.state, job.cancelled_by) for job in ends} == {("CANCELLED", "root")}
    assert rest.find(wanted.name) == job_id


def test_queues_and_limits_are_told_as_the_commands_tell_them(rest: SlurmRest) -> None:
    """The limits of every queue are the same; the configuration is not told over REST."""
    commands = SlurmCommandLine()
    over_rest = describe(rest.partitions(), rest.nodes(), rest.config())
    by_commands = describe(commands.partitions(), commands.nodes(), {})
    assert over_rest.queues == by_commands.queues
    assert rest.submit_limit() == commands.submit_limit()
    assert rest.config().keys() == {"SLURM_VERSION"}
    assert over_rest.facts["Slurm"] == commands.config()["SLURM_VERSION"]


# -- arrays ------------------------------------------------------------------------------------------
def test_a_long_list_of_waiting_elements_is_told_in_whole(
    rest: SlurmRest, submission: Callable[..., Submission]
) -> None:
    """slurmrestd cuts it after 64 characters; one request cancels every second element."""
    job_id = rest.submit(submission(num_steps=120, max_running=1))
    rest.cancel([f"{job_id}_{index}" for index in range(2, 100, 2)])
    expected = {1, *range(3, 100, 2), *range(100, 121)}

    def listed() -> set[int]:
        return {index for row in rest.listing([job_id]) for index in row.indices}

    lab.wait_for(lambda: listed() == expected, "all that waits is listed")
    anew = SlurmRest(url=lab.REST_ADDRESS)  # which does not know how many there were
    lab.wait_for(
        lambda: {index for row in anew.listing([job_id]) for index in row.indices} == expected,
        "another controller is told the same",
    )
    rest.cancel([job_id])


def test_throttle_hold_and_release(rest: SlurmRest, submission: Callable[..., Submission]) -> None:
    """More elements run when more may; none starts while they are held."""
    wanted = submission(num_steps=5, max_running=1)
    job_id = rest.submit(wanted)
    lab.wait_until_running(wanted.name, 1)
    rest.hold(job_id)
    rest.throttle(job_id, 3)
    held = lab.wait_for(lambda: [row for row in rest.listing([job_id]) if "Held" in row.reason], "it is held")
    assert any(len(row.indices) == 4 for row in held)
    rest.release(job_id)
    lab.wait_until_running(wanted.name, 3)
    rest.throttle(job_id, 0)
    lab.wait_until_running(wanted.name, 5)
    rest.cancel([job_id])
    lab.wait_for(lambda: not rest.listing([job_id]), "all are gone")
    rest.throttle(job_id, 2)
    rest.hold(job_id)
    rest.release(job_id)
    rest.cancel([job_id, f"{job_id}_2", "99999999"])


# -- refusals -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"partition": "nowhere"}, "sinfo lists them"),
        ({"constraints": "nofeature"}, "nvalid feature"),
        ({"reservation": "none"}, "reservation"),
        ({"gres": ("gpu:1",)}, "refused"),
        ({"excluded_nodes": ("n99",)}, "refused"),
    ],
)
def test_refusals(
    rest: SlurmRest, submission: Callable[..., Submission], settings: dict[str, Any], said: str
) -> None:
    """With Slurm's words and what to do."""
    with pytest.raises(SubmissionError, match=said):
        rest.submit(submission(**settings))


def test_a_limit_on_submitted_jobs(
    rest: SlurmRest, submission: Callable[..., Submission], job_prefix: str
) -> None:
    """Too many for now is no refusal for ever; too many at all is one. Slurm uses the same words for both."""
    qos = job_prefix.replace("-", "")
    with lab.quality_of_service(qos, "MaxSubmitJobsPerUser=3"):
        job_id = rest.submit(submission(num_steps=2, qos=qos))
        try:
            lab.wait_for(lambda: rest.accounting([job_id]), "the accounting knows it")
            with pytest.raises(ClusterBusy):
                rest.submit(submission(num_steps=2, qos=qos))
            with pytest.raises(SubmissionError, match="array_limit=3"):
                rest.submit(submission(num_steps=4, qos=qos))
        finally:
            rest.cancel([job_id])
            lab.wait_for(lambda: not rest.listing([job_id]), "they are gone")


def test_settings_arrive(rest: SlurmRest, submission: Callable[..., Submission]) -> None:
    """Those whose names or forms are this version's own: nodes to avoid, number of nodes, no new start by Slurm."""
    wanted = submission(excluded_nodes=("n1", "n2"), nodes=2, ntasks=2, cores=2, open_mode="append")
    wanted = replace(wanted, extra_arguments=("--nice=7", "--comment", "twowords"))
    job_id = rest.submit(wanted)
    shown = lab.run("scontrol", "-o", "show", "job", job_id)
    for fact in ("ExcNodeList=n[1-2]", "NumNodes=2", "NumTasks=2", "CPUs/Task=2", "Requeue=0", "Nice=7"):
        assert f" {fact}" in shown
    assert "Comment=twowords" in shown
    rest.cancel([job_id])


# -- tokens and daemons ----------------------------------------------------------------------------
def test_an_expired_token_is_renewed(tmp_path: Path) -> None:
    """A token of five seconds is used for four of them; nobody notices its end."""
    counter = tmp_path / "asked"
    script = tmp_path / "token"
    script.write_text(f"#!/bin/sh\necho >> {counter}\nexec scontrol token lifespan=5 username=root\n")
    script.chmod(0o700)
    rest = SlurmRest(url=lab.REST_ADDRESS, token_command=str(script))

    def asked() -> int:
        assert rest.nodes()
        return len(counter.read_text().splitlines())

    lab.wait_for(lambda: asked() >= 3, "the token has ended twice")


def test_a_token_that_was_withdrawn_is_replaced(tmp_path: Path) -> None:
    """A bad one looks to slurmrestd like many other things; the next one is tried, once."""
    script = tmp_path / "token"
    script.write_text(
        f"#!/bin/sh\nif mkdir {tmp_path}/second; then echo SLURM_JWT=bad; else exec scontrol token; fi\n"
    )
    script.chmod(0o700)
    rest = SlurmRest(url=lab.REST_ADDRESS, token_command=str(script), api_version="v0.0.38")
    assert rest.nodes()
    bad = SlurmRest(url=lab.REST_ADDRESS, token_command="echo SLURM_JWT=bad", api_version="v0.0.38")
    for ask in (bad.nodes, bad.config, lambda: bad.listing(["1"]), lambda: bad.accounting(["1_1"])):
        with pytest.raises(ClusterUnreachable, match="did not accept the token"):
            ask()


def test_over_a_socket(open_directory: Path, submission: Callable[..., Submission]) -> None:
    """As over a port."""
    path = open_directory / "slurmrestd.sock"
    with slurmrestd(f"unix:{path}", open_directory):
        path.chmod(0o666)
        rest = SlurmRest(url=f"unix://{path}", token_command="scontrol token lifespan=60")
        wanted = submission()
        job_id = rest.submit(wanted)
        assert rest.find(wanted.name) == job_id
        rest.cancel([job_id])
    with pytest.raises(ClusterUnreachable):
        SlurmRest(url=f"unix://{path}.gone").nodes()


def test_without_accounting(
    open_directory: Path, rest: SlurmRest, submission: Callable[..., Submission]
) -> None:
    """A slurmrestd that knows the controller only: the accounting tells nothing, the controller tells of ends."""
    with slurmrestd("127.0.0.1:16833", open_directory, "-s", "openapi/v0.0.38"):
        lone = SlurmRest(url="http://127.0.0.1:16833")
        job_id = lone.submit(submission("#!/bin/sh\nexit 3\n"))
        lab.wait_for(lambda: have_ended(lone.recent([job_id]), 1), "it has ended")
        assert lone.recent([job_id])[0].exit_code == 3
        assert lone.accounting([job_id]) == []
        assert lone.submit_limit().most is None
        assert lone.config()["AccountingStorageType"] == "accounting_storage/none"


@pytest.mark.slow
def test_a_controller_that_is_away(open_directory: Path, submission: Callable[..., Submission]) -> None:
    """slurmrestd does not answer at all then; nothing is known, neither of jobs nor of a submission."""
    config = open_directory / "slurm.conf"
    text = Path("/etc/slurm/slurm.conf").read_text().splitlines()
    lines = ["SlurmctldPort=16817" if line.startswith("SlurmctldPort") else line for line in text]
    config.write_text("\n".join(lines))
    config.chmod(0o644)
    with slurmrestd("127.0.0.1:16834", open_directory, config=config):
        rest = SlurmRest(url="http://127.0.0.1:16834", api_version="v0.0.38", command_timeout=1)
        for ask in (
            rest.nodes,
            lambda: rest.listing(["1"]),
            lambda: rest.submit(submission()),
            lambda: rest.cancel(["1"]),
        ):
            with pytest.raises(ClusterUnreachable, match="did not answer within 1 s"):
                ask()


def test_several_at_once(rest: SlurmRest) -> None:
    """One connection serves several threads."""
    ids = [[str(90_000_000 + 10 * thread + number) for number in range(10)] for thread in range(3)]
    with ThreadPoolExecutor(len(ids)) as pool:
        assert list(pool.map(rest.listing, ids)) == [[], [], []]
