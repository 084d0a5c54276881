"""What people ask about workflows, tasks and attempts. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import WORKFLOW_BEING_RUN, WorkflowStatus
from jobmon.serializers.monitor import (
    AttemptRow,
    LogRow,
    NeighbourRow,
    TaskDependenciesResponse,
    TaskErrorRow,
    TaskRow,
    TaskStatusRequest,
    WorkflowStatusRow,
)
from jobmon.server.web.models import (
    Array,
    Edge,
    Task,
    TaskInstance,
    TaskInstanceErrorLog,
    Workflow,
    WorkflowRun,
)
from jobmon.server.web.store import eta
from jobmon.server.web.store.define import chunks
from jobmon.server.web.store.ownership import owner_read
from jobmon.server.web.store.progress import together, workflows_progress
from jobmon.server.web.store.remote import workflows_read_conditions
from jobmon.server.web.store.stories import Story, tasks_read_stories

MAX_ROWS = 1_000_000


def require_workflow(connection: Connection, workflow_id: int) -> None:
    """Refuse the id of a workflow that does not exist."""
    if connection.scalar(select(Workflow.id).where(Workflow.id == workflow_id)) is None:
        raise NotFoundError(f"There is no workflow {workflow_id}.")


def _bounded(limit: int | None) -> int:
    return MAX_ROWS if limit is None else max(0, min(limit, MAX_ROWS))


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="milliseconds")


# -- workflows ----------------------------------------------------------------------------------------
def workflows_read_status(
    connection: Connection,
    workflow_ids: Sequence[int],
    users: Sequence[str],
    limit: int | None,
    now: datetime | None = None,
) -> list[WorkflowStatusRow]:
    """Workflows of these ids, or the latest ones run by these users, newest first.

    Args:
        connection: a transaction.
        workflow_ids: the workflows.
        users: users whose latest workflows are meant, where no ids are given.
        limit: at most so many workflows of users.
        now: time of the database, for estimates of the remaining time; null: none.

    Raises:
        NotFoundError: a workflow does not exist; the message names it.
    """
    ids = _workflow_ids(connection, workflow_ids, users, limit)
    if not ids:
        return []
    workflows = connection.execute(
        select(Workflow.id, Workflow.name, Workflow.status, Workflow.created_date)
        .where(Workflow.id.in_(ids))
        .order_by(Workflow.id.desc())
    ).all()
    counts = workflows_progress(connection, ids)
    conditions = workflows_read_conditions(connection, ids)
    return [
        WorkflowStatusRow(
            row.id,
            row.name or "",
            row.status,
            _iso(row.created_date),
            together(counts[row.id].values()).by_status,
            sum(array.retries for array in counts[row.id].values()),
            eta.workflow_read_eta(connection, row.id, counts[row.id], now)
            if now is not None and WorkflowStatus(row.status) in WORKFLOW_BEING_RUN
            else None,
            conditions.get(row.id, []),
        )
        for row in workflows
    ]


def _workflow_ids(
    connection: Connection, workflow_ids: Sequence[int], users: Sequence[str], limit: int | None
) -> list[int]:
    wanted = sorted(set(workflow_ids))
    if wanted:
        known = set(connection.scalars(select(Workflow.id).where(Workflow.id.in_(wanted))))
        unknown = [str(workflow_id) for workflow_id in wanted if workflow_id not in known]
        if unknown:
            raise NotFoundError(f"There is no workflow {', '.join(unknown)}.")
    if not users:
        return wanted
    statement = select(WorkflowRun.workflow_id).where(WorkflowRun.user.in_(users)).distinct()
    if wanted:
        statement = statement.where(WorkflowRun.workflow_id.in_(wanted))
    statement = statement.order_by(WorkflowRun.workflow_id.desc()).limit(_bounded(limit))
    return list(connection.scalars(statement))


def workflow_read_owner(connection: Connection, workflow_id: int) -> str:
    """Whose a workflow is; empty when nobody is known."""
    return owner_read(connection, "workflow_id", workflow_id).user


def workflow_read_tasks(
    connection: Connection, workflow_id: int, statuses: Sequence[str], limit: int | None
) -> list[TaskRow]:
    """Tasks of a workflow in some states, oldest first."""
    require_workflow(connection, workflow_id)
    statement = select(Task.id, Task.name, Task.status, Task.num_attempts).where(
        Task.workflow_id == workflow_id
    )
    if statuses:
        statement = statement.where(Task.status.in_(statuses))
    rows = connection.execute(statement.order_by(Task.id).limit(_bounded(limit)))
    return [TaskRow(row.id, row.name, row.status, max(0, row.num_attempts - 1)) for row in rows]


def workflow_read_logs(
    connection: Connection, workflow_id: int, array_name: str, task_name: str, limit: int | None
) -> list[LogRow]:
    """Log files of the attempts of a workflow, or of one array or task of it."""
    require_workflow(connection, workflow_id)
    chosen = (
        select(Task.id, Task.name, Array.name.label("array_name"))
        .join(Array, Array.id == Task.array_id)
        .where(Task.workflow_id == workflow_id)
    )
    if array_name:
        chosen = chosen.where(Array.name == array_name)
    if task_name:
        chosen = chosen.where(Task.name == task_name)
    # Each task has a row at least: no more tasks than rows are needed.
    tasks = chosen.order_by(Task.id).limit(_bounded(limit)).subquery()
    statement = select(
        tasks.c.id,
        tasks.c.name,
        tasks.c.array_name,
        TaskInstance.id,
        TaskInstance.stdout,
        TaskInstance.stderr,
    ).outerjoin(TaskInstance, TaskInstance.task_id == tasks.c.id)
    rows = connection.execute(statement.order_by(tasks.c.id, TaskInstance.id).limit(_bounded(limit)))
    return [LogRow(row[0], row[1], row[2], row[3], row[4] or "", row[5] or "") for row in rows]


def workflow_read_errors(
    connection: Connection, workflow_id: int, task_id: int | None, limit: int | None
) -> list[TaskErrorRow]:
    """Errors of the attempts of a workflow, or of one task of it, newest first."""
    require_workflow(connection, workflow_id)
    statement = (
        select(TaskInstanceErrorLog.id)
        .join(TaskInstance, TaskInstance.id == TaskInstanceErrorLog.task_instance_id)
        .join(Task, Task.id == TaskInstance.task_id)
        .where(Task.workflow_id == workflow_id)
    )
    if task_id is not None:
        statement = statement.where(Task.id == task_id)
    statement = statement.order_by(TaskInstanceErrorLog.id.desc()).limit(_bounded(limit))
    ids = list(connection.scalars(statement))  # sorted without their texts, which may be long
    rows: list[Any] = []
    for part in chunks(ids):
        found = connection.execute(_ERRORS.where(TaskInstanceErrorLog.id.in_(part)))
        rows += sorted(found, key=lambda row: -row[3])
    return error_rows(connection, rows)


def attempts_read_errors(connection: Connection, task_instance_ids: Sequence[int]) -> list[TaskErrorRow]:
    """Errors of attempts, newest first."""
    rows: list[Any] = []
    for part in chunks(sorted(set(task_instance_ids))):
        rows += connection.execute(_ERRORS.where(TaskInstance.id.in_(part))).all()
    return error_rows(connection, sorted(rows, key=lambda row: -row[3]))


_ERRORS = (
    select(
        Task.id,
        Task.name,
        TaskInstance.id,
        TaskInstanceErrorLog.id,
        TaskInstanceErrorLog.error_time,
        TaskInstanceErrorLog.description,
        TaskInstance.stderr_log,
        TaskInstance.stdout,
        TaskInstance.stderr,
    )
    .select_from(TaskInstanceErrorLog)
    .join(TaskInstance, TaskInstance.id == TaskInstanceErrorLog.task_instance_id)
    .join(Task, Task.id == TaskInstance.task_id)
)


def error_rows(connection: Connection, rows: Sequence[Any]) -> list[TaskErrorRow]:
    """What was read of errors, with the stories of their attempts."""
    stories = tasks_read_stories(connection, [row[0] for row in rows])
    return [
        TaskErrorRow(
            task_id=row[0],
            task_name=row[1],
            task_instance_id=row[2],
            task_instance_error_log_id=row[3],
            error_time=_iso(row[4]),
            description=row[5],
            stderr_log=row[6] or "",
            stdout=row[7] or "",
            stderr=row[8] or "",
            **stories[row[2]].as_fields(),
        )
        for row in rows
    ]


# -- tasks --------------------------------------------------------------------------------------------
def tasks_read_status(connection: Connection, message: TaskStatusRequest) -> list[AttemptRow]:
    """Tasks with all of their attempts, oldest first.

    Raises:
        NotFoundError: a task does not exist; the message names it.
    """
    rows: list[AttemptRow] = []
    limit = _bounded(message.limit)
    require_tasks(connection, message.task_ids)
    for part in chunks(sorted(set(message.task_ids))):
        statement = (
            select(
                Task.id,
                Task.name,
                Task.workflow_id,
                Task.status,
                TaskInstance.id,
                TaskInstance.status,
                TaskInstance.cause,
                TaskInstance.distributor_id,
                TaskInstance.nodename,
                TaskInstance.exit_code,
                TaskInstance.wallclock,
                TaskInstance.cpu,
                TaskInstance.maxrss,
                TaskInstance.io,
                TaskInstance.stdout,
                TaskInstance.stderr,
                TaskInstance.stderr_log,
            )
            .outerjoin(TaskInstance, TaskInstance.task_id == Task.id)
            .where(Task.id.in_(part))
        )
        if message.statuses:
            statement = statement.where(Task.status.in_(message.statuses))
        statement = statement.order_by(Task.id, TaskInstance.id).limit(limit - len(rows))
        found = connection.execute(statement).all()
        stories = tasks_read_stories(connection, [row[0] for row in found])
        rows += [_attempt(row, stories.get(row[4])) for row in found]
    _add_errors(connection, rows)
    return rows


def _attempt(row: Any, story: Story | None) -> AttemptRow:
    more: dict[str, Any] = {}
    if story is not None:
        more = {name: getattr(story, name) for name in _STORY_OF_ATTEMPT}
    return AttemptRow(
        task_id=row[0],
        task_name=row[1],
        workflow_id=row[2],
        task_status=row[3],
        task_instance_id=row[4],
        instance_status=row[5] or "",
        cause=row[6] or "",
        distributor_id=row[7] or "",
        nodename=row[8] or "",
        exit_code=row[9],
        wallclock=row[10],
        cpu=row[11],
        maxrss=row[12],
        io=row[13],
        stdout=row[14] or "",
        stderr=row[15] or "",
        stderr_log=row[16] or "",
        **more,
    )


_STORY_OF_ATTEMPT = (
    "workflow_status",
    "attempt_number",
    "max_attempts",
    "num_infrastructure_losses",
    "cluster_name",
    "requested_resources",
    "next_task_instance_id",
    "next_resources",
    "is_blameless",
)


def _add_errors(connection: Connection, rows: Sequence[AttemptRow]) -> None:
    by_id = {row.task_instance_id: row for row in rows if row.task_instance_id is not None}
    for part in chunks(sorted(by_id)):
        errors = connection.execute(
            select(TaskInstanceErrorLog.task_instance_id, TaskInstanceErrorLog.description)
            .where(TaskInstanceErrorLog.task_instance_id.in_(part))
            .order_by(TaskInstanceErrorLog.id)
        )
        for task_instance_id, description in errors:
            by_id[task_instance_id].error = description


def tasks_read_workflows(connection: Connection, task_ids: Sequence[int]) -> dict[int, int]:
    """Workflow id by task id; tasks that do not exist are absent."""
    found: dict[int, int] = {}
    for part in chunks(sorted(set(task_ids))):
        rows = connection.execute(select(Task.id, Task.workflow_id).where(Task.id.in_(part)))
        found.update((row[0], row[1]) for row in rows)
    return found


def require_tasks(connection: Connection, task_ids: Sequence[int]) -> dict[int, int]:
    """Workflow id by task id.

    Raises:
        NotFoundError: a task does not exist; the message names it.
    """
    found = tasks_read_workflows(connection, task_ids)
    unknown = [str(task_id) for task_id in dict.fromkeys(task_ids) if task_id not in found]
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        raise NotFoundError(f"There is no task {', '.join(unknown[:10])}{more}.")
    return found


def task_read_dependencies(connection: Connection, task_id: int) -> TaskDependenciesResponse:
    """What a task waits for and what waits for it."""
    row = connection.execute(
        select(Task.workflow_id, Edge.upstream_node_ids, Edge.downstream_node_ids)
        .join(Workflow, Workflow.id == Task.workflow_id)
        .outerjoin(Edge, (Edge.dag_id == Workflow.dag_id) & (Edge.node_id == Task.node_id))
        .where(Task.id == task_id)
    ).first()
    if row is None:
        raise NotFoundError(f"There is no task {task_id}.")
    up, down = (msgspec.json.decode(text or "[]", type=list[int]) for text in row[1:])
    return TaskDependenciesResponse(
        _tasks_of_nodes(connection, row.workflow_id, up), _tasks_of_nodes(connection, row.workflow_id, down)
    )


def _tasks_of_nodes(connection: Connection, workflow_id: int, node_ids: Sequence[int]) -> list[NeighbourRow]:
    found: list[NeighbourRow] = []
    for part in chunks(node_ids):
        rows = connection.execute(
            select(Task.id, Task.name, Task.status)
            .where(Task.workflow_id == workflow_id, Task.node_id.in_(part))
            .order_by(Task.id)
        )
        found += [NeighbourRow(*row) for row in rows]
    return found
