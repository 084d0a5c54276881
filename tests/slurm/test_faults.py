"""What breaks under a workflow while it runs on Slurm: nodes, Slurm's daemons, the server, and what other people do.

Whatever it is, in the end every task is done, its command came to its end once, and nothing is left in the queue.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lab
import pytest

from flow import QUICK, SlurmPlace, new_slurm_place
from processes import is_gone, wait_until

pytestmark = [pytest.mark.e2e]

NODE = "n4"
SLOW_SECONDS = 100.0
KILLS_ITS_WRAPPER = "{ [ -e once ] || { touch once; kill -9 $PPID; sleep 600; }; }"
"""What a command does that dies without a word the first time it runs."""

ALONE = "{{ exec 9>lock.{0}; flock -n 9 || touch two.{0}; until [ -e gate.go ]; do sleep 0.05; done; }}"
"""What a command does that waits for the gate and notices when another of its kind runs."""

HOLDS_THE_FIRST = """\
#!/bin/sh
[ -e {once} ] && exec {sbatch} "$@"
touch {once}
exec {sbatch} --hold "$@"
"""


@pytest.fixture
def place(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[SlurmPlace]:
    """A server and scripts of this test alone, whose tasks run on Slurm."""
    yield from new_slurm_place(tmp_path / "place", job_prefix, database_template, **QUICK)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process does nothing for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# -- nodes ------------------------------------------------------------------------------------------------
def test_a_node_is_declared_down(place: SlurmPlace) -> None:
    """Its tasks run again, and not there, for it is remembered as bad; it was no fault of theirs."""
    script = place.start_flow(place.gated("abc", max_attempts=1))
    place.wait_running("abc")
    (node,) = set(place.of_attempts("a", "nodename"))
    lab.node_down(node)
    place.wait_started("a", times=2)
    place.open("go")
    assert script.result()["status"] == "D"
    assert node not in place.of_attempts("a", "nodename")[1:]
    assert place.attempts("a") == "UD"
    assert f"The node {node} the job ran on failed" in place.errors("a")
    assert node in place.jobmon("cluster", "bad-nodes", "slurm")
    assert place.num_ends("abc") == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_daemon_of_a_node_is_killed(place: SlurmPlace) -> None:
    """What runs there goes on until it hears from the server that it may not; the task runs elsewhere meanwhile."""
    script = place.start_flow([*place.gated("a"), place.task("b", upstream=["a"])])
    place.wait_running("a")
    (node,) = place.of_attempts("a", "nodename")
    with lab.daemon_away(node, kill=True):
        wait_until(lambda: len(place.starts("a")) == 2, "the second start", SLOW_SECONDS)
        wait_until(lambda: is_gone(place.starts("a")[0]), "the end of the first")
        place.open("go")
        assert script.result()["status"] == "D"
    assert place.attempts("a") == "UD"
    assert place.num_ends("ab") == [1, 1]


# -- other people -----------------------------------------------------------------------------------------
def test_a_person_cancels_an_element(place: SlurmPlace) -> None:
    """It is said so, and the task runs again; the others of the array run on."""
    script = place.start_flow(place.gated("abc"))
    place.wait_running("abc")
    lab.run("scancel", *place.of_attempts("b", "distributor_id"))
    place.wait_started("b", times=2)
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.num_starts(*"abc") == [1, 2, 1]
    assert place.attempts("b") == "ED"
    assert "The job was cancelled by root (scancel)" in place.errors("b")
    assert place.num_ends("abc") == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_person_cancels_an_array_of_which_most_waits(place: SlurmPlace) -> None:
    """Those that ran and those that never did."""
    limit = {f"{place.prefix}-step": 2}
    script = place.start_flow(place.gated("abcdef"), template_limits=limit)
    wait_until(lambda: sum(map(bool, map(place.starts, "abcdef"))) == 2, "two that run")
    wait_until(lambda: place.scalar("SELECT count(*) FROM task WHERE status = 'R'") == 2, "two that run")
    array = place.jobs()[0].array_job_id
    lab.run("scancel", array)
    lab.wait_for(lambda: array not in {job.array_job_id for job in place.jobs()}, "the end of the array")
    place.open("go")
    assert script.result(SLOW_SECONDS + 60)["status"] == "D"
    assert place.num_ends("abcdef") == [1] * 6
    assert place.all_attempts("abcdef") == ["ED"] * 6
    assert "The job was cancelled by root (scancel)" in place.errors("f")


@pytest.mark.slow
def test_another_job_takes_precedence(place: SlurmPlace) -> None:
    """A job that was preempted runs again; it was no fault of its task."""
    asked = {"qos": "spare", "cores": 16, "sbatch_arguments": [f"--nodelist={NODE}"]}
    script = place.start_flow(place.gated("a", max_attempts=1), asked=asked)
    place.wait_running("a")
    lab.submit(
        "true", "--exclusive", "-w", NODE, "--qos=urgent", f"--job-name={place.prefix}", "-o", "/dev/null"
    )
    wait_until(lambda: len(place.starts("a")) == 2, "the second start", SLOW_SECONDS)
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.attempts("a") == "UD"
    assert "to make room for another that takes precedence" in place.errors("a")
    assert place.num_ends("a") == [1]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_person_has_a_job_started_anew(place: SlurmPlace) -> None:
    """Where the cluster may do that, it is the same attempt that goes on; it was told of its end by signal before."""
    place.jobmon("cluster", "sync", "slurm", "-p", "requeue=true")
    tasks = [place.task(name, then=ALONE.format(name), max_attempts=1) for name in "ab"]
    script = place.start_flow(tasks)
    place.wait_running("ab")
    lab.run("scontrol", "requeue", *place.of_attempts("a", "distributor_id"))
    wait_until(lambda: len(place.starts("a")) == 2, "the second start", SLOW_SECONDS)
    place.open("go")
    assert script.result(SLOW_SECONDS)["status"] == "D"
    assert place.all_attempts("ab") == ["D", "D"]
    assert place.num_ends("ab") == [1, 1]
    assert not list(place.work.glob("two.*"))


# -- Slurm's daemons ----------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_controller_of_slurm_crashes(place: SlurmPlace) -> None:
    """It forgets that jobs run, and may start them again: never beside the first, and it is no fault of theirs."""
    tasks = [place.task(name, then=ALONE.format(name), max_attempts=1) for name in "abc"]
    place.shim("sbatch", HOLDS_THE_FIRST.format(once=place.root / "submitted", sbatch=shutil.which("sbatch")))
    script = place.start_flow([*tasks, place.task("d", upstream=["a"])])
    array = place.wait_job().array_job_id
    lab.wait_for(lambda: place.prefix.encode() in lab.SAVED_JOBS.read_bytes(), "the saved state of the job")
    lab.run("scontrol", "release", array)
    place.wait_running("abc")
    with lab.daemon_away("slurmctld", kill=True):
        pass
    lab.succeeds("scontrol", "release", array)  # that it was released may be forgotten as well
    place.open("go")
    assert script.result(SLOW_SECONDS)["status"] == "D"
    assert place.num_ends("abcd") == [1] * 4
    assert not list(place.work.glob("two.*"))


@pytest.mark.slow
def test_the_controller_of_slurm_does_not_answer(place: SlurmPlace) -> None:
    """All views say since when; nothing fails; what was submitted meanwhile without an answer is not submitted twice."""
    place.jobmon("cluster", "sync", "slurm", "-p", "command_timeout=4")
    script = place.start_flow([*place.gated("ab"), place.task("c", upstream=["a"])])
    place.wait_running("ab")
    pid = lab.pid_of("slurmctld")
    assert pid is not None
    with stopped(pid):
        place.open("go")
        wait_until(lambda: "unreachable since" in place.jobmon("workflow", "status", 1), "the condition")
        assert "unreachable since" in place.explain("c")
    assert script.result(SLOW_SECONDS)["status"] == "D"
    assert place.num_starts(*"abc") == [1, 1, 1]
    assert place.all_attempts("abc") == ["D", "D", "D"]
    assert "unreachable" not in place.jobmon("workflow", "status", 1)


def test_the_accounting_is_away(place: SlurmPlace) -> None:
    """Attempts that died without a word are judged by what the controller remembers."""
    tasks = [place.task("a", then=KILLS_ITS_WRAPPER), place.task("b", upstream=["a"])]
    with lab.daemon_away("slurmdbd"):
        result = place.run_flow(tasks)
    assert result["status"] == "D"
    assert (place.attempts("a"), place.attempts("b")) == ("ED", "D")
    assert "The job was ended by signal 9 (SIGKILL)" in place.errors("a")


def test_memory_runs_out_and_takes_the_wrapper_along(place: SlurmPlace) -> None:
    """Nobody but Slurm can tell; the next attempt asks for more."""
    eats = "python3 -c 'x = bytearray(90 << 20); x[::4096] = bytes([1]) * len(x[::4096])'"
    result = place.run_flow([place.task("a", then=f"{{ {eats} || kill -9 $PPID; }}")])
    assert result["status"] == "D"
    assert place.attempts("a") == "ZD"
    assert "needed more memory than it had asked for" in place.errors("a")
    first, second = (asked["memory"] for _, _, _, asked in place.asked("a"))
    assert second > first


# -- the server -----------------------------------------------------------------------------------------------
def test_the_server_is_killed(place: SlurmPlace) -> None:
    """Another one is started, at another address, and the nodes find it."""
    script = place.start_flow([*place.gated("ab"), place.task("c", upstream=["a"])])
    place.wait_running("ab")
    before = place.server()
    place.kill_server()
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.server().pid != before.pid
    assert place.num_starts(*"abc") == [1, 1, 1]
    assert place.all_attempts("abc") == ["D", "D", "D"]


def test_the_server_is_away_when_tasks_end(place: SlurmPlace) -> None:
    """They leave their word in the shared directory, and it is found there."""
    place.configure(http__request_timeout=2)
    script = place.start_flow([*place.gated("ab"), place.task("c", upstream=["a"])])
    place.wait_running("ab")
    with stopped(place.server().pid):
        place.open("go")
        lab.wait_for(lambda: not place.jobs(), "the end of the jobs")
        assert len(list(place.shared.rglob("spool/**/*.json"))) == 2
    assert script.result()["status"] == "D"
    assert place.num_starts(*"abc") == [1, 1, 1]
    assert place.all_attempts("abc") == ["D", "D", "D"]


def test_no_node_reaches_the_server(place: SlurmPlace) -> None:
    """All they have to tell goes through the shared directory, failures and their logs too."""
    place.configure(embedded__node_interface="none")
    tasks = [
        place.task("a"),
        place.task("b", upstream=["a"], then="{ [ -e once ] || { touch once; echo no luck >&2; exit 3; }; }"),
        place.task("c", upstream=["b"]),
    ]
    assert place.run_flow(tasks)["status"] == "D"
    assert place.all_attempts("abc") == ["D", "ED", "D"]
    assert "no luck" in place.errors("b")
    assert place.of_attempts("a", "nodename") != [None]
    assert not list(place.shared.rglob("spool/**/*.json"))


# -- the way to Slurm -----------------------------------------------------------------------------------------
@pytest.mark.slow
def test_tokens_for_the_rest_interface_expire(place: SlurmPlace) -> None:
    """They are renewed, as often as it takes; the workflow notices nothing."""
    parameters = {
        "connection": "rest",
        "url": f"unix://{lab.REST_SOCKET}",
        "token_command": "scontrol token lifespan=5",
    }
    words = [word for name, text in parameters.items() for word in ("-p", f"{name}={text}")]
    place.jobmon("cluster", "sync", "slurm", "--type", "slurm", *words)
    script = place.start_flow([*place.gated("ab"), *(place.task(name, upstream=["a"]) for name in "cd")])
    place.wait_running("ab")
    asked = place.num_commands("scontrol")
    wait_until(lambda: place.num_commands("scontrol") >= asked + 2, "two more tokens", SLOW_SECONDS)
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.num_starts(*"abcd") == [1] * 4
    assert place.num_commands("sbatch") == place.num_commands("squeue") == place.num_commands("sacct") == 0
