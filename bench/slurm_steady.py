"""How often is Slurm asked while tasks just run?"""

from __future__ import annotations

import time
from collections import Counter
from functools import cache

from bench.place import MeasurementError
from bench.row import Row
from bench.slurm_array import slurm_workflow
from bench.slurm_place import default_queue, noted_commands, slurm_place
from bench.workflows import run_to_the_end

NUM_TASKS = 20
TASK_SECONDS = 105
SETTLED_SECONDS = 30
"""From the start of the run: everything is submitted, started and told."""
WATCHED_SECONDS = 60
WINDOW_SECONDS = 30


def sleepers_run(queue: str) -> float:
    """Run tasks that just take their time; when the run began, in seconds since the epoch."""
    workflow = slurm_workflow(NUM_TASKS, queue, f"sleep {TASK_SECONDS} {{n}}e-9")
    workflow.bind()
    began = time.time()
    run_to_the_end(workflow)
    return began


@cache
def commands() -> dict[str, int]:
    """Commands of Slurm by name, called while the tasks ran."""
    with slurm_place(shimmed=True) as place:
        began = place.call(sleepers_run, default_queue()) + SETTLED_SECONDS
        found = Counter(name for at, name in noted_commands(place) if began <= at < began + WATCHED_SECONDS)
        if not noted_commands(place):
            raise MeasurementError("no command of Slurm was noted: the run did not call those on PATH")
        return dict(found)


ROWS = (
    Row(
        "commands of Slurm per 30 s while tasks run",
        "",
        lambda: sum(commands().values()) * WINDOW_SECONDS / WATCHED_SECONDS,
        1,
        is_full=True,
    ),
)
