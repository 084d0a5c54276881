"""``kill -9`` of the launcher costs a task nothing; of its own shell, an attempt."""

from __future__ import annotations

import os
import signal

import pytest

from processes import Place, is_gone

pytestmark = pytest.mark.e2e


def test_the_launcher(place: Place) -> None:
    """It is no fault of the tasks: they run again although they have one attempt only."""
    tasks = [place.task(f"t{i}", gate="go", max_attempts=1) for i in range(3)]
    script = place.start_flow(tasks)
    place.wait_started("t0", "t1", "t2")
    first = [place.starts(f"t{i}")[0] for i in range(3)]
    os.kill(script.launcher, signal.SIGKILL)
    place.wait_started("t0", "t1", "t2", times=2)
    assert all(is_gone(pid) for pid in first)
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.num_starts("t0", "t1", "t2") == [2, 2, 2]
    assert "launcher" in place.errors("t0")


def test_the_launcher_again_and_again_is_bounded(place: Place) -> None:
    """Nothing loops for ever: losses have a budget of their own."""
    script = place.start_flow([place.task("a", gate="never", max_attempts=1)])
    for time in range(1, 12):  # task.max_infrastructure_losses is 10
        place.wait_started("a", times=time)
        os.kill(script.launcher, signal.SIGKILL)
    assert script.result()["status"] == "E"
    attempts = place.attempts("a")  # W: the launcher died before it said that the command had started
    assert len(attempts) == 11
    assert set(attempts) <= {"U", "W"}
    assert place.task_status("a") == "F"


def test_the_shell_of_a_task_counts_as_an_attempt(place: Place) -> None:
    script = place.start_flow([place.task("a", gate="go", max_attempts=2), place.task("b", upstream=["a"])])
    place.wait_started("a")
    os.kill(place.starts("a")[0], signal.SIGKILL)
    place.wait_started("a", times=2)
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.attempts("a") == "ED"
    assert "signal 9 (SIGKILL)" in place.errors("a")


def test_the_shell_of_a_task_with_one_attempt(place: Place) -> None:
    script = place.start_flow([place.task("a", gate="never", max_attempts=1)])
    place.wait_started("a")
    os.kill(place.starts("a")[0], signal.SIGKILL)
    result = script.result()
    assert (result["status"], result["failed"]) == ("E", 1)
    assert "SIGKILL" in result["errors"]["a"][0]
