"""The facts behind the explanation of a task. Reads only; what is read of large graphs is bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import (
    TASK_INSTANCE_LIVE,
    WORKFLOW_RUN_ALIVE,
    TaskEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.serializers.explain import AttemptSummary
from jobmon.serializers.monitor import NeighbourRow
from jobmon.server.web.analysis.task_facts import (
    HandFacts,
    LoadFacts,
    RunFacts,
    TaskFacts,
    UpstreamFacts,
)
from jobmon.server.web.db_admin import DEFAULT_CLUSTERS
from jobmon.server.web.models import (
    Array,
    Cluster,
    ClusterType,
    Edge,
    Queue,
    Task,
    TaskHistory,
    TaskInstance,
    TaskInstanceErrorLog,
    TaskResources,
    TaskTemplate,
    TaskTemplateVersion,
    Workflow,
    WorkflowRun,
)
from jobmon.server.web.store.attempts import policies_decode
from jobmon.server.web.store.define import chunks

SHOWN_TASKS = 10
SHOWN_ATTEMPTS = 50
LAST_LINES = 10
MAX_VISITED = 20_000
"""Tasks further up that are looked at in search of one that failed."""
MAX_LEVELS = 200
USER_ACTOR = "user:"
_BY_HAND = (TaskEvent.REOPEN.value, TaskEvent.RELEASE.value, TaskEvent.COMPLETE.value)
_RUNNING = frozenset({TaskInstanceStatus.RUNNING.value, TaskInstanceStatus.TRIAGING.value})


def task_read_row(connection: Connection, task_id: int) -> Any:
    """A task with its workflow, template, queue and cluster.

    Raises:
        NotFoundError: there is no such task.
    """
    row = connection.execute(
        select(
            Task.id,
            Task.name,
            Task.status,
            Task.status_date,
            Task.node_id,
            Task.command,
            Task.task_args_hash,
            Task.array_id,
            Task.num_attempts,
            Task.max_attempts,
            Task.num_infrastructure_losses,
            Task.resource_scales,
            Task.workflow_id,
            Workflow.name.label("workflow_name"),
            Workflow.status.label("workflow_status"),
            Workflow.created_date,
            Workflow.dag_id,
            Workflow.tool_version_id,
            Workflow.max_concurrently_running.label("workflow_limit"),
            Array.max_concurrently_running.label("template_limit"),
            Array.task_template_version_id,
            Array.retry_policy,
            TaskTemplate.name.label("template_name"),
            TaskResources.requested_resources,
            Queue.name.label("queue_name"),
            Cluster.name.label("cluster_name"),
            Cluster.connection_parameters,
            ClusterType.name.label("cluster_type"),
        )
        .join(Workflow, Workflow.id == Task.workflow_id)
        .join(Array, Array.id == Task.array_id)
        .join(TaskTemplateVersion, TaskTemplateVersion.id == Array.task_template_version_id)
        .join(TaskTemplate, TaskTemplate.id == TaskTemplateVersion.task_template_id)
        .join(TaskResources, TaskResources.id == Task.task_resources_id)
        .join(Queue, Queue.id == TaskResources.queue_id)
        .join(Cluster, Cluster.id == Queue.cluster_id)
        .join(ClusterType, ClusterType.id == Cluster.cluster_type_id)
        .where(Task.id == task_id)
    ).first()
    if row is None:
        raise NotFoundError(f"There is no task {task_id}.")
    return row


def task_read_facts(connection: Connection, row: Any) -> TaskFacts:
    """What the decision about a task needs; ``row`` comes from :func:`task_read_row`."""
    status = TaskStatus(row.status)
    attempts = _attempts(connection, row.id)
    run = _latest_run(connection, row.workflow_id)
    is_waiting = status in (TaskStatus.REGISTERED, TaskStatus.ADJUSTING_RESOURCES)
    upstream_nodes = _upstream_nodes(connection, row.dag_id, row.node_id)
    upstream = (
        _upstream(connection, row.workflow_id, row.dag_id, upstream_nodes) if is_waiting else UpstreamFacts()
    )
    return TaskFacts(
        id=row.id,
        name=row.name,
        status=status,
        status_at=row.status_date,
        num_attempts=row.num_attempts,
        max_attempts=row.max_attempts,
        num_losses=row.num_infrastructure_losses,
        workflow_id=row.workflow_id,
        workflow_status=WorkflowStatus(row.workflow_status),
        template_name=row.template_name,
        cluster=row.cluster_name,
        queue=row.queue_name,
        is_local=row.cluster_type in DEFAULT_CLUSTERS,
        load=_load(connection, row, run),
        is_registered=row.created_date is not None,
        run=run,
        upstream=upstream,
        attempts=attempts,
        hand=_by_hand(connection, row, attempts, upstream_nodes),
        resource_scales=row.resource_scales,
        queue_reason=_queue_reason(connection, attempts),
        policies=policies_decode(row.retry_policy),
    )


# -- the run and what it runs ---------------------------------------------------------------------------
def _latest_run(connection: Connection, workflow_id: int) -> RunFacts | None:
    row = connection.execute(
        select(
            WorkflowRun.id,
            WorkflowRun.status,
            WorkflowRun.user,
            WorkflowRun.status_date,
            WorkflowRun.heartbeat_date,
            WorkflowRun.is_draining,
        )
        .where(WorkflowRun.workflow_id == workflow_id)
        .order_by(WorkflowRun.id.desc())
        .limit(1)
    ).first()
    return None if row is None else RunFacts(row[0], WorkflowRunStatus(row[1]), *row[2:])


def _load(connection: Connection, row: Any, run: RunFacts | None) -> LoadFacts:
    """How many attempts of the run that is alive there are now: only those are counted, whatever the workflow's size."""
    active = active_of_array = running = 0
    if run is not None and run.status in WORKFLOW_RUN_ALIVE:
        of_array = TaskInstance.array_id + 0
        counts = connection.execute(
            # A sum is no column of an index: SQLite would walk all attempts of the array for the sake of its order.
            select(of_array, TaskInstance.status, func.count())
            .where(TaskInstance.workflow_run_id == run.id, TaskInstance.status.in_(TASK_INSTANCE_LIVE))
            .group_by(of_array, TaskInstance.status)
        )
        for array_id, letter, count in counts:
            active += count
            active_of_array += count if array_id == row.array_id else 0
            running += count if letter in _RUNNING else 0
    slots = msgspec.json.decode(row.connection_parameters or "{}").get("parallelism")
    return LoadFacts(
        row.workflow_limit,
        active,
        row.template_limit,
        active_of_array,
        slots if isinstance(slots, int) else None,
        running,
    )


