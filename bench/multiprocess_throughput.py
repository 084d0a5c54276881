"""How many short commands a second, everything recorded, and how far is that from starting them and no more?"""

from __future__ import annotations

from functools import cache

from bench import bare_pool
from bench.costs import Costs
from bench.place import measure, median_of
from bench.row import Row
from bench.workflows import independent_run


@cache
def run_costs(num_tasks: int) -> Costs:
    """Costs of ``workflow.run()``, bind included; short ones are measured three times."""
    times = 3 if num_tasks <= 1000 else 1
    return median_of(times, lambda: measure(independent_run, num_tasks, "multiprocess"), key=lambda c: c.wall)


@cache
def spawned_costs(num_tasks: int) -> Costs:
    """Costs of a pool of two that starts the same commands by posix_spawn."""
    return measure(bare_pool.spawned, num_tasks)


@cache
def subprocess_costs(num_tasks: int) -> Costs:
    """Costs of a pool of two that starts the same commands by ``subprocess``."""
    return measure(bare_pool.by_subprocess, num_tasks)


def _per_task(costs: Costs, num_tasks: int) -> float:
    return costs.cpu * 1e3 / num_tasks


ROWS = (
    Row("run 200 × true on multiprocess", "s", lambda: run_costs(200).wall, 1, "peer 145–167 s*"),
    Row(
        "run 1 000 × true on multiprocess",
        "s",
        lambda: run_costs(1000).wall,
        2,
        "peer 952 s*, Parsl threads 2.7, Luigi 6, redun 13, Snakemake 26, Prefect 33",
    ),
    Row("  bare pool of two by posix_spawn", "s", lambda: spawned_costs(1000).wall, None, "0.45 s"),
    Row("  bare pool of two by subprocess", "s", lambda: subprocess_costs(1000).wall),
    Row(
        "run 10 000 × true on multiprocess",
        "s",
        lambda: run_costs(10_000).wall,
        15,
        "Dask 18 s (records nothing), HyperQueue 28",
    ),
    Row("  bare pool of two by posix_spawn", "s", lambda: spawned_costs(10_000).wall, None, "4.5 s"),
    Row("  bare pool of two by subprocess", "s", lambda: subprocess_costs(10_000).wall),
    Row(
        "run 10 000 × true on multiprocess: CPU per task, all processes",
        "ms",
        lambda: _per_task(run_costs(10_000), 10_000),
        2,
        "peer 1 100 ms",
    ),
    Row("  of the controller", "ms", lambda: run_costs(10_000).client * 1e3 / 10_000),
    Row("  of the server", "ms", lambda: run_costs(10_000).server * 1e3 / 10_000),
    Row("  of the launcher and the commands", "ms", lambda: run_costs(10_000).children * 1e3 / 10_000),
    Row(
        "  of the bare pool by posix_spawn and its commands",
        "ms",
        lambda: _per_task(spawned_costs(10_000), 10_000),
        None,
        "0.75 ms",
    ),
)
