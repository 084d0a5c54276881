"""The tasks of one template of a workflow, a page at a time, whatever their number. Reads only.

How
---
1. By id, or backwards: the tasks of an array are walked in the order of its index, ``WINDOWS`` times ``WINDOW`` of them at
   most in one go; what the filter leaves is shown. Who looks for more goes on from there. Tasks are run in the order of their
   ids, more or less: those that wait are found from the end.
2. Newest attempt first: attempts are found by run and state, newest first, by the index that is for this; a task is shown
   where its latest attempt is. What failed or runs is found at once that way, among any number of tasks.
3. Where a filter names all node args of the template, the task is found by their hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, exists, func, literal, select, union_all
from sqlalchemy.orm import aliased

from jobmon.core.exceptions import UsageError
from jobmon.core.hashing import hash_args
from jobmon.core.states import (
    TASK_ACTIVE,
    TASK_INSTANCE_LIVE,
    TASK_INSTANCE_TERMINAL,
    TaskInstanceStatus,
    TaskStatus,
)
from jobmon.server.web.models import (
    Arg,
    Node,
    NodeArg,
    Task,
    TaskInstance,
    WorkflowRun,
)
from jobmon.server.web.store.define import chunks
from jobmon.server.web.store.task_page import FAILED
from jobmon.server.web.store.template_head import TemplateHead

SCANNED: Final = 10_000
"""So many attempts are looked at in one go."""
WINDOW: Final = 20_000
WINDOWS: Final = 2
"""So many tasks are looked at in one statement, and so often in one go."""
FEW: Final = 1000
"""So many attempts are looked at first."""
PIECE: Final = 4000
RUNS: Final = 5
"""Latest runs whose attempts are looked at: a run takes over what the one before left."""

_ATTEMPTS_OF: Final[Mapping[TaskStatus, frozenset[TaskInstanceStatus]]] = {
    **dict.fromkeys(TaskStatus, TASK_INSTANCE_TERMINAL),
    **dict.fromkeys(TASK_ACTIVE, TASK_INSTANCE_LIVE),
    **dict.fromkeys(
        (TaskStatus.ERROR_FATAL, TaskStatus.ERROR_RECOVERABLE, TaskStatus.ADJUSTING_RESOURCES), FAILED
    ),
}
"""States in which the latest attempt of a task can be."""


class Order(StrEnum):
    """How tasks are sorted."""

    ID = "id"
    LAST_ID = "last"
    NEWEST = "newest"


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks are wanted, in which order.

    Attributes:
        statuses: letters; empty: all.
        name: a part of the name.
        node_args: value by name.
        order: by id, by id backwards, or by the latest attempt, newest first: then tasks that never ran are left out.
    """

    statuses: frozenset[str] = frozenset()
    name: str = ""
    node_args: Mapping[str, str] = field(default_factory=dict)
    order: Order = Order.ID

    @property
    def is_empty(self) -> bool:
        """Whether all tasks are wanted."""
        return not (self.statuses or self.name or self.node_args)


@dataclass(frozen=True, slots=True)
class LastAttempt:
    """The latest attempt of a task: ``runtime`` in seconds, ``memory`` in bytes; none: not measured."""

    id: int
    status: TaskInstanceStatus
    nodename: str
    runtime: float | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class ShownTask:
    """A row of the table; ``num_attempts`` leaves out what was lost through no fault of the task."""

    id: int
    name: str
    status: TaskStatus
    status_date: datetime
    num_attempts: int
    max_attempts: int
    node_args: Mapping[str, str]
    attempt: LastAttempt | None


@dataclass(frozen=True)
class TaskPage:
    """Some of the tasks.

    Attributes:
        tasks: at most as many as were asked for.
        next_after: where to go on; ``None``: these were the last.
        is_cut: the page is not full, because enough were looked at for one request.
    """

    tasks: list[ShownTask]
    next_after: int | None
    is_cut: bool


