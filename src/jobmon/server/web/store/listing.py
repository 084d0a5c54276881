"""The list of workflows: which are looked for, and what is shown of each. Reads only.

Rules
-----
1. However many workflows there are, one request looks at a bounded number of the latest (:data:`SPAN`), and says how far back
   that was, so that the search can go on from there.
2. Conditions are written so that no database follows an index of one of them and sorts what it finds: the primary key, newest
   first, is the way in.
3. What is sorted by anything but the id are the latest :data:`COUNTED` that match; so many are counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, case, exists, func, literal, or_, select

from jobmon.core.states import TaskStatus, WorkflowStatus
from jobmon.server.web.models import (
    ArrayProgress,
    Tool,
    ToolVersion,
    Workflow,
    WorkflowAttribute,
    WorkflowAttributeType,
    WorkflowRun,
)
from jobmon.server.web.store.progress import STATUS_COLUMNS

SPAN: Final = 100_000
"""Ids that one request looks at."""
SPAN_OF_TEXTS: Final = 10_000
"""The same where long texts or attributes are compared."""
COUNTED: Final = 10_000
MOST_VERSIONS: Final = 1000
MOST_ATTRIBUTES: Final = 2000
"""Attributes read for one page."""
ARGS_CHARACTERS: Final = 200
SORTS: Final = ("id", "name", "status", "owner", "submitted", "tool")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a text must be or must not be; nothing at all: it may be anything."""

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.wanted or self.unwanted)


@dataclass(frozen=True, slots=True)
class WorkflowFilter:
    """Which workflows are looked for.

    Attributes:
        users: of these owners; ``*`` stands for anything.
        tools: of tools of these names; ``*`` stands for anything.
        names, args: their name, or their args, have these texts in them.
        attributes: they have attributes of these names.
        values: an attribute (one of those) has these texts in its value.
        statuses: letters.
        ids: ids as text; where some are wanted, nothing else is looked at.
        tool_id: of this tool; ``None``: of any.
        submitted_from, submitted_to: registered on these days (UTC), or between them.
    """

    users: Choice = Choice()
    tools: Choice = Choice()
    names: Choice = Choice()
    args: Choice = Choice()
    attributes: Choice = Choice()
    values: Choice = Choice()
    statuses: Choice = Choice()
    ids: Choice = Choice()
    tool_id: int | None = None
    submitted_from: date | None = None
    submitted_to: date | None = None

    @property
    def span(self) -> int:
        """Ids that are looked at."""
        return SPAN_OF_TEXTS if self.args or self.attributes or self.values else SPAN


@dataclass(frozen=True, slots=True)
class Found:
    """A page of what was found.

    Attributes:
        ids: workflows, in their order.
        total: how many there are; more than :data:`COUNTED`: more than that.
        is_more: whether another page follows.
        older: below this id nothing was looked at yet; ``None``: everything was.
    """

    ids: Sequence[int]
    total: int
    is_more: bool
    older: int | None


@dataclass(frozen=True, slots=True)
class ListedWorkflow:
    """What is shown of a workflow.

    Attributes:
        workflow_id, name, owner: of it; empty where nobody knows.
        args: the beginning of its args.
        attributes: some of them.
        status: its status.
        submitted: when it was registered completely; ``None``: it is not yet.
        changed: when its status changed last.
        tool_id, tool: its tool.
        num_runs: how often it was run.
        by_status: number of tasks by status letter.
    """

    workflow_id: int
    name: str
    owner: str
    args: str
    status: WorkflowStatus
    submitted: datetime | None
    changed: datetime
    tool_id: int
    tool: str
    num_runs: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    by_status: Mapping[str, int] = field(default_factory=dict)


# -- which ones -----------------------------------------------------------------------------------------
def workflows_find(
    connection: Connection,
    wanted: WorkflowFilter,
    *,
    sort: str = "id",
    is_descending: bool = True,
    offset: int = 0,
    limit: int = 50,
    before: int | None = None,
) -> Found:
    """A page of workflows.

    Args:
        connection: a transaction.
        wanted: which are looked for.
        sort: one of :data:`SORTS`.
        is_descending: the largest, or the newest, first.
        offset, limit: which page; there are none beyond :data:`COUNTED`.
        before: look only at ids below this one; ``None``: at the latest.
    """
    least, newest = connection.execute(_ENDS).one()
    if newest is None:
        return Found([], 0, False, None)
    top = newest + 1 if before is None else min(before, newest + 1)
    low = least if wanted.ids.wanted else max(least, top - wanted.span)
    conditions = _conditions(connection, wanted)
    matching = select(Workflow.id).where(Workflow.id < top, Workflow.id >= low, *conditions)
    # All of them at once: who is in few workflows would otherwise be looked for twice, for the page and for the number.
    everything = list(connection.scalars(_ordered(matching, sort, is_descending)))
    end = offset + limit
    ids = everything[offset:end][: max(0, COUNTED - offset)]
    is_more = min(len(everything), COUNTED) > end
    older = low if low > least else None
    if len(everything) > COUNTED:
        older = ids[-1] if ids and (sort, is_descending) == ("id", True) else None
    return Found(ids, len(everything), is_more, None if is_more else older)


