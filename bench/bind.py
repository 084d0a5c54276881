"""How long does it take to register a workflow?"""

from __future__ import annotations

from functools import cache

from bench.costs import Costs, Meter
from bench.place import measure, median_of
from bench.row import Row
from bench.workflows import independent

MILLION = 1_000_000


def bind(num_tasks: int) -> Costs:
    """Define a workflow, then measure what binding it costs."""
    workflow = independent(num_tasks, "dummy")
    with Meter() as meter:
        workflow.bind()
    return meter.costs


@cache
def bind_costs(num_tasks: int) -> Costs:
    """Costs of a bind; short ones are measured three times."""
    return median_of(3 if num_tasks <= 10_000 else 1, lambda: measure(bind, num_tasks), key=lambda c: c.wall)


ROWS = (
    Row("bind 1 000 tasks", "s", lambda: bind_costs(1000).wall, 0.3, "peer 5.8 s"),
    Row("bind 10 000 tasks", "s", lambda: bind_costs(10_000).wall, 1.2, "peer 66–78 s"),
    Row("bind 50 000 tasks", "s", lambda: bind_costs(50_000).wall, 5, "peer 337 s"),
    Row("bind 100 000 tasks", "s", lambda: bind_costs(100_000).wall, 10),
    Row(
        "bind 100 000 tasks: client CPU per task",
        "ms",
        lambda: bind_costs(100_000).client * 1e3 / 100_000,
        None,
        "peer 5 ms",
    ),
    Row("bind 100 000 tasks: server CPU per task", "ms", lambda: bind_costs(100_000).server * 1e3 / 100_000),
    Row("bind 1 000 000 tasks (ten times 100 000)", "s", lambda: bind_costs(MILLION).wall, 100, is_full=True),
    Row(
        "bind 1 000 000 tasks: peak memory of the client",
        "MB",
        lambda: bind_costs(MILLION).peak / 1e6,
        1500,
        is_full=True,
    ),
)
