"""What the pages of one workflow show beyond what the command line reads. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import (
    WORKFLOW_RUN_ALIVE,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.server.web.models import (
    Array,
    ArrayProgress,
    Tool,
    ToolVersion,
    Workflow,
    WorkflowHistory,
    WorkflowRun,
)
from jobmon.server.web.store.progress import STATUS_COLUMNS
from jobmon.server.web.store.trace import controller_place

EVENTS_ON_A_PAGE: Final = 100
RUNS_ON_A_PAGE: Final = 50
TEXT_CHARACTERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run of a workflow; times are naive UTC.

    Attributes:
        hostname, pid: where its controller is; empty and 0: not known.
        due: when its next sign of life is due.
        is_draining: it was ordered to start nothing more.
    """

    id: int
    user: str
    status: WorkflowRunStatus
    version: str
    server_version: str
    created: datetime
    changed: datetime
    due: datetime
    hostname: str
    pid: int
    is_draining: bool

    @property
    def is_alive(self) -> bool:
        """Whether it goes on."""
        return self.status in WORKFLOW_RUN_ALIVE


@dataclass(frozen=True, slots=True)
class Head:
    """What every page of a workflow says of it; times are naive UTC.

    Attributes:
        limit: at most so many of its tasks run at once; 0: it is paused.
        run: the latest run; null: there was none.
        num_runs: how many there were.
    """

    id: int
    name: str
    description: str
    workflow_args: str
    tool_id: int
    tool_name: str
    owner: str
    status: WorkflowStatus
    changed: datetime
    created: datetime | None
    limit: int
    run: RunRow | None
    num_runs: int


def workflow_read_head(connection: Connection, workflow_id: int) -> Head:
    """What a workflow is and how it stands.

    Raises:
        NotFoundError: there is no such workflow.
    """
    row = connection.execute(
        select(
            Workflow.name,
            func.substr(Workflow.description, 1, TEXT_CHARACTERS).label("description"),
            func.substr(Workflow.workflow_args, 1, TEXT_CHARACTERS).label("workflow_args"),
            Workflow.owner,
            Workflow.status,
            Workflow.status_date,
            Workflow.created_date,
            Workflow.max_concurrently_running,
            Tool.id.label("tool_id"),
            Tool.name.label("tool_name"),
        )
        .join(ToolVersion, ToolVersion.id == Workflow.tool_version_id)
        .join(Tool, Tool.id == ToolVersion.tool_id)
        .where(Workflow.id == workflow_id)
    ).first()
    if row is None:
        raise NotFoundError(f"There is no workflow {workflow_id}.")
    runs = workflow_read_runs(connection, workflow_id, limit=1)
    count = select(func.count()).where(WorkflowRun.workflow_id == workflow_id)
    return Head(
        workflow_id,
        row.name or "",
        row.description or "",
        row.workflow_args or "",
        row.tool_id,
        row.tool_name,
        row.owner or (runs[0].user if runs else ""),
        WorkflowStatus(row.status),
        row.status_date,
        row.created_date,
        row.max_concurrently_running,
        runs[0] if runs else None,
        connection.scalar(count) or 0,
    )


def workflow_read_runs(
    connection: Connection, workflow_id: int, *, before: int | None = None, limit: int = RUNS_ON_A_PAGE
) -> list[RunRow]:
    """Runs of a workflow, newest first; those with ids below ``before``."""
    statement = select(WorkflowRun.__table__).where(WorkflowRun.workflow_id == workflow_id)
    if before is not None:
        statement = statement.where(WorkflowRun.id < before)
    rows = connection.execute(statement.order_by(WorkflowRun.id.desc()).limit(limit))
    return [
        RunRow(
            row.id,
            row.user,
            WorkflowRunStatus(row.status),
            row.jobmon_version,
            row.jobmon_server_version,
            row.created_date,
            row.status_date,
            row.heartbeat_date,
            *controller_place(row.controller),
            row.is_draining,
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class ArrayRow:
    """The tasks of a template of a workflow: their id, name, and how many may run at once."""

    id: int
    name: str
    limit: int


def workflow_read_arrays(connection: Connection, workflow_id: int) -> list[ArrayRow]:
    """Arrays of a workflow, in the order in which they were made."""
    rows = connection.execute(
        select(Array.id, Array.name, Array.max_concurrently_running)
        .where(Array.workflow_id == workflow_id)
        .order_by(Array.id)
    )
    return [ArrayRow(*row) for row in rows]


def workflow_read_stamp(connection: Connection, workflow_id: int) -> tuple[Any, ...]:
    """Changes whenever what the page of a workflow shows may have changed; a handful of rows.

    Raises:
        NotFoundError: there is no such workflow.
    """
    row = connection.execute(
        select(Workflow.status, Workflow.status_date, Workflow.max_concurrently_running).where(
            Workflow.id == workflow_id
        )
    ).first()
    if row is None:
        raise NotFoundError(f"There is no workflow {workflow_id}.")
    run = connection.execute(
        select(WorkflowRun.id, WorkflowRun.last_cursor, WorkflowRun.heartbeat_date, WorkflowRun.is_draining)
        .where(WorkflowRun.workflow_id == workflow_id)
        .order_by(WorkflowRun.id.desc())
        .limit(1)
    ).first()
    sums = [func.sum(ArrayProgress.__table__.c[name]) for name in STATUS_COLUMNS.values()]
    counts = connection.execute(
        select(*sums, func.sum(ArrayProgress.num_retries)).where(ArrayProgress.workflow_id == workflow_id)
    ).one()
    return (*row, *(run or ()), *(int(count or 0) for count in counts))


# -- history --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class EventRow:
    """A line of the history of a workflow; what did not change is null."""

    id: int
    workflow_run_id: int | None
    event: str
    run_from: WorkflowRunStatus | None
    run_to: WorkflowRunStatus | None
    workflow_from: WorkflowStatus | None
    workflow_to: WorkflowStatus | None
    occurred_at: datetime
    actor: str


def workflow_read_events(
    connection: Connection, workflow_id: int, *, before: int | None, limit: int = EVENTS_ON_A_PAGE
) -> Sequence[EventRow]:
    """Lines of the history of a workflow with ids below ``before``, newest first."""
    statement = select(WorkflowHistory.__table__).where(WorkflowHistory.workflow_id == workflow_id)
    if before is not None:
        statement = statement.where(WorkflowHistory.id < before)
    rows = connection.execute(statement.order_by(WorkflowHistory.id.desc()).limit(limit))
    return [
        EventRow(
            row.id,
            row.workflow_run_id,
            row.event,
            WorkflowRunStatus(row.run_from) if row.run_from else None,
            WorkflowRunStatus(row.run_to) if row.run_to else None,
            WorkflowStatus(row.workflow_from) if row.workflow_from else None,
            WorkflowStatus(row.workflow_to) if row.workflow_to else None,
            row.occurred_at,
            row.actor,
        )
        for row in rows
    ]
