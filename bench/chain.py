"""How long does a task wait after the one it depends on?"""

from __future__ import annotations

from functools import cache

from bench.costs import Costs
from bench.place import measure, median_of
from bench.row import Row
from bench.workflows import chain_run


@cache
def run_costs(num_tasks: int, cluster: str) -> Costs:
    """Costs of ``workflow.run()``, bind included, in the middle of three."""
    return median_of(3, lambda: measure(chain_run, num_tasks, cluster), key=lambda c: c.wall)


ROWS = (
    Row(
        "chain of 20 no-op tasks on dummy",
        "s",
        lambda: run_costs(20, "dummy").wall,
        0.5,
        "peer 24 s*; 646 s at its defaults",
    ),
    Row("chain of 50 × true on multiprocess", "s", lambda: run_costs(50, "multiprocess").wall, 0.6),
    Row(
        "  per dependency",
        "ms",
        lambda: run_costs(50, "multiprocess").wall * 1e3 / 50,
        10,
        "Parsl threads 1.7 ms, Dask 5.7, Luigi 8, redun 17, Snakemake 43",
    ),
)
