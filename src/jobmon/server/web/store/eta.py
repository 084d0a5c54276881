"""How far workflows are, by template, and what the estimate of the remaining time is made from. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from jobmon.core.states import (
    WORKFLOW_RUN_ALIVE,
    TaskInstanceStatus,
    TaskStatus,
)
from jobmon.serializers.monitor import EtaRow
from jobmon.server.web.analysis.eta import Recent, TemplateWork, estimate, recent_of, stages
from jobmon.server.web.models import Array, TaskInstance, Workflow, WorkflowRun
from jobmon.server.web.store.progress import Progress, together
from jobmon.server.web.store.template_graph import workflow_template_graph

SAMPLE = 5000
"""Latest attempts that run times and the rate are taken from."""

SAMPLE_OF_TEMPLATE = 200
"""Attempts of a template none of which is among these."""

MAX_TEMPLATES_ASKED = 100
MAX_RUNNING = 20_000

COMMAND_RUNS = (TaskInstanceStatus.RUNNING.value, TaskInstanceStatus.TRIAGING.value)
"""Status letters of attempts whose command runs, as far as is known."""


# -- run times ------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RunTimes:
    """Run times of attempts of a workflow.

    Attributes:
        finished: seconds, of the latest that succeeded, by array.
        running: seconds so far, by array.
        recent: what was done of late.
        run_seconds: how long the latest run has taken; null: there was none.
    """

    finished: dict[int, list[float]]
    running: dict[int, list[float]]
    recent: Recent
    run_seconds: float | None


def workflow_read_run_times(
    connection: Connection, workflow_id: int, arrays: Iterable[int], now: datetime
) -> RunTimes:
    """Run times of what has finished and of what runs.

    Args:
        connection: a transaction.
        workflow_id: the workflow.
        arrays: of these at least some attempts, also when none of them is among the latest.
        now: time of the database.
    """
    runs = connection.execute(
        select(WorkflowRun.id, WorkflowRun.created_date, WorkflowRun.status, WorkflowRun.status_date)
        .where(WorkflowRun.workflow_id == workflow_id)
        .order_by(WorkflowRun.id.desc())
    ).all()
    if not runs:
        return RunTimes({}, {}, Recent(0.0, 0, 0.0), None)
    is_alive = runs[0].status in WORKFLOW_RUN_ALIVE
    end = now if is_alive else runs[0].status_date
    run_seconds = max(0.0, (end - runs[0].created_date).total_seconds())
    finished: dict[int, list[float]] = defaultdict(list)
    ends = []
    rows = _latest_done(connection, [row.id for row in runs])
    for array_id, ended_at, seconds in rows:
        finished[array_id].append(seconds)
        ends.append((max(0.0, (end - ended_at).total_seconds()), seconds))
    missing = [array_id for array_id in arrays if array_id not in finished]
    for array_id in missing[:MAX_TEMPLATES_ASKED]:
        seconds_of = _some_done(connection, array_id)
        if seconds_of:
            finished[array_id] = seconds_of
    running = _running(connection, runs[0].id, now) if is_alive else {}
    recent = recent_of(ends, run_seconds, is_cut=len(rows) >= SAMPLE)
    return RunTimes(dict(finished), running, recent, run_seconds)


def _latest_done(connection: Connection, run_ids: Sequence[int]) -> Sequence[Any]:
    """Array, end and seconds of the latest attempts that succeeded; their ids come from an index alone."""
    latest = (
        select(TaskInstance.id)
        .where(
            TaskInstance.workflow_run_id.in_(run_ids), TaskInstance.status == TaskInstanceStatus.DONE.value
        )
        .order_by(TaskInstance.id.desc())
        .limit(SAMPLE)
        .subquery()
    )
    return connection.execute(
        select(TaskInstance.array_id, TaskInstance.status_date, TaskInstance.wallclock)
        .join(latest, latest.c.id == TaskInstance.id)
        .where(TaskInstance.wallclock.is_not(None))
    ).all()


def _some_done(connection: Connection, array_id: int) -> list[float]:
    statement = (
        select(TaskInstance.wallclock)
        .where(
            TaskInstance.array_id == array_id,
            TaskInstance.status == TaskInstanceStatus.DONE.value,
            TaskInstance.wallclock.is_not(None),
        )
        .limit(SAMPLE_OF_TEMPLATE)
    )
    return [float(seconds) for seconds in connection.scalars(statement) if seconds is not None]


def _running(connection: Connection, workflow_run_id: int, now: datetime) -> dict[int, list[float]]:
    rows = connection.execute(
        select(TaskInstance.array_id, TaskInstance.status_date)
        .where(TaskInstance.workflow_run_id == workflow_run_id, TaskInstance.status.in_(COMMAND_RUNS))
        .limit(MAX_RUNNING)
    )
    running: dict[int, list[float]] = defaultdict(list)
    for array_id, since in rows:
        running[array_id].append(max(0.0, (now - since).total_seconds()))
    return dict(running)


# -- the estimate ---------------------------------------------------------------------------------------
def workflow_read_eta(
    connection: Connection,
    workflow_id: int,
    arrays: Mapping[int, Progress],
    now: datetime,
    times: RunTimes | None = None,
) -> EtaRow:
    """When a workflow that is being run may be done.

    Args:
        connection: a transaction.
        workflow_id: the workflow.
        arrays: its tasks.
        now: time of the database.
        times: its run times, where they were read already.
    """
    to_do = [array_id for array_id, counts in arrays.items() if counts.num_unfinished]
    if times is None:
        times = workflow_read_run_times(connection, workflow_id, to_do, now)
    limits = {
        row[0]: (row[1], row[2])
        for row in connection.execute(
            select(Array.id, Array.name, Array.max_concurrently_running).where(
                Array.workflow_id == workflow_id
            )
        )
    }
    graph = workflow_template_graph(connection, workflow_id).upstream if len(to_do) > 1 else {}
    order = stages({array_id: set(graph.get(array_id, ())) for array_id in to_do})
    works = []
    for array_id, counts in arrays.items():
        name, limit = limits[array_id]
        running = times.running.get(array_id, [])
        num_running = counts.by_status.get(TaskStatus.RUNNING.value, 0)
        waiting = max(0, counts.num_unfinished - max(num_running, len(running)))
        finished = times.finished.get(array_id, [])
        works.append(TemplateWork(name, waiting, running, finished, limit, order.get(array_id, 0)))
    total = together(arrays.values()).by_status
    at_most = connection.scalar(select(Workflow.max_concurrently_running).where(Workflow.id == workflow_id))
    num_done = total.get(TaskStatus.DONE.value, 0)
    return estimate(sum(total.values()), num_done, works, at_most or 0, times.recent)
