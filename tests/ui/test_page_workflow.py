"""The pages of one workflow, over real rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from sqlalchemy import event, update

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskStatus, WorkflowRunEvent, WorkflowStatus
from jobmon.serializers.failures import ErrorClustersResponse
from jobmon.serializers.monitor import RunningTaskRow
from jobmon.serializers.swarm import SyncRequest
from jobmon.server.web import dialect
from jobmon.server.web.models import Array, Task, Workflow
from jobmon.server.web.store import runs
from jobmon.server.web.store.progress import Progress, together
from jobmon.server.web.store.sync import run_sync
from jobmon.server.web.store.workflow_page import Head
from jobmon.server.web.ui.computed import Figure
from jobmon.server.web.ui.pages import workflow as overview_page
from jobmon.server.web.ui.pages.workflow_frame import Frame
from jobmon.testing.factory import MadeWorkflow, attempts_make, run_make, workflow_make
from processes import wait_until

if TYPE_CHECKING:
    from starlette.testclient import TestClient

HOSTILE = "<script>alert(1)</script>"
TABS = ("", "/graph", "/timeline", "/timeline?by=node", "/errors", "/history", "/plan")
PARTS = ("/curve", "/errors/latest", "/errors/list", "/timeline/drawing", "/history/orders", "/plan/tasks")
MAX_STATEMENTS = 25


@dataclass
class Made:
    """A workflow on a server: four tasks, of which the last waits for the others; a run."""

    app: FastAPI
    client: TestClient
    made: MadeWorkflow
    run_id: int

    @property
    def path(self) -> str:
        return f"/ui/workflow/{self.made.workflow_id}"

    def write(self, work: Callable[[Any], Any]) -> Any:
        return self.app.state.jobmon.database.retrying_write(work)

    def tell(self, position: int, *events: TaskInstanceEvent, batch: int, **details: Any) -> None:
        """An attempt of a task, and what becomes of it; ``details`` go with the last event."""

        def work(connection: Any) -> None:
            now = dialect.utcnow(connection)
            (attempt,) = attempts_make(
                connection, self.made, self.run_id, [position], batch_num=batch, now=now
            )
            *before, last = events
            told = [
                *(InstanceEvent(attempt, each) for each in before),
                InstanceEvent(attempt, last, **details),
            ]
            run_sync(
                connection,
                self.run_id,
                SyncRequest(told, []),
                now=now,
                actor="controller",
                max_infrastructure_losses=10,
            )

        self.write(work)

    def end(self) -> None:
        self.write(
            lambda c: runs.run_apply_event(
                c, self.run_id, WorkflowRunEvent.FAIL, now=dialect.utcnow(c), actor="controller"
            )
        )

    def page(self, end: str = "", words: str = "") -> str:
        """A page, once it has some words: figures may take a moment."""
        found: list[str] = []

        def look() -> bool:
            answer = self.client.get(self.path + end)
            assert answer.status_code == 200, answer.text
            found.append(answer.text)
            return words in answer.text and "being worked out" not in answer.text

        wait_until(look, f"{words!r} on {end or 'the first page'}", 20)
        return found[-1]


_START = (TaskInstanceEvent.LAUNCH, TaskInstanceEvent.START)


@pytest.fixture
def made(app: FastAPI, client: TestClient) -> Made:
    """One task is done, one failed for good with a hostile text, one runs, one waits."""

    def begin(connection: Any) -> tuple[MadeWorkflow, int]:
        now = dialect.utcnow(connection)
        workflow = workflow_make(
            connection, [(), (), (), (0, 1, 2)], now=now, name=f"life {HOSTILE}", max_attempts=1
        )
        return workflow, run_make(connection, workflow.workflow_id, now=now)

    made = Made(app, client, *app.state.jobmon.database.retrying_write(begin))
    made.tell(0, *_START, TaskInstanceEvent.FINISH, batch=1, wallclock=3.0)
    made.tell(
        1,
        *_START,
        TaskInstanceEvent.FAIL,
        batch=2,
        cause=Cause.CODE,
        description=f"ValueError: no {HOSTILE} for 3",
    )
    made.tell(2, *_START, batch=3, nodename="node7")
    return made


@pytest.mark.parametrize("end", TABS)
def test_nothing_that_users_wrote_becomes_markup(made: Made, end: str) -> None:
    made.write(lambda c: c.execute(update(Workflow).values(description=HOSTILE, workflow_args=HOSTILE)))
    made.write(lambda c: c.execute(update(Array).values(name=HOSTILE)))
    made.write(lambda c: c.execute(update(Task).values(name=HOSTILE)))
    page = made.page(end)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"\s(style|on\w+)=", page)


def test_the_first_page_says_how_it_is_doing(made: Made) -> None:
    page = made.page("", "What failed")
    for words in (
        "running",
        "1</b> done",
        "1</b> fatal",
        "1</b> running",
        "25\u202f%",
        "tester",
        "tool of tests",
    ):
        assert words in page
    assert "ValueError: no &lt;script&gt;" in page
    assert "Running longest" in page
    assert "node7" in page
    assert f'{made.path}/stop"' in page
    assert f'{made.path}/template/{made.made.array_id}/usage"' in page
    assert f"jobmon workflow watch {made.made.workflow_id}" in page


def test_what_can_be_done_follows_the_state(made: Made) -> None:
    def actions() -> set[str]:
        return set(
            re.findall(rf'href="{made.path}/(\w+)">[A-Z][a-z ]+</a>', made.page().split("wf-progress")[0])
        )

    tabs = {"graph", "timeline", "errors", "history", "plan"}
    assert actions() - tabs == {"stop", "drain", "pause", "limit", "resume", "tasks"}
    made.write(lambda c: c.execute(update(Workflow).values(max_concurrently_running=0)))
    assert {"unpause"} == actions() - tabs - {"stop", "drain", "limit", "resume", "tasks"}
    made.end()
    assert actions() - tabs == {"resume", "limit", "tasks"}


def test_the_graph_has_a_box_for_each_template(made: Made) -> None:
    page = made.page("/graph")
    assert f'<a href="{made.path}/template/{made.made.array_id}"><title>step: 1 done' in page
    assert "1/4 · 1 failed" in page


def test_the_timeline_shows_attempts_by_template_and_by_node(made: Made) -> None:
    by_template = made.page("/timeline", "</svg>")
    assert by_template.count('<a href="/ui/task/') == 3
    assert ">node7</text>" in made.page("/timeline?by=node", ">node7")
    assert made.client.get(f"{made.path}/timeline?run=999").status_code == 404
    assert "run 999" in made.client.get(f"{made.path}/timeline?run=999").text


def test_errors_are_found_by_text_and_by_template(made: Made) -> None:
    page = made.page("/errors", "What it wrote")
    assert "its command failed" in page
    assert f"/ui/task/{made.made.task_ids[1]}" in page
    assert 'class="cluster"' in made.page("/errors?q=valueerror&template=step")
    assert "None of them matches." in made.page("/errors?q=nosuch")
    assert "None of them matches." in made.page("/errors?template=other")


def test_history_has_runs_and_events(made: Made) -> None:
    page = made.page("/history", "Nobody set tasks by hand.")
    assert "nowhere.example, process 1" in page
    for words in ("<td>start</td>", "user:tester", "launched"):
        assert words in page


def test_the_plan_says_why_tasks_would_run(made: Made) -> None:
    made.end()
    page = made.page("/plan", "It would run")
    assert "It would run <b>3</b> of 4 tasks" in page
    assert f"/ui/task/{made.made.task_ids[1]}" in page
    assert f"jobmon workflow resume {made.made.workflow_id}" in page


def test_the_curve_is_drawn_and_can_be_plotted(made: Made) -> None:
    assert "Progress from" in made.page("", "data-plot-url")
    plot = made.client.get(f"{made.path}/curve.json").json()
    done, failed, _ = (series["values"][-1] for series in plot["series"])
    assert (done, failed) == (1, 1)


@pytest.mark.parametrize("end", PARTS)
def test_parts_come_alone_and_else_lead_to_their_page(made: Made, end: str) -> None:
    alone = made.client.get(made.path + end, headers={"HX-Request": "true"})
    assert alone.status_code == 200
    assert alone.text.strip().startswith("<div data-figure")
    assert "<html" not in alone.text
    whole = made.client.get(made.path + end, follow_redirects=False)
    assert (whole.status_code, whole.headers["location"].startswith(made.path)) == (303, True)


@pytest.mark.parametrize("end", TABS)
def test_pages_of_workflows_that_are_not_there_say_so(client: TestClient, end: str) -> None:
    answer = client.get(f"/ui/workflow/999{end}")
    assert answer.status_code == 404
    assert "There is no workflow 999." in answer.text


@pytest.mark.parametrize("end", TABS)
def test_a_workflow_that_never_ran_can_be_looked_at(app: FastAPI, client: TestClient, end: str) -> None:
    database = app.state.jobmon.database
    workflow = database.retrying_write(lambda c: workflow_make(c, now=dialect.utcnow(c)))
    assert client.get(f"/ui/workflow/{workflow.workflow_id}{end}").status_code == 200
    assert client.get(f"/ui/workflow/{workflow.workflow_id}/curve.json").json() == {}


@pytest.mark.parametrize("end", TABS)
def test_pages_read_a_bounded_number_of_statements(made: Made, end: str) -> None:
    made.page(end)  # the figures are known after that
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    engine = made.app.state.jobmon.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        assert made.client.get(made.path + end).status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert 0 < len(statements) <= MAX_STATEMENTS


# -- live -----------------------------------------------------------------------------------------------
def test_live_parts_change_with_the_tasks_and_are_those_of_the_page(made: Made) -> None:
    state, key = made.app.state.jobmon, str(made.made.workflow_id)
    page = made.page("", "What failed")
    source = overview_page.LIVE["workflow"]
    before, stamp = source.draw(state, key), source.stamp(state, key)
    for name in before:
        assert f'sse-swap="{name}"' in page
    assert before["progress"] in page
    made.end()
    assert source.stamp(state, key) != stamp
    after = source.draw(state, key)
    assert after["status"] != before["status"]
    assert f"/ui/workflow/{key}/resume" in after["actions"]


def test_live_parts_of_hundreds_of_templates_stay_small() -> None:
    counts = {
        number: Progress(
            {
                TaskStatus.DONE: 123456,
                TaskStatus.RUNNING: 45678,
                TaskStatus.LAUNCHED: 67,
                TaskStatus.ERROR_FATAL: 8,
            }
        )
        for number in range(100_000, 100_300)
    }
    now = datetime.fromisoformat("2026-05-01T12:00:00")
    head = Head(12, "wide", "", "", 1, "tool", "ada", WorkflowStatus.RUNNING, now, now, 10, None, 0)
    frame = Frame(head, counts, together(counts.values()), now)
    doing = overview_page.Now(60.0, None, [RunningTaskRow(1, "a" * 100, 2, "node", 5.0)] * 8, [])
    parts = overview_page.parts_of(frame, doing, Figure(ErrorClustersResponse([], 0, 0, 0)), "/ui")
    assert sum(len(html.encode()) + 40 for html in parts.values()) <= 30_000
