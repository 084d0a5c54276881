"""A job array through Jobmon, beside the same array without it, on the same Slurm, one after the other in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import median
from typing import NamedTuple

from bench.costs import Costs, Meter
from bench.counting_server import CountingServer, Counts
from bench.place import Place
from bench.row import Row
from bench.slurm_place import MEMORY, MINUTES, arrays_of, bare_array, cpu_of_jobs, default_queue, slurm_place
from bench.workflows import run_to_the_end
from jobmon.client.api import Tool
from jobmon.client.workflow import Workflow

NUM_TASKS = 1000
ROUNDS = 3
BRIEFLY = "5s"
"""What tasks ask for that may share a job."""


class Round(NamedTuple):
    """One array without Jobmon, and the same through it: with shared jobs, and with a job for each task.

    Attributes:
        bare: seconds of the array without Jobmon.
        shared: costs of the run whose tasks ask for few seconds, bind included; without the jobs.
        alone: of the run whose tasks do not share.
        jobs: CPU seconds of the jobs of the latter: wrappers and commands.
    """

    bare: float
    shared: Costs
    alone: Costs
    jobs: float


def slurm_workflow(
    num_tasks: int,
    queue: str,
    command: str = "true {n}",
    held: bool = False,
    runtime: str = f"{MINUTES}m",
) -> Workflow:
    """Tasks that wait for nothing, for Slurm; ``held``: they do not start there."""
    tool = Tool(name="bench")
    template = tool.get_task_template("nothing", command, node_args=["n"])
    asked: dict[str, object] = {"queue": queue, "cores": 1, "memory": MEMORY, "runtime": runtime}
    if held:
        asked["sbatch_arguments"] = ["--hold"]
    workflow = tool.create_workflow(
        name=f"{num_tasks} tasks on Slurm",
        default_cluster_name="slurm",
        default_compute_resources_set={"slurm": asked},
    )
    workflow.add_tasks(template.create_tasks(n=list(range(num_tasks))))
    return workflow


def array_run(num_tasks: int, queue: str, runtime: str) -> Costs:
    """Bind and run an array of ``true``."""
    workflow = slurm_workflow(num_tasks, queue, runtime=runtime)
    with Meter() as meter:
        run_to_the_end(workflow)
    return meter.costs


def through_jobmon(place: Place, num_tasks: int) -> tuple[Costs, float]:
    """Costs of a run, and CPU seconds of its jobs."""
    costs = place.call(array_run, num_tasks, default_queue(), f"{MINUTES}m")
    return costs, cpu_of_jobs(arrays_of(place.files.database), num_tasks)


@cache
def rounds(num_tasks: int) -> list[Round]:
    """Several rounds, each with a place of its own."""
    found = []
    for _ in range(ROUNDS):
        with slurm_place() as place:
            bare = bare_array(num_tasks, place.directory)
            alone, jobs = through_jobmon(place, num_tasks)
        with slurm_place() as place:
            shared = place.call(array_run, num_tasks, default_queue(), BRIEFLY)
            found.append(Round(bare, shared, alone, jobs))
    return found


@cache
def counts(num_tasks: int) -> Counts:
    """What a run asks a server that counts."""
    with slurm_place() as place:
        with CountingServer(place) as server:
            place.environment = {**place.environment, "JOBMON__HTTP__SERVICE_URL": server.url}
            place.call(array_run, num_tasks, default_queue(), f"{MINUTES}m")
        return server.counts


def _ms(cpu: Callable[[Round], float]) -> float:
    """CPU milliseconds per task: the one in the middle of the rounds."""
    return median(cpu(each) for each in rounds(NUM_TASKS)) * 1e3 / NUM_TASKS


ROWS = (
    Row(
        "run 1 000 × true on Slurm that ask for 5 s, by the time of the bare array",
        "",
        lambda: median(each.shared.wall / each.bare for each in rounds(NUM_TASKS)),
        1.3,
    ),
    Row(
        "  the same with a job for each task, for 5 min are asked",
        "",
        lambda: median(each.alone.wall / each.bare for each in rounds(NUM_TASKS)),
    ),
    Row(
        "  run 1 000 × true on Slurm that ask for 5 s, bind included",
        "s",
        lambda: median(each.shared.wall for each in rounds(NUM_TASKS)),
    ),
    Row(
        "  run 1 000 × true on Slurm with a job each, bind included",
        "s",
        lambda: median(each.alone.wall for each in rounds(NUM_TASKS)),
    ),
    Row(
        "  bare sbatch --array=1-1000 --wrap true",
        "s",
        lambda: median(each.bare for each in rounds(NUM_TASKS)),
    ),
    Row(
        "run 1 000 × true on Slurm, a job each: CPU per task, without Slurm itself",
        "ms",
        lambda: _ms(lambda each: each.alone.cpu + each.jobs),
        60,
        "peer 700 ms (its wrapper alone)",
    ),
    Row("  of the job: script, wrapper and command", "ms", lambda: _ms(lambda each: each.jobs)),
    Row("  of the server", "ms", lambda: _ms(lambda each: each.alone.server)),
    Row(
        "  of the controller and its commands of Slurm",
        "ms",
        lambda: _ms(lambda each: each.alone.client + each.alone.children),
    ),
    Row(
        "HTTP requests per task, 1 000 × true on Slurm",
        "",
        lambda: counts(NUM_TASKS).requests / NUM_TASKS,
        2.1,
    ),
    Row(
        "SQL statements per task, 1 000 × true on Slurm",
        "",
        lambda: counts(NUM_TASKS).statements / NUM_TASKS,
        4,
    ),
    Row(
        "  rows among them that are updated one by one",
        "",
        lambda: counts(NUM_TASKS).rows_updated_singly / NUM_TASKS,
    ),
)
