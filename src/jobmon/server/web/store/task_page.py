"""What the page of one task shows: its attempts and what they wrote. Reads only, and little at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, case, func, literal, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import (
    TASK_EVENT_OF_INSTANCE_STATE,
    TASK_INSTANCE_LIVE,
    TASK_INSTANCE_TERMINAL,
    TaskEvent,
    TaskInstanceStatus,
    TaskStatus,
)
from jobmon.server.web.models import (
    Task,
    TaskAttribute,
    TaskAttributeType,
    TaskHistory,
    TaskInstance,
    TaskInstanceErrorLog,
)
from jobmon.server.web.store.usage import Request, requests_read

FAILED: Final = frozenset(s for s, event in TASK_EVENT_OF_INSTANCE_STATE.items() if event is TaskEvent.FAIL)
"""States of an attempt that made its task fail."""
SHOWN_ATTEMPTS: Final = 50
SHOWN_HISTORY: Final = 200
TAIL_CHARACTERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt; ``number`` counts all of the task, from 1. Sizes are bytes, lengths of time seconds."""

    id: int
    number: int
    workflow_run_id: int
    status: TaskInstanceStatus
    cause: str
    exit_code: int | None
    nodename: str
    distributor_id: str
    request: Request
    runtime: float | None
    cpu: float | None
    memory: int | None
    io: int | None
    stdout: str
    stderr: str
    queue_reason: str
    queued: datetime | None
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the history; statuses are none where they did not change."""

    at: datetime
    task_instance_id: int | None
    event: str
    task_to: TaskStatus | None
    instance_to: TaskInstanceStatus | None
    actor: str
    note: str


@dataclass(frozen=True)
class Attempts:
    """The latest attempts of a task, oldest first; how many there are; the latest rows of its history, oldest first."""

    shown: list[Attempt]
    total: int
    history: list[Change]


def task_read_attempts(connection: Connection, task_id: int) -> Attempts:
    """The attempts of a task without what they wrote."""
    total = connection.scalar(select(func.count()).where(TaskInstance.task_id == task_id)) or 0
    rows = connection.execute(
        select(
            TaskInstance.id,
            TaskInstance.workflow_run_id,
            TaskInstance.status,
            TaskInstance.cause,
            TaskInstance.exit_code,
            TaskInstance.nodename,
            TaskInstance.distributor_id,
            TaskInstance.task_resources_id,
            TaskInstance.wallclock,
            TaskInstance.cpu,
            TaskInstance.maxrss,
            TaskInstance.io,
            TaskInstance.stdout,
            TaskInstance.stderr,
            TaskInstance.queue_reason,
            TaskInstance.submitted_date,
            TaskInstance.status_date,
        )
        .where(TaskInstance.task_id == task_id)
        .order_by(TaskInstance.id.desc())
        .limit(SHOWN_ATTEMPTS)
    ).all()
    requests = requests_read(connection, {row.task_resources_id for row in rows})
    history = _history(connection, task_id)
    moments = _moments(history)
    shown = [
        Attempt(
            row.id,
            total - place,
            row.workflow_run_id,
            TaskInstanceStatus(row.status),
            row.cause or "",
            row.exit_code,
            row.nodename or "",
            row.distributor_id or "",
            requests[row.task_resources_id],
            row.wallclock,
            row.cpu,
            row.maxrss,
            row.io,
            row.stdout or "",
            row.stderr or "",
            row.queue_reason or "",
            *_times(row, moments.get(row.id, {})),
        )
        for place, row in enumerate(rows)
    ]
    return Attempts(shown[::-1], total, history)


def _history(connection: Connection, task_id: int) -> list[Change]:
    rows = connection.execute(
        select(
            TaskHistory.occurred_at,
            TaskHistory.task_instance_id,
            TaskHistory.event,
            TaskHistory.task_to,
            TaskHistory.instance_to,
            TaskHistory.actor,
            TaskHistory.note,
        )
        .where(TaskHistory.task_id == task_id)
        .order_by(TaskHistory.id.desc())
        .limit(SHOWN_HISTORY)
    ).all()
    return [
        Change(
            row[0],
            row[1],
            row[2],
            TaskStatus(row[3]) if row[3] else None,
            TaskInstanceStatus(row[4]) if row[4] else None,
            row[5],
            row[6] or "",
        )
        for row in reversed(rows)
    ]


def _moments(history: Sequence[Change]) -> dict[int, dict[TaskInstanceStatus, datetime]]:
    """When attempts first entered their states."""
    moments: dict[int, dict[TaskInstanceStatus, datetime]] = {}
    for change in history:
        if change.task_instance_id is not None and change.instance_to is not None:
            moments.setdefault(change.task_instance_id, {}).setdefault(change.instance_to, change.at)
    return moments


def _times(
    row: Any, moments: Mapping[TaskInstanceStatus, datetime]
) -> tuple[datetime | None, datetime | None, datetime | None]:
    """When an attempt was created, started and over; where the history does not tell, what its row does."""
    is_over = row.status not in TASK_INSTANCE_LIVE
    ended = next((at for state, at in moments.items() if state in TASK_INSTANCE_TERMINAL), None)
    return (
        moments.get(TaskInstanceStatus.QUEUED, row.submitted_date),
        moments.get(TaskInstanceStatus.RUNNING),
        ended or (row.status_date if is_over else None),
    )


# -- what they wrote -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Texts:
    """Ends of what an attempt wrote, and what went wrong; empty: nothing is known."""

    stdout: str
    stderr: str
    error: str


def attempt_read_texts(connection: Connection, task_id: int, task_instance_id: int) -> Texts:
    """What an attempt of a task wrote, the end of it.

    Raises:
        NotFoundError: the task has no such attempt.
    """
    row = connection.execute(
        select(_end(TaskInstance.stdout_log), _end(TaskInstance.stderr_log)).where(
            TaskInstance.id == task_instance_id, TaskInstance.task_id == task_id
        )
    ).first()
    if row is None:
        raise NotFoundError(f"Task {task_id} has no attempt {task_instance_id}.")
    error = connection.scalar(
        select(_end(TaskInstanceErrorLog.description))
        .where(TaskInstanceErrorLog.task_instance_id == task_instance_id)
        .order_by(TaskInstanceErrorLog.id.desc())
        .limit(1)
    )
    return Texts(row[0] or "", row[1] or "", error or "")


def _end(column: Any) -> ColumnElement[str]:
    length = func.char_length(column)
    start = case((length > TAIL_CHARACTERS, length - TAIL_CHARACTERS + 1), else_=literal(1))
    return func.substr(column, start, TAIL_CHARACTERS)


def task_read_attributes(connection: Connection, task_id: int) -> dict[str, str]:
    """Attributes of a task, by name."""
    rows = connection.execute(
        select(TaskAttributeType.name, TaskAttribute.value)
        .join(TaskAttributeType, TaskAttributeType.id == TaskAttribute.type_id)
        .where(TaskAttribute.task_id == task_id)
        .order_by(TaskAttributeType.name)
    )
    return {row[0]: row[1] or "" for row in rows}


def task_read_stamp(connection: Connection, task_id: int) -> tuple[Any, ...]:
    """Changes when the task or one of its attempts does; empty: there is no such task."""
    row = connection.execute(
        select(Task.status, Task.status_date, Task.num_attempts).where(Task.id == task_id)
    ).first()
    last = connection.execute(
        select(TaskInstance.id, TaskInstance.status, TaskInstance.status_date, TaskInstance.queue_reason)
        .where(TaskInstance.task_id == task_id)
        .order_by(TaskInstance.id.desc())
        .limit(1)
    ).first()
    return () if row is None else (*row, *(last or ()))


def failed_attempt_of(connection: Connection, task_id: int) -> int | None:
    """The latest attempt of a task that failed; ``None``: none did."""
    found: int | None = connection.scalar(
        select(TaskInstance.id)
        .where(TaskInstance.task_id == task_id, TaskInstance.status.in_(FAILED))
        .order_by(TaskInstance.id.desc())
        .limit(1)
    )
    return found
