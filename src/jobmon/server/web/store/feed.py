"""The event feed of a run: what others than its controller changed after a cursor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select

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


def run_changes_after(
    connection: Connection, workflow_run_id: int, after: int, known_status: str, own_actor: str
) -> FeedResponse | None:
    """The feed when it holds news for the controller, else ``None``."""
    run = connection.execute(_CURSOR, {"run_id": workflow_run_id}).first()
    if run is None:
        raise NotFoundError(f"There is no workflow run {workflow_run_id}.")
    is_news = bool(known_status) and run.status != known_status
    if not is_news and run.last_cursor > after:
        is_news = _others_wrote(connection, workflow_run_id, after, own_actor)
    return run_feed(connection, workflow_run_id, after, own_actor) if is_news else None


def _others_wrote(connection: Connection, workflow_run_id: int, after: int, own_actor: str) -> bool:
    values = {"run_id": workflow_run_id, "after": after, "own_actor": own_actor}
    return any(connection.scalar(statement, values) for statement in _NEWS)


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