def tasks_read_page(
    connection: Connection, head: TemplateHead, wanted: TaskFilter, after: int | None, limit: int
) -> TaskPage:
    """Some of the tasks of a template.

    Args:
        connection: a transaction.
        head: the template.
        wanted: which tasks, in which order.
        after: ``next_after`` of the page before; ``None``: from the start.
        limit: at most so many.

    Raises:
        UsageError: the template has no such node arg.
    """
    unknown = sorted(set(wanted.node_args) - set(head.node_args))
    if unknown:
        raise UsageError(
            f"The template {head.name} has no node arg {', '.join(unknown)}; it has "
            f"{', '.join(head.node_args) or 'none'}."
        )
    if wanted.node_args and set(wanted.node_args) == set(head.node_args) and not after:
        rows = _by_hash(connection, head, wanted)
        if rows:
            return TaskPage(_shown(connection, rows), None, False)
    if wanted.order is Order.NEWEST:
        rows, next_after = _newest(connection, head, wanted, after, limit)
    else:
        rows, next_after = _by_id(connection, head, wanted, after, limit)
    return TaskPage(_shown(connection, rows), next_after, next_after is not None and len(rows) < limit)


# -- finding -------------------------------------------------------------------------------------------
_COLUMNS: Final = (
    Task.id,
    Task.name,
    Task.status,
    Task.status_date,
    Task.num_attempts,
    Task.num_infrastructure_losses,
    Task.max_attempts,
    Task.node_id,
)


