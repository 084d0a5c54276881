"""Tools, and how their workflows did over time. Reads only.

What is asked of many workflows at once takes long where there are many: it is meant to be worked out beside the requests.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import fmean
from typing import Any, Final

from sqlalchemy import Connection, func, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import WORKFLOW_RUN_ALIVE, TaskInstanceStatus, WorkflowRunStatus, WorkflowStatus
from jobmon.server.web.models import Array, TaskInstance, Tool, ToolVersion, Workflow, WorkflowRun

LATEST: Final = 100
"""Latest workflows of a tool that its failure rate and its users are taken from."""
DRAWN: Final = 200
"""Latest workflows of a tool whose durations are shown."""
COUNTED_BY_DATE: Final = 2000
"""Latest workflows of a tool whose outcomes are counted by week or month."""
COMPARED: Final = 20
"""Latest workflows of a tool that the run times of its templates are compared over."""
MOST_TEMPLATES: Final = 15
SAMPLE: Final = 200
"""Attempts of a template in a workflow that its mean run time is taken from."""
OUTCOMES: Final = frozenset({WorkflowStatus.DONE, WorkflowStatus.FAILED})
"""What a workflow comes to by itself; the others go on, or were ended by order."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a tool was used for.

    Attributes:
        num_workflows: all of them.
        last_id, last_date: the latest, and when it was registered.
        num_ended, num_failed: of the latest :data:`LATEST` those that are done or failed, and those that failed.
        users: who owns the most of the latest, with the number of them.
    """

    num_workflows: int = 0
    last_id: int | None = None
    last_date: datetime | None = None
    num_ended: int = 0
    num_failed: int = 0
    users: Sequence[tuple[str, int]] = ()


# -- tools ------------------------------------------------------------------------------------------------
def tools_find(
    connection: Connection, text: str, *, offset: int, limit: int
) -> tuple[list[tuple[int, str]], int]:
    """Ids and names of tools whose name has a text in it, by name; and how many there are."""
    named = select(Tool.id, Tool.name)
    if text:
        named = named.where(Tool.name.icontains(text, autoescape=True))
    total = connection.scalar(select(func.count()).select_from(named.subquery())) or 0
    page = named.order_by(func.lower(Tool.name), Tool.id).offset(offset).limit(limit)
    return [(row[0], row[1]) for row in connection.execute(page)], total


def tools_read_activity(connection: Connection, tool_ids: Sequence[int]) -> dict[int, Activity]:
    """What tools were used for; those without workflows are absent."""
    counted = (
        select(ToolVersion.tool_id, func.count(Workflow.id))
        .join(Workflow, Workflow.tool_version_id == ToolVersion.id)
        .where(ToolVersion.tool_id.in_(tool_ids))
        .group_by(ToolVersion.tool_id)
    )
    counts: dict[int, int] = {row[0]: row[1] for row in connection.execute(counted)}
    latest: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(_latest_of(tool_ids)):
        latest[row.tool_id].append(row)
    return {tool_id: _activity(count, latest[tool_id]) for tool_id, count in counts.items()}


def _latest_of(tool_ids: Sequence[int]) -> Any:
    """The latest workflows of each tool, newest first; ranked by their ids alone, which indexes hold."""
    place = func.row_number().over(partition_by=ToolVersion.tool_id, order_by=Workflow.id.desc())
    ranked = (
        select(Workflow.id, ToolVersion.tool_id, place.label("place"))
        .join(ToolVersion, ToolVersion.id == Workflow.tool_version_id)
        .where(ToolVersion.tool_id.in_(tool_ids))
        .subquery()
    )
    return (
        select(ranked.c.tool_id, Workflow.id, Workflow.status, Workflow.owner, Workflow.created_date)
        .join(ranked, ranked.c.id == Workflow.id)
        .where(ranked.c.place <= LATEST)
        .order_by(Workflow.id.desc())
    )


def _activity(num_workflows: int, rows: Sequence[Any]) -> Activity:
    outcomes = Counter(WorkflowStatus(row.status) for row in rows)
    users = Counter(row.owner for row in rows if row.owner)
    return Activity(
        num_workflows,
        rows[0].id if rows else None,
        rows[0].created_date if rows else None,
        sum(outcomes[status] for status in OUTCOMES),
        outcomes[WorkflowStatus.FAILED],
        users.most_common(3),
    )


def tool_read(connection: Connection, tool_id: int) -> tuple[str, int]:
    """Name of a tool, and how many versions it has.

    Raises:
        NotFoundError: there is no such tool.
    """
    name = connection.scalar(select(Tool.name).where(Tool.id == tool_id))
    if name is None:
        raise NotFoundError(f"There is no tool {tool_id}.")
    versions = select(func.count()).select_from(ToolVersion).where(ToolVersion.tool_id == tool_id)
    return name, connection.scalar(versions) or 0


# -- one tool over time -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PastWorkflow:
    """A workflow of a tool.

    Attributes:
        workflow_id, name: of it.
        status: what has come of it.
        submitted: when it was registered.
        run_seconds: how long it was run, all runs together; ``None``: it never was, or it is too old to be shown.
    """

    workflow_id: int
    name: str
    status: WorkflowStatus
    submitted: datetime
    run_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TemplateTrend:
    """Mean run time of a template of tasks in the latest workflows of a tool.

    Attributes:
        name: the template.
        means: seconds by workflow id, oldest first.
        last_array_id: its tasks in the latest of them.
    """

    name: str
    means: Mapping[int, float] = field(default_factory=dict)
    last_array_id: int = 0


@dataclass(frozen=True, slots=True)
class ToolTrends:
    """How a tool did.

    Attributes:
        activity: what it was used for.
        workflows: its latest ones, newest first.
        templates: run times of its templates.
    """

    activity: Activity
    workflows: Sequence[PastWorkflow]
    templates: Sequence[TemplateTrend]


def tool_read_trends(connection: Connection, tool_id: int, now: datetime) -> ToolTrends:
    """How the latest workflows of a tool did."""
    activity = tools_read_activity(connection, [tool_id]).get(tool_id, Activity())
    workflows = _past_workflows(connection, tool_id, now)
    ran = [each.workflow_id for each in workflows[:DRAWN] if each.run_seconds is not None]
    return ToolTrends(activity, workflows, _template_trends(connection, ran[:COMPARED]))


def _past_workflows(connection: Connection, tool_id: int, now: datetime) -> list[PastWorkflow]:
    ids = (
        select(Workflow.id)
        .join(ToolVersion, ToolVersion.id == Workflow.tool_version_id)
        .where(ToolVersion.tool_id == tool_id)
        .order_by(Workflow.id.desc())
        .limit(COUNTED_BY_DATE)
        .subquery()
    )
    rows = connection.execute(
        select(Workflow.id, Workflow.name, Workflow.status, Workflow.created_date)
        .join(ids, ids.c.id == Workflow.id)
        .where(Workflow.created_date.is_not(None))
        .order_by(Workflow.id.desc())
    ).all()
    seconds = workflows_read_run_seconds(connection, [row.id for row in rows[:DRAWN]], now)
    return [
        PastWorkflow(
            row.id, row.name or "", WorkflowStatus(row.status), row.created_date, seconds.get(row.id)
        )
        for row in rows
    ]


def workflows_read_run_seconds(
    connection: Connection, workflow_ids: Sequence[int], now: datetime
) -> dict[int, float]:
    """How long workflows were run, all runs together; those that never were are absent."""
    rows = connection.execute(
        select(
            WorkflowRun.workflow_id, WorkflowRun.created_date, WorkflowRun.status, WorkflowRun.status_date
        ).where(WorkflowRun.workflow_id.in_(workflow_ids))
    )
    seconds: dict[int, float] = defaultdict(float)
    for workflow_id, begin, status, changed in rows:
        end = now if WorkflowRunStatus(status) in WORKFLOW_RUN_ALIVE else changed
        seconds[workflow_id] += max(0.0, (end - begin).total_seconds())
    return dict(seconds)


def _template_trends(connection: Connection, workflow_ids: Sequence[int]) -> list[TemplateTrend]:
    """Run times of the templates of workflows, in the order in which the latest one has them."""
    arrays = connection.execute(
        select(Array.id, Array.workflow_id, Array.name)
        .where(Array.workflow_id.in_(workflow_ids))
        .order_by(Array.workflow_id.desc(), Array.id)
        .limit(COMPARED * MOST_TEMPLATES * 10)
    ).all()
    names = list(dict.fromkeys(row.name for row in arrays))[:MOST_TEMPLATES]
    means: dict[str, dict[int, float]] = {name: {} for name in names}
    last: dict[str, int] = {}
    for row in reversed(arrays):
        if row.name in means and (mean := _mean_seconds(connection, row.id)) is not None:
            means[row.name][row.workflow_id] = mean
            last[row.name] = row.id
    return [TemplateTrend(name, means[name], last[name]) for name in names if means[name]]


def _mean_seconds(connection: Connection, array_id: int) -> float | None:
    statement = (
        select(TaskInstance.wallclock)
        .where(
            TaskInstance.array_id == array_id,
            TaskInstance.status == TaskInstanceStatus.DONE.value,
            TaskInstance.wallclock.is_not(None),
        )
        .limit(SAMPLE)
    )
    seconds = [float(each) for each in connection.scalars(statement) if each is not None]
    return fmean(seconds) if seconds else None
