"""Batches: the attempts of tasks of one array that ask for the same resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from jobmon.core.states import (
    TASK,
    TASK_INSTANCE_LIVE,
    TaskEvent,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    sources,
)
from jobmon.serializers.swarm import BatchRequest, BatchResponse
from jobmon.server.web import bulk, dialect
from jobmon.server.web.fsm.task import Attempt, Step, decide
from jobmon.server.web.models import Batch, Task, TaskInstance
from jobmon.server.web.store.attempts import CHUNK, history_append
from jobmon.server.web.store.progress import Changes, progress_add
from jobmon.server.web.store.remote import NOTE_CHARACTERS

_READ = (
    select(
        TaskInstance.status,
        TaskInstance.task_id,
        TaskInstance.id,
        TaskInstance.array_step_id,
        Task.name,
        Task.command,
    )
    .join(Task, Task.id == TaskInstance.task_id)
    .where(
        TaskInstance.array_id == bindparam("array_id"),
        TaskInstance.array_batch_num == bindparam("batch_num"),
        TaskInstance.workflow_run_id == bindparam("run_id"),
    )
    .order_by(TaskInstance.array_step_id)
)
_LOAD = (
    select(Task.id, Task.status, Task.name, Task.command, Task.num_attempts, Task.max_attempts)
    .where(
        dialect.among(Task.id, "ids"),
        Task.workflow_id == bindparam("of_workflow"),
        # reopened by hand while an attempt that was ordered to end may still be running
        ~exists().where(TaskInstance.task_id == Task.id, TaskInstance.status.in_(TASK_INSTANCE_LIVE)),
    )
    .order_by(Task.id)
)
_instance: Any = TaskInstance.__table__
_COLUMNS = (
    "id",
    "workflow_run_id",
    "array_id",
    "task_id",
    "task_resources_id",
    "array_batch_num",
    "array_step_id",
    "status",
    "submitted_date",
    "status_date",
)
_INSERT_BATCH = insert(Batch)
_MARK = (
    update(Task)
    .where(dialect.among(Task.id, "ids"))
    .values(
        status=bindparam("new_status"),
        status_date=bindparam("now"),
        num_attempts=Task.num_attempts + 1,
        task_resources_id=bindparam("resources"),
    )
)
_QUEUEABLE = frozenset(sources(TASK, TaskEvent.QUEUE))


def batch_queue_if_ready(
    connection: Connection,
    workflow_run_id: int,
    workflow_id: int,
    batch: BatchRequest,
    *,
    cursor: int,
    now: datetime,
    actor: str,
) -> BatchResponse:
    """Create the attempts of a batch; tasks that cannot be queued are left out.

    A batch that exists is answered with what still lives of it: sent twice, it is created once.
    """
    created = _batch_read(connection, workflow_run_id, batch)
    if created is not None:
        return created
    tasks = _tasks_load(connection, workflow_id, batch.task_ids)
    ready = [row for row in tasks if TaskStatus(row.status) in _QUEUEABLE]
    steps = {row.id: step for step, row in enumerate(ready)}  # a job array has no gaps
    ids = dialect.allocate_ids(connection, _instance, len(ready))
    attempts: list[Attempt] = []
    history: list[tuple[Attempt, Step]] = []
    for task_instance_id, row in zip(ids, ready, strict=True):
        before = TaskStatus(row.status)
        attempt = Attempt(
            task_instance_id,
            row.id,
            workflow_run_id,
            TaskInstanceStatus.QUEUED,
            TaskStatus.QUEUED,
            row.num_attempts,
            row.max_attempts,
            0,
            0,
        )
        attempts.append(attempt)
        queued = Step(TaskEvent.QUEUE, None, TaskInstanceStatus.QUEUED, before, TaskStatus.QUEUED)
        note = batch.notes.get(row.id)
        history.append((attempt, queued if note is None else replace(queued, note=note[:NOTE_CHARACTERS])))
        history.extend((attempt, step) for step in decide(attempt, TaskInstanceEvent.INSTANTIATE).steps)
    _attempts_insert(connection, attempts, batch, steps, now)
    if batch.name and attempts:
        _batch_insert(connection, workflow_run_id, batch, len(attempts), now)
    _tasks_mark(connection, attempts, batch.task_resources_id, now)
    history_append(connection, history, {workflow_run_id: cursor}, now, actor)
    _count(connection, batch.array_id, ready, history)
    return BatchResponse(
        batch.array_id,
        batch.batch_num,
        [attempt.task_id for attempt in attempts],
        [attempt.task_instance_id for attempt in attempts],
        [steps[attempt.task_id] for attempt in attempts],
        [row.name for row in ready],
        [row.command for row in ready],
    )


def _count(
    connection: Connection, array_id: int, ready: Sequence[Any], history: Sequence[tuple[Attempt, Step]]
) -> None:
    """Keep the counters of tasks by status."""
    changes = Changes()
    for _, step in history:
        if step.task_from is not None and step.task_to is not None:
            changes.move(array_id, step.task_from, step.task_to)
    changes.retry(array_id, sum(1 for row in ready if row.num_attempts > 0))
    progress_add(connection, changes)


def _batch_read(connection: Connection, workflow_run_id: int, batch: BatchRequest) -> BatchResponse | None:
    """What still lives of a batch; ``None`` for a batch that was never created."""
    key = {"array_id": batch.array_id, "batch_num": batch.batch_num, "run_id": workflow_run_id}
    rows = connection.execute(_READ, key).all()
    if not rows:
        return None
    live = [row[1:] for row in rows if row[0] in TASK_INSTANCE_LIVE]
    columns: list[list[Any]] = [[row[i] for row in live] for i in range(5)]
    return BatchResponse(batch.array_id, batch.batch_num, *columns)


def _tasks_load(connection: Connection, workflow_id: int, task_ids: Sequence[int]) -> list[Any]:
    """Tasks of the batch, locked, in the order of the batch."""
    rows: dict[int, Any] = {}
    for start in range(0, len(task_ids), CHUNK):
        chunk = task_ids[start : start + CHUNK]
        found = connection.execute(
            dialect.lock_rows(connection, _LOAD), {"ids": chunk, "of_workflow": workflow_id}
        )
        rows.update((row.id, row) for row in found)
    return [rows[task_id] for task_id in dict.fromkeys(task_ids) if task_id in rows]


def _batch_insert(
    connection: Connection, workflow_run_id: int, batch: BatchRequest, num_steps: int, now: datetime
) -> None:
    connection.execute(
        _INSERT_BATCH,
        {
            "array_id": batch.array_id,
            "batch_num": batch.batch_num,
            "workflow_run_id": workflow_run_id,
            "name": batch.name,
            "num_steps": num_steps,
            "created_date": now,
        },
    )


def _attempts_insert(
    connection: Connection,
    attempts: Sequence[Attempt],
    batch: BatchRequest,
    steps: dict[int, int],
    now: datetime,
) -> None:
    rows = [
        (
            attempt.task_instance_id,
            attempt.workflow_run_id,
            batch.array_id,
            attempt.task_id,
            batch.task_resources_id,
            batch.batch_num,
            steps[attempt.task_id],
            attempt.instance_status.value,
            now,
            now,
        )
        for attempt in attempts
    ]
    bulk.insert_rows(connection, _instance, _COLUMNS, rows)


def _tasks_mark(
    connection: Connection, attempts: Sequence[Attempt], task_resources_id: int, now: datetime
) -> None:
    """Set-based: every task of a batch goes the same way."""
    ids = [attempt.task_id for attempt in attempts]
    for start in range(0, len(ids), CHUNK):
        values = {
            "ids": ids[start : start + CHUNK],
            "new_status": attempts[0].task_status.value,
            "now": now,
            "resources": task_resources_id,
        }
        connection.execute(_MARK, values)
