"""The pages of a template: its tasks, what they used, what went wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from page_visitor import PageVisitor
from sqlalchemy import event, update
from template_scene import DONE, FAILED, HOSTILE, LAST, RETRIED, RUNNING, WAITING, Tried

from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.core.states import TaskStatus
from jobmon.server.web.analysis.usage_shapes import Verdict, histogram_of, quantile, shape_of, verdict_of
from jobmon.server.web.database import Database
from jobmon.server.web.models import TaskInstance
from jobmon.server.web.store import template_attempts, template_page
from jobmon.server.web.ui.csv_rows import cell_of
from jobmon.server.web.ui.drawing.axis import bytes_axis, reach, seconds_axis
from jobmon.server.web.ui.drawing.histogram import histogram
from jobmon.server.web.ui.drawing.scatter import MOST_POINTS, scatter
from jobmon.server.web.ui.pages import template as template_pages
from jobmon.server.web.ui.pages.template import LIVE, task_filter
from jobmon.server.web.ui.rendering import duration, memory


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that are executed meanwhile."""
    statements: list[str] = []

    def note(*all_: Any) -> None:
        if not all_[2].startswith(("PRAGMA", "BEGIN", "SET")):
            statements.append(all_[2])

    event.listen(database.engine, "before_cursor_execute", note)
    yield statements
    event.remove(database.engine, "before_cursor_execute", note)


def shown(reader: PageVisitor, tried: Tried, query: str = "") -> list[int]:
    """Positions of the tasks in the table, in its order."""
    html = reader.get(f"{tried.base}{query}").text
    rows = html.partition('<table id="tasks">')[2].partition("</table>")[0].split("<tr>")[2:]
    ids = [int(row.partition("/ui/task/")[2].partition('"')[0]) for row in rows]
    return [tried.workflow.task_ids.index(task_id) for task_id in ids]


# -- tasks -----------------------------------------------------------------------------------------------
def test_the_tasks_are_listed_with_their_latest_attempt(reader: PageVisitor, tried: Tried) -> None:
    assert shown(reader, tried) == [DONE, RETRIED, FAILED, RUNNING, WAITING, LAST]
    text = reader.text(tried.base)
    assert "2 done" in text
    assert "1 fatal" in text
    assert "6 tasks; 2 attempts beyond the first" in text
    assert "true # {which}" in text
    assert "error fatal 2/2" in text
    assert "node2 2.0 s 102 MiB" in text
    assert f"jobmon workflow tasks {tried.workflow.workflow_id} --template step" in text


@pytest.mark.parametrize(
    ("query", "positions"),
    [
        ("?status=FATAL", [FAILED]),
        ("?status=f", [FAILED]),
        ("?status=DONE", [RETRIED, DONE]),
        ("?status=DONE&sort=id", [DONE, RETRIED]),
        ("?status=D,F&sort=last", [FAILED, RETRIED, DONE]),
        ("?status=DONE&status=FATAL", [FAILED, RETRIED, DONE]),
        ("?status=RUNNING", [RUNNING]),
        ("?status=PENDING", [LAST, WAITING]),
        ("?status=SCHEDULED", []),
        ("?sort=newest", [RUNNING, FAILED, RETRIED, DONE]),
        ("?name=STEP_0", [DONE]),
        ("?name=%25", []),
        ("?name=script&status=FATAL", [FAILED]),
        ("?arg.which=4", [WAITING]),
        ("?arg.which=4&status=D", []),
        ("?arg.which=nothing", []),
    ],
)
def test_tasks_are_filtered_and_sorted(
    reader: PageVisitor, tried: Tried, query: str, positions: list[int]
) -> None:
    assert shown(reader, tried, query) == positions


