"""How long does it take to do the one task that is left?"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from bench.costs import Costs, Meter
from bench.place import Place
from bench.row import Row
from bench.workflows import run_to_the_end
from jobmon.client.api import Tool
from jobmon.client.workflow import Workflow

NUM_TASKS = 10_000


class Resumed(NamedTuple):
    """Costs of the resumed run, and seconds of the whole script around it."""

    costs: Costs
    script_seconds: float


def with_one_that_fails(num_tasks: int, file: str) -> Workflow:
    """A workflow of which one task fails as long as there is no such file."""
    tool = Tool(name="bench")
    nothing = tool.get_task_template("nothing", "true {n}", node_args=["n"])
    check = tool.get_task_template("check", "test -e {file}", node_args=["file"])
    workflow = tool.create_workflow(
        name="resume", workflow_args="resume", default_cluster_name="multiprocess", default_max_attempts=1
    )
    workflow.add_tasks(nothing.create_tasks(n=list(range(num_tasks - 1))))
    workflow.add_task(check.create_task(file=file))
    return workflow


def fail(num_tasks: int, file: str) -> str:
    """Run it for the first time; its status."""
    return str(with_one_that_fails(num_tasks, file).run())


def resume(num_tasks: int, file: str) -> Costs:
    """Define it once more and resume it, now that the file is there."""
    workflow = with_one_that_fails(num_tasks, file)
    with Meter() as meter:
        run_to_the_end(workflow, resume=True)
    return meter.costs


@cache
def resumed(num_tasks: int) -> Resumed:
    """Have one of many tasks fail, mend it, resume."""
    with Place() as place:
        file = place.directory / "mended"
        status = place.call(fail, num_tasks, str(file))
        if status != "E":
            raise RuntimeError(f"The run in which one task should fail ended with status {status}.")
        file.touch()
        costs, seconds = place.timed_call(resume, num_tasks, str(file))
        return Resumed(costs, seconds)


ROWS = (
    Row(
        "resume 10 000 tasks with one failed, bind included",
        "s",
        lambda: resumed(NUM_TASKS).costs.wall,
        2,
        "peer 118 s; per 1 000: Snakemake 2.1 s, redun 6.6",
    ),
    Row("  the whole script", "s", lambda: resumed(NUM_TASKS).script_seconds),
)
