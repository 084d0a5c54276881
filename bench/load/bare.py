"""What the database itself can take: the rows that events in batches change, written without a server, locks or decisions.

Several connections write side by side what 500 events mean: 500 attempts and 500 tasks get a status, 500 lines of history are
added, then a commit. The parameters are ready before the clock starts. No server can take more events than this on the same
database and machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from jobmon.core.states import TaskInstanceEvent, TaskInstanceStatus, TaskStatus
from jobmon.server.web import bulk, dialect
from jobmon.server.web.database import Database
from jobmon.server.web.db_admin import init_db
from jobmon.server.web.models import Task, TaskHistory, TaskInstance
from jobmon.server.web.store import attempts
from jobmon.testing.factory import attempts_make, run_make, workflow_make

BATCH = 500
_instance: Any = TaskInstance.__table__
_task: Any = Task.__table__
_history: Any = TaskHistory.__table__
_DETAILS = ("status", "status_date", "wallclock", "maxrss", "exit_code")


def rows_per_second(uri: str, num_connections: int, num_attempts: int, times: int) -> float:
    """Events per second of which all rows are written, and nothing else is done.

    Args:
        uri: a new database.
        num_connections: how many write side by side, each to a run of its own.
        num_attempts: attempts of each run.
        times: how often all of them are changed.
    """
    init_db(uri)
    database = Database(uri, pool={} if uri.startswith("sqlite") else {"pool_size": num_connections})
    runs = [_run(database, num_attempts) for _ in range(num_connections)]
    with ThreadPoolExecutor(num_connections) as threads:
        before = time.perf_counter()
        list(threads.map(lambda run: _write(database, *run, times), runs))
        seconds = time.perf_counter() - before
    database.dispose()
    return num_connections * num_attempts * times / seconds


def _run(database: Database, num_attempts: int) -> tuple[int, Sequence[int], Sequence[int]]:
    """A run with attempts: its id, their ids, those of their tasks."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [()] * num_attempts, now=now)
        run_id = run_make(connection, workflow.workflow_id, now=now)
        ids = attempts_make(connection, workflow, run_id, range(num_attempts), batch_num=1, now=now)
        return run_id, ids, workflow.task_ids


def _write(
    database: Database, run_id: int, instance_ids: Sequence[int], task_ids: Sequence[int], times: int
) -> None:
    now = datetime(2026, 1, 1)  # noqa: DTZ001 - as times are in the database: naive UTC
    running, launched = TaskInstanceStatus.RUNNING, TaskInstanceStatus.LAUNCHED
    for turn in range(times):
        for start in range(0, len(instance_ids), BATCH):
            pairs = list(
                zip(instance_ids[start : start + BATCH], task_ids[start : start + BATCH], strict=True)
            )
            changes = [(running.value, now, 1.5, 1 << 20, 0, instance_id) for instance_id, _ in pairs]
            event = (TaskInstanceEvent.START.value, launched.value, running.value)
            step = (*event, TaskStatus.LAUNCHED.value, TaskStatus.RUNNING.value, now, "bench", None)
            lines = [(run_id, turn, task_id, instance_id, *step) for instance_id, task_id in pairs]
            marks = [(TaskStatus.RUNNING.value, now, task_id) for _, task_id in pairs]
            with database.write() as connection:
                bulk.update_rows(connection, _instance, _DETAILS, changes)
                bulk.update_rows(connection, _task, ("status", "status_date"), marks)
                bulk.insert_rows(connection, _history, attempts.HISTORY_COLUMNS, lines)
