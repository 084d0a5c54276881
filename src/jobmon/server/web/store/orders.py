"""Orders of users that change tasks outside of runs: set states by hand, reset a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, func, insert, literal, select, update

from jobmon.core.exceptions import UsageError, WorkflowRunStateError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    SETTABLE_BY_HAND,
    TASK,
    TASK_INSTANCE_LIVE,
    WORKFLOW_RUN_ALIVE,
    TaskEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowEvent,
    WorkflowRunStatus,
    WorkflowStatus,
    sources,
)
from jobmon.serializers.monitor import ResetWorkflowResponse, UpdateTasksRequest, UpdateTasksResponse
from jobmon.server.web.models import (
    Task,
    TaskHistory,
    TaskInstance,
    Workflow,
    WorkflowRun,
)
from jobmon.server.web.store.attempts import attempts_apply_events, runs_advance_cursor
from jobmon.server.web.store.define import chunks
from jobmon.server.web.store.downstream import (
    require_few,
    tasks_directly_downstream,
    tasks_with_downstream,
)
from jobmon.server.web.store.outside import workflow_apply
from jobmon.server.web.store.progress import (
    RETRIES_OF_TASK,
    Changes,
    progress_add,
    progress_recount,
)
from jobmon.server.web.store.remote import is_remote
from jobmon.server.web.store.runs import end_by_order, workflow_lock
from jobmon.server.web.store.select import require_tasks_of

_SETTABLE = frozenset(
    {WorkflowStatus.FAILED, WorkflowStatus.DONE, WorkflowStatus.ABORTED, WorkflowStatus.HALTED}
)
_UNTOUCHED = frozenset({TaskStatus.REGISTERED, TaskStatus.ERROR_FATAL})
_NOT_STARTED = frozenset({TaskStatus.REGISTERED, TaskStatus.QUEUED, TaskStatus.INSTANTIATING})


@dataclass(frozen=True)
class Order:
    """Who orders something of which workflow, and the run that has to hear of it.

    Attributes:
        workflow_id: the workflow.
        user: who.
        now: time of the database.
        alive_run_id: the run that is alive; ``None`` for none.
        cursor: its new cursor.
    """

    workflow_id: int
    user: str
    now: datetime
    alive_run_id: int | None = None
    cursor: int = 0

    @property
    def actor(self) -> str:
        """The user, as history knows them."""
        return f"user:{self.user}"


# -- tasks by hand ------------------------------------------------------------------------------------
def tasks_update_by_hand(
    connection: Connection,
    workflow_id: int,
    message: UpdateTasksRequest,
    *,
    user: str,
    now: datetime,
    max_infrastructure_losses: int,
) -> tuple[UpdateTasksResponse, list[int]]:
    """Set tasks to done or to registered; the answer and the runs that have to know.

    Raises:
        NotFoundError: a task does not exist.
        UsageError: a task is of another workflow, the status is not D or G, or too many tasks are meant.
        WorkflowRunStateError: a run is alive and tasks behind the given ones have started; or these tasks alone
            are to run again and one that waits for them is done or active.
    """
    try:
        new_status = TaskStatus(message.new_status)
    except ValueError:
        new_status = TaskStatus.QUEUED
    if new_status not in SETTABLE_BY_HAND.values():
        raise UsageError(f"Tasks can be set to D (done) or G (registered), not to '{message.new_status}'.")
    status = workflow_lock(connection, workflow_id, with_attempts=True)
    if not message.task_ids:
        raise UsageError("No task is named.")
    require_few(len(set(message.task_ids)), workflow_id)
    require_tasks_of(connection, workflow_id, message.task_ids)
    alive = _alive_run(connection, workflow_id)
    if not message.is_forced:
        _require_quiet(connection, workflow_id, status, alive, message.task_ids)
    task_ids = sorted(set(message.task_ids))
    if message.is_recursive or (new_status is TaskStatus.REGISTERED and not message.is_only):
        task_ids = [row.id for row in tasks_with_downstream(connection, workflow_id, task_ids)]
    elif new_status is TaskStatus.REGISTERED:
        _require_untouched_behind(connection, workflow_id, task_ids)
    require_few(len(task_ids), workflow_id)
    if message.is_trial:
        return UpdateTasksResponse(0, len(task_ids), status), []
    order = _order(connection, workflow_id, user, now, alive)
    _end_live_attempts(connection, order, task_ids, max_infrastructure_losses)
    changed = _tasks_apply(connection, order, task_ids, new_status)
    status = _workflow_follow(connection, order, status)
    response = UpdateTasksResponse(changed, len(task_ids), status)
    return response, [] if alive is None else [alive]


def _order(connection: Connection, workflow_id: int, user: str, now: datetime, alive: int | None) -> Order:
    if alive is None:
        return Order(workflow_id, user, now)
    return Order(workflow_id, user, now, alive, runs_advance_cursor(connection, [alive])[alive])


def _alive_run(connection: Connection, workflow_id: int) -> int | None:
    run_id: int | None = connection.scalar(
        select(func.max(WorkflowRun.id)).where(
            WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE)
        )
    )
    return run_id


def _require_quiet(
    connection: Connection,
    workflow_id: int,
    status: WorkflowStatus,
    alive: int | None,
    task_ids: Sequence[int],
) -> None:
    """Refuse what would confuse a run: a workflow that runs, with tasks behind the given ones that started."""
    if status in _SETTABLE or alive is None:
        return
    started = [
        row.id
        for row in tasks_directly_downstream(connection, workflow_id, task_ids)
        if TaskStatus(row.status) not in _NOT_STARTED
    ]
    if started:
        shown = ", ".join(str(task_id) for task_id in started[:10])
        raise WorkflowRunStateError(
            f"Workflow {workflow_id} is {status.name} and tasks that wait for the given ones have started "
            f"(task {shown}). Stop it first: jobmon workflow stop {workflow_id}."
        )


def _require_untouched_behind(connection: Connection, workflow_id: int, task_ids: Sequence[int]) -> None:
    """Refuse to run tasks again without those behind them that used, or use, what they made."""
    chosen = set(task_ids)
    touched = [
        row
        for row in tasks_directly_downstream(connection, workflow_id, task_ids)
        if row.id not in chosen and TaskStatus(row.status) not in _UNTOUCHED
    ]
    if touched:
        touched.sort(key=lambda row: row.id)
        shown = ", ".join(f"{row.id} is {TaskStatus(row.status).name}" for row in touched[:10])
        more = f" and {len(touched) - 10} more" if len(touched) > 10 else ""
        raise WorkflowRunStateError(
            f"These tasks alone cannot run again: tasks that wait for them used what they made (task {shown}{more}). "
            "Let those run again as well (leave --only out), or name them too."
        )


def _end_live_attempts(
    connection: Connection, order: Order, task_ids: Sequence[int], max_infrastructure_losses: int
) -> None:
    """Order the live attempts of tasks to end: what they do is not wanted any more."""
    events: list[InstanceEvent] = []
    reason = f"{order.actor} set its task by hand"
    for part in chunks(task_ids):
        rows = connection.execute(
            select(TaskInstance.id, TaskInstance.status, is_remote()).where(
                TaskInstance.task_id.in_(part), TaskInstance.status.in_(TASK_INSTANCE_LIVE)
            )
        )
        events += [end_by_order(row[0], TaskInstanceStatus(row[1]), bool(row[2]), reason) for row in rows]
    attempts_apply_events(
        connection,
        events,
        now=order.now,
        actor=order.actor,
        max_infrastructure_losses=max_infrastructure_losses,
    )


def _tasks_apply(
    connection: Connection, order: Order, task_ids: Sequence[int], new_status: TaskStatus
) -> int:
    """Set tasks by the tables; how many changed. Attempts are counted anew for what runs again."""
    if new_status is TaskStatus.DONE:
        return sum(
            _event_apply(connection, order, TaskEvent.COMPLETE, Task.id.in_(p)) for p in chunks(task_ids)
        )
    # What may still be running is released by its end: nothing runs twice at once.
    live = exists().where(TaskInstance.task_id == Task.id, TaskInstance.status.in_(TASK_INSTANCE_LIVE))
    return sum(
        _event_apply(connection, order, TaskEvent.REOPEN, Task.id.in_(part))
        + _event_apply(connection, order, TaskEvent.RELEASE, Task.id.in_(part) & ~live)
        for part in chunks(task_ids)
    )


def _event_apply(connection: Connection, order: Order, event: TaskEvent, which: Any) -> int:
    """Apply an event to those of some tasks of a workflow whose state has it, with history."""
    after = TaskStatus.DONE if event is TaskEvent.COMPLETE else TaskStatus.REGISTERED
    where = (Task.workflow_id == order.workflow_id) & which & Task.status.in_(sources(TASK, event))
    table: Any = TaskHistory.__table__
    values: dict[str, Any] = {
        "workflow_run_id": literal(order.alive_run_id, table.c.workflow_run_id.type),
        "cursor": literal(order.cursor, table.c.cursor.type),
        "task_id": Task.id,
        "event": literal(event.value),
        "task_from": Task.status,
        "task_to": literal(after.value),
        "occurred_at": literal(order.now, table.c.occurred_at.type),
        "actor": literal(order.actor),
    }
    connection.execute(insert(table).from_select(list(values), select(*values.values()).where(where)))
    counted = _count_changes(connection, where, after)
    changes: dict[str, Any] = {"status": after.value, "status_date": order.now}
    if after is TaskStatus.REGISTERED:
        changes |= {"num_attempts": 0, "num_infrastructure_losses": 0}
    changed = int(connection.execute(update(Task).where(where).values(**changes)).rowcount)
    progress_add(connection, counted)
    return changed


def _count_changes(connection: Connection, where: Any, after: TaskStatus) -> Changes:
    """What it means for the counters that tasks of a condition get a status."""
    changes = Changes()
    counted = select(Task.array_id, Task.status, func.count(), func.sum(RETRIES_OF_TASK)).where(where)
    for array_id, letter, count, retries in connection.execute(counted.group_by(Task.array_id, Task.status)):
        changes.move(array_id, TaskStatus(letter), after, count)
        if after is TaskStatus.REGISTERED:
            changes.retry(array_id, -int(retries or 0))
    return changes


def _workflow_follow(connection: Connection, order: Order, status: WorkflowStatus) -> WorkflowStatus:
    """A workflow that no run looks after: done when all of its tasks are, open again when one is not."""
    if order.alive_run_id is not None:
        return status
    is_open = connection.scalar(
        select(exists().where(Task.workflow_id == order.workflow_id, Task.status != TaskStatus.DONE.value))
    )
    event = WorkflowEvent.REOPEN if is_open else WorkflowEvent.FINISH
    if is_open and status is not WorkflowStatus.DONE:
        return status
    if not is_open and _is_unbound(connection, order.workflow_id):
        return status
    return _workflow_apply(connection, order, status, event)


def _is_unbound(connection: Connection, workflow_id: int) -> bool:
    return connection.scalar(select(Workflow.created_date).where(Workflow.id == workflow_id)) is None


def _workflow_apply(
    connection: Connection, order: Order, status: WorkflowStatus, event: WorkflowEvent
) -> WorkflowStatus:
    return workflow_apply(connection, order.workflow_id, status, event, now=order.now, actor=order.actor)


# -- workflows ----------------------------------------------------------------------------------------
def workflow_reset_if_quiet(
    connection: Connection, workflow_id: int, *, is_partial: bool, user: str, now: datetime
) -> ResetWorkflowResponse:
    """Make every task of a workflow ready for its first attempt; ``is_partial`` leaves those that are done.

    Raises:
        WorkflowRunStateError: a run is alive, or attempts may be.
    """
    status = workflow_lock(connection, workflow_id, with_attempts=True)
    _require_none_alive(connection, workflow_id)
    order = Order(workflow_id, user, now)
    everything = Task.id.is_not(None)
    _attempts_forget(connection, workflow_id)
    changed = _event_apply(connection, order, TaskEvent.RELEASE, everything)
    if not is_partial:
        changed += _event_apply(connection, order, TaskEvent.REOPEN, everything)
        for event in (WorkflowEvent.REOPEN, WorkflowEvent.HALT, WorkflowEvent.REGISTER):
            status = _workflow_apply(connection, order, status, event)
    elif status is not WorkflowStatus.DONE:
        for event in (WorkflowEvent.HALT, WorkflowEvent.REGISTER):
            status = _workflow_apply(connection, order, status, event)
    total = progress_recount(connection, workflow_id)
    return ResetWorkflowResponse(changed, status, total.total - total.by_status.get(TaskStatus.DONE.value, 0))


def _attempts_forget(connection: Connection, workflow_id: int) -> None:
    """Count attempts anew for tasks that wait for another one."""
    connection.execute(
        update(Task)
        .where(
            Task.workflow_id == workflow_id,
            Task.status == TaskStatus.REGISTERED.value,
            (Task.num_attempts > 0) | (Task.num_infrastructure_losses > 0),
        )
        .values(num_attempts=0, num_infrastructure_losses=0)
    )


def _require_none_alive(connection: Connection, workflow_id: int) -> None:
    run = connection.execute(
        select(WorkflowRun.id, WorkflowRun.status).where(
            WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE)
        )
    ).first()
    stop = f"Stop it first: jobmon workflow stop {workflow_id}."
    if run is not None:
        raise WorkflowRunStateError(
            f"Workflow {workflow_id} cannot be reset: its run {run.id} is {WorkflowRunStatus(run.status).name}. {stop}"
        )
    live = connection.scalar(
        select(func.count())
        .select_from(TaskInstance)
        .join(WorkflowRun, WorkflowRun.id == TaskInstance.workflow_run_id)
        .where(WorkflowRun.workflow_id == workflow_id, TaskInstance.status.in_(TASK_INSTANCE_LIVE))
    )
    if live:
        raise WorkflowRunStateError(
            f"Workflow {workflow_id} cannot be reset: {live} of its attempts may still be running. {stop}"
        )
