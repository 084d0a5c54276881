"""Who runs a workflow on Slurm is gone: its jobs go on, and the next run adopts them or ends them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lab
import pytest

from flow import QUICK, SlurmPlace, checked, new_slurm_place
from processes import Script, wait_until

pytestmark = [pytest.mark.e2e]

WAYS = {
    "hot": {"resume": True, "reset_running_jobs": False},
    "cold": {"resume": True, "reset_running_jobs": True},
}
AT_A_TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
CTRL_C = b"\x03"

SUBMITS_AND_IS_SLOW_TO_SAY_SO = """\
#!/bin/sh
echo sbatch >> {log}
said=$({sbatch} "$@") || exit
until [ -e {gate} ]; do sleep 0.05; done
echo "$said"
"""
IS_SLOW_TO_SUBMIT = """\
#!/bin/sh
cat > {place}/late.script
echo sbatch >> {log}
until [ -e {gate} ]; do sleep 0.05; done
{sbatch} "$@" < {place}/late.script > {place}/late.said
"""


@pytest.fixture
def place(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[SlurmPlace]:
    """A server and scripts of this test alone, whose tasks run on Slurm."""
    yield from new_slurm_place(tmp_path / "place", job_prefix, database_template, **QUICK)


def kill(script: Script) -> None:
    """Kill a script, which gets no time to say anything."""
    script.kill()
    script.end()


def slow_sbatch(place: SlurmPlace, text: str) -> None:
    """Have sbatch wait for the gate ``reply``; not in a run that is started after :func:`quick_sbatch`."""
    place.environment["PATH"] = f"{place.root / 'slow'}:{place.environment['PATH']}"
    path = place.root / "slow" / "sbatch"
    path.parent.mkdir()
    gate, log = place.work / "gate.reply", place.root / "slow" / "log"
    path.write_text(text.format(sbatch=shutil.which("sbatch"), place=place.root, gate=gate, log=log))
    path.chmod(0o755)


def quick_sbatch(place: SlurmPlace) -> None:
    """Have sbatch do from now on what it should."""
    place.environment["PATH"] = place.environment["PATH"].replace(f"{place.root / 'slow'}:", "")


@pytest.mark.parametrize("way", ["by script", "by id"])
def test_jobs_of_a_killed_script_are_adopted(place: SlurmPlace, way: str) -> None:
    """What runs is not started again; what waits for it follows."""
    tasks = [place.task("a"), *place.gated("bc", upstream=["a"]), place.task("d", upstream=["b"])]
    script = place.start_flow(tasks)
    place.wait_running("bc")
    kill(script)
    num_submissions = place.num_commands("sbatch")
    by_script = way == "by script"
    resuming = (
        place.start_flow(tasks, run=WAYS["hot"]) if by_script else place.start_jobmon("workflow", "resume", 1)
    )
    wait_until(lambda: len(place.runs()) == 2, "the second run")
    place.open("go")
    assert resuming.end() == 0, resuming.text
    assert place.num_starts(*"abcd") == [1] * 4
    assert place.num_commands("sbatch") == num_submissions + 1
    assert place.runs().endswith("D")


def test_jobs_of_a_killed_script_are_cancelled(place: SlurmPlace) -> None:
    """In a cold resume; they begin again when nothing of them is left."""
    tasks = [place.task("a"), *place.gated("bc", upstream=["a"]), place.task("d", upstream=["b"])]
    script = place.start_flow(tasks)
    place.wait_running("bc")
    kill(script)
    old = {job.array_job_id for job in place.jobs()}
    resuming = place.start_flow(tasks, run=WAYS["cold"])
    wait_until(lambda: len(place.starts("b")) == 2, "the second start")
    assert not old & {job.array_job_id for job in place.jobs()}
    place.open("go")
    assert resuming.result()["status"] == "D"
    assert place.num_starts(*"abcd") == [1, 2, 2, 1]
    assert place.num_ends("abcd") == [1] * 4


def test_tasks_end_while_nobody_is_there(place: SlurmPlace) -> None:
    """Neither a script nor a server: they leave word in the shared directory, and the next run finds it."""
    tasks = [
        *place.gated("ab"),
        place.task("c", then="until [ -e gate.go ]; do sleep 0.05; done; [ -e gate.better ]"),
        place.task("d", upstream=["a", "b", "c"]),
    ]
    script = place.start_flow(tasks)
    place.wait_running("abc")
    place.kill_server()
    kill(script)
    place.open("go")
    lab.wait_for(lambda: not place.jobs(), "the end of the jobs")
    place.open("better")
    assert place.run_flow(tasks, run=WAYS["hot"])["status"] == "D"
    assert place.num_starts(*"abcd") == [1, 1, 2, 1]
    assert place.all_attempts("abcd") == ["D", "D", "ED", "D"]


@pytest.mark.parametrize("way", ["hot", "cold"])
def test_killed_while_nobody_knows_that_it_submitted(place: SlurmPlace, way: str) -> None:
    """The batch is found by its name: adopted, or cancelled; it is not submitted twice beside itself."""
    slow_sbatch(place, SUBMITS_AND_IS_SLOW_TO_SAY_SO)
    tasks = [*place.gated("ab"), place.task("c", upstream=["a"])]
    script = place.start_flow(tasks)
    place.wait_running("ab")
    assert place.of_attempts("a", "status") == ["R"]
    kill(script)
    quick_sbatch(place)
    resuming = place.start_flow(tasks, run=WAYS[way])
    wait_until(lambda: len(place.runs()) == 2, "the second run")
    if way == "cold":
        wait_until(lambda: len(place.starts("b")) == 2, "the second start")
    place.open("go")
    assert resuming.result()["status"] == "D"
    place.open("reply")
    assert place.num_starts(*"abc") == ([1, 1, 1] if way == "hot" else [2, 2, 1])
    assert place.num_ends("abc") == [1, 1, 1]


def test_a_submission_comes_late(place: SlurmPlace) -> None:
    """After its script was killed and the next run has submitted its tasks anew: its elements run nothing."""
    slow_sbatch(place, IS_SLOW_TO_SUBMIT)
    tasks = place.gated("ab")
    script = place.start_flow(tasks)
    wait_until((place.root / "slow" / "log").exists, "sbatch")
    kill(script)
    quick_sbatch(place)
    resuming = place.start_flow(tasks, run=WAYS["hot"])
    place.wait_running("ab")
    place.open("reply")
    wait_until(lambda: list(place.shared.rglob("cluster_logs/*-1.1.*_*.log")), "the late jobs")
    lab.wait_for(lambda: len({job.array_job_id for job in place.jobs()}) == 1, "the end of the late jobs")
    place.open("go")
    assert resuming.result()["status"] == "D"
    assert place.num_starts("a", "b") == [1, 1]
    assert place.num_ends("ab") == [1, 1]


@pytest.mark.parametrize("way", ["resume", "stop"])
def test_the_time_of_a_run_is_over(place: SlurmPlace, way: str) -> None:
    """Its jobs go on: a hot resume adopts them, a stop cancels them."""
    tasks = place.gated("ab")
    script = place.start_flow(tasks, run={"seconds_until_timeout": 5})
    place.wait_running("ab")
    error = script.error()
    assert error["type"] == "WorkflowTimeoutError"
    assert "those on cluster slurm go on" in error["message"]
    assert len(place.jobs()) == 2
    if way == "stop":
        assert "was stopped" in place.jobmon("workflow", "stop", 1)
        assert place.jobs() == []
        assert place.all_attempts("ab") == ["F", "F"]
        assert place.num_ends("ab") == [0, 0]
        return
    resuming = place.start_flow(tasks, run=WAYS["hot"])
    wait_until(lambda: len(place.runs()) == 2, "the second run")
    place.open("go")
    assert resuming.result()["status"] == "D"
    assert place.num_starts("a", "b") == [1, 1]


def test_a_stop_from_elsewhere(place: SlurmPlace) -> None:
    """It cancels an array, of which most waits, by few commands, and nothing else."""
    names = [f"t{number}" for number in range(40)]
    limit = {f"{place.prefix}-step": 2}
    others = f"other-{place.prefix}"
    other = lab.submit("sleep 100", f"--job-name={others}", "--array=1-2", "-o", "/dev/null")
    try:
        script = place.start_flow([place.task(name, gate="go") for name in names], template_limits=limit)
        wait_until(lambda: sum(place.num_starts(*names)) == 2, "two that run")
        assert "was stopped" in place.jobmon("workflow", "stop", 1)
        assert place.jobs() == []
        assert script.result()["status"] == "T"
        assert place.num_commands("scancel") <= 2
        assert sum(place.num_starts(*names)) == 2
        assert len(lab.squeue_of(others)) == 2
    finally:
        lab.run("scancel", other)


class TerminalPlace(SlurmPlace):
    """A place whose scripts are started at a terminal."""

    def start(self, argv: Sequence[str | Path], **options: Any) -> Script:
        words = [sys.executable, "-c", AT_A_TERMINAL, *argv]
        return super().start(words, **{"stdin": subprocess.PIPE, "start_new_session": True, **options})


def type_keys(script: Script, keys: bytes) -> None:
    """Type at the terminal of a script."""
    assert script.process.stdin is not None
    script.process.stdin.write(keys)
    script.process.stdin.flush()


@pytest.fixture
def terminal(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[TerminalPlace]:
    """The same with a terminal."""
    place = TerminalPlace(tmp_path / "place", job_prefix, **QUICK)
    yield from checked(place, database_template)
    for script in place.scripts:
        assert script.process.stdin is not None
        script.process.stdin.close()


def test_ctrl_c_and_yes(terminal: TerminalPlace) -> None:
    """Nothing is left in the queue."""
    script = terminal.start_flow([*terminal.gated("ab"), terminal.task("c", upstream=["a"])])
    terminal.wait_running("ab")
    type_keys(script, CTRL_C)
    wait_until(lambda: "(y/n)" in script.text, "the question")
    type_keys(script, b"y\n")
    wait_until(lambda: "KeyboardInterrupt" in script.text, "the end")
    assert terminal.jobs() == []
    assert terminal.runs() == "S"
    assert terminal.num_ends("abc") == [0, 0, 0]
