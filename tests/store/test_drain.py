"""A run that is ordered to start nothing more, and what those who wait for a run are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from jobmon.core.exceptions import NotFoundError, WorkflowRunStateError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent, WorkflowRunEvent, WorkflowRunStatus
from jobmon.serializers.swarm import BatchRequest, RunProgressResponse, SyncRequest, SyncResponse
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import WorkflowHistory
from jobmon.server.web.store.feed import FeedResponse, RunPosition, run_changes_after, run_feed
from jobmon.server.web.store.resume import run_take_tasks
from jobmon.server.web.store.run_progress import workflow_run_progress
from jobmon.server.web.store.runs import (
    run_apply_events,
    run_heartbeat_if_alive,
    run_order_drain_if_alive,
    run_state,
)
from jobmon.server.web.store.sync import run_sync
from jobmon.testing.factory import MadeWorkflow, attempts_make, run_make, workflow_make

START, FINISH, FAIL = TaskInstanceEvent.START, TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL


class Scene:
    """A workflow of three tasks, the third behind the first; its run, with an attempt of the first."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.write() as connection:
            now = dialect.utcnow(connection)
            self.workflow: MadeWorkflow = workflow_make(connection, [[], [], [0]], now=now, name="three")
            self.run_id = run_make(connection, self.workflow.workflow_id, now=now)
            (self.attempt,) = attempts_make(connection, self.workflow, self.run_id, [0], batch_num=1, now=now)

    def do(self, function: Any, *args: Any, **more: Any) -> Any:
        def work(connection: Connection) -> Any:
            if "now" in more:
                more["now"] = dialect.utcnow(connection)
            return function(connection, *args, **more)

        return self.database.retrying_write(work)

    def drain(self) -> int | None:
        answer: int | None = self.do(
            run_order_drain_if_alive, self.workflow.workflow_id, now=None, actor="user:ada"
        )
        return answer

    def sync(self, *events: TaskInstanceEvent, ask_for: int) -> SyncResponse:
        batch = BatchRequest(
            self.workflow.array_id,
            10 + ask_for,
            self.workflow.task_resources_id,
            [self.workflow.task_ids[ask_for]],
        )
        message = SyncRequest([InstanceEvent(self.attempt, event) for event in events], [batch])
        answer: SyncResponse = self.do(
            run_sync,
            self.run_id,
            message,
            now=None,
            actor="controller",
            max_infrastructure_losses=10,
        )
        return answer

    def progress(self, later: timedelta = timedelta()) -> RunProgressResponse:
        with self.database.read() as connection:
            now = dialect.utcnow(connection) + later
            return workflow_run_progress(connection, self.workflow.workflow_id, now)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def test_new_batches_are_refused_at_once(scene: Scene) -> None:
    """Before the controller has heard of the order; what it tells counts, and it is told."""
    assert len(scene.sync(START, ask_for=1).batches) == 1
    assert scene.drain() == scene.run_id
    answer = scene.sync(FINISH, ask_for=2)
    assert answer.batches == []
    assert answer.is_draining
    assert answer.tasks.statuses == "D"
    assert answer.run_status == "R"


def test_the_controller_hears_of_it(scene: Scene) -> None:
    """By the feed, once, and with every sign of life."""
    with scene.database.read() as connection:
        cursor = run_feed(connection, scene.run_id, 0, "controller").cursor
        seen = run_changes_after(connection, scene.run_id, cursor, "R", "controller")
        assert seen == RunPosition("R", cursor)
    scene.drain()
    with scene.database.read() as connection:
        news = run_changes_after(connection, scene.run_id, cursor, "R", "controller")
        assert isinstance(news, FeedResponse)
        assert news.is_draining
        seen = run_changes_after(connection, scene.run_id, news.cursor, "R", "controller")
        assert seen == RunPosition("R", news.cursor)
    assert scene.do(run_heartbeat_if_alive, scene.run_id, now=None, seconds=90).is_draining


