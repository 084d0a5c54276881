"""Resume after failures: by the script and by id; what the new script says takes effect."""

from __future__ import annotations

import pytest

from databases import ON_EVERY_DATABASE
from processes import Place

pytestmark = pytest.mark.e2e


def broken_pipeline(place: Place) -> list[dict[str, object]]:
    """``bad`` succeeds once the file ``mended`` is there."""
    return [
        place.task("first"),
        place.task("bad", then="test -e mended", upstream=["first"], max_attempts=1),
        place.task("last", upstream=["bad"]),
    ]


def test_without_resume_it_is_refused(place: Place) -> None:
    assert place.run_flow(broken_pipeline(place))["status"] == "E"
    error = place.start_flow(broken_pipeline(place)).error()
    assert error["type"] == "WorkflowAlreadyExists"
    assert "resume=True" in error["message"]
    assert place.num_starts("first", "bad", "last") == [1, 1, 0]


@ON_EVERY_DATABASE
@pytest.mark.parametrize("cold", [True, False])
def test_by_the_script(place: Place, cold: bool) -> None:
    assert place.run_flow(broken_pipeline(place))["status"] == "E"
    (place.work / "mended").touch()
    result = place.run_flow(broken_pipeline(place), run={"resume": True, "reset_running_jobs": cold})
    assert (result["status"], result["before"], result["new"]) == ("D", 1, 2)
    assert place.num_starts("first", "bad", "last") == [1, 2, 1]
    assert place.runs() == "ED"


@ON_EVERY_DATABASE
@pytest.mark.parametrize("options", [[], ["--reset-running"]])
def test_by_id(place: Place, options: list[str]) -> None:
    assert place.run_flow(broken_pipeline(place))["status"] == "E"
    (place.work / "mended").touch()
    place.jobmon("workflow", "resume", "-w", 1, *options)
    assert place.num_starts("first", "bad", "last") == [1, 2, 1]
    assert place.runs() == "ED"


def test_by_id_of_a_workflow_that_fails_again(place: Place) -> None:
    place.run_flow(broken_pipeline(place))
    script = place.start_jobmon("workflow", "resume", "-w", 1)
    assert script.end() == 1
    assert "bad" in script.text
    assert "jobmon task status" in script.text
    assert place.num_starts("bad") == [2]


def test_by_id_of_a_complete_workflow(place: Place) -> None:
    place.run_flow([place.task("a")])
    script = place.start_jobmon("workflow", "resume", "-w", 1)
    assert script.end() == 1
    assert "done already" in script.text
    assert "Traceback" not in script.text


@ON_EVERY_DATABASE
def test_op_args_attempts_and_resources_of_the_new_script_take_effect(place: Place) -> None:
    before = place.task("a", then="false", max_attempts=1, compute_resources={"cores": 1})
    assert place.run_flow([before])["status"] == "E"
    elsewhere = place.root / "elsewhere"
    after = place.task(
        "a",
        then='test "$(wc -l < started.a)" -ge 3 && echo new > says',
        max_attempts=2,
        compute_resources={"cores": 2, "stdout": str(elsewhere)},
    )
    assert place.run_flow([after], run={"resume": True})["status"] == "D"
    assert (place.work / "says").read_text() == "new\n"
    assert place.num_starts("a") == [3]
    assert place.scalar("SELECT max_attempts FROM task") == 2
    requested = place.scalar(
        "SELECT requested_resources FROM task_resources r JOIN task t ON t.task_resources_id = r.id"
    )
    assert '"cores": 2' in requested or '"cores":2' in requested
    assert len(list(elsewhere.iterdir())) == 2


def test_op_args_take_effect_after_the_script_was_killed(place: Place) -> None:
    script = place.start_flow([place.task("a", gate="never")])
    place.wait_started("a")
    script.kill()
    script.end()
    after = place.task("a", then="echo new > says")
    assert place.run_flow([after], run={"resume": True})["status"] == "D"
    assert (place.work / "says").read_text() == "new\n"
    assert place.num_starts("a") == [2]


def test_args_of_another_pipeline_are_refused(place: Place) -> None:
    assert place.run_flow([place.task("a")])["status"] == "D"
    error = place.start_flow([place.task("b")], run={"resume": True}).error()
    assert error["type"] == "WorkflowAlreadyExists"
    assert "other tasks" in error["message"]
