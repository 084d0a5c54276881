"""A workflow at a glance: its templates, what failed last, what runs. Reads only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, ScalarSelect, func, select

from jobmon.core.states import WORKFLOW_BEING_RUN, WorkflowStatus
from jobmon.serializers.monitor import RunningTaskRow, TemplateProgressRow, WorkflowOverviewResponse
from jobmon.server.web.models import Array, Task, TaskInstance, Workflow, WorkflowRun
from jobmon.server.web.store import monitor
from jobmon.server.web.store.eta import (
    COMMAND_RUNS,
    workflow_read_eta,
    workflow_read_run_times,
)
from jobmon.server.web.store.failures import workflow_read_latest_failures
from jobmon.server.web.store.progress import together, workflows_progress
from jobmon.server.web.store.remote import workflow_read_conditions


def workflow_read_overview(
    connection: Connection, workflow_id: int, *, num_failures: int, num_running: int, now: datetime
) -> WorkflowOverviewResponse:
    """How far a workflow and its templates are, what failed last, what runs longest.

    Raises:
        NotFoundError: there is no such workflow.
    """
    monitor.require_workflow(connection, workflow_id)
    workflow = connection.execute(
        select(Workflow.name, Workflow.status).where(Workflow.id == workflow_id)
    ).one()
    counts = workflows_progress(connection, [workflow_id])[workflow_id]
    names = {
        row[0]: row[1]
        for row in connection.execute(select(Array.id, Array.name).where(Array.workflow_id == workflow_id))
    }
    times = workflow_read_run_times(connection, workflow_id, counts, now)
    eta = None
    if WorkflowStatus(workflow.status) in WORKFLOW_BEING_RUN:
        eta = workflow_read_eta(connection, workflow_id, counts, now, times)
    templates = []
    for array_id in sorted(counts):
        seconds = times.finished.get(array_id)
        mean = sum(seconds) / len(seconds) if seconds else None
        templates.append(TemplateProgressRow(array_id, names[array_id], counts[array_id].by_status, mean))
    latest_run = (
        select(func.max(WorkflowRun.id)).where(WorkflowRun.workflow_id == workflow_id).scalar_subquery()
    )
    return WorkflowOverviewResponse(
        workflow_id,
        workflow.name or "",
        workflow.status,
        times.run_seconds,
        together(counts.values()).by_status,
        templates,
        eta,
        workflow_read_latest_failures(connection, workflow_id, num_failures) if num_failures > 0 else [],
        run_read_longest_running(connection, latest_run, num_running, now) if times.running else [],
        workflow_read_conditions(connection, workflow_id),
    )


def run_read_longest_running(
    connection: Connection, workflow_run_id: int | ScalarSelect[int], limit: int, now: datetime
) -> list[RunningTaskRow]:
    """Attempts of a run whose command has run longest."""
    rows = connection.execute(
        select(Task.id, Task.name, TaskInstance.id, TaskInstance.nodename, TaskInstance.status_date)
        .join(Task, Task.id == TaskInstance.task_id)
        .where(TaskInstance.workflow_run_id == workflow_run_id, TaskInstance.status.in_(COMMAND_RUNS))
        .order_by(TaskInstance.status_date, TaskInstance.id)
        .limit(max(0, limit))
    )
    return [
        RunningTaskRow(row[0], row[1], row[2], row[3] or "", max(0.0, (now - row[4]).total_seconds()))
        for row in rows
    ]
