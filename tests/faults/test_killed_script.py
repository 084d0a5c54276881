"""``kill -9`` of the control script: its tasks end with it, and a resume runs only what was not done."""

from __future__ import annotations

import os
import signal

import pytest

from databases import ON_EVERY_DATABASE
from processes import Place, is_gone, wait_until

pytestmark = pytest.mark.e2e

RESUMES = ["cold", "hot", "by id", "by id, cold"]


def resume(place: Place, tasks: list[dict[str, object]], kind: str) -> None:
    """Resume workflow 1 to the end in one of four ways."""
    if kind.startswith("by id"):
        place.jobmon("workflow", "resume", "-w", 1, *(["--reset-running"] if "cold" in kind else []))
        return
    result = place.run_flow(tasks, run={"resume": True, "reset_running_jobs": kind == "cold"})
    assert result["status"] == "D"


def kill(place: Place, script) -> None:
    """Kill a script; its launcher notices and ends what runs."""
    script.kill()
    script.end()
    place.assert_no_task_runs()


def test_before_the_run(place: Place) -> None:
    tasks = [place.task("a"), place.task("b", upstream=["a"])]
    script = place.start_flow(tasks, pause=str(place.work / "gate.never"))
    script.wait_for("BOUND")
    kill(place, script)
    assert place.run_flow(tasks)["status"] == "D"
    assert place.num_starts("a", "b") == [1, 1]


@ON_EVERY_DATABASE
@pytest.mark.parametrize("kind", RESUMES)
def test_while_a_task_runs(place: Place, kind: str) -> None:
    tasks = [
        place.task("a"),
        place.task("b", gate="go", upstream=["a"], max_attempts=1),
        place.task("c", upstream=["b"]),
    ]
    script = place.start_flow(tasks)
    place.wait_started("b")
    kill(place, script)
    place.open("go")
    resume(place, tasks, kind)
    assert place.num_starts("a", "b", "c") == [1, 2, 1]


@pytest.mark.parametrize("kind", RESUMES)
def test_between_two_tasks(place: Place, kind: str) -> None:
    tasks = [place.task("a", gate="go"), place.task("b", upstream=["a"])]
    script = place.start_flow(tasks)
    place.wait_started("a")
    place.jobmon("workflow", "concurrency", "-w", 1, "-m", 0)
    place.open("go")
    place.wait_task("a", "D")
    kill(place, script)
    place.jobmon("workflow", "concurrency", "-w", 1, "-m", 9)
    resume(place, tasks, kind)
    assert place.num_starts("a", "b") == [1, 1]


def test_again_and_again_among_short_tasks(place: Place) -> None:
    names = [f"t{i}" for i in range(60)]
    tasks = [place.task(name) for name in names]
    finished: set[str] = set()
    for enough in (5, 20, 40):
        script = place.start_flow(tasks, run={"resume": True})
        wait_until(lambda enough=enough: len(done(place)) >= enough, f"{enough} tasks that are done")
        kill(place, script)
        finished |= done(place)
        before = {name: len(place.starts(name)) for name in finished}
    result = place.run_flow(tasks, run={"resume": True})
    assert result["status"] == "D"
    assert result["before"] == len(finished)
    assert {name: len(place.starts(name)) for name in finished} == before
    assert all(place.starts(name) for name in names)


def done(place: Place) -> set[str]:
    if not place.files.database.exists() or not place.sql("SELECT 1 FROM sqlite_master WHERE name = 'task'"):
        return set()
    return {row[0] for row in place.sql("SELECT name FROM task WHERE status = 'D'")}


@pytest.mark.parametrize("kind", ["cold", "by id"])
def test_together_with_its_launcher(place: Place, kind: str) -> None:
    """Nobody is left to end the task: the resume does, before it starts another attempt."""
    alone = "mkdir alone && until [ -e gate.go ]; do sleep 0.01; done && rmdir alone"
    tasks = [place.task("a", then=alone, max_attempts=1)]
    script = place.start_flow(tasks)
    wait_until((place.work / "alone").exists, "the task")
    place.wait_task("a", "R")
    launcher = script.launcher
    script.kill(signal.SIGSTOP)
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: is_gone(launcher), "the end of the launcher")
    script.kill()
    script.end()
    orphan = place.starts("a")[0]
    assert not is_gone(orphan)
    (place.work / "alone").rmdir()
    place.open("go") if kind == "by id" else None
    if kind == "cold":
        again = place.start_flow(tasks, run={"resume": True})
        place.wait_started("a", times=2)
        assert is_gone(orphan)
        place.open("go")
        assert again.result()["status"] == "D"
    else:
        resume(place, tasks, kind)
        assert is_gone(orphan)
    assert place.attempts("a")[-1] == "D"


def test_a_run_without_resume_afterwards_says_what_to_do(place: Place) -> None:
    tasks = [place.task("a", gate="go")]
    script = place.start_flow(tasks)
    place.wait_started("a")
    kill(place, script)
    error = place.start_flow(tasks).error()
    assert "resume=True" in error["message"]


@ON_EVERY_DATABASE
def test_while_it_registers_tasks(place: Place) -> None:
    """A bind that was cut off is completed by the next one, and until then the workflow cannot be run."""
    num_tasks = 30_000
    tasks = [{"name": f"t{i}", "command": "true"} for i in range(num_tasks)]
    options = {"workflow": {"default_cluster_name": "dummy"}}
    place.start_server()
    script = place.start_flow(tasks, **options)
    num_bound = wait_until(lambda: place.scalar("SELECT count(*) FROM task"), "some tasks to be bound", 60)
    kill(place, script)
    assert 0 < num_bound < num_tasks
    assert place.scalar("SELECT created_date FROM workflow") is None
    refused = place.start_jobmon("workflow", "resume", "-w", 1)
    assert refused.end() == 1
    assert "not registered completely" in refused.text
    again = place.start_flow(tasks, **options, run=None)
    assert again.wait_for("BOUND", 60) == 1
    assert again.end() == 0, again.text
    assert place.scalar("SELECT count(*) FROM task") == num_tasks
    assert place.scalar("SELECT count(DISTINCT node_id) FROM task") == num_tasks
    assert place.scalar("SELECT created_date FROM workflow") is not None