_ENDS = select(
    select(func.min(Workflow.id)).scalar_subquery(), select(func.max(Workflow.id)).scalar_subquery()
)


def _ordered(matching: Select[Any], sort: str, is_descending: bool) -> Select[Any]:
    if sort == "id" and is_descending:
        return matching.order_by(Workflow.id.desc()).limit(COUNTED + 1)
    keys = [Workflow.id] if sort == "id" else _sort_keys(sort)
    labelled = [key.label(f"key_{number}") for number, key in enumerate(keys)]
    latest = matching.add_columns(*labelled).order_by(Workflow.id.desc()).limit(COUNTED + 1).subquery()
    columns = [latest.c[label.name] for label in labelled]
    return select(latest.c.id).order_by(
        *(column.desc() if is_descending else column for column in columns), latest.c.id.desc()
    )


def _sort_keys(sort: str) -> list[Any]:
    if sort == "submitted":  # what is not complete yet is the newest, on every database
        return [case((Workflow.created_date.is_(None), 1), else_=0), Workflow.created_date]
    if sort == "status":
        ranks = {status.value: rank for rank, status in enumerate(WorkflowStatus)}
        return [case(ranks, value=Workflow.status, else_=len(ranks))]
    if sort == "tool":
        name = (
            select(Tool.name)
            .join(ToolVersion, ToolVersion.tool_id == Tool.id)
            .where(ToolVersion.id == Workflow.tool_version_id)
        )
        return [func.lower(name.scalar_subquery())]
    column: Any = {"name": Workflow.name, "owner": Workflow.owner}[sort]
    return [func.lower(func.coalesce(column, ""))]


def _conditions(connection: Connection, wanted: WorkflowFilter) -> list[Any]:
    conditions = [
        *_is_like(Workflow.owner, wanted.users),
        *_has(Workflow.name, wanted.names),
        *_has(Workflow.workflow_args, wanted.args),
        *_statuses(wanted.statuses),
        *_ids(wanted.ids),
        *_of_tools(connection, wanted),
        *_has_attributes(wanted.attributes, wanted.values),
    ]
    if wanted.submitted_from is not None:
        conditions.append(Workflow.created_date >= _midnight(wanted.submitted_from))
    if wanted.submitted_to is not None:
        conditions.append(Workflow.created_date < _midnight(wanted.submitted_to) + timedelta(days=1))
    return conditions


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - times of the database are naive UTC


def _is_like(column: Any, choice: Choice) -> list[Any]:
    """The whole of a text; case counts where there is no ``*``."""
    text = func.coalesce(column, "")

    def one_of(values: Collection[str]) -> Any:
        plain = [value for value in values if "*" not in value]
        patterns = [text.ilike(_pattern(value), escape="/") for value in values if "*" in value]
        return or_(*([text.in_(plain)] if plain else []), *patterns)

    return _both(choice, one_of)


def _pattern(value: str) -> str:
    for special in "/%_":
        value = value.replace(special, f"/{special}")
    return value.replace("*", "%")


def _has(column: Any, choice: Choice) -> list[Any]:
    """A part of a text, whatever its case."""
    text = func.coalesce(column, "")
    return _both(choice, lambda values: or_(*(text.icontains(value, autoescape=True) for value in values)))


def _both(choice: Choice, one_of: Any) -> list[Any]:
    found = [one_of(choice.wanted)] if choice.wanted else []
    return [*found, ~one_of(choice.unwanted)] if choice.unwanted else found


def _statuses(choice: Choice) -> list[Any]:
    return _both(choice, lambda letters: func.coalesce(Workflow.status, "").in_(letters))


def _ids(choice: Choice) -> list[Any]:
    return _both(choice, lambda ids: Workflow.id.in_([int(number) for number in ids]))


def _of_tools(connection: Connection, wanted: WorkflowFilter) -> list[Any]:
    if wanted.tool_id is None and not wanted.tools:
        return []
    versions = select(ToolVersion.id)
    if wanted.tool_id is not None:
        versions = versions.where(ToolVersion.tool_id == wanted.tool_id)
    if wanted.tools:
        versions = versions.join(Tool, Tool.id == ToolVersion.tool_id).where(
            *_is_like(Tool.name, wanted.tools)
        )
    known = list(connection.scalars(versions.limit(MOST_VERSIONS + 1)))  # a list is searched faster
    is_all = len(known) <= MOST_VERSIONS
    return [func.coalesce(Workflow.tool_version_id, 0).in_(known if is_all else versions)]