@pytest.mark.parametrize("query", ["", "?sort=newest", "?status=D,F,G,R&sort=last", "?name=e"])
def test_pages_follow_each_other_without_gap_or_overlap(
    reader: PageVisitor, tried: Tried, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Also where little is looked at in one go."""
    everything = shown(reader, tried, query)
    monkeypatch.setattr(template_pages, "PER_PAGE", 2)
    for window in (3, 20_000):
        monkeypatch.setattr(template_page, "WINDOW", window)
        monkeypatch.setattr(template_page, "WINDOWS", 1)
        found, after = [], ""
        for _ in range(10):
            found += shown(reader, tried, f"{query or '?'}{after}")
            html = reader.get(f"{tried.base}{query or '?'}{after}").text
            if 'rel="next"' not in html:
                break
            after = (
                "&after="
                + html.partition('rel="next" href="')[2].partition("after=")[2].split('"')[0].split("&")[0]
            )
        assert found == everything


def test_who_looks_for_something_rare_is_told_that_there_may_be_more(
    reader: PageVisitor, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_page, "WINDOW", 2)
    monkeypatch.setattr(template_page, "WINDOWS", 1)
    assert "Search on from here" in reader.text(f"{tried.base}?name=step_4")


@pytest.mark.parametrize("query", ["?status=NONSENSE", "?sort=size", "?arg.location=7", "?after=x"])
def test_what_is_not_understood_is_refused_with_a_page(reader: PageVisitor, tried: Tried, query: str) -> None:
    answer = reader.get(f"{tried.base}{query}")
    assert answer.status_code in (400, 422)
    assert "<h1>" in answer.text


def test_templates_that_are_not_there_are_not_found(reader: PageVisitor, tried: Tried) -> None:
    """Nor those of another workflow."""
    array_id = tried.workflow.array_id
    for path in (f"/workflow/999/template/{array_id}", f"/workflow/{tried.workflow.workflow_id}/template/99"):
        for more in ("", "/usage", "/errors", "/tasks.csv", "/usage.csv"):
            assert reader.get(path + more).status_code == 404


PAGES = ("", "?status=FATAL", "?sort=newest", "?name=step", "/usage", "/errors", "/errors?kind=1")


@pytest.mark.parametrize("path", PAGES)
def test_names_are_escaped_and_little_is_read(
    reader: PageVisitor, tried: Tried, stored: Database, path: str
) -> None:
    reader.get(tried.base + path)  # what takes long is known then
    with counted(stored) as statements:
        answer = reader.get(tried.base + path)
    assert answer.status_code == 200
    assert HOSTILE not in answer.text
    assert len(statements) <= 14
    assert "In a shell:" in answer.text


def rows_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment; filename=" in answer.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_the_tasks_are_a_file_too(reader: PageVisitor, tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pieces it is made of."""
    monkeypatch.setattr(template_pages, "CSV_PAGE", 2)
    rows = rows_of(reader.get(f"{tried.base}/tasks.csv"))
    assert [int(row["task_id"]) for row in rows] == tried.workflow.task_ids
    assert rows[RETRIED] == {
        "task_id": str(tried.workflow.task_ids[RETRIED]),
        "task_name": "step_1",
        "status": "DONE",
        "attempts": "2",
        "max_attempts": "2",
        "status_date": rows[RETRIED]["status_date"],
        "arg_which": "1",
        "last_task_instance_id": str(tried.attempts[RETRIED][1]),
        "last_status": "DONE",
        "node": "node1",
        "runtime_seconds": "12.0",
        "memory_gib": "1.0",
    }
    assert [row["status"] for row in rows_of(reader.get(f"{tried.base}/tasks.csv?status=FATAL"))] == [
        "ERROR_FATAL"
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_a_spreadsheet_takes_no_text_for_a_formula(text: str) -> None:
    assert cell_of(text) == f"'{text}"
    assert cell_of(-1) == -1
    assert cell_of("a=1") == "a=1"
    assert cell_of(None) == ""


# -- resources -------------------------------------------------------------------------------------------
def test_what_was_used_stands_against_the_request(reader: PageVisitor, tried: Tried) -> None:
    text = reader.text(f"{tried.base}/usage").replace("\u202f", " ")
    assert "5 attempts that ended" in text
    assert "At risk 1 over 90 % of the request (20 %)" in text
    assert "Fits 1" in text
    assert "Wasteful 3" in text
    assert "task_template_resources: step: dummy: memory: 1229M runtime: 60" in text
    html = reader.get(f"{tried.base}/usage").text
    assert "asked for 1 GiB" in html
    assert 'class="dots c-fatal"' in html
    assert 'role="img"' in html


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("attempt=1", 3),
        ("attempt=2", 2),
        ("attempt=3%2B", 0),
        ("outcome=done", 2),
        ("outcome=failed", 3),
        ("outcome=done&attempt=2", 1),
        ("place=dummy/nowhere", 0),
    ],
)
def test_attempts_are_chosen(reader: PageVisitor, tried: Tried, query: str, count: int) -> None:
    assert f"{count} attempt{'' if count == 1 else 's'} that ended" in reader.text(
        f"{tried.base}/usage?{query}"
    )


