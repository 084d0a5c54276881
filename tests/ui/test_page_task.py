"""The page of a task: why it is where it is, its attempts and what they wrote, what stands around it."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from page_visitor import PageVisitor
from sqlalchemy import update
from template_scene import DONE, FAILED, HOSTILE, LAST, RETRIED, RUNNING, WAITING, Tried
from test_page_template import counted

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import TaskStatus
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import TaskInstance
from jobmon.server.web.store import neighbourhood
from jobmon.server.web.store.neighbourhood import Neighbour, Neighbourhood
from jobmon.server.web.ui.drawing.neighbourhood import neighbourhood_drawing
from jobmon.server.web.ui.log_text import clean_log
from jobmon.server.web.ui.pages import task as task_pages
from jobmon.server.web.ui.pages.task import LIVE
from jobmon.testing.factory import workflow_make


def test_a_task_that_failed_tells_why(reader: PageVisitor, tried: Tried) -> None:
    """From the reason to the last line that it wrote, on one page."""
    text = reader.text(tried.task_path(FAILED))
    assert "error fatal since" in text
    assert "2 of 2 attempts" in text
    assert "It failed for good" in text
    assert "its command failed (exit code 3)" in text
    assert "ValueError: no rows in" in text
    assert f"fit {HOSTILE}" in text
    assert "102 MiB of 1 GiB" in text
    assert f"/logs/{HOSTILE}.e" in text
    assert "node2" in text
    assert "which (node arg) 2" in text
    assert f"jobmon task explain {tried.workflow.task_ids[FAILED]}" in text


@pytest.mark.parametrize(
    ("position", "words"),
    [
        (DONE, "done since"),
        (RETRIED, "2 of 2 attempts"),
        (RUNNING, "running since"),
        (WAITING, "It was never tried"),
        (LAST, "upstream"),
    ],
)
def test_every_state_is_explained(reader: PageVisitor, tried: Tried, position: int, words: str) -> None:
    path = tried.task_path(position)
    assert words in reader.text(path)
    assert "<li>" in reader.get(path).text.partition('id="why"')[2].partition("</ol>")[0]


def test_what_is_worked_out_beside_is_a_page_and_a_part(reader: PageVisitor, tried: Tried) -> None:
    path = f"{tried.task_path(LAST)}/why"
    assert f"Why task {tried.workflow.task_ids[LAST]}" in reader.text(path)
    reader.headers["HX-Request"] = "true"
    assert reader.get(path).text.strip().startswith('<div id="why" data-figure>')


@pytest.mark.parametrize("path", ["", "/graph", "/graph?up=4&down=4", "/attempt/{attempt}", "/why"])
@pytest.mark.parametrize("position", [FAILED, LAST])
def test_what_is_hostile_is_escaped_and_little_is_read(
    reader: PageVisitor, tried: Tried, stored: Database, path: str, position: int
) -> None:
    if "{attempt}" in path and position == LAST:
        position = RETRIED
    path = tried.task_path(position) + path.format(attempt=tried.attempts.get(position, [0])[0])
    reader.get(path)
    with counted(stored) as statements:
        answer = reader.get(path)
    assert answer.status_code == 200
    assert HOSTILE not in answer.text
    assert "\x1b" not in answer.text
    assert "\x07" not in answer.text
    assert len(statements) <= 25
    assert "In a shell:" in answer.text


def test_an_attempt_has_a_page_with_its_history(reader: PageVisitor, tried: Tried) -> None:
    """Which the page of the task loads as a part."""
    path = f"{tried.task_path(FAILED)}/attempt/{tried.attempts[FAILED][0]}"
    text = reader.text(path)
    assert "Attempt 1 of" in text
    assert "progress 2" in text
    assert "progress 1" not in text
    assert "How its status changed" in text
    assert f'hx-get="/ui{path}"' in reader.get(tried.task_path(FAILED)).text
    reader.headers["HX-Request"] = "true"
    assert reader.get(path).text.strip().startswith('<div class="attempt"')


def test_long_logs_are_cut_to_their_end(reader: PageVisitor, tried: Tried, stored: Database) -> None:
    with stored.write() as connection:
        connection.execute(update(TaskInstance).values(stdout_log="beginning\n" + "é" * 1_000_000 + "\nend"))
    html = reader.get(tried.task_path(FAILED)).text
    assert "beginning" not in html
    assert "end</pre>" in html
    assert len(html.encode()) < 150_000


def test_what_is_not_there_is_not_found(reader: PageVisitor, tried: Tried) -> None:
    """Nor are attempts of other tasks."""
    other = tried.attempts[DONE][0]
    for path in (
        "/task/999",
        "/task/999/graph",
        "/task/999/why",
        f"{tried.task_path(FAILED)}/attempt/{other}",
    ):
        answer = reader.get(path)
        assert answer.status_code == 404
        assert "Not found" in answer.text


# -- around it -------------------------------------------------------------------------------------------
def test_the_tasks_around_are_drawn_and_listed(reader: PageVisitor, tried: Tried) -> None:
    html = reader.get(f"{tried.task_path(LAST)}/graph?up=2&down=2").text
    drawing = html.partition('<svg class="drawing neighbourhood"')[2].partition("</svg>")[0]
    assert drawing.count("<a ") == 6
    assert drawing.count('class="edge"') == 5
    assert 'class="c-fatal"' in drawing
    assert "5 tasks directly upstream, 0 directly downstream" in reader.text(f"{tried.task_path(LAST)}/graph")
    listed = html.partition('id="level-1"')[2].partition("</table>")[0]
    assert listed.count('href="/ui/task/') == 5


def test_of_many_neighbours_those_that_failed_are_shown(
    reader: PageVisitor, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how many more there are."""
    monkeypatch.setattr(task_pages, "PER_LEVEL", 2)
    html = reader.get(f"{tried.task_path(LAST)}/graph").text
    assert "and 3 more" in html
    listed = html.partition('id="level-1"')[2].partition("</table>")[0]
    assert "error fatal" in listed
    assert "running" in listed


