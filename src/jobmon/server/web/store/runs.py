"""Workflow runs: at most one alive per workflow, decided under the lock of the workflow's row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, bindparam, exists, func, insert, select, update

from jobmon.core import __version__
from jobmon.core.exceptions import (
    NotFoundError,
    WorkflowAlreadyComplete,
    WorkflowNotResumable,
    WorkflowRunStateError,
)
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    TASK_INSTANCE_MAY_RUN,
    TASK_INSTANCE_NOT_STARTED,
    WORKFLOW_RUN_ALIVE,
    WORKFLOW_RUN_TERMINAL,
    Cause,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.serializers.swarm import (
    RunStateResponse,
    TakeRunRequest,
    WorkflowRunRequest,
    WorkflowRunResponse,
)
from jobmon.server.web import dialect
from jobmon.server.web.fsm import workflow_run as fsm
from jobmon.server.web.models import Array, Task, TaskInstance, Workflow, WorkflowHistory, WorkflowRun
from jobmon.server.web.store.attempts import attempts_apply_events, runs_advance_cursor
from jobmon.server.web.store.define import table_of
from jobmon.server.web.store.ownership import workflow_own_if_nobodys
from jobmon.server.web.store.remote import attempts_live

_WAITING = frozenset({WorkflowRunStatus.LINKING, WorkflowRunStatus.BOUND})
DRAIN_EVENT = "drain"
"""Name of the order to start nothing more in the history; it changes no state."""


_STATUS = select(Workflow.status).where(Workflow.id == bindparam("of_workflow"))
_RUNS = (
    select(WorkflowRun.id).where(WorkflowRun.workflow_id == bindparam("of_workflow")).order_by(WorkflowRun.id)
)


def workflow_lock(connection: Connection, workflow_id: int, *, with_attempts: bool = False) -> WorkflowStatus:
    """Lock a workflow's row; its status.

    Args:
        connection: a write transaction.
        workflow_id: the workflow.
        with_attempts: also keep its tasks and attempts as they are, for who looks at them before changing them. Events of
            attempts wait for the lock of the run these are of; all runs are locked, for attempts may outlive theirs.

    Raises:
        NotFoundError: there is no such workflow.
    """
    key = {"of_workflow": workflow_id}
    status = _found(workflow_id, connection.scalar(dialect.lock_rows(connection, _STATUS), key))
    if with_attempts:
        connection.execute(dialect.lock_rows(connection, _RUNS), key).all()
    return status


def workflow_status(connection: Connection, workflow_id: int) -> WorkflowStatus:
    """The status of a workflow."""
    return _found(workflow_id, connection.scalar(_STATUS, {"of_workflow": workflow_id}))


def _found(workflow_id: int, status: str | None) -> WorkflowStatus:
    if status is None:
        raise NotFoundError(f"There is no workflow {workflow_id}.")
    return WorkflowStatus(status)


def run_workflow_id(connection: Connection, workflow_run_id: int) -> int:
    """The workflow of a run."""
    workflow_id = connection.scalar(select(WorkflowRun.workflow_id).where(WorkflowRun.id == workflow_run_id))
    if workflow_id is None:
        raise NotFoundError(f"There is no workflow run {workflow_run_id}.")
    return workflow_id


def run_create_if_none_alive(
    connection: Connection, workflow_id: int, message: WorkflowRunRequest, now: datetime
) -> WorkflowRunResponse:
    """Create a run, or find the one of the same key.

    Raises:
        WorkflowAlreadyComplete: every task is done.
        WorkflowNotResumable: another run is alive, or the workflow is not registered completely.
    """
    status = workflow_lock(connection, workflow_id)
    found = connection.execute(
        select(WorkflowRun.id, WorkflowRun.status, WorkflowRun.last_cursor).where(
            WorkflowRun.run_key == message.run_key
        )
    ).first()
    if found is None:
        if status is WorkflowStatus.DONE:
            raise WorkflowAlreadyComplete(f"Every task of workflow {workflow_id} is done already.")
        _require_none_alive(connection, workflow_id)
        _require_bound(connection, workflow_id)
        workflow_own_if_nobodys(connection, workflow_id, message.user)
        run_id = _run_insert(connection, workflow_id, message, now)
        run_apply_event(connection, run_id, WorkflowRunEvent.LINK, now=now, actor=f"user:{message.user}")
        found = connection.execute(
            select(WorkflowRun.id, WorkflowRun.status, WorkflowRun.last_cursor).where(
                WorkflowRun.id == run_id
            )
        ).one()
    next_batch_num = _next_batch_num(connection, workflow_id)
    return WorkflowRunResponse(found.id, found.status, next_batch_num, found.last_cursor)


def _next_batch_num(connection: Connection, workflow_id: int) -> int:
    last_of_array = (
        select(TaskInstance.array_batch_num)
        .where(TaskInstance.array_id == Array.id)
        .order_by(
            TaskInstance.array_batch_num.desc()
        )  # the last entry of the index, which not every max() takes
        .limit(1)
        .correlate(Array)
        .scalar_subquery()
    )
    last_batch = connection.scalar(select(func.max(last_of_array)).where(Array.workflow_id == workflow_id))
    return (last_batch or 0) + 1


def run_take_if_waiting(
    connection: Connection, workflow_run_id: int, message: TakeRunRequest, *, now: datetime, actor: str
) -> WorkflowRunResponse:
    """Have a controller take over a run that was created; the run counts as being got ready from then on.

    Raises:
        WorkflowRunStateError: another controller took it, or it is over; or the key is that of another run.
    """
    workflow_id = run_workflow_id(connection, workflow_run_id)
    workflow_lock(connection, workflow_id)
    controller = msgspec.json.encode(message.controller).decode()
    read = select(
        WorkflowRun.status, WorkflowRun.last_cursor, WorkflowRun.run_key, WorkflowRun.controller
    ).where(WorkflowRun.id == workflow_run_id)
    run = connection.execute(read).one()
    status = WorkflowRunStatus(run.status)
    if (run.run_key, run.controller) != (message.run_key, controller):
        if status not in _WAITING:
            raise WorkflowRunStateError(
                f"Workflow run {workflow_run_id} is {status.name}: a controller can take over a run only before it "
                f"begins. Create a new one, or type: jobmon workflow resume -w {workflow_id}"
            )
        _refuse_known_key(connection, message.run_key)
        connection.execute(
            update(WorkflowRun)
            .where(WorkflowRun.id == workflow_run_id)
            .values(
                run_key=message.run_key,
                controller=controller,
                heartbeat_date=now + timedelta(seconds=message.next_report_increment),
            )
        )
        for event in (WorkflowRunEvent.BIND, WorkflowRunEvent.INSTANTIATE):
            run_apply_event(connection, workflow_run_id, event, now=now, actor=actor)
        run = connection.execute(read).one()
    return WorkflowRunResponse(
        workflow_run_id, run.status, _next_batch_num(connection, workflow_id), run.last_cursor
    )


def _refuse_known_key(connection: Connection, run_key: str) -> None:
    other = connection.scalar(select(WorkflowRun.id).where(WorkflowRun.run_key == run_key))
    if other is not None:
        raise WorkflowRunStateError(
            f"The key of this controller is that of workflow run {other}: a run has its own."
        )


def run_order_drain_if_alive(
    connection: Connection, workflow_id: int, *, now: datetime, actor: str
) -> int | None:
    """Order the run that is alive to start nothing more; its id, ``None`` when none is."""
    workflow_lock(connection, workflow_id)
    run = connection.execute(
        select(WorkflowRun.id, WorkflowRun.is_draining).where(
            WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE)
        )
    ).first()
    if run is None:
        return None
    if not run.is_draining:
        connection.execute(update(WorkflowRun).where(WorkflowRun.id == run.id).values(is_draining=True))
        connection.execute(
            insert(WorkflowHistory).values(
                workflow_id=workflow_id,
                workflow_run_id=run.id,
                cursor=runs_advance_cursor(connection, [run.id])[run.id],
                event=DRAIN_EVENT,
                occurred_at=now,
                actor=actor,
            )
        )
    return int(run.id)


def _require_none_alive(connection: Connection, workflow_id: int) -> None:
    alive = connection.execute(
        select(WorkflowRun.id, WorkflowRun.user, WorkflowRun.status).where(
            WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE)
        )
    ).first()
    if alive is not None:
        raise WorkflowNotResumable(
            f"Workflow {workflow_id} is being run already: run {alive.id} of user {alive.user} is "
            f"{WorkflowRunStatus(alive.status).name}. Wait for its end, or take it over with run(resume=True)."
        )


def _require_bound(connection: Connection, workflow_id: int) -> None:
    if connection.scalar(select(Workflow.created_date).where(Workflow.id == workflow_id)) is None:
        raise WorkflowNotResumable(
            f"Workflow {workflow_id} is not registered completely; run the script that defines it again."
        )


def _run_insert(connection: Connection, workflow_id: int, message: WorkflowRunRequest, now: datetime) -> int:
    result = connection.execute(
        insert(WorkflowRun).values(
            workflow_id=workflow_id,
            user=message.user[:150],
            jobmon_version=message.jobmon_version,
            jobmon_server_version=__version__,
            status=WorkflowRunStatus.REGISTERED.value,
            created_date=now,
            status_date=now,
            heartbeat_date=now + timedelta(seconds=message.next_report_increment),
            run_key=message.run_key,
            controller=msgspec.json.encode(message.controller).decode(),
            last_cursor=0,
            **dialect.lasting_id(connection, table_of(WorkflowRun)),
        )
    )
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def run_apply_event(
    connection: Connection,
    workflow_run_id: int,
    event: WorkflowRunEvent,
    *,
    now: datetime,
    actor: str,
    max_infrastructure_losses: int = 0,
) -> RunStateResponse:
    """Apply one event to a run and its workflow; what still lives of a run that ends is ended with it.

    But attempts on batch clusters go on, unless nothing is left to be done.
    """
    workflow_id = run_workflow_id(connection, workflow_run_id)
    workflow_status = workflow_lock(connection, workflow_id)
    statement = select(WorkflowRun.status, WorkflowRun.is_draining).where(WorkflowRun.id == workflow_run_id)
    run = connection.execute(dialect.lock_rows(connection, statement)).one()
    run_status = WorkflowRunStatus(run.status)
    if event is WorkflowRunEvent.FINISH and _is_undone(connection, workflow_id):
        event = WorkflowRunEvent.FAIL  # somebody reopened a task while its controller saw the last one done
    step = fsm.decide(workflow_run_id, run_status, workflow_status, event)
    if step is None:
        return RunStateResponse(run_status, workflow_status, run.is_draining)
    cursor = runs_advance_cursor(connection, [workflow_run_id])[workflow_run_id]
    connection.execute(
        update(WorkflowRun)
        .where(WorkflowRun.id == workflow_run_id)
        .values(status=step.run_to.value, status_date=now)
    )
    if step.workflow_to is not step.workflow_from:
        connection.execute(
            update(Workflow)
            .where(Workflow.id == workflow_id)
            .values(status=step.workflow_to.value, status_date=now)
        )
    connection.execute(
        insert(WorkflowHistory).values(
            workflow_id=workflow_id,
            workflow_run_id=workflow_run_id,
            cursor=cursor,
            event=event.value,
            run_from=step.run_from.value,
            run_to=step.run_to.value,
            workflow_from=step.workflow_from.value,
            workflow_to=step.workflow_to.value,
            occurred_at=now,
            actor=actor,
        )
    )
    if step.run_to in WORKFLOW_RUN_TERMINAL and step.run_to is not WorkflowRunStatus.TERMINATED:
        run_end_attempts(
            connection,
            workflow_run_id,
            now=now,
            actor=actor,
            losses=max_infrastructure_losses,
            kill=True,
            kill_remote=step.run_to is WorkflowRunStatus.DONE,
        )
    return RunStateResponse(step.run_to, step.workflow_to, run.is_draining)


def _is_undone(connection: Connection, workflow_id: int) -> bool:
    undone = exists().where(Task.workflow_id == workflow_id, Task.status != TaskStatus.DONE.value)
    return bool(connection.scalar(select(undone)))


def run_apply_events(
    connection: Connection,
    workflow_run_id: int,
    events: Sequence[WorkflowRunEvent],
    *,
    now: datetime,
    actor: str,
    max_infrastructure_losses: int = 0,
) -> RunStateResponse:
    """Apply events one after the other."""
    state = run_state(connection, workflow_run_id)
    for event in events:
        state = run_apply_event(
            connection,
            workflow_run_id,
            event,
            now=now,
            actor=actor,
            max_infrastructure_losses=max_infrastructure_losses,
        )
    return state


def run_state(connection: Connection, workflow_run_id: int) -> RunStateResponse:
    """Status letters of a run and of its workflow."""
    row = connection.execute(
        select(WorkflowRun.status, Workflow.status.label("workflow_status"), WorkflowRun.is_draining)
        .join(Workflow, Workflow.id == WorkflowRun.workflow_id)
        .where(WorkflowRun.id == workflow_run_id)
    ).first()
    if row is None:
        raise NotFoundError(f"There is no workflow run {workflow_run_id}.")
    return RunStateResponse(row.status, row.workflow_status, row.is_draining)


def run_heartbeat_if_alive(
    connection: Connection, workflow_run_id: int, now: datetime, seconds: float
) -> RunStateResponse:
    """Note a controller's sign of life; the state it has to obey."""
    connection.execute(
        update(WorkflowRun)
        .where(WorkflowRun.id == workflow_run_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
        .values(heartbeat_date=now + timedelta(seconds=seconds))
    )
    return run_state(connection, workflow_run_id)


def run_end_attempts(
    connection: Connection,
    workflow_run_id: int,
    *,
    now: datetime,
    actor: str,
    losses: int,
    kill: bool,
    kill_remote: bool,
) -> None:
    """End the live attempts of a run by order: those not started at once, the others by KILL_SELF.

    Args:
        connection: a write transaction.
        workflow_run_id: the run.
        now: time of the database.
        actor: who ordered it.
        losses: budget of infrastructure losses (unused by orders, part of every decision).
        kill: false leaves alone what may be running, to be adopted.
        kill_remote: the same for attempts on batch clusters, which go on without their controller.
    """
    reason = f"workflow run {workflow_run_id} ended ({actor})"
    events = [
        end_by_order(task_instance_id, status, is_remote, reason)
        for task_instance_id, status, is_remote in attempts_live(connection, workflow_run_id)
        if _must_end(status, is_remote, kill, kill_remote)
    ]
    attempts_apply_events(connection, events, now=now, actor=actor, max_infrastructure_losses=losses)


def _must_end(status: TaskInstanceStatus, is_remote: bool, kill: bool, kill_remote: bool) -> bool:
    if is_remote:
        return kill_remote and status is not TaskInstanceStatus.KILL_SELF
    return status in TASK_INSTANCE_NOT_STARTED or (kill and status in TASK_INSTANCE_MAY_RUN)


def end_by_order(
    task_instance_id: int, status: TaskInstanceStatus, is_remote: bool, reason: str
) -> InstanceEvent:
    """The order to an attempt to end: at once where nothing of it can exist, else when it is seen to have ended.

    Of a remote one a job may exist before anybody knows its id: whoever cleans up looks for it by the name of its batch.
    """
    is_nowhere = status in TASK_INSTANCE_NOT_STARTED and not is_remote
    return InstanceEvent(
        task_instance_id,
        TaskInstanceEvent.ABORT if is_nowhere else TaskInstanceEvent.KILL,
        cause=Cause.ORDERED,
        description=f"The attempt was ended by order: {reason}.",
    )
