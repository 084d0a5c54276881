"""Workflows of several tools and users in a database, as the list of workflows is tried with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.swarm import SyncRequest
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Tool, ToolVersion, Workflow
from jobmon.server.web.store import runs
from jobmon.server.web.store.attributes import workflow_set_attributes
from jobmon.server.web.store.sync import run_sync
from jobmon.testing.factory import (
    MAX_INFRASTRUCTURE_LOSSES,
    MadeWorkflow,
    attempts_make,
    run_make,
    workflow_make,
)

HOSTILE = "<script>alert(1)</script>"


def listed(
    database: Database,
    name: str,
    *,
    user: str = "ada",
    tool: str = "life",
    args: str | None = None,
    attributes: Mapping[str, str] | None = None,
    run: WorkflowRunEvent | None = None,
    submitted: datetime | None = None,
    num_tasks: int = 2,
) -> MadeWorkflow:
    """A workflow; ``run``: how its one run ended, ``START``: it has not."""

    def work(connection: Connection) -> MadeWorkflow:
        now = dialect.utcnow(connection)
        made = workflow_make(connection, [()] * num_tasks, now=now, user=user, name=name)
        _move(connection, made.tool_version_id, tool)
        changes: dict[str, object] = {"workflow_args": name if args is None else args}
        if submitted is not None:
            changes["created_date"] = submitted
        connection.execute(update(Workflow).where(Workflow.id == made.workflow_id).values(**changes))
        workflow_set_attributes(connection, made.workflow_id, attributes or {})
        if run is not None:
            run_id = run_make(connection, made.workflow_id, now=now, user=user)
            if run is not WorkflowRunEvent.START:
                runs.run_apply_event(connection, run_id, run, now=now, actor="controller")
        return made

    return database.retrying_write(work)


def _move(connection: Connection, tool_version_id: int, tool: str) -> None:
    """Give a version to a tool."""
    tool_id = connection.scalar(select(Tool.id).where(Tool.name == tool))
    if tool_id is None:
        connection.execute(insert(Tool).values(name=tool))
        tool_id = connection.scalar(select(Tool.id).where(Tool.name == tool))
    connection.execute(update(ToolVersion).where(ToolVersion.id == tool_version_id).values(tool_id=tool_id))


def finish_tasks(database: Database, made: MadeWorkflow, user: str, seconds: float) -> None:
    """Run a workflow whose tasks wait for nothing to its end; each task takes so long."""

    def work(connection: Connection) -> None:
        now = dialect.utcnow(connection)
        run_id = run_make(connection, made.workflow_id, now=now, user=user)
        positions = range(len(made.task_ids))
        attempts = attempts_make(connection, made, run_id, positions, batch_num=1, now=now)
        events = [
            InstanceEvent(attempt, event, **details)
            for attempt in attempts
            for event, details in (
                (TaskInstanceEvent.LAUNCH, {"distributor_id": str(attempt)}),
                (TaskInstanceEvent.START, {}),
                (TaskInstanceEvent.FINISH, {"wallclock": seconds}),
            )
        ]
        run_sync(
            connection,
            run_id,
            SyncRequest(events, []),
            now=now,
            actor="controller",
            max_infrastructure_losses=MAX_INFRASTRUCTURE_LOSSES,
        )
        runs.run_apply_event(connection, run_id, WorkflowRunEvent.FINISH, now=now, actor="controller")

    database.retrying_write(work)
