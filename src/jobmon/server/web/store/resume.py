"""Resume: order a run to hand over, see what stands in the way, make the tasks ready again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, exists, func, insert, literal, select, update
from sqlalchemy.orm import aliased

from jobmon.core.exceptions import WorkflowRunStateError
from jobmon.core.process_identity import ProcessIdentity, is_alive
from jobmon.core.states import (
    TASK,
    TASK_INSTANCE_LIVE,
    WORKFLOW_RUN,
    WORKFLOW_RUN_ALIVE,
    WORKFLOW_RUN_TERMINAL,
    TaskEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
    sources,
)
from jobmon.serializers.swarm import LiveInstance, ResetTasksResponse, ResumableResponse, UnscalableTask
from jobmon.server.web.models import (
    Batch,
    Cluster,
    Queue,
    Task,
    TaskHistory,
    TaskInstance,
    TaskResources,
    WorkflowRun,
)
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.progress import progress_recount
from jobmon.server.web.store.remote import is_remote, of_its_batch
from jobmon.server.web.store.runs import (
    end_by_order,
    run_apply_event,
    run_end_attempts,
    run_state,
    run_workflow_id,
    workflow_lock,
    workflow_status,
)


def workflow_order_resume(
    connection: Connection,
    workflow_id: int,
    *,
    cold: bool,
    dead_workflow_run_ids: Sequence[int],
    now: datetime,
    actor: str,
    losses: int,
) -> None:
    """Order the alive run to hand over; one whose controller is dead or gave no sign of life in time ends at once.

    A cold order also ends what goes on, on batch clusters, after its run.
    """
    workflow_lock(connection, workflow_id, with_attempts=True)
    order = WorkflowRunEvent.COLD_RESUME if cold else WorkflowRunEvent.HOT_RESUME
    rows = connection.execute(
        select(WorkflowRun.id, WorkflowRun.status, WorkflowRun.heartbeat_date, WorkflowRun.controller).where(
            WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE)
        )
    ).all()
    for run_id, letter, heartbeat_date, controller in rows:
        status = WorkflowRunStatus(letter)
        is_lost = run_id in dead_workflow_run_ids or (
            heartbeat_date < now and not controller_lives(controller)
        )
        if order in WORKFLOW_RUN[status]:
            run_apply_event(connection, run_id, order, now=now, actor=actor)
            run_end_attempts(
                connection, run_id, now=now, actor=actor, losses=losses, kill=cold, kill_remote=cold
            )
        if is_lost:
            final = WorkflowRunEvent.TERMINATE if order in WORKFLOW_RUN[status] else WorkflowRunEvent.ABORT
            run_apply_event(connection, run_id, final, now=now, actor=actor)
    if cold:
        reason = f"workflow {workflow_id} was stopped ({actor})"
        _remote_kill(connection, workflow_id, reason, now=now, actor=actor, losses=losses)


def _remote_kill(
    connection: Connection, workflow_id: int, reason: str, *, now: datetime, actor: str, losses: int
) -> None:
    """Order all attempts of a workflow on batch clusters to end, also those that outlived their run."""
    rows = connection.execute(
        select(TaskInstance.id, TaskInstance.status)
        .join(WorkflowRun, WorkflowRun.id == TaskInstance.workflow_run_id)
        .where(
            WorkflowRun.workflow_id == workflow_id,
            TaskInstance.status.in_(TASK_INSTANCE_LIVE - {TaskInstanceStatus.KILL_SELF}),
            is_remote(),
        )
        .order_by(TaskInstance.id)
    ).all()
    events = [end_by_order(row[0], TaskInstanceStatus(row[1]), True, reason) for row in rows]
    attempts_apply_events(connection, events, now=now, actor=actor, max_infrastructure_losses=losses)


def workflow_resumable(
    connection: Connection, workflow_id: int, now: datetime, cold: bool
) -> ResumableResponse:
    """Whether a workflow can be resumed now, and what stands in the way.

    Args:
        connection: a transaction.
        workflow_id: the workflow.
        now: time of the database.
        cold: whether every live attempt stands in the way, or only those ordered to end.
    """
    status = workflow_status(connection, workflow_id)
    alive = connection.execute(
        select(
            WorkflowRun.id,
            WorkflowRun.status,
            WorkflowRun.user,
            WorkflowRun.controller,
            WorkflowRun.heartbeat_date,
        ).where(WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
    ).first()
    if alive is None:
        pending = live_attempts(connection, workflow_id)
        blocking = [p for p in pending if cold or p.status == TaskInstanceStatus.KILL_SELF]
        return ResumableResponse(not blocking, status, pending=pending)
    return ResumableResponse(
        False,
        status,
        alive_workflow_run_id=alive.id,
        alive_run_status=alive.status,
        alive_run_user=alive.user,
        controller=_controller(alive.controller),
        lost_in_seconds=(alive.heartbeat_date - now).total_seconds(),
    )


def controller_lives(text: str) -> bool:
    """Whether the process that hosts a run is seen to be alive from here, whatever the clocks say."""
    identity = _controller(text)
    return identity is not None and is_alive(identity) is True


def _controller(text: str) -> ProcessIdentity | None:
    try:
        return msgspec.json.decode(text, type=ProcessIdentity)
    except msgspec.DecodeError:
        return None


def live_attempts(connection: Connection, workflow_id: int) -> list[LiveInstance]:
    """Attempts of a workflow that may still exist on a cluster."""
    return _live_instances(connection, WorkflowRun.workflow_id == workflow_id)


def run_live_attempts(connection: Connection, workflow_run_id: int) -> list[LiveInstance]:
    """Attempts of a run, adopted ones among them, that may still exist on a cluster."""
    run_workflow_id(connection, workflow_run_id)
    return _live_instances(connection, WorkflowRun.id == workflow_run_id)


def _live_instances(connection: Connection, of_whom: Any) -> list[LiveInstance]:
    rows = connection.execute(
        select(
            TaskInstance.id,
            TaskInstance.task_id,
            TaskInstance.workflow_run_id,
            TaskInstance.status,
            Cluster.name,
            func.coalesce(TaskInstance.distributor_id, ""),
            func.coalesce(TaskInstance.nodename, ""),
            func.coalesce(TaskInstance.process_group_id, 0),
            WorkflowRun.run_key,
            TaskInstance.array_id,
            TaskInstance.array_batch_num,
            TaskInstance.array_step_id,
            TaskInstance.task_resources_id,
            func.coalesce(Batch.name, ""),
            func.coalesce(Batch.num_steps, 0),
        )
        .join(WorkflowRun, WorkflowRun.id == TaskInstance.workflow_run_id)
        .join(TaskResources, TaskResources.id == TaskInstance.task_resources_id)
        .join(Queue, Queue.id == TaskResources.queue_id)
        .join(Cluster, Cluster.id == Queue.cluster_id)
        .outerjoin(Batch, of_its_batch())
        .where(of_whom, TaskInstance.status.in_(TASK_INSTANCE_LIVE))
        .order_by(TaskInstance.id)
    )
    return [LiveInstance(*row) for row in rows]


_RESETTABLE = tuple(state for state in sources(TASK, TaskEvent.RELEASE) if state is not TaskStatus.DONE)


def tasks_reset_if_undone(
    connection: Connection, workflow_id: int, *, now: datetime, actor: str
) -> ResetTasksResponse:
    """Make every task that is not done, and has no live attempt, ready for its first attempt."""
    workflow_lock(connection, workflow_id, with_attempts=True)
    runs = connection.scalars(select(WorkflowRun.id).where(WorkflowRun.workflow_id == workflow_id)).all()
    live = select(TaskInstance.task_id).where(
        TaskInstance.workflow_run_id.in_(runs), TaskInstance.status.in_(TASK_INSTANCE_LIVE)
    )
    undone: Any = (Task.workflow_id == workflow_id) & Task.status.in_(_RESETTABLE) & Task.id.not_in(live)
    _history_from_tasks(connection, undone, TaskEvent.RELEASE, TaskStatus.REGISTERED, now, actor)
    reset = connection.execute(
        update(Task)
        .where(undone)
        .values(status=TaskStatus.REGISTERED.value, status_date=now)
        .execution_options(synchronize_session=False)
    )
    connection.execute(
        update(Task)
        .where(
            Task.workflow_id == workflow_id,
            Task.status == TaskStatus.REGISTERED.value,
            (Task.num_attempts > 0) | (Task.num_infrastructure_losses > 0),
        )
        .values(num_attempts=0, num_infrastructure_losses=0)
    )
    total = progress_recount(connection, workflow_id)
    return ResetTasksResponse(reset.rowcount, total.by_status.get(TaskStatus.DONE.value, 0))


def _history_from_tasks(
    connection: Connection, where: Any, event: TaskEvent, after: TaskStatus, now: datetime, actor: str
) -> None:
    """Append one line of history for each task of a condition that is about to change to ``after``."""
    columns = [
        "workflow_run_id",
        "cursor",
        "task_id",
        "event",
        "task_from",
        "task_to",
        "occurred_at",
        "actor",
    ]
    table = TaskHistory.__table__
    connection.execute(
        insert(table).from_select(  # type: ignore[arg-type]
            columns,
            select(
                literal(None, table.c.workflow_run_id.type),
                literal(0, table.c.cursor.type),
                Task.id,
                literal(event.value),
                Task.status,
                literal(after.value),
                literal(now, table.c.occurred_at.type),
                literal(actor),
            ).where(where),
        )
    )


def _starved(workflow_id: int) -> Any:
    """Tasks of a workflow that are not done and whose latest attempt ended for want of resources."""
    later = aliased(TaskInstance)
    is_latest = ~exists().where(later.task_id == TaskInstance.task_id, later.id > TaskInstance.id)
    return (
        select(Task.id)
        .join(TaskInstance, TaskInstance.task_id == Task.id)
        .where(
            Task.workflow_id == workflow_id,
            Task.status != TaskStatus.DONE.value,
            TaskInstance.status == TaskInstanceStatus.RESOURCE_ERROR.value,
            is_latest,
        )
    )


def _unscalable(connection: Connection, starved: Any) -> UnscalableTask | None:
    """One of these tasks whose stored scales name a function."""
    statement = (
        select(func.min(Task.id), Task.resource_scales)
        .where(Task.id.in_(starved))
        .group_by(Task.resource_scales)
    )
    for task_id, text in connection.execute(statement):
        if text and any(isinstance(scale, str) for scale in msgspec.json.decode(text).values()):
            return UnscalableTask(task_id, text)
    return None


def run_take_tasks(
    connection: Connection,
    workflow_run_id: int,
    *,
    adopt: bool,
    now: datetime,
    actor: str,
    increase_resources: bool = False,
    max_infrastructure_losses: int = 0,
) -> ResetTasksResponse:
    """Prepare the tasks of a workflow for a new run, which adopts the attempts that live, where asked to.

    Where not, what still lives on batch clusters is ordered to end, and the new run sees to it.

    With ``increase_resources`` the answer names the tasks that are to ask for more; if one of them cannot, nothing is
    changed.

    Raises:
        WorkflowRunStateError: the run is over: another one may have taken the tasks since.
    """
    workflow_id = run_workflow_id(connection, workflow_run_id)
    workflow_lock(connection, workflow_id, with_attempts=True)
    status = WorkflowRunStatus(run_state(connection, workflow_run_id).status)
    if status in WORKFLOW_RUN_TERMINAL:
        raise WorkflowRunStateError(
            f"Workflow run {workflow_run_id} is {status.name}: it was ended before it began. "
            f"To run what is not done: jobmon workflow run {workflow_id}"
        )
    starved = _starved(workflow_id)
    to_increase: list[int] = []
    if increase_resources:
        unscalable = _unscalable(connection, starved)
        if unscalable is not None:
            return ResetTasksResponse(0, 0, unscalable=unscalable)
        to_increase = list(connection.scalars(starved.order_by(Task.id)))
    if not adopt:  # what a cold order has not ended yet: the new controller sees it through
        reason = f"run {workflow_run_id} begins anew"
        _remote_kill(connection, workflow_id, reason, now=now, actor=actor, losses=max_infrastructure_losses)
    ids = [
        instance.task_instance_id
        for instance in live_attempts(connection, workflow_id)
        if adopt or instance.job_name
    ]
    for start in range(0, len(ids), 1000):
        connection.execute(
            update(TaskInstance)
            .where(TaskInstance.id.in_(ids[start : start + 1000]))
            .values(workflow_run_id=workflow_run_id)
        )
    answer = tasks_reset_if_undone(connection, workflow_id, now=now, actor=actor)
    answer.to_increase = to_increase
    return answer
