"""The page with the list of workflows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from page_visitor import PageVisitor
from sqlalchemy import event, update
from starlette.testclient import TestClient

from jobmon.core.states import WorkflowRunEvent
from jobmon.server.web.database import Database
from jobmon.server.web.models import ArrayProgress
from jobmon.server.web.store import listing
from jobmon.server.web.store.progress import STATUS_COLUMNS
from jobmon.server.web.ui.pages import workflows
from listing_scene import HOSTILE, listed
from processes import wait_until

MOST_STATEMENTS = 25
LIVE_BYTES = 30_000
PAGE_BYTES = 300_000


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is asked of the database, but for the figures that are worked out beside the requests."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not threading.current_thread().name.startswith("jobmon-figures"):
            seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


@dataclass
class Place:
    """A server, its database, and who looks."""

    app: FastAPI
    database: Database
    ada: PageVisitor


@pytest.fixture
def place(client: TestClient, app: FastAPI) -> Place:
    client.cookies.set("jobmon_name", "ada", path="/ui")
    return Place(app, app.state.jobmon.database, PageVisitor(client))


def test_an_empty_list_helps(place: Place) -> None:
    """With what makes a first workflow."""
    page = place.ada.text("/")
    assert "You have no workflows here yet" in page
    assert "workflow.run()" in page


def test_own_workflows_first(place: Place) -> None:
    """Everybody's are a link away, and come with their figures."""
    mine = listed(place.database, "mine", num_tasks=3)
    other = listed(place.database, "another's", user="bob", run=WorkflowRunEvent.FAIL)
    page = place.ada.get("/").text
    assert f'id="workflow-{mine.workflow_id}"' in page
    assert f'id="workflow-{other.workflow_id}"' not in page
    assert 'href="/ui/?user=%2A"' in page
    assert "3&nbsp;pending" in page
    assert "jobmon workflow status -u ada -l 50" in page
    everybody = place.ada.get("/?user=*").text
    assert f'id="workflow-{other.workflow_id}"' in everybody
    assert "c-fatal" in everybody
    assert f"jobmon workflow status -w {other.workflow_id} -w {mine.workflow_id}" in everybody


def test_who_is_not_known_sees_everybodys(client: TestClient, app: FastAPI) -> None:
    """Nobody's are their own."""
    listed(app.state.jobmon.database, "bob's", user="bob")
    assert "bob's" in PageVisitor(client).text("/")


def test_hostile_texts_are_escaped(place: Place) -> None:
    """Names, args, attributes, tools, and what is typed into the filters."""
    made = listed(
        place.database, f"{HOSTILE} name", tool=f"{HOSTILE} tool", args=f'" {HOSTILE} args', attributes={HOSTILE: HOSTILE}
    )  # fmt: skip
    page = place.ada.get("/").text
    assert f'id="workflow-{made.workflow_id}"' in page
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;alert(1)") >= 5
    for name in (
        "user",
        "tool",
        "name",
        "id",
        "status",
        "args",
        "attribute",
        "value",
        "from",
        "to",
        "tool_id",
    ):
        typed = place.ada.client.get("/ui/", params={name: f'"{HOSTILE}'})
        assert typed.status_code == 200, name
        assert HOSTILE not in typed.text, name


def test_filters_are_shown_and_kept(place: Place) -> None:
    """As marks that can be removed, in the fields, and in the links that sort."""
    listed(place.database, "fit one", tool="life")
    listed(place.database, "plot", tool="death")
    page = place.ada.get("/?tool=life&name=fit")
    assert "fit one" in page.text
    assert ">plot<" not in page.text
    assert 'name="tool" size="14" value="life"' in page.text
    assert 'href="/ui/?name=fit" aria-label="Remove the filter tool"' in page.text
    assert "/ui/?tool=life&amp;name=fit&amp;sort=owner" in page.text


def test_a_form_leads_to_a_short_address(place: Place) -> None:
    """Empty fields are left out, and an emptied user means everybody."""
    answer = place.ada.get("/?user=&tool=life&name=&status=running&status=failed&from=")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/ui/?user=%2A&tool=life&status=running%2Cfailed"


def test_nothing_matches(place: Place) -> None:
    """What was looked at is said, with the ways on."""
    listed(place.database, "mine")
    assert "No workflow matches" in place.ada.text("/?name=zzz")
    assert "Clear the filters" in place.ada.text("/?name=zzz")
    problem = place.ada.text("/?id=five")
    assert "“five” is no id of a workflow" in problem


