"""Tools and how their workflows did over time."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from jobmon.core.states import WorkflowStatus, colour_name
from jobmon.server.web import dialect
from jobmon.server.web.store.listing import WorkflowFilter, workflows_find, workflows_read_rows
from jobmon.server.web.store.trends import (
    DRAWN,
    LATEST,
    OUTCOMES,
    Activity,
    PastWorkflow,
    TemplateTrend,
    ToolTrends,
    tool_read,
    tool_read_trends,
    tools_find,
    tools_read_activity,
)
from jobmon.server.web.ui.computed import Figure
from jobmon.server.web.ui.drawing.trend import Point, durations_plot, means_line
from jobmon.server.web.ui.live import LiveSource
from jobmon.server.web.ui.page_router import Answer, PageRouter, View
from jobmon.server.web.ui.pages.workflows import Row
from jobmon.server.web.ui.rendering import duration

pages = PageRouter()
LIVE: Mapping[str, LiveSource] = {}

TOOLS_PER_PAGE = 25
LAST_PAGE = 4000
SHOWN = 20
"""Latest workflows of a tool in the table of its page."""
STAMP_SECONDS = 60
"""Figures are worked out again after so long, when somebody looks."""
WEEKS = 26
"""Outcomes are counted by week while there are no more of them than this; then by month."""


def _stamp() -> int:
    return int(time.monotonic() // STAMP_SECONDS)


@pages.page("/tools")
def tools(view: View, name: str = "", page: int = 1) -> Answer:
    """Tools by name, with what they were used for."""
    page = min(max(1, page), LAST_PAGE)
    with view.read() as connection:
        rows, total = tools_find(
            connection, name.strip(), offset=TOOLS_PER_PAGE * (page - 1), limit=TOOLS_PER_PAGE
        )
    ids = tuple(tool_id for tool_id, _ in rows)

    def work() -> dict[int, Activity]:
        with view.state.database.read() as connection:
            return tools_read_activity(connection, ids)

    found = view.computed.get(("tools", ids), _stamp(), work)
    return view.html(
        "_tools.html" if view.is_fragment else "tools.html",
        rows=rows,
        total=total,
        name=name.strip(),
        page=page,
        is_more=total > TOOLS_PER_PAGE * page,
        found=found,
        latest=LATEST,
    )


@pages.page("/tool/{tool_id}")
def tool(view: View, tool_id: int) -> Answer:
    """One tool: its latest workflows, and how they did over time."""
    with view.read() as connection:
        name, num_versions = tool_read(connection, tool_id)
        ids = workflows_find(connection, WorkflowFilter(tool_id=tool_id), limit=SHOWN).ids
        rows = workflows_read_rows(connection, ids)
    found, shown = _trends(view, tool_id)
    return view.html(
        "tool.html",
        tool_id=tool_id,
        name=name,
        num_versions=num_versions,
        rows=[Row(row) for row in rows],
        found=found,
        shown=shown,
    )


@pages.page("/tool/{tool_id}/trends")
def trends(view: View, tool_id: int) -> Answer:
    """The part of a tool's page that takes long."""
    with view.read() as connection:
        tool_read(connection, tool_id)
    if not view.is_fragment:
        return Answer("", 303, headers={"Location": view.url(f"/tool/{tool_id}")})
    found, shown = _trends(view, tool_id)
    return view.html("_tool.html", tool_id=tool_id, found=found, shown=shown)


@dataclass(frozen=True)
class ShownTrends:
    """Figures of a tool, ready for the template."""

    activity: Activity
    plot: str
    num_drawn: int
    periods: Sequence[Period]
    templates: Sequence[ShownTemplate]


def _trends(view: View, tool_id: int) -> tuple[Figure[ToolTrends], ShownTrends | None]:
    def work() -> ToolTrends:
        with view.state.database.read() as connection:
            return tool_read_trends(connection, tool_id, dialect.utcnow(connection))

    found = view.computed.get(("tool", tool_id), _stamp(), work)
    shown = None
    if found.value is not None:
        drawn = [each for each in found.value.workflows[:DRAWN] if each.run_seconds is not None]
        shown = ShownTrends(
            found.value.activity,
            durations_plot([_point(view, each) for each in drawn], "Time that workflows were run, by date"),
            len(drawn),
            periods(found.value.workflows),
            [_template(each) for each in found.value.templates],
        )
    return found, shown


def _point(view: View, each: PastWorkflow) -> Point:
    status = each.status.name.lower()
    words = f"{each.workflow_id} {each.name}: {status}, {duration(each.run_seconds)}"
    link = view.url(f"/workflow/{each.workflow_id}")
    return Point(each.submitted, each.run_seconds or 0.0, colour_name(each.status), words, link)


@dataclass
class Period:
    """Workflows that were submitted in a week or a month: how many, and what has come of them."""

    name: str
    outcomes: Counter[WorkflowStatus] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.outcomes.values())

    @property
    def num_ended(self) -> int:
        """Those that are done or failed."""
        return sum(self.outcomes[status] for status in OUTCOMES)

    @property
    def num_failed(self) -> int:
        """Those that failed."""
        return self.outcomes[WorkflowStatus.FAILED]

    @property
    def median_seconds(self) -> float | None:
        """Median of the time that they were run, as far as it is known."""
        return median(self.seconds) if self.seconds else None


def periods(workflows: Sequence[PastWorkflow]) -> list[Period]:
    """Outcomes by week, of a longer time by month, newest first."""
    by_week: OrderedDict[str, Period] = OrderedDict()
    by_month: OrderedDict[str, Period] = OrderedDict()
    for each in workflows:
        year, week, _ = each.submitted.isocalendar()
        for found, name in ((by_week, f"{year} week {week}"), (by_month, f"{each.submitted:%Y-%m}")):
            period = found.setdefault(name, Period(name))
            period.outcomes[each.status] += 1
            if each.run_seconds is not None:
                period.seconds.append(each.run_seconds)
    return list((by_week if len(by_week) <= WEEKS else by_month).values())


@dataclass(frozen=True)
class ShownTemplate:
    """Run times of a template: a line, the latest mean, what was usual before, and where the latest tasks are."""

    name: str
    line: str
    latest: float
    before: float | None
    path: str


def _template(trend: TemplateTrend) -> ShownTemplate:
    values = list(trend.means.values())
    words = "oldest to newest: " + ", ".join(duration(value) for value in values)
    return ShownTemplate(
        trend.name,
        means_line(values, words),
        values[-1],
        median(values[:-1]) if len(values) > 1 else None,
        f"/workflow/{next(reversed(trend.means))}/template/{trend.last_array_id}",
    )
