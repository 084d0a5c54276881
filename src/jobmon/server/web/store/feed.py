"""The event feed of a run: what others than its controller changed after a cursor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, exists, or_, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import TaskInstanceStatus
from jobmon.serializers.swarm import FeedResponse, InstanceChanges, TaskChanges
from jobmon.server.web.models import (
    Array,
    Task,
    TaskHistory,
    TaskInstance,
    Workflow,
    WorkflowHistory,
    WorkflowRun,
)

_CURSOR = select(WorkflowRun.status, WorkflowRun.last_cursor).where(WorkflowRun.id == bindparam("run_id"))
_NEWS = tuple(
    select(
        exists().where(
            table.workflow_run_id == bindparam("run_id"),
            table.cursor > bindparam("after"),
            table.actor != bindparam("own_actor"),
        )
    )
    for table in (WorkflowHistory, TaskHistory)
)


class RunPosition(NamedTuple):
    """Where the feed of a run stands."""

    status: str
    cursor: int


def run_changes_after(
    connection: Connection, workflow_run_id: int, after: int, known_status: str, own_actor: str
) -> FeedResponse | RunPosition:
    """The feed when it holds news for the controller, else where it stands."""
    run = connection.execute(_CURSOR, {"run_id": workflow_run_id}).first()
    if run is None:
        raise NotFoundError(f"There is no workflow run {workflow_run_id}.")
    is_news = bool(known_status) and run.status != known_status
    if not is_news and run.last_cursor > after:
        is_news = _others_wrote(connection, workflow_run_id, after, own_actor)
    if not is_news:
        return RunPosition(run.status, run.last_cursor)
    return run_feed(connection, workflow_run_id, after, own_actor)


def _others_wrote(connection: Connection, workflow_run_id: int, after: int, own_actor: str) -> bool:
    values = {"run_id": workflow_run_id, "after": after, "own_actor": own_actor}
    return any(connection.scalar(statement, values) for statement in _NEWS)


_POSITIONS = select(WorkflowRun.id, WorkflowRun.status, WorkflowRun.last_cursor).where(
    WorkflowRun.id.in_(bindparam("run_ids", expanding=True))
)
_MOST_RUNS = 200
"""Runs asked about in one statement."""


def runs_positions(connection: Connection, workflow_run_ids: Sequence[int]) -> dict[int, RunPosition]:
    """Where the feeds of runs stand."""
    rows = connection.execute(_POSITIONS, {"run_ids": workflow_run_ids})
    return {row.id: RunPosition(row.status, row.last_cursor) for row in rows}


def runs_changed_by_others(connection: Connection, after: Mapping[int, int], own_actor: str) -> set[int]:
    """The runs that others than their controller changed.

    Args:
        connection: a transaction.
        after: the cursor of each run up to which its changes are known.
        own_actor: what controllers call themselves in the history.
    """
    found: set[int] = set()
    for some in _parts(list(after.items()), _MOST_RUNS):
        for table in (WorkflowHistory, TaskHistory):
            is_new = or_(
                *(and_(table.workflow_run_id == run_id, table.cursor > cursor) for run_id, cursor in some)
            )
            statement = select(table.workflow_run_id).distinct().where(is_new, table.actor != own_actor)
            found.update(run_id for run_id in connection.scalars(statement) if run_id is not None)
    return found


def _parts(pairs: list[tuple[int, int]], size: int) -> Iterable[list[tuple[int, int]]]:
    return (pairs[start : start + size] for start in range(0, len(pairs), size))


_RUN = (
    select(
        WorkflowRun.status,
        WorkflowRun.last_cursor,
        WorkflowRun.workflow_id,
        WorkflowRun.is_draining,
        Workflow.max_concurrently_running,
    )
    .join(Workflow, Workflow.id == WorkflowRun.workflow_id)
    .where(WorkflowRun.id == bindparam("run_id"))
)
_CHANGED = (
    select(
        Task.id,
        Task.status,
        Task.num_attempts,
        TaskInstance.id,
        TaskInstance.status,
        TaskInstance.maxrss,
    )
    .select_from(TaskHistory)
    .join(Task, Task.id == TaskHistory.task_id)
    .outerjoin(TaskInstance, TaskInstance.id == TaskHistory.task_instance_id)
    .where(
        TaskHistory.workflow_run_id == bindparam("run_id"),
        TaskHistory.cursor > bindparam("after"),
        TaskHistory.actor != bindparam("own_actor"),
    )
    .order_by(TaskHistory.id)
)
_LIMITS = select(Array.id, Array.max_concurrently_running).where(
    Array.workflow_id == bindparam("of_workflow")
)
_ORDERED_TO_END = select(TaskInstance.id).where(
    TaskInstance.workflow_run_id == bindparam("run_id"),
    TaskInstance.status == TaskInstanceStatus.KILL_SELF.value,
)


def run_feed(connection: Connection, workflow_run_id: int, after: int, own_actor: str) -> FeedResponse:
    """The state a controller has to know, and the tasks and attempts others changed after its cursor."""
    run = connection.execute(_RUN, {"run_id": workflow_run_id}).first()
    if run is None:
        raise NotFoundError(f"There is no workflow run {workflow_run_id}.")
    changed = {"run_id": workflow_run_id, "after": after, "own_actor": own_actor}
    tasks, instances = _changes(connection.execute(_CHANGED, changed))
    limits = connection.execute(_LIMITS, {"of_workflow": run.workflow_id})
    kill = connection.scalars(_ORDERED_TO_END, {"run_id": workflow_run_id})
    return FeedResponse(
        run.last_cursor,
        run.status,
        run.max_concurrently_running,
        {row[0]: row[1] for row in limits},
        tasks,
        list(kill),
        run.is_draining,
        instances,
    )


def _changes(rows: Iterable[Any]) -> tuple[TaskChanges, InstanceChanges]:
    """Each task and each attempt once, whatever the number of its lines: the rows tell how they are now."""
    tasks: dict[int, tuple[str, int]] = {}
    instances: dict[int, str] = {}
    maxrss: dict[int, int] = {}
    for task_id, status, num_attempts, task_instance_id, instance_status, peak in rows:
        tasks[task_id] = (status, num_attempts)
        if task_instance_id is not None:
            instances[task_instance_id] = instance_status
            if instance_status == TaskInstanceStatus.RESOURCE_ERROR and peak is not None:
                maxrss[task_instance_id] = peak
    return (
        TaskChanges(list(tasks), "".join(t[0] for t in tasks.values()), [t[1] for t in tasks.values()]),
        InstanceChanges(list(instances), "".join(instances.values()), maxrss),
    )