def test_search_goes_on_where_it_stopped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are more workflows than one request looks at."""
    first = listed(place.database, "old")
    for number in range(3):
        listed(place.database, f"new {number}", user="bob")
    monkeypatch.setattr(listing, "SPAN", 2)
    page = place.ada.get("/").text
    assert "None among the latest" in page
    before = first.workflow_id + 2
    assert f'href="/ui/?before={before}"' in page
    assert "old" in place.ada.text(f"/?before={before}")


def test_sorting_and_pages(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The column says which way it is sorted; the pages follow each other."""
    for name in ("b", "a", "c"):
        listed(place.database, name, args="x")
    monkeypatch.setattr(workflows, "PAGE_SIZE", 2)
    page = place.ada.get("/?sort=name").text
    assert 'aria-sort="ascending"' in page
    assert page.index(">a<") < page.index(">b<")
    assert ">c<" not in page
    assert 'rel="next" href="/ui/?sort=name&amp;page=2"' in page
    assert ">c<" in place.ada.get("/?sort=name&page=2").text


def test_time_that_is_left(place: Place) -> None:
    """Of workflows that run, as far as it is known; worked out beside the request."""
    made = listed(place.database, "running", run=WorkflowRunEvent.START)

    def left() -> bool:
        return "not known yet: no task has finished" in place.ada.get("/").text

    wait_until(left, "the estimate")
    parts = workflows.LIVE["workflows"].draw(place.app.state.jobmon, str(made.workflow_id))
    assert parts.keys() == {f"{kind}{made.workflow_id}" for kind in "spe"}
    assert "no task has finished" in parts[f"e{made.workflow_id}"]


def test_live_parts_are_those_of_the_page(place: Place) -> None:
    """Drawn again only when something changes; of what ended long ago nothing is sent."""
    made = listed(place.database, "running", run=WorkflowRunEvent.START)
    state, source, topic = place.app.state.jobmon, workflows.LIVE["workflows"], f"{made.workflow_id},x,999999"
    parts = source.draw(state, topic)
    page = place.ada.get("/").text
    assert parts[f"p{made.workflow_id}"] in page
    assert parts[f"s{made.workflow_id}"] in page
    for name in parts:
        assert f'sse-swap="{name}"' in page
    wait_until(lambda: source.stamp(state, topic) == source.stamp(state, topic), "the estimate")
    before = source.stamp(state, topic)
    with place.database.write() as connection:
        connection.execute(update(ArrayProgress).values(done=1, registered=1))
    assert source.stamp(state, topic) != before
    assert source.draw(state, topic)[f"p{made.workflow_id}"] != parts[f"p{made.workflow_id}"]
    with place.database.write() as connection:  # as it was: the counters are compared at the end
        connection.execute(update(ArrayProgress).values(done=0, registered=2))
    old = listed(place.database, "failed", run=WorkflowRunEvent.FAIL)
    assert source.draw(state, str(old.workflow_id))  # it has just ended
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(workflows, "RECENT_SECONDS", -3600.0)
        assert source.draw(state, str(old.workflow_id)) == {}


def test_many_rows_cost_few_statements_and_bytes(place: Place) -> None:
    """A page of the most rows, all of which run and have tasks in every state."""
    for number in range(3):
        listed(place.database, f"{number}", run=WorkflowRunEvent.START)
    with statements(place.database) as few:
        place.ada.text("/?user=*&sort=tool&tool=life&attribute=!x")
    for number in range(47):
        listed(place.database, f"many {number}", run=WorkflowRunEvent.START)
    with statements(place.database) as many:
        page = place.ada.get("/?user=*&sort=tool&tool=life&attribute=!x")
    assert len(few) == len(many) <= MOST_STATEMENTS
    assert len(page.content) <= PAGE_BYTES
    topic = ",".join(str(number) for number in range(1, 51))
    full = dict.fromkeys(STATUS_COLUMNS.values(), 12_345)
    empty = dict.fromkeys(STATUS_COLUMNS.values(), 0)
    with place.database.write() as connection:
        connection.execute(update(ArrayProgress).values(**full))
    parts = workflows.LIVE["workflows"].draw(place.app.state.jobmon, topic)
    with place.database.write() as connection:
        connection.execute(update(ArrayProgress).values(**(empty | {"registered": 2})))
    assert len(parts) == 150
    assert sum(len(f"event: {name}\ndata: {html}\n\n".encode()) for name, html in parts.items()) <= LIVE_BYTES