def test_of_many_attempts_some_are_read(
    reader: PageVisitor, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the page says so."""
    monkeypatch.setattr(template_attempts, "SAMPLED", 4)
    monkeypatch.setattr(template_attempts, "LOOKED_FOR", 2)
    monkeypatch.setattr(template_attempts, "ENOUGH", 2)
    assert "that were read: a sample" in reader.text(f"{tried.base}/usage")


def test_a_part_of_the_page_is_answered_alone(reader: PageVisitor, tried: Tried) -> None:
    reader.headers["HX-Request"] = "true"
    for name in ("usage", "errors"):
        answer = reader.get(f"{tried.base}/{name}")
        assert answer.text.strip().startswith(f'<div id="{name}" data-figure>')


def test_the_attempts_are_a_file_of_fifteen_columns(
    reader: PageVisitor, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_attempts, "PAGE", 2)
    rows = rows_of(reader.get(f"{tried.base}/usage.csv"))
    assert [int(row["task_instance_id"]) for row in rows] == sorted(
        attempt_id for ids in tried.attempts.values() for attempt_id in ids
    )
    assert len(rows[0]) == 15
    second = rows[2]
    assert (second["attempt"], second["status"], second["memory_gib"]) == ("2", "DONE", "1.0")
    assert (second["cluster"], second["node"], second["node_args"]) == ("dummy", "node1", '{"which":"1"}')
    assert second["requested_memory_gib"] in ("1", "1.0")


def test_a_template_that_never_ran_says_so(reader: PageVisitor, tried: Tried, stored: Database) -> None:
    with stored.write() as connection:
        connection.execute(update(TaskInstance).values(maxrss=None, wallclock=None))
    assert "No attempt has ended there whose memory or run time was measured" in reader.text(
        f"{tried.base}/usage"
    )


@given(st.lists(st.floats(0.001, 1e12), min_size=1, max_size=50), st.floats(0, 1))
def test_quantiles_lie_between_the_extremes(values: list[float], share: float) -> None:
    ordered = sorted(values)
    assert ordered[0] <= quantile(ordered, share) <= ordered[-1] * (1 + 1e-12)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.none() | st.floats(0.1, 1e6)), max_size=50))
def test_every_measured_attempt_is_counted_once(pairs: list[tuple[float, float | None]]) -> None:
    shape = shape_of(pairs)
    assert shape.count == sum(used > 0 for used, _ in pairs)
    if shape.count:
        assert shape.verdicts is not None
        assert sum(shape.verdicts.values()) == sum(used > 0 and asked is not None for used, asked in pairs)
        assert sum(histogram_of([used for used, _ in pairs if used > 0], shape.high, 7)) == shape.count


def test_verdicts_follow_the_share_of_the_request() -> None:
    assert verdict_of(0.95, 1) is Verdict.UNDER
    assert verdict_of(0.9, 1) is Verdict.WELL
    assert verdict_of(0.5, 1) is Verdict.WELL
    assert verdict_of(0.49, 1) is Verdict.OVER


@given(st.floats(1e-3, 1e9), st.none() | st.floats(1e-3, 1e9))
def test_an_axis_reaches_beyond_its_values_with_few_ticks(used: float, requested: float | None) -> None:
    for axis in (seconds_axis(reach(used, requested), duration), bytes_axis(reach(used * 1e6, None), memory)):
        assert axis.end > used * (1 if axis.words is duration else 1e6)
        assert 1 <= len(axis.ticks) <= 8
        assert max(axis.ticks) <= axis.end * (1 + 1e-9)


def test_very_many_attempts_are_drawn_as_density() -> None:
    """So that the page stays small."""
    x, y = seconds_axis(100, duration), bytes_axis(1e9, memory)
    points = [(i % 100 + 0.5, 1e7 * (i % 97) + 1, "done") for i in range(MOST_POINTS + 1)]
    drawing = scatter(points, x, y, (None, 5e9), ("Run time", "Memory"))
    assert 'class="density d5"' in drawing
    assert "dots" not in drawing
    assert len(drawing) < 150_000
    assert "asked for 4.66 GiB ↑" in drawing
    assert HOSTILE not in histogram([1, 0, 3], x, 20.0, HOSTILE)


# -- errors ----------------------------------------------------------------------------------------------
def test_failures_that_are_alike_are_one_kind(reader: PageVisitor, tried: Tried) -> None:
    """Of what others made good nothing is said unless it is asked for."""
    text = reader.text(f"{tried.base}/errors")
    assert "1 failed attempt, 1 kind of failure" in text
    assert "ValueError: no rows in" in text
    assert "3 failed attempts, 1 kind of failure" in reader.text(f"{tried.base}/errors?every=yes")


def test_the_failures_of_a_kind_are_looked_at_one_by_one(reader: PageVisitor, tried: Tried) -> None:
    path = f"{tried.base}/errors?every=yes&kind=1"
    first, second = reader.get(path).text, reader.get(f"{path}&sample=2").text
    assert "Failure 1 of 2 of kind 1" in first
    assert 'rel="next"' in first
    assert 'rel="prev"' not in first
    assert "Failure 2 of 2 of kind 1" in second
    assert 'rel="next"' not in second
    assert f'href="/ui{tried.task_path(FAILED)}"' in second
    assert "last line" in second
    assert "Failure 2 of 2" in reader.get(f"{path}&sample=77").text
    assert reader.get(f"{tried.base}/errors?kind=9").status_code == 404


# -- live ------------------------------------------------------------------------------------------------
def test_the_bar_is_drawn_again_when_a_task_changes(app: FastAPI, tried: Tried) -> None:
    source, key = LIVE["template"], f"{tried.workflow.workflow_id}/{tried.workflow.array_id}"
    state = app.state.jobmon
    assert source.stamp(state, key) == source.stamp(state, key)
    assert "<b>2</b> done" in source.draw(state, key)["progress"]
    for wrong in ("x", "1", "1/x", "999/1"):
        with pytest.raises(NotFoundError):
            source.stamp(state, wrong)


def test_labels_letters_and_names_are_statuses() -> None:
    assert task_filter([], ["fatal"], "", "").statuses == {TaskStatus.ERROR_FATAL}
    assert task_filter([], ["ERROR_FATAL,D"], "", "").statuses == {TaskStatus.ERROR_FATAL, TaskStatus.DONE}
    with pytest.raises(UsageError, match="no status of tasks"):
        task_filter([], ["X"], "", "")
