"""Scripts at the same instant: one workflow twice, many workflows on no server, and taking over."""

from __future__ import annotations

import pytest

from databases import ON_EVERY_DATABASE
from processes import Place, wait_until

pytestmark = pytest.mark.e2e

REFUSALS = {"WorkflowNotResumable", "WorkflowAlreadyExists", "WorkflowAlreadyComplete"}


@ON_EVERY_DATABASE
def test_the_same_new_workflow_twice(place: Place) -> None:
    tasks = [place.task("a", gate="go"), place.task("b", upstream=["a"])]
    pause = str(place.work / "gate.start")
    scripts = [place.start_flow(tasks, pause=pause, bind=False) for _ in range(2)]
    place.open("start")
    loser = wait_until(
        lambda: next((script for script in scripts if script.process.poll() is not None), None), "a refusal"
    )
    winner = next(script for script in scripts if script is not loser)
    error = loser.error()
    assert error["type"] in REFUSALS
    assert "resume=True" in error["message"]
    place.open("go")
    assert winner.result()["status"] == "D"
    assert place.num_starts("a", "b") == [1, 1]
    assert place.runs() == "D"
    assert place.scalar("SELECT count(*) FROM workflow") == 1


@pytest.mark.timeout(180)
def test_ten_at_once_with_no_server(bare_place: Place) -> None:
    scripts = [
        bare_place.start_flow([bare_place.task(f"s{i}")], workflow={"workflow_args": f"w{i}"})
        for i in range(10)
    ]
    assert [script.result(120)["status"] for script in scripts] == ["D"] * 10
    assert bare_place.files.log.read_text().count("listens at") == 1
    assert bare_place.num_starts(*(f"s{i}" for i in range(10))) == [1] * 10


@ON_EVERY_DATABASE
@pytest.mark.parametrize("cold", [True, False])
def test_taking_over_a_run_that_is_alive(place: Place, cold: bool) -> None:
    """What runs inside a controller ends with it, in both kinds; it is never run twice at once."""
    alone = "mkdir alone && (until [ -e gate.go ]; do sleep 0.01; done); rmdir alone"
    tasks = [
        place.task("a"),
        place.task("b", then=f"trap 'rmdir alone; exit 1' TERM; {alone}", upstream=["a"]),
    ]
    old = place.start_flow(tasks)
    place.wait_started("b")
    place.wait_task("b", "R")
    new = place.start_flow(tasks, run={"resume": True, "reset_running_jobs": cold})
    result = old.result()
    assert result["status"] == "T"
    place.wait_started("b", times=2)
    place.open("go")
    assert new.result()["status"] == "D"
    assert place.num_starts("a", "b") == [1, 2]
    assert place.runs() == "TD"
    assert not (place.work / "alone").exists()


def test_taking_over_by_id(place: Place) -> None:
    tasks = [place.task("a"), place.task("b", gate="go", upstream=["a"])]
    old = place.start_flow(tasks)
    place.wait_started("b")
    new = place.start_jobmon("workflow", "resume", "-w", old.said("BOUND"), "--reset-running")
    assert old.result()["status"] == "T"
    place.wait_started("b", times=2)
    place.open("go")
    assert new.end() == 0, new.text
    assert place.num_starts("a", "b") == [1, 2]


@ON_EVERY_DATABASE
def test_a_second_script_without_resume_is_refused_while_one_runs(place: Place) -> None:
    script = place.start_flow([place.task("a", gate="go")])
    place.wait_started("a")
    error = place.start_flow([place.task("a", gate="go")]).error()
    assert error["type"] in REFUSALS
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.num_starts("a") == [1]
