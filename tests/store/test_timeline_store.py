"""What ran when, counted by the database; what the pages of a workflow show."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import LAUNCH_AND_START, Scene
from sqlalchemy import select, update

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import TaskInstanceEvent, TaskInstanceStatus, TaskStatus
from jobmon.serializers.monitor import UpdateTasksRequest
from jobmon.serializers.plan import PlanReason
from jobmon.server.web import dialect
from jobmon.server.web.models import Task, TaskInstance, Workflow, WorkflowRun
from jobmon.server.web.store import orders, timeline, workflow_figures, workflow_page
from jobmon.server.web.store.progress import workflows_progress
from jobmon.server.web.store.timeline import Curve, RunTime, Timeline, window_of

NOON = datetime.fromisoformat("2026-05-01T12:00:00")
FINISHED = (*LAUNCH_AND_START, TaskInstanceEvent.FINISH)
FAILED = (*LAUNCH_AND_START, TaskInstanceEvent.FAIL)


@pytest.fixture
def ran(bound: Scene) -> Scene:
    """Ten seconds from noon on: the first attempt failed at +4 s after 2 s, the second succeeded at +8 s after 3 s."""
    bound.is_out_of_order = True  # times are set by hand
    run_id = bound.start_run()
    failed = bound.attempt(0, *FAILED)
    done = bound.attempt(0, *FINISHED)
    bound.write(lambda c: c.execute(update(WorkflowRun).values(created_date=NOON)))
    for attempt, at, seconds in ((failed, 4, 2.0), (done, 8, 3.0)):
        bound.write(
            lambda c, attempt=attempt, at=at, seconds=seconds: c.execute(
                update(TaskInstance)
                .where(TaskInstance.id == attempt)
                .values(status_date=NOON + timedelta(seconds=at), wallclock=seconds, nodename=f"node{at}")
            )
        )
    bound.write(lambda c: c.execute(update(Task).values(status_date=NOON + timedelta(seconds=8))))
    bound.ids["time"] = RunTime(run_id, NOON, NOON + timedelta(seconds=10), is_over=False)
    return bound


def curve(scene: Scene) -> Curve:
    now = NOON + timedelta(seconds=10)
    return scene.read(lambda c: timeline.workflow_read_curve(c, scene.workflow_id, scene.ids["time"], now))


def drawn(scene: Scene, *, by_node: bool) -> Timeline:
    now = NOON + timedelta(seconds=10)
    return scene.read(lambda c: timeline.run_read_timeline(c, scene.ids["time"], now, by_node=by_node))


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00", "2026-05-01T12:00:00", "2026-05-01T12:00:00.999000"])
def test_seconds_since_1970_are_whole(bound: Scene, text: str) -> None:
    moment = datetime.fromisoformat(text)
    bound.write(lambda c: c.execute(update(Workflow).values(status_date=moment)))
    seconds = bound.read(lambda c: c.scalar(select(dialect.epoch_seconds(Workflow.status_date))))
    assert seconds == int((moment - datetime.fromisoformat("1970-01-01T00:00:00")).total_seconds())


def test_the_curve_says_what_was_done_by_when_and_how_much_ran(ran: Scene) -> None:
    found = curve(ran)
    assert found.window.step_seconds == 1
    assert found.done == [0] * 8 + [1] * 3
    assert found.failed == [0] * 11
    assert found.running == [0, 0, 0.5, 1, 0.5, 0.5, 1, 1, 0.5, 0, 0]


def test_what_was_done_before_the_run_counts_from_its_beginning(ran: Scene) -> None:
    before = NOON - timedelta(days=1)
    ran.write(lambda c: c.execute(update(Task).values(status_date=before)))
    assert curve(ran).done == [1] * 11


def test_few_attempts_are_drawn_one_by_one(ran: Scene) -> None:
    found = drawn(ran, by_node=False)
    assert found.rows == ["fit"]
    assert [(bar.status, bar.begin, bar.end) for bar in found.bars] == [
        (TaskInstanceStatus.ERROR, NOON + timedelta(seconds=2), NOON + timedelta(seconds=4)),
        (TaskInstanceStatus.DONE, NOON + timedelta(seconds=5), NOON + timedelta(seconds=8)),
    ]


def test_many_attempts_are_counted_by_interval(ran: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MAX_BARS", 1)
    found = drawn(ran, by_node=False)
    assert not found.bars
    assert found.cells == {
        "fit": {
            TaskInstanceStatus.ERROR.value: [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0],
            TaskInstanceStatus.DONE.value: [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0],
        }
    }


@pytest.mark.parametrize("most", [1, 1000])
def test_only_the_busiest_nodes_are_rows(ran: Scene, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(timeline, "MAX_BARS", most)
    monkeypatch.setattr(timeline, "MAX_ROWS", 1)
    found = drawn(ran, by_node=True)
    assert (list(found.rows), found.num_more_rows) == (["node4"], 1)


@given(st.integers(0, 10**7), st.integers(1, 200))
def test_intervals_cover_the_time_and_are_not_too_many(seconds: int, most: int) -> None:
    window = window_of(NOON, NOON + timedelta(seconds=seconds), most)
    assert 1 <= window.count <= most
    assert window.start <= NOON + timedelta(seconds=seconds) < window.end
    assert window.place(-5) == 0
    assert window.place(10**9) == window.count - 1


# -- the pages ------------------------------------------------------------------------------------------
def test_the_head_names_owner_and_latest_run(ran: Scene) -> None:
    head = ran.read(lambda c: workflow_page.workflow_read_head(c, ran.workflow_id))
    assert (head.name, head.owner, head.tool_name, head.num_runs) == ("chain", "ada", "life", 1)
    assert head.run is not None
    assert head.run.is_alive
    assert head.run.pid


def test_there_is_no_head_of_what_is_not_there(bound: Scene) -> None:
    with pytest.raises(NotFoundError, match="no workflow 999"):
        bound.read(lambda c: workflow_page.workflow_read_head(c, 999))
    with pytest.raises(NotFoundError, match="no workflow 999"):
        bound.read(lambda c: workflow_page.workflow_read_stamp(c, 999))


def test_the_stamp_changes_with_the_tasks_and_else_stays(bound: Scene) -> None:
    bound.start_run()

    def stamp() -> object:
        return bound.read(lambda c: workflow_page.workflow_read_stamp(c, bound.workflow_id))

    first = stamp()
    assert stamp() == first
    bound.attempt(0, *FINISHED)
    assert stamp() != first


def test_figures_of_templates_are_of_all_their_tasks(ran: Scene) -> None:
    figures = ran.read(lambda c: workflow_figures.workflow_read_template_figures(c, ran.workflow_id))
    assert figures == {ran.ids["array"]: workflow_figures.TemplateFigures(2, 3.0)}


def test_the_plan_counts_reasons_by_template(ran: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan() -> workflow_figures.Plan:
        def work(connection: object) -> workflow_figures.Plan:
            counts = workflows_progress(connection, [ran.workflow_id])[ran.workflow_id]  # type: ignore[arg-type]
            return workflow_figures.workflow_read_plan(connection, ran.workflow_id, counts)  # type: ignore[arg-type]

        return ran.read(work)

    exact = plan()
    assert exact.is_exact
    assert dict(exact.by_array[ran.ids["array"]]) == {PlanReason.DONE: 1, PlanReason.NEW: 3}
    assert exact.examples[PlanReason.DONE] == ran.task_ids[:1]
    monkeypatch.setattr(workflow_figures, "PLANNED_TASKS", 3)
    by_counters = plan()
    assert not by_counters.is_exact
    assert by_counters.by_array == {ran.ids["array"]: {PlanReason.DONE: 1, PlanReason.NEW: 3}}


def test_history_comes_in_pages_newest_first(ran: Scene) -> None:
    every = ran.read(lambda c: workflow_page.workflow_read_events(c, ran.workflow_id, before=None))
    assert [row.event for row in every] == ["start", "launch", "instantiate", "bind", "link"]
    first = ran.read(lambda c: workflow_page.workflow_read_events(c, ran.workflow_id, before=None, limit=2))
    rest = ran.read(lambda c: workflow_page.workflow_read_events(c, ran.workflow_id, before=first[-1].id))
    assert [*first, *rest] == list(every)


def test_orders_of_users_are_counted_together(bound: Scene) -> None:
    message = UpdateTasksRequest(bound.task_ids[:2], TaskStatus.DONE.value)
    bound.write(
        lambda c: orders.tasks_update_by_hand(
            c, bound.workflow_id, message, user="ada", now=dialect.utcnow(c), max_infrastructure_losses=10
        )
    )
    (order,) = bound.read(lambda c: workflow_figures.workflow_read_orders(c, bound.workflow_id))
    assert (order.actor, order.event, order.num_tasks, order.task_id) == (
        "user:ada",
        "complete",
        2,
        bound.task_ids[0],
    )
