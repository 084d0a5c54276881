"""What a controller reads of a workflow before it runs it, and the limits it runs it by."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, insert, select, update

from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.core.hashing import hash_parts
from jobmon.core.states import WORKFLOW_RUN_ALIVE
from jobmon.serializers.swarm import (
    ArrayRow,
    LimitRequest,
    SerializeSwarmTask,
    TaskResourcesRow,
    WorkflowMetadataResponse,
)
from jobmon.server.web.models import (
    Array,
    Cluster,
    Edge,
    Queue,
    Task,
    TaskResources,
    TaskTemplate,
    TaskTemplateVersion,
    Tool,
    ToolVersion,
    Workflow,
    WorkflowHistory,
    WorkflowRun,
)
from jobmon.server.web.store.attempts import runs_advance_cursor
from jobmon.server.web.store.runs import workflow_lock

MAX_PAGE = 100_000
MAX_LIMIT = 2147483647
LIMIT_EVENT = "limit"


def tasks_read_page(
    connection: Connection, workflow_id: int, after_task_id: int, limit: int
) -> SerializeSwarmTask:
    """Tasks of a workflow with ids above ``after_task_id``, each with the nodes it waits for."""
    dag_id = connection.scalar(select(Workflow.dag_id).where(Workflow.id == workflow_id))
    if dag_id is None:
        raise NotFoundError(f"There is no workflow {workflow_id}.")
    limit = max(1, min(limit, MAX_PAGE))
    rows = connection.execute(
        select(
            Task.id,
            Task.status,
            Task.array_id,
            Task.node_id,
            Task.task_resources_id,
            Task.max_attempts,
            Task.num_attempts,
            Task.resource_scales,
            Task.fallback_queues,
            Edge.upstream_node_ids,
        )
        .outerjoin(Edge, and_(Edge.dag_id == dag_id, Edge.node_id == Task.node_id))
        .where(Task.workflow_id == workflow_id, Task.id > after_task_id)
        .order_by(Task.id)
        .limit(limit)
    ).all()
    if not rows:
        return SerializeSwarmTask([], "", [], [], [], [], [], [], [], [])
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)]
    ids, statuses, array_ids, node_ids, resources, max_attempts, num_attempts, scales, queues, upstream = (
        columns
    )
    # One decoding of all lists together is several times as fast as one for each.
    upstream_text = f"[{','.join([text or '[]' for text in upstream])}]"
    return SerializeSwarmTask(
        ids,
        "".join(statuses),
        array_ids,
        node_ids,
        resources,
        max_attempts,
        num_attempts,
        msgspec.json.decode(upstream_text, type=list[list[int]]),
        scales,
        queues,
        ids[-1] if len(ids) == limit else None,
    )


def workflow_metadata_read(connection: Connection, workflow_id: int) -> WorkflowMetadataResponse:
    """A workflow without its tasks."""
    row = connection.execute(
        select(
            Workflow.name,
            Workflow.status,
            Workflow.created_date,
            Workflow.tool_version_id,
            Workflow.max_concurrently_running,
            Workflow.working_dir,
            Tool.name.label("tool_name"),
        )
        .join(ToolVersion, ToolVersion.id == Workflow.tool_version_id)
        .join(Tool, Tool.id == ToolVersion.tool_id)
        .where(Workflow.id == workflow_id)
    ).first()
    if row is None:
        raise NotFoundError(f"There is no workflow {workflow_id}.")
    user = connection.scalar(
        select(WorkflowRun.user)
        .where(WorkflowRun.workflow_id == workflow_id)
        .order_by(WorkflowRun.id.desc())
        .limit(1)
    )
    return WorkflowMetadataResponse(
        workflow_id,
        row.name or "",
        row.status,
        row.created_date is not None,
        row.tool_version_id,
        row.tool_name,
        user or "",
        row.max_concurrently_running,
        row.working_dir or "",
        _arrays(connection, workflow_id),
        _task_resources(connection, workflow_id),
        hash_parts([str(workflow_id), str(row.created_date)])[:8],
    )


def _arrays(connection: Connection, workflow_id: int) -> list[ArrayRow]:
    rows = connection.execute(
        select(
            Array.id,
            Array.name,
            Array.task_template_version_id,
            TaskTemplate.name.label("task_template_name"),
            Array.max_concurrently_running,
        )
        .join(TaskTemplateVersion, TaskTemplateVersion.id == Array.task_template_version_id)
        .join(TaskTemplate, TaskTemplate.id == TaskTemplateVersion.task_template_id)
        .where(Array.workflow_id == workflow_id)
        .order_by(Array.id)
    )
    return [ArrayRow(*row) for row in rows]


def _task_resources(connection: Connection, workflow_id: int) -> list[TaskResourcesRow]:
    used = select(Task.task_resources_id).where(Task.workflow_id == workflow_id)
    rows = connection.execute(
        select(
            TaskResources.id,
            TaskResources.type,
            TaskResources.queue_id,
            Queue.name,
            Cluster.name,
            TaskResources.requested_resources,
        )
        .join(Queue, Queue.id == TaskResources.queue_id)
        .join(Cluster, Cluster.id == Queue.cluster_id)
        .where(TaskResources.id.in_(used))
        .order_by(TaskResources.id)
    )
    return [TaskResourcesRow(*row[:5], msgspec.json.decode(row[5])) for row in rows]


def workflow_set_limit(
    connection: Connection, workflow_id: int, message: LimitRequest, *, now: datetime, actor: str
) -> list[int]:
    """Set the limit of a workflow, or of its tasks of one template or version; the runs that have to know.

    Raises:
        UsageError: the limit is negative or too large.
        NotFoundError: the workflow has no tasks of that template or version.
    """
    if not 0 <= message.max_tasks <= MAX_LIMIT:
        raise UsageError(f"A limit is a number from 0 (pause) to {MAX_LIMIT}, not {message.max_tasks}.")
    workflow_lock(connection, workflow_id)
    if message.task_template_version_id is None and not message.template_name:
        connection.execute(
            update(Workflow)
            .where(Workflow.id == workflow_id)
            .values(max_concurrently_running=message.max_tasks)
        )
    else:
        array_ids = _arrays_of(connection, workflow_id, message)
        connection.execute(
            update(Array).where(Array.id.in_(array_ids)).values(max_concurrently_running=message.max_tasks)
        )
    alive = connection.scalars(
        select(WorkflowRun.id).where(
            WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE)
        )
    ).all()
    cursors = runs_advance_cursor(connection, alive)
    run_id = max(alive, default=None)
    connection.execute(
        insert(WorkflowHistory).values(
            workflow_id=workflow_id,
            workflow_run_id=run_id,
            cursor=cursors.get(run_id, 0) if run_id is not None else 0,
            event=LIMIT_EVENT,
            occurred_at=now,
            actor=actor,
        )
    )
    return list(alive)


def _arrays_of(connection: Connection, workflow_id: int, message: LimitRequest) -> list[int]:
    """Arrays of a workflow that a limit is for: of a template version, of a template, or of one that is both."""
    rows = connection.execute(
        select(Array.id, TaskTemplateVersion.id, TaskTemplate.name)
        .join(TaskTemplateVersion, TaskTemplateVersion.id == Array.task_template_version_id)
        .join(TaskTemplate, TaskTemplate.id == TaskTemplateVersion.task_template_id)
        .where(Array.workflow_id == workflow_id)
    ).all()
    found = [
        array_id
        for array_id, version_id, name in rows
        if message.task_template_version_id in (None, version_id) and message.template_name in ("", name)
    ]
    if not found:
        wanted = (
            f"the template '{message.template_name}'"
            if message.template_name
            else f"task template version {message.task_template_version_id}"
        )
        known = ", ".join(sorted({row.name for row in rows})) or "none"
        raise NotFoundError(f"Workflow {workflow_id} has no tasks of {wanted}. Its templates: {known}.")
    return found
