"""What does Jobmon itself cost per task, where the tasks do nothing?"""

from __future__ import annotations

from functools import cache

from bench.costs import Costs
from bench.place import measure, median_of
from bench.row import Row
from bench.workflows import independent_run


@cache
def run_costs(num_tasks: int) -> Costs:
    """Costs of ``workflow.run()``, bind included, in the middle of three."""
    return median_of(3, lambda: measure(independent_run, num_tasks, "dummy"), key=lambda c: c.wall)


ROWS = (
    Row(
        "run 1 000 no-op tasks on dummy, bind included", "s", lambda: run_costs(1000).wall, 1, "peer 91–97 s*"
    ),
    Row("run 10 000 no-op tasks on dummy, bind included", "s", lambda: run_costs(10_000).wall, 6),
    Row(
        "  CPU per task, all processes",
        "ms",
        lambda: run_costs(10_000).cpu * 1e3 / 10_000,
        0.5,
        "peer 95 ms",
    ),
)
