"""What happens to a workflow outside of runs: orders of users, and attempts that outlive their run."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, exists, insert, select, update

from jobmon.core import states
from jobmon.core.states import WORKFLOW, WORKFLOW_RUN_ALIVE, TaskStatus, WorkflowEvent, WorkflowStatus
from jobmon.server.web.models import Task, Workflow, WorkflowHistory, WorkflowRun
from jobmon.server.web.store.runs import run_workflow_id, workflow_lock


def workflow_apply(
    connection: Connection,
    workflow_id: int,
    status: WorkflowStatus,
    event: WorkflowEvent,
    *,
    now: datetime,
    actor: str,
) -> WorkflowStatus:
    """Apply an event to a workflow, whose row is locked, outside of runs; its status afterwards."""
    after = states.target(WORKFLOW, status, event)
    if not isinstance(after, WorkflowStatus):
        return status
    connection.execute(
        update(Workflow).where(Workflow.id == workflow_id).values(status=after.value, status_date=now)
    )
    connection.execute(
        insert(WorkflowHistory).values(
            workflow_id=workflow_id,
            workflow_run_id=None,
            cursor=0,
            event=event.value,
            workflow_from=status.value,
            workflow_to=after.value,
            occurred_at=now,
            actor=actor,
        )
    )
    return after


def workflow_finish_if_done(
    connection: Connection, workflow_run_id: int, *, now: datetime, actor: str
) -> WorkflowStatus:
    """Note that a workflow is done whose last tasks were done by attempts that outlived its run; its status.

    Nothing happens while a run is alive, which sees to it, or a task is not done.
    """
    workflow_id = run_workflow_id(connection, workflow_run_id)
    status = workflow_lock(connection, workflow_id)
    is_alive = exists().where(
        WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE)
    )
    is_open = exists().where(Task.workflow_id == workflow_id, Task.status != TaskStatus.DONE.value)
    if connection.scalar(select(is_alive | is_open)):
        return status
    return workflow_apply(connection, workflow_id, status, WorkflowEvent.FINISH, now=now, actor=actor)
