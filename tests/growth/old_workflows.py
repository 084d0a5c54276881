"""Workflows that ran and ended some time ago, in a database of any kind."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, func, select, update

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, WorkflowRunEvent, WorkflowStatus
from jobmon.serializers.swarm import SyncRequest
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Base, Workflow
from jobmon.server.web.store.runs import run_apply_events
from jobmon.server.web.store.sync import run_sync
from jobmon.testing.factory import (
    MAX_INFRASTRUCTURE_LOSSES,
    MadeWorkflow,
    attempts_make,
    run_make,
    workflow_make,
)

DAY = 86_400.0
ENDS = {
    WorkflowStatus.DONE: WorkflowRunEvent.FINISH,
    WorkflowStatus.FAILED: WorkflowRunEvent.FAIL,
}
COMES_WITH_JOBMON = {
    "workflow_status",
    "workflow_run_status",
    "task_status",
    "task_instance_status",
    "arg_type",
    "task_resources_type",
    "cluster_type",
    "cluster",
    "queue",
    "id_block",
}
DEFINITIONS = {
    "tool",
    "tool_version",
    "task_template",
    "task_template_version",
    "template_arg_map",
    "arg",
    "task_attribute_type",
    "workflow_attribute_type",
}
"""What scripts may hold the ids of for days: it stays."""


def ended_workflow(
    database: Database,
    name: str,
    days_ago: float,
    status: WorkflowStatus = WorkflowStatus.DONE,
    num_tasks: int = 5,
) -> MadeWorkflow:
    """A workflow whose tasks ran, each in one attempt, and which ended so long ago."""

    def work(connection: Connection) -> MadeWorkflow:
        now = dialect.utcnow(connection)
        made = workflow_make(connection, [()] * num_tasks, now=now, name=name, user="ada", max_attempts=1)
        run = run_make(connection, made.workflow_id, now=now, user="ada")
        attempts = attempts_make(connection, made, run, list(range(num_tasks)), batch_num=1, now=now)
        told = [
            InstanceEvent(each, event)
            for each in attempts
            for event in (TaskInstanceEvent.LAUNCH, TaskInstanceEvent.START)
        ]
        told += [InstanceEvent(each, TaskInstanceEvent.FINISH, exit_code=0) for each in attempts[1:]]
        told.append(
            InstanceEvent(attempts[0], TaskInstanceEvent.FINISH, exit_code=0)
            if status is WorkflowStatus.DONE
            else InstanceEvent(attempts[0], TaskInstanceEvent.FAIL, Cause.CODE, "it failed", exit_code=1)
        )
        message = SyncRequest(told, [])
        run_sync(
            connection,
            run,
            message,
            now=now,
            actor="controller",
            max_infrastructure_losses=MAX_INFRASTRUCTURE_LOSSES,
        )
        run_apply_events(connection, run, [ENDS[status]], now=now, actor="controller")
        ended = now - timedelta(days=days_ago)
        connection.execute(update(Workflow).where(Workflow.id == made.workflow_id).values(status_date=ended))
        return made

    return database.retrying_write(work)


def counts(database: Database) -> dict[str, int]:
    """Numbers of rows of all tables that have any, but those of the rows that come with Jobmon."""
    with database.read() as connection:
        found = {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
            if table.name not in COMES_WITH_JOBMON
        }
    return {name: count for name, count in found.items() if count}
