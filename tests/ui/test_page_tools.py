"""The pages of tools: what they were used for, and how their workflows did over time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from page_visitor import PageVisitor

from jobmon.core.states import WorkflowRunEvent, WorkflowStatus
from jobmon.server.web.database import Database
from jobmon.server.web.store.trends import PastWorkflow, TemplateTrend
from jobmon.server.web.ui.drawing.trend import Point, durations_plot, means_line
from jobmon.server.web.ui.pages import tool as tools
from listing_scene import HOSTILE, finish_tasks, listed
from processes import wait_until

DAY = datetime(2026, 3, 2, 12)  # noqa: DTZ001 - as the database has it; a Monday


def test_no_tools_yet(reader: PageVisitor) -> None:
    """The page says what makes one, and where nothing is found, how to go back."""
    assert "There are no tools yet" in reader.text("/tools")
    assert "No tool matches" in reader.text("/tools?name=zzz")


def test_the_list_of_tools(reader: PageVisitor, stored: Database) -> None:
    """With the figures once they are known, asked for by the page itself."""
    made = listed(stored, "one", tool=f"life {HOSTILE}")
    listed(stored, "two", tool=f"life {HOSTILE}", user="bob", run=WorkflowRunEvent.FAIL)
    listed(stored, "three", tool="death")

    def known() -> bool:
        return "being worked out" not in reader.text("/tools")

    wait_until(known, "the figures")
    page = reader.get("/tools?name=life").text
    wait_until(lambda: "100\u202f%" in reader.get("/tools?name=life").text, "the figures of these tools")
    page = reader.get("/tools?name=life").text
    assert HOSTILE not in page
    assert f"life {HOSTILE}".replace("<", "&lt;").replace(">", "&gt;") in page
    assert "1 of 1" in page
    assert ">death<" not in page
    assert f'href="/ui/workflow/{made.workflow_id + 1}"' in page
    reader.headers["HX-Request"] = "true"
    part = reader.get("/tools?name=life").text
    assert part.lstrip().startswith("<section data-figure")
    assert "<html" not in part


def test_pages_of_tools(reader: PageVisitor, stored: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow each other by name."""
    for name in ("b", "a", "c"):
        listed(stored, name, tool=f"tool {name}")
    monkeypatch.setattr(tools, "TOOLS_PER_PAGE", 2)
    page = reader.get("/tools?name=tool+").text
    assert page.index("tool a") < page.index("tool b")
    assert "tool c" not in page
    assert 'href="/ui/tools?name=tool&amp;page=2"' in page


def test_one_tool(reader: PageVisitor, stored: Database) -> None:
    """Its latest workflows at once, the rest when it has been worked out."""
    first = listed(stored, f"first {HOSTILE}", num_tasks=1)
    finish_tasks(stored, first, "ada", 75.0)
    second = listed(stored, "second", run=WorkflowRunEvent.FAIL)
    tool_id = _tool_id(reader, "life")
    assert f'href="/ui/workflow/{second.workflow_id}"' in reader.get(f"/tool/{tool_id}").text

    def known() -> bool:
        return "being worked out" not in reader.text(f"/tool/{tool_id}")

    wait_until(known, "the figures")
    page = reader.get(f"/tool/{tool_id}").text
    assert HOSTILE not in page
    assert "<circle" in page
    assert "1 min 15 s" in page
    assert f'href="/ui/workflow/{first.workflow_id}/template/{first.array_id}"' in page
    assert f"jobmon workflow status -w {second.workflow_id} -w {first.workflow_id}" in page
    assert "50\u202f%" in page
    assert f"/ui/?user=%2A&amp;tool_id={tool_id}" in page
    assert "second" in reader.text(f"/?user=*&tool_id={tool_id}")
    assert reader.get(f"/tool/{tool_id}/trends").status_code == 303
    reader.headers["HX-Request"] = "true"
    assert reader.get(f"/tool/{tool_id}/trends").text.lstrip().startswith("<div data-figure")


def _tool_id(reader: PageVisitor, name: str) -> int:
    page = reader.get(f"/tools?name={name}").text
    return int(page.partition('href="/ui/tool/')[2].partition('"')[0])


@pytest.mark.parametrize("path", ["/tool/77", "/tool/77/trends"])
def test_an_unknown_tool(reader: PageVisitor, path: str) -> None:
    """Is said to be unknown."""
    answer = reader.get(path)
    assert answer.status_code == 404
    assert "There is no tool 77" in answer.text


# -- what is shown, as pure functions ---------------------------------------------------------------------
def past(days: int, status: WorkflowStatus, seconds: float | None = 5.0) -> PastWorkflow:
    return PastWorkflow(days, f"w{days}", status, DAY - timedelta(days=days), seconds)


def test_outcomes_by_week() -> None:
    """A week without workflows is left out."""
    done, failed, halted = WorkflowStatus.DONE, WorkflowStatus.FAILED, WorkflowStatus.HALTED
    found = tools.periods([past(0, done, 1.0), past(1, failed), past(2, halted, None), past(15, done)])
    assert [each.name for each in found] == ["2026 week 10", "2026 week 9", "2026 week 7"]
    assert [(each.total, each.num_ended, each.num_failed) for each in found] == [
        (1, 1, 0),
        (2, 1, 1),
        (1, 1, 0),
    ]
    assert [each.median_seconds for each in found] == [1.0, 5.0, 5.0]


def test_outcomes_of_a_long_time_by_month() -> None:
    """Weeks would be too many."""
    found = tools.periods([past(7 * week, WorkflowStatus.DONE) for week in range(60)])
    assert [each.name for each in found][:2] == ["2026-03", "2026-02"]
    assert sum(each.total for each in found) == 60


def test_no_outcomes() -> None:
    """Of no workflows."""
    assert tools.periods([]) == []


def test_the_line_of_a_template_says_its_values() -> None:
    """Who cannot see it hears them."""
    assert 'aria-label="oldest to newest: 1 min"' in tools._template(TemplateTrend("fit", {3: 60.0}, 9)).line
    two = tools._template(TemplateTrend("fit", {3: 60.0, 5: 90.0}, 9))
    assert (two.latest, two.before, two.path) == (90.0, 60.0, "/workflow/5/template/9")


@pytest.mark.parametrize(
    "seconds", [[0.0], [0.0, 1e9], [3.0, 3.0], [0.02, 50.0, 4000.0], [1.0], [86400.0 * 400]]
)
def test_points_lie_inside_the_plot(seconds: list[float]) -> None:
    """However short or long the durations are, and also where all are the same."""
    points = [Point(DAY + timedelta(hours=i), s, "done", HOSTILE, "/w") for i, s in enumerate(seconds)]
    drawn = str(durations_plot(points, "title"))
    assert drawn.count("<circle") == len(seconds)
    assert HOSTILE not in drawn
    for circle in drawn.split("<circle")[1:]:
        x, y = (float(circle.partition(f'{name}="')[2].partition('"')[0]) for name in ("cx", "cy"))
        assert 0 <= x <= 900
        assert 0 <= y <= 260
    assert "<text" in drawn


def test_what_failed_has_a_shape_of_its_own() -> None:
    """It is seen without its colour."""
    drawn = str(
        durations_plot([Point(DAY, 1.0, "fatal", "w", "/w"), Point(DAY, 2.0, "done", "w", "/w")], "title")
    )
    assert drawn.count('<path class="c-fatal"') == drawn.count("<circle") == 1


def test_nothing_to_draw() -> None:
    """No points, no plot."""
    assert durations_plot([], "title") == ""
    assert means_line([], "") == ""
    assert "<path" in means_line([0.0], "none")
