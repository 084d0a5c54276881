"""How much memory does a script need?"""

from __future__ import annotations

from functools import cache

from bench.costs import Costs
from bench.place import measure
from bench.row import Row
from bench.workflows import independent_run

NUM_TASKS = 100_000
BASE = 100e6
PER_TASK = 1e3


@cache
def run_costs(num_tasks: int) -> Costs:
    """Costs of a run on ``dummy``, the controller included."""
    return measure(independent_run, num_tasks, "dummy")


ROWS = (
    Row(
        "client memory, 100 000 tasks defined, bound and run: peak",
        "MB",
        lambda: run_costs(NUM_TASKS).peak / 1e6,
        (BASE + NUM_TASKS * PER_TASK) / 1e6,
        "peer: –",
    ),
    Row(
        "  per task, beyond 100 MB",
        "kB",
        lambda: max(0.0, run_costs(NUM_TASKS).peak - BASE) / NUM_TASKS / 1e3,
        1,
    ),
)
