"""The event feed of a run: what others than its controller changed after a cursor."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import TaskInstanceStatus
from jobmon.serializers.swarm import FeedResponse, TaskChanges
from jobmon.server.web.models import (
    Array,
    Task,
    TaskHistory,
    TaskInstance,
    Workflow,
    WorkflowHistory,
    WorkflowRun,
)


def run_changes_after(
    connection: Connection, workflow_run_id: int, after: int, known_status: str, own_actor: str
) -> FeedResponse | None:
    """The feed when it holds news for the controller, else ``None``."""
    run = connection.execute(
        select(WorkflowRun.status, WorkflowRun.last_cursor).where(WorkflowRun.id == workflow_run_id)
    ).first()
    if run is None:
        raise NotFoundError(f"There is no workflow run {workflow_run_id}.")
    is_news = bool(known_status) and run.status != known_status
    if not is_news and run.last_cursor > after:
        is_news = _others_wrote(connection, workflow_run_id, after, own_actor)
    return run_feed(connection, workflow_run_id, after, own_actor) if is_news else None


def _others_wrote(connection: Connection, workflow_run_id: int, after: int, own_actor: str) -> bool:
    return any(
        connection.scalar(
            select(
                exists().where(
                    table.workflow_run_id == workflow_run_id, table.cursor > after, table.actor != own_actor
                )
            )
        )
        for table in (WorkflowHistory, TaskHistory)
    )


def run_feed(connection: Connection, workflow_run_id: int, after: int, own_actor: str) -> FeedResponse:
    """The state a controller has to know, and the tasks others changed after its cursor."""
    run = connection.execute(
        select(
            WorkflowRun.status,
            WorkflowRun.last_cursor,
            WorkflowRun.workflow_id,
            WorkflowRun.is_draining,
            Workflow.max_concurrently_running,
        )
        .join(Workflow, Workflow.id == WorkflowRun.workflow_id)
        .where(WorkflowRun.id == workflow_run_id)
    ).first()
    if run is None:
        raise NotFoundError(f"There is no workflow run {workflow_run_id}.")
    changed = connection.execute(
        select(Task.id, Task.status, Task.num_attempts)
        .join(TaskHistory, TaskHistory.task_id == Task.id)
        .where(
            TaskHistory.workflow_run_id == workflow_run_id,
            TaskHistory.cursor > after,
            TaskHistory.actor != own_actor,
        )
        .distinct()
    ).all()
    limits = connection.execute(
        select(Array.id, Array.max_concurrently_running).where(Array.workflow_id == run.workflow_id)
    ).all()
    kill = connection.scalars(
        select(TaskInstance.id).where(
            TaskInstance.workflow_run_id == workflow_run_id,
            TaskInstance.status == TaskInstanceStatus.KILL_SELF.value,
        )
    ).all()
    return FeedResponse(
        run.last_cursor,
        run.status,
        run.max_concurrently_running,
        {row.id: row.max_concurrently_running for row in limits},
        TaskChanges(
            [row.id for row in changed],
            "".join(row.status for row in changed),
            [row.num_attempts for row in changed],
        ),
        list(kill),
        run.is_draining,
    )