def test_of_very_long_lists_the_beginning_is_read(
    reader: PageVisitor, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of direct neighbours is exact all the same."""
    monkeypatch.setattr(neighbourhood, "LIST_CHARACTERS", 4)
    html = reader.get(f"{tried.task_path(LAST)}/graph").text
    assert "5 tasks directly upstream" in html
    assert html.partition('<svg class="drawing neighbourhood"')[2].partition("</svg>")[0].count("<a ") < 6
    assert "more" in html


def test_a_chain_is_drawn_as_far_as_is_asked(reader: PageVisitor, stored: Database, tried: Tried) -> None:
    with stored.write() as connection:
        chain = workflow_make(connection, [[], [0], [1], [2], [3], [4], [5]], now=dialect.utcnow(connection))
    middle = chain.task_ids[3]
    for up, down, count in ((0, 0, 1), (1, 2, 4), (9, 9, 7), (-1, 0, 1)):
        html = reader.get(f"/task/{middle}/graph?up={up}&down={down}").text
        assert html.partition('neighbourhood"')[2].partition("</svg>")[0].count("<a ") == count


def test_tasks_are_where_their_step_is() -> None:
    """Left what comes before, right what comes after; names are escaped and cut."""
    tasks = [
        Neighbour(1, "middle", TaskStatus.RUNNING, 0),
        Neighbour(2, HOSTILE * 3, TaskStatus.DONE, -1),
        Neighbour(3, "after", TaskStatus.REGISTERED, 1),
    ]
    drawing = neighbourhood_drawing(
        Neighbourhood(tasks, [(2, 1), (1, 3)], {1: 1240}), lambda task_id: f"/t/{task_id}?a=1&b=2"
    )
    assert HOSTILE not in drawing
    assert 'href="/t/1?a=1&amp;b=2" aria-current="page"' in drawing
    assert "and 1\u202f240 more" in drawing
    lefts = {
        task_id: float(drawing.partition(f"/t/{task_id}?")[2].partition(' x="')[2].partition('"')[0])
        for task_id in (1, 2, 3)
    }
    assert lefts[2] < lefts[1] < lefts[3]


# -- logs and live ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a\x1b[31;1mb\x1b[0mc", "abc"),
        ("\x1b]0;title\x07text", "text"),
        ("10%\r20%\r30%\nnext", "30%\nnext"),
        ("dos\r\nlines\r\n", "dos\nlines\n"),
        ("a\x00\x08b\tc", "ab\tc"),
        ("safe\u202etxt.exe", "safetxt.exe"),
        ("open \x1b]8;;http://x", "open "),
        ("cut \x1b", "cut "),
    ],
)
def test_logs_are_plain_text(text: str, plain: str) -> None:
    assert clean_log(text) == plain


@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b[]\r\n\x07m;31")))
def test_no_log_has_control_characters_left(text: str) -> None:
    """And cleaning it again changes nothing."""
    cleaned = clean_log(text)
    assert not any(ord(each) < 32 and each not in "\n\t" for each in cleaned)
    assert clean_log(cleaned) == cleaned


def test_status_and_attempts_are_drawn_again_when_they_change(
    app: FastAPI, stored: Database, tried: Tried
) -> None:
    source, key = LIVE["task"], str(tried.workflow.task_ids[RUNNING])
    state = app.state.jobmon
    before = source.stamp(state, key)
    assert before == source.stamp(state, key)
    parts = source.draw(state, key)
    assert "running" in parts["status"]
    assert f"/ui/task/{key}/attempt/" in parts["attempts"]
    with stored.write() as connection:
        connection.execute(
            update(TaskInstance)
            .where(TaskInstance.id == tried.attempts[RUNNING][0])
            .values(queue_reason="Priority")
        )
    assert before != source.stamp(state, key)
    with pytest.raises(NotFoundError):
        source.draw(state, "x")
