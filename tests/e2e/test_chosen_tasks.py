"""Tasks chosen from another terminal while and after they run."""

from __future__ import annotations

import pytest

from databases import ON_EVERY_DATABASE
from processes import Place

pytestmark = pytest.mark.e2e


def test_the_limit_of_a_template_is_raised_from_another_terminal(place: Place) -> None:
    tasks = [place.task("a", template="held"), place.task("b", template="free")]
    script = place.start_flow(tasks, template_limits={"held": 0})
    place.wait_task("b", "D")
    assert place.num_starts("a") == [0]
    said = place.jobmon("workflow", "concurrency", script.said("BOUND"), "-m", 1, "--template", "held")
    assert "at most 1 tasks of 'held'" in said
    assert script.result()["status"] == "D"


@ON_EVERY_DATABASE
def test_tasks_are_chosen_and_run_again(place: Place) -> None:
    """Only those of one template; what waits for them comes along, the others stay."""
    tasks = [
        place.task("a", template="first"),
        place.task("b", template="second"),
        place.task("c", upstream=["a"], template="third"),
    ]
    result = place.run_flow(tasks)
    workflow_id = result["workflow_id"]
    told = place.jobmon("task", "update", "-w", workflow_id, "--template", "first", "-s", "G", "-y")
    assert "2 of 2 tasks (with 1 task that waits for them) were set to REGISTERED" in told
    again = place.run_flow(tasks, run={"resume": True})
    assert (again["status"], again["before"], again["new"]) == ("D", 1, 2)
    assert place.num_starts("a", "b", "c") == [2, 1, 2]
