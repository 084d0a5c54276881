"""What do many dependencies cost? 300 tasks, and 300 that wait for all of them: 90 000 edges."""

from __future__ import annotations

from functools import cache

from bench.costs import Costs, Meter
from bench.place import measure
from bench.row import Row
from bench.workflows import run_to_the_end
from jobmon.client.api import Tool

WIDTH = 300


def all_to_all_run(width: int) -> Costs:
    """Define, bind and run the two layers."""
    tool = Tool(name="bench")
    first = tool.get_task_template("first", "true {n}", node_args=["n"])
    second = tool.get_task_template("second", "true {n}", node_args=["n"])
    with Meter() as meter:
        above = first.create_tasks(n=list(range(width)))
        below = second.create_tasks(n=list(range(width)), upstream_tasks=above)
        workflow = tool.create_workflow(name="all to all", default_cluster_name="dummy")
        workflow.add_tasks([*above, *below])
        run_to_the_end(workflow)
    return meter.costs


@cache
def run_costs() -> Costs:
    """Costs of it all."""
    return measure(all_to_all_run, WIDTH)


ROWS = (Row("300 × 300 all to all on dummy: defined, bound and run", "s", lambda: run_costs().wall, 5),)
