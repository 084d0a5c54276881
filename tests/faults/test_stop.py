"""``jobmon workflow stop``: from another process, and nothing of the workflow is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from databases import ON_EVERY_DATABASE
from processes import Place, is_gone, wait_until

pytestmark = pytest.mark.e2e

FAMILY = (
    "(trap '' TERM; sh -c 'echo $$ > deaf; until [ -e gate.never ]; do sleep 0.01; done') & "
    "setsid sh -c 'echo $$ > apart; until [ -e gate.never ]; do sleep 0.01; done' & "
    "setsid sh -c \"trap '' TERM; echo \\$\\$ > deaf_apart; until [ -e gate.never ]; do sleep 0.01; done\" & wait"
)


def family(place: Place) -> list[int]:
    """Process ids of the three children, once all of them run."""

    def pid(name: str) -> int:
        path = Path(place.work, name)
        return int(path.read_text() or 0) if path.exists() else 0

    return [
        wait_until(lambda name=name: pid(name), f"child {name}") for name in ("deaf", "apart", "deaf_apart")
    ]


@ON_EVERY_DATABASE
def test_it_ends_the_run_and_all_descendants(place: Place) -> None:
    script = place.start_flow([place.task("a", then=f"({FAMILY})"), place.task("b", upstream=["a"])])
    pids = family(place)
    text = place.jobmon("workflow", "stop", script.said("BOUND"))
    assert "was stopped" in text
    assert "resume" in text
    assert [is_gone(pid) for pid in pids] == [True] * 3
    assert script.result()["status"] == "T"
    assert place.runs() == "T"
    assert place.num_starts("a", "b") == [1, 0]
    assert place.task_status("a") == "G"


@ON_EVERY_DATABASE
def test_it_can_be_resumed(place: Place) -> None:
    tasks = [place.task("a"), place.task("b", gate="go", upstream=["a"])]
    script = place.start_flow(tasks)
    place.wait_started("b")
    place.jobmon("workflow", "stop", "-w", script.said("BOUND"))
    script.end()
    place.open("go")
    assert place.run_flow(tasks, run={"resume": True})["status"] == "D"
    assert place.num_starts("a", "b") == [1, 2]


def test_it_cleans_up_behind_a_script_and_a_launcher_that_were_killed(place: Place) -> None:
    script = place.start_flow([place.task("a", then=f"({FAMILY})")])
    pids = family(place)
    place.wait_task("a", "R")
    launcher = script.launcher
    script.kill(signal.SIGSTOP)  # it must not see the launcher's end
    wait_until(
        lambda: psutil.Process(script.pid).status() == psutil.STATUS_STOPPED, "the script to stand still"
    )
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: is_gone(launcher), "the end of the launcher")
    script.kill()
    script.end()
    assert not is_gone(pids[0])
    assert "was stopped" in place.jobmon("workflow", "stop", script.said("BOUND"))
    assert [is_gone(pid) for pid in pids] == [True] * 3


def test_of_a_workflow_that_does_not_run(place: Place) -> None:
    place.run_flow([place.task("a")])
    assert "was not running" in place.jobmon("workflow", "stop", 1)


def test_of_a_workflow_that_does_not_exist(place: Place) -> None:
    script = place.start_jobmon("workflow", "stop", 77)
    assert script.end() == 1
    assert "77" in script.text
    assert "Traceback" not in script.text