def _conditions(head: TemplateHead, wanted: TaskFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.statuses:
        found.append(Task.status.in_(sorted(wanted.statuses)))
    if wanted.name:
        found.append(func.lower(Task.name).contains(wanted.name.lower(), autoescape=True))
    for name, value in wanted.node_args.items():
        found.append(
            exists().where(
                NodeArg.node_id == Task.node_id,
                NodeArg.arg_id == head.node_args[name],
                NodeArg.val == value,
            )
        )
    return found


def _by_hash(connection: Connection, head: TemplateHead, wanted: TaskFilter) -> list[Any]:
    node_id = select(Node.id).where(
        Node.task_template_version_id == head.task_template_version_id,
        Node.node_args_hash == hash_args(wanted.node_args),
    )
    return list(
        connection.execute(
            select(*_COLUMNS).where(
                Task.workflow_id == head.workflow_id,
                Task.node_id.in_(node_id),
                *_conditions(head, wanted),
            )
        )
    )


def _by_id(
    connection: Connection, head: TemplateHead, wanted: TaskFilter, after: int | None, limit: int
) -> tuple[list[Any], int | None]:
    """Rows, and the task after which to go on."""
    is_backwards = wanted.order is Order.LAST_ID
    order = Task.id.desc() if is_backwards else Task.id
    rows: list[Any] = []
    for _ in range(WINDOWS):
        place = [Task.array_id == head.array_id]
        if after is not None:
            place.append(Task.id < after if is_backwards else Task.id > after)
        end = None
        if not wanted.is_empty:
            end = connection.scalar(select(Task.id).where(*place).order_by(order).offset(WINDOW - 1).limit(1))
            if end is not None:
                place.append(Task.id >= end if is_backwards else Task.id <= end)
        rows += connection.execute(
            select(*_COLUMNS)
            .where(*place, *_conditions(head, wanted))
            .order_by(order)
            .limit(limit + 1 - len(rows))
        ).all()
        if len(rows) > limit:
            return rows[:limit], rows[limit - 1].id
        after = end
        if end is None:
            break
    return rows, after


def _newest(
    connection: Connection, head: TemplateHead, wanted: TaskFilter, before: int | None, limit: int
) -> tuple[list[Any], int | None]:
    """Rows, and the attempt below which to go on."""
    runs = connection.scalars(
        select(WorkflowRun.id)
        .where(WorkflowRun.workflow_id == head.workflow_id)
        .order_by(WorkflowRun.id.desc())
        .limit(RUNS)
    ).all()
    statuses = [TaskStatus(letter) for letter in wanted.statuses] or list(TaskStatus)
    states = sorted(set().union(*(_ATTEMPTS_OF[status] for status in statuses)))
    rows: list[Any] = []
    all_there_are = _number_of(head, wanted) if before is None else None
    for size in (FEW, SCANNED):
        ids, before = _latest_attempts(connection, runs, states, before, size)
        for start in range(0, len(ids), PIECE):
            rows += _tasks_of(connection, head, wanted, ids[start : start + PIECE], limit + 1 - len(rows))
            if len(rows) > limit:
                return rows[:limit], rows[limit - 1].attempt_id
            if len(rows) == all_there_are:
                return rows, None
        if before is None:
            break
    return rows, before


def _number_of(head: TemplateHead, wanted: TaskFilter) -> int | None:
    """How many tasks there are of what is wanted, where the counters tell."""
    if wanted.name or wanted.node_args or not wanted.statuses:
        return None
    return sum(head.progress.by_status.get(status, 0) for status in wanted.statuses)


def _latest_attempts(
    connection: Connection, runs: Sequence[int], states: Sequence[str], before: int | None, size: int
) -> tuple[list[int], int | None]:
    """About ``size`` attempts, newest first; the id below which there may be more.

    Of every run and state the newest are read by the index; below the last of one that has more, order is not known.
    """
    pairs = [(run, state) for run in runs for state in states]
    if not pairs:
        return [], None
    share = max(50, size // len(pairs))
    parts = []
    for number, (run, state) in enumerate(pairs):
        part = select(TaskInstance.id).where(
            TaskInstance.workflow_run_id == run, TaskInstance.status == state
        )
        if before is not None:
            part = part.where(TaskInstance.id < before)
        some = part.order_by(TaskInstance.id.desc()).limit(share).subquery()
        parts.append(select(some.c.id, literal(number).label("pair")))
    by_pair: dict[int, list[int]] = {}
    for attempt_id, number in connection.execute(union_all(*parts)):
        by_pair.setdefault(number, []).append(attempt_id)
    horizon = max((min(ids) for ids in by_pair.values() if len(ids) == share), default=None)
    every = (attempt_id for ids in by_pair.values() for attempt_id in ids)
    return sorted((i for i in every if horizon is None or i >= horizon), reverse=True), horizon


def _tasks_of(
    connection: Connection, head: TemplateHead, wanted: TaskFilter, attempt_ids: Sequence[int], limit: int
) -> list[Any]:
    """Tasks whose latest attempt is one of these, in the order of the attempts, newest first."""
    later = aliased(TaskInstance)
    return list(
        connection.execute(
            select(*_COLUMNS, TaskInstance.id.label("attempt_id"))
            .join(Task, Task.id == TaskInstance.task_id)
            .where(
                TaskInstance.id.in_(attempt_ids),
                TaskInstance.array_id == head.array_id,
                *_conditions(head, wanted),
                ~exists().where(later.task_id == TaskInstance.task_id, later.id > TaskInstance.id),
            )
            .order_by(TaskInstance.id.desc())
            .limit(limit)
        )
    )


# -- what else is shown of them --------------------------------------------------------------------------
def _shown(connection: Connection, rows: Sequence[Any]) -> list[ShownTask]:
    args = nodes_read_args(connection, [row.node_id for row in rows])
    attempts = _last_attempts(connection, [row.id for row in rows])
    return [
        ShownTask(
            row.id,
            row.name,
            TaskStatus(row.status),
            row.status_date,
            row.num_attempts - row.num_infrastructure_losses,
            row.max_attempts,
            args.get(row.node_id, {}),
            attempts.get(row.id),
        )
        for row in rows
    ]


def nodes_read_args(connection: Connection, node_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Values of the node args by name, by node."""
    found: dict[int, dict[str, str]] = {}
    for part in chunks(sorted(set(node_ids))):
        rows = connection.execute(
            select(NodeArg.node_id, Arg.name, NodeArg.val)
            .join(Arg, Arg.id == NodeArg.arg_id)
            .where(NodeArg.node_id.in_(part))
            .order_by(Arg.name)
        )
        for node_id, name, value in rows:
            found.setdefault(node_id, {})[name] = value
    return found


def _last_attempts(connection: Connection, task_ids: Sequence[int]) -> dict[int, LastAttempt]:
    found: dict[int, LastAttempt] = {}
    for part in chunks(task_ids):
        ids = connection.scalars(
            select(func.max(TaskInstance.id))
            .where(TaskInstance.task_id.in_(part))
            .group_by(TaskInstance.task_id)
        ).all()
        rows = connection.execute(
            select(
                TaskInstance.task_id,
                TaskInstance.id,
                TaskInstance.status,
                TaskInstance.nodename,
                TaskInstance.wallclock,
                TaskInstance.maxrss,
            ).where(TaskInstance.id.in_(ids))
        )
        for task_id, attempt_id, status, nodename, wallclock, maxrss in rows:
            found[task_id] = LastAttempt(
                attempt_id, TaskInstanceStatus(status), nodename or "", wallclock, maxrss
            )
    return found
