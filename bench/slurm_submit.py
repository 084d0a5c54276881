"""How long until an array of 10 000 is on Slurm, and known to be there? Its jobs are held, and cancelled afterwards."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from functools import cache
from pathlib import Path

from bench.place import MeasurementError
from bench.row import Row
from bench.slurm_array import slurm_workflow
from bench.slurm_place import default_queue, slurm_place
from jobmon.core.configuration import JobmonConfig
from jobmon.core.local_server import LocalServerFiles
from jobmon.core.states import TaskInstanceStatus
from jobmon.swarm.controller import Controller, RunOptions

NUM_TASKS = 10_000
LONGEST_SECONDS = 120.0
POLL_SECONDS = 0.02


def submitted_seconds(num_tasks: int, queue: str) -> float:
    """Seconds from the start of the run of a bound workflow until every attempt is known to be on the cluster."""
    workflow = slurm_workflow(num_tasks, queue, held=True)
    workflow.bind()
    controller = Controller(workflow.requester, workflow.workflow_id, RunOptions())
    started = time.perf_counter()
    controller.start()
    try:
        _wait_launched(LocalServerFiles.from_config(JobmonConfig()).database, num_tasks)
        return time.perf_counter() - started
    finally:
        controller.request_stop()
        controller.join()


def _wait_launched(database: Path, num_tasks: int) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    statement = "SELECT count(*) FROM task_instance WHERE status = ?"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        while connection.execute(statement, (TaskInstanceStatus.LAUNCHED,)).fetchone()[0] < num_tasks:
            if time.monotonic() > deadline:
                raise MeasurementError(f"{num_tasks} tasks were not submitted within {LONGEST_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)


@cache
def seconds() -> float:
    """The same, in a place of its own."""
    with slurm_place() as place:
        return place.call(submitted_seconds, NUM_TASKS, default_queue())


ROWS = (
    Row("submit 10 000 tasks to Slurm (registered before, held)", "s", seconds, 5, "peer 32 s, as published"),
)
