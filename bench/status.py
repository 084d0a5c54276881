"""How long does a look at a large workflow take?"""

from __future__ import annotations

from functools import cache

from bench.import_time import program
from bench.place import Place, median_of
from bench.row import Row
from bench.workflows import independent

NUM_TASKS = 100_000
TIMES = 5


def bound_workflow(num_tasks: int) -> int:
    """Bind a workflow; its id."""
    workflow = independent(num_tasks, "dummy")
    workflow.bind()
    return workflow.workflow_id


@cache
def status_seconds(num_tasks: int) -> float:
    """Seconds of ``jobmon workflow status -w …`` from start to end, in the middle of several."""
    with Place() as place:
        workflow_id = place.call(bound_workflow, num_tasks)
        words = (program("jobmon"), "workflow", "status", "-w", str(workflow_id))
        return median_of(TIMES, lambda: place.command(*words).seconds, key=float)


ROWS = (
    Row(
        "jobmon workflow status of 100 000 tasks",
        "s",
        lambda: status_seconds(NUM_TASKS),
        0.5,
        "peer 0.7 s at 10 000",
    ),
)