# -- upstream -------------------------------------------------------------------------------------------
def _upstream_nodes(connection: Connection, dag_id: int, node_id: int) -> list[int]:
    text = connection.scalar(
        select(Edge.upstream_node_ids).where(Edge.dag_id == dag_id, Edge.node_id == node_id)
    )
    return msgspec.json.decode(text or "[]", type=list[int])


def _upstream(connection: Connection, workflow_id: int, dag_id: int, nodes: Sequence[int]) -> UpstreamFacts:
    undone = _undone_tasks(connection, workflow_id, nodes)
    failed = [row for row in undone if row.status == TaskStatus.ERROR_FATAL.value]
    waiting = [row for row in undone if row.status != TaskStatus.ERROR_FATAL.value]
    shown = _neighbours(connection, [row.id for row in (failed + waiting)[:SHOWN_TASKS]])
    blockers: list[int] = []
    is_searched = True
    if undone and not failed:
        blockers, is_searched = _blockers_further_up(connection, workflow_id, dag_id, waiting)
    return UpstreamFacts(
        len(nodes), len(undone), len(failed), shown, _neighbours(connection, blockers), is_searched
    )


def _undone_tasks(connection: Connection, workflow_id: int, nodes: Sequence[int]) -> list[Any]:
    rows: list[Any] = []
    for part in chunks(sorted(nodes)):
        rows += connection.execute(
            select(Task.id, Task.node_id, Task.status)
            .where(
                Task.workflow_id == workflow_id,
                Task.node_id.in_(part),
                Task.status != TaskStatus.DONE.value,
            )
            .order_by(Task.id)
        ).all()
    return rows


def _blockers_further_up(
    connection: Connection, workflow_id: int, dag_id: int, waiting: Sequence[Any]
) -> tuple[list[int], bool]:
    """Nearest tasks above ``waiting`` that failed for good, and whether all above was looked at.

    Walks up level by level through what is not done; a done task cannot be in the way.
    """
    level = [row.node_id for row in waiting if row.status == TaskStatus.REGISTERED.value]
    visited = set(level)
    for _ in range(MAX_LEVELS):
        above: set[int] = set()
        for part in chunks(level):
            texts = connection.scalars(
                select(Edge.upstream_node_ids).where(Edge.dag_id == dag_id, Edge.node_id.in_(part))
            )
            for text in texts:
                above.update(msgspec.json.decode(text, type=list[int]))
        above -= visited
        if not above:
            return [], True
        visited |= above
        rows = _undone_tasks(connection, workflow_id, list(above))
        failed = [row.id for row in rows if row.status == TaskStatus.ERROR_FATAL.value]
        if failed:
            return failed[:SHOWN_TASKS], True
        level = [row.node_id for row in rows if row.status == TaskStatus.REGISTERED.value]
        if len(visited) > MAX_VISITED:
            return [], False
    return [], False


def _neighbours(connection: Connection, task_ids: Sequence[int]) -> list[NeighbourRow]:
    """Tasks by id, in the order given; few."""
    rows = connection.execute(select(Task.id, Task.name, Task.status).where(Task.id.in_(task_ids)))
    found = {row.id: NeighbourRow(*row) for row in rows}
    return [found[task_id] for task_id in task_ids]


