"""How many workflows, runs, tasks and attempts are in which state, and who leads: figures for those who watch the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Select, func, select

from jobmon.core.states import (
    TASK_INSTANCE_LIVE,
    WORKFLOW_RUN_ALIVE,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.server.web import dialect
from jobmon.server.web.models import Lease, TaskInstance, Workflow, WorkflowRun
from jobmon.server.web.store.progress import together, workflows_progress


@dataclass(frozen=True)
class LeaseFigures:
    """One lease: who has it, since how many changes of holder, and for how long still (negative: it has run out)."""

    holder: str
    term: int
    remaining_seconds: float


@dataclass(frozen=True)
class Census:
    """What there is, by name of the state.

    Attributes:
        workflows: all workflows.
        runs: runs that are alive.
        tasks: tasks of workflows with such a run.
        attempts: live attempts of such runs.
        leases: by name of the role.
    """

    workflows: Mapping[str, int] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    leases: Mapping[str, LeaseFigures] = field(default_factory=dict)


_WORKFLOWS = select(Workflow.status, func.count()).group_by(Workflow.status)
_RUNS = (
    select(WorkflowRun.status, func.count())
    .where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
    .group_by(WorkflowRun.status)
)
_alive = select(WorkflowRun.workflow_id).where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
_ATTEMPTS = (
    select(TaskInstance.status, func.count())
    .join(WorkflowRun, WorkflowRun.id == TaskInstance.workflow_run_id)
    .where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE), TaskInstance.status.in_(TASK_INSTANCE_LIVE))
    .group_by(TaskInstance.status)
)


def census_read(connection: Connection) -> Census:
    """Count; a state without any counts as 0, so that a curve never ends."""
    return Census(
        _counts(connection, _WORKFLOWS, list(WorkflowStatus)),
        _counts(connection, _RUNS, [state for state in WorkflowRunStatus if state in WORKFLOW_RUN_ALIVE]),
        _tasks_of_alive(connection),
        _counts(
            connection, _ATTEMPTS, [state for state in TaskInstanceStatus if state in TASK_INSTANCE_LIVE]
        ),
        leases_read(connection, dialect.utcnow(connection)),
    )


def _tasks_of_alive(connection: Connection) -> dict[str, int]:
    workflows = workflows_progress(connection, list(connection.scalars(_alive)))
    total = together(progress for arrays in workflows.values() for progress in arrays.values()).by_status
    return {state.name: total.get(state.value, 0) for state in TaskStatus}


def leases_read(connection: Connection, now: datetime) -> dict[str, LeaseFigures]:
    """All leases, by name of the role."""
    rows = connection.execute(select(Lease.name, Lease.holder, Lease.term, Lease.expires_at))
    return {row[0]: LeaseFigures(row[1], row[2], (row[3] - now).total_seconds()) for row in rows}


def _counts(connection: Connection, statement: Select[str, int], states: Sequence[StrEnum]) -> dict[str, int]:
    found = {row[0]: row[1] for row in connection.execute(statement)}
    return {state.name: int(found.get(state.value, 0)) for state in states}