def test_ordered_twice_it_is_noted_once(scene: Scene) -> None:
    scene.drain()
    scene.drain()
    with scene.database.read() as connection:
        count = select(func.count()).select_from(WorkflowHistory).where(WorkflowHistory.event == "drain")
        assert connection.scalar(count) == 1
        assert run_state(connection, scene.run_id).is_draining


def test_it_ends_like_one_that_was_stopped(scene: Scene) -> None:
    """The next run of the workflow is not under the order of the last one."""
    scene.sync(START, FINISH, ask_for=1)
    scene.drain()
    events = [WorkflowRunEvent.COLD_RESUME, WorkflowRunEvent.TERMINATE]
    state = scene.do(run_apply_events, scene.run_id, events, now=None, actor="controller")
    assert (state.status, state.workflow_status) == ("T", "H")
    assert scene.drain() is None
    with scene.database.write() as connection:
        second = run_make(connection, scene.workflow.workflow_id, now=dialect.utcnow(connection))
        assert not run_state(connection, second).is_draining


@pytest.mark.parametrize(
    "status", [WorkflowRunStatus.LINKING, WorkflowRunStatus.BOUND, WorkflowRunStatus.INSTANTIATED]
)
def test_ordered_before_it_begins(database: Database, status: WorkflowRunStatus) -> None:
    """The controller that gets it ready is told when it says so, and need not ask for tasks to hear of it."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        made = workflow_make(connection, [[]], now=now)
        run_id = run_make(connection, made.workflow_id, now=now, status=status)
        assert run_order_drain_if_alive(connection, made.workflow_id, now=now, actor="user:ada") == run_id
        events = [
            WorkflowRunEvent.BIND,
            WorkflowRunEvent.INSTANTIATE,
            WorkflowRunEvent.LAUNCH,
            WorkflowRunEvent.START,
        ]
        state = run_apply_events(connection, run_id, events, now=now, actor="controller")
        assert (state.status, state.is_draining) == ("R", True)
        again = run_apply_events(connection, run_id, events, now=now, actor="controller")
        assert (again.status, again.is_draining) == ("R", True)


def test_a_run_that_was_ended_before_it_began_touches_no_task(scene: Scene) -> None:
    """Another one may run them by now: its controller has to hear that it is over."""
    scene.sync(START, FAIL, ask_for=1)
    scene.do(run_apply_events, scene.run_id, [WorkflowRunEvent.FAIL], now=None, actor="controller")
    with pytest.raises(WorkflowRunStateError, match="ended before it began"):
        scene.do(run_take_tasks, scene.run_id, adopt=True, now=None, actor="controller")


def test_where_a_run_stands(scene: Scene) -> None:
    """Counts, the run and who hosts it; what it got done is counted when it has ended."""
    scene.sync(START, ask_for=1)
    now = scene.progress()
    assert (now.total, now.done, now.failed, now.running, now.active) == (3, 0, 0, 1, 2)
    assert (now.workflow_name, now.run_status, now.run_user, now.num_newly_done) == (
        "three",
        "R",
        "tester",
        0,
    )
    assert now.controller is not None
    assert now.lost_in_seconds > 80
    scene.sync(FINISH, ask_for=2)
    scene.do(run_apply_events, scene.run_id, [WorkflowRunEvent.FAIL], now=None, actor="controller")
    ended = scene.progress(later=timedelta(days=1))
    assert (ended.workflow_status, ended.run_status, ended.done, ended.num_newly_done) == ("F", "E", 1, 1)
    assert ended.elapsed_seconds < 100


def test_of_a_workflow_that_was_never_run(database: Database) -> None:
    with database.write() as connection:
        now = dialect.utcnow(connection)
        made = workflow_make(connection, [[]], now=now)
        progress = workflow_run_progress(connection, made.workflow_id, now)
        assert (progress.workflow_run_id, progress.total) == (None, 1)
        with pytest.raises(NotFoundError):
            workflow_run_progress(connection, 10**6, now)