# -- attempts and history -------------------------------------------------------------------------------
def _attempts(connection: Connection, task_id: int) -> list[AttemptSummary]:
    rows = connection.execute(
        select(
            TaskInstance.id,
            TaskInstance.workflow_run_id,
            TaskInstance.status,
            TaskInstance.nodename,
            TaskInstance.cause,
            Cluster.name,
            Queue.name,
            TaskResources.requested_resources,
            TaskInstance.wallclock,
            TaskInstance.distributor_id,
            TaskInstance.exit_code,
        )
        .join(TaskResources, TaskResources.id == TaskInstance.task_resources_id)
        .join(Queue, Queue.id == TaskResources.queue_id)
        .join(Cluster, Cluster.id == Queue.cluster_id)
        .where(TaskInstance.task_id == task_id)
        .order_by(TaskInstance.id.desc())
        .limit(SHOWN_ATTEMPTS)
    ).all()
    lines = _last_lines(connection, [row[0] for row in rows])
    notes = _notes(connection, task_id)
    return [
        AttemptSummary(
            *row[:3],
            nodename=row[3] or "",
            cause=row[4] or "",
            cluster=row[5],
            queue=row[6],
            requested_resources=msgspec.json.decode(row[7]),
            duration_seconds=row[8],
            distributor_id=row[9] or "",
            exit_code=row[10],
            last_lines=lines.get(row[0], []),
            note=notes.get(row[0], ""),
        )
        for row in reversed(rows)
    ]


def _notes(connection: Connection, task_id: int) -> dict[int, str]:
    """Why attempts of a task asked for something else than those before, by attempt."""
    rows = connection.execute(
        select(TaskHistory.task_instance_id, TaskHistory.note).where(
            TaskHistory.task_id == task_id, TaskHistory.note.is_not(None)
        )
    )
    return {row[0]: row[1] for row in rows if row[0] is not None and row[1] is not None}


def _queue_reason(connection: Connection, attempts: Sequence[AttemptSummary]) -> str:
    """Why the queue has not started the latest attempt, as its controller last told."""
    if not attempts or attempts[-1].status != TaskInstanceStatus.LAUNCHED:
        return ""
    found = connection.scalar(
        select(TaskInstance.queue_reason).where(TaskInstance.id == attempts[-1].task_instance_id)
    )
    return found or ""


def _last_lines(connection: Connection, task_instance_ids: Sequence[int]) -> Mapping[int, list[str]]:
    rows = connection.execute(
        select(TaskInstanceErrorLog.task_instance_id, TaskInstanceErrorLog.description)
        .where(TaskInstanceErrorLog.task_instance_id.in_(task_instance_ids))
        .order_by(TaskInstanceErrorLog.id)
    )
    return {row[0]: row[1].rstrip().splitlines()[-LAST_LINES:] for row in rows}


def _by_hand(
    connection: Connection, row: Any, attempts: Sequence[AttemptSummary], upstream_nodes: Sequence[int]
) -> HandFacts | None:
    """The last order of a user that set the task, unless an attempt came after it."""
    order = connection.execute(
        select(TaskHistory.id, TaskHistory.event, TaskHistory.actor, TaskHistory.occurred_at)
        .where(
            TaskHistory.task_id == row.id,
            TaskHistory.task_instance_id.is_(None),
            TaskHistory.event.in_(_BY_HAND),
            TaskHistory.actor.like(f"{USER_ACTOR}%"),
        )
        .order_by(TaskHistory.id.desc())
        .limit(1)
    ).first()
    if order is None:
        return None
    last = attempts[-1] if attempts else None
    if last is not None:
        was_told = connection.scalar(
            select(func.max(TaskHistory.id)).where(
                TaskHistory.task_id == row.id, TaskHistory.task_instance_id == last.task_instance_id
            )
        )
        is_over = TaskInstanceStatus(last.status) not in TASK_INSTANCE_LIVE
        if (was_told or 0) > order.id and is_over:
            return None
    is_completion = order.event == TaskEvent.COMPLETE.value
    with_upstream = (
        None if is_completion else _reset_upstream(connection, row.workflow_id, order, upstream_nodes)
    )
    return HandFacts(order.actor.removeprefix(USER_ACTOR), order.occurred_at, is_completion, with_upstream)


def _reset_upstream(
    connection: Connection, workflow_id: int, order: Any, upstream_nodes: Sequence[int]
) -> NeighbourRow | None:
    """A task directly upstream that was set by the same order."""
    for part in chunks(sorted(upstream_nodes)):
        found = connection.execute(
            select(Task.id, Task.name, Task.status)
            .join(TaskHistory, TaskHistory.task_id == Task.id)
            .where(
                Task.workflow_id == workflow_id,
                Task.node_id.in_(part),
                TaskHistory.occurred_at == order.occurred_at,
                TaskHistory.actor == order.actor,
                TaskHistory.event.in_(_BY_HAND),
            )
            .order_by(Task.id)
            .limit(1)
        ).first()
        if found is not None:
            return NeighbourRow(*found)
    return None