def _has_attributes(names: Choice, values: Choice) -> list[Any]:
    of_workflow = exists(literal(1)).where(WorkflowAttribute.workflow_id == Workflow.id)

    def named(some: Collection[str]) -> Any:
        types = select(WorkflowAttributeType.id).where(WorkflowAttributeType.name.in_(some))
        return WorkflowAttribute.type_id.in_(types)

    def has_value(some: Collection[str]) -> Any:
        value = func.coalesce(WorkflowAttribute.value, "")
        has = or_(*(value.icontains(each, autoescape=True) for each in some))
        return of_workflow.where(has, *([named(names.wanted)] if names.wanted else []))

    conditions = _both(names, lambda some: of_workflow.where(named(some)))
    return [*conditions, *_both(values, has_value)]


# -- what is shown of them ------------------------------------------------------------------------------
def workflows_read_rows(connection: Connection, workflow_ids: Sequence[int]) -> list[ListedWorkflow]:
    """What is shown of workflows, in the order of their ids here; those that do not exist are absent."""
    if not workflow_ids:
        return []
    rows = connection.execute(_ROWS.where(Workflow.id.in_(workflow_ids))).all()
    counted = select(WorkflowRun.workflow_id, func.count()).where(WorkflowRun.workflow_id.in_(workflow_ids))
    runs = {row[0]: row[1] for row in connection.execute(counted.group_by(WorkflowRun.workflow_id))}
    attributes = _attributes(connection, workflow_ids)
    totals = workflows_read_totals(connection, workflow_ids)
    by_id = {
        row.id: ListedWorkflow(
            row.id,
            row.name or "",
            row.owner or "",
            row.args or "",
            WorkflowStatus(row.status),
            row.created_date,
            row.status_date,
            row.tool_id,
            row.tool_name,
            runs.get(row.id, 0),
            attributes.get(row.id, {}),
            totals.get(row.id, {}),
        )
        for row in rows
    }
    return [by_id[workflow_id] for workflow_id in workflow_ids if workflow_id in by_id]


_ROWS = (
    select(
        Workflow.id,
        Workflow.name,
        Workflow.owner,
        func.substr(Workflow.workflow_args, 1, ARGS_CHARACTERS + 1).label("args"),
        Workflow.status,
        Workflow.created_date,
        Workflow.status_date,
        Tool.id.label("tool_id"),
        Tool.name.label("tool_name"),
    )
    .join(ToolVersion, ToolVersion.id == Workflow.tool_version_id)
    .join(Tool, Tool.id == ToolVersion.tool_id)
)


def _attributes(connection: Connection, workflow_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    rows = connection.execute(
        select(WorkflowAttribute.workflow_id, WorkflowAttributeType.name, WorkflowAttribute.value)
        .join(WorkflowAttributeType, WorkflowAttributeType.id == WorkflowAttribute.type_id)
        .where(WorkflowAttribute.workflow_id.in_(workflow_ids))
        .order_by(WorkflowAttribute.workflow_id.desc(), WorkflowAttribute.type_id)
        .limit(MOST_ATTRIBUTES)
    )
    found: dict[int, dict[str, str]] = {}
    for workflow_id, name, value in rows:
        found.setdefault(workflow_id, {})[name] = value or ""
    return found


_TOTALS: Any = select(
    ArrayProgress.workflow_id,
    *(func.sum(ArrayProgress.__table__.c[name]) for name in STATUS_COLUMNS.values()),
).group_by(ArrayProgress.workflow_id)


def workflows_read_totals(connection: Connection, workflow_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Tasks by status letter of workflows, all of their templates together; those without tasks are absent."""
    letters = [TaskStatus(status).value for status in STATUS_COLUMNS]
    rows = connection.execute(_TOTALS.where(ArrayProgress.workflow_id.in_(workflow_ids)))
    return {
        row[0]: {letter: int(count) for letter, count in zip(letters, row[1:], strict=True) if count}
        for row in rows
    }


@dataclass(frozen=True, slots=True)
class ChangingWorkflow:
    """What changes of a workflow while somebody looks: its status, since when, and its tasks by status letter."""

    status: WorkflowStatus
    changed: datetime
    by_status: Mapping[str, int]


def workflows_read_changing(
    connection: Connection, workflow_ids: Sequence[int]
) -> dict[int, ChangingWorkflow]:
    """What may have changed of workflows; those that do not exist are absent."""
    totals = workflows_read_totals(connection, workflow_ids)
    rows = connection.execute(
        select(Workflow.id, Workflow.status, Workflow.status_date).where(Workflow.id.in_(workflow_ids))
    )
    return {row[0]: ChangingWorkflow(WorkflowStatus(row[1]), row[2], totals.get(row[0], {})) for row in rows}
