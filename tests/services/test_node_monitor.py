"""The monitor over a database: what it reads, what it tells, what it makes jobs avoid."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from database_clock import DatabaseClock
from sqlalchemy import delete, select

import databases
from jobmon.core.configuration import JobmonConfig
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.server.services import monitor as module
from jobmon.server.services.monitor import Monitor, Outcome, Window
from jobmon.server.services.node_statistics import NodeLimits
from jobmon.server.web.database import Database
from jobmon.server.web.models import Alarm, BadNode
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.bad_nodes import bad_node_forgive, bad_nodes_read
from jobmon.testing.factory import attempts_make, run_make, workflow_make

HOUR = 3600.0
NUM_TASKS = 40
NODES = ("n1", "n2", "n3", "bad")


class Scene:
    """A workflow whose tasks run on four nodes."""

    def __init__(self, database: Database, clock: DatabaseClock) -> None:
        self.database, self.clock, self.next = database, clock, 0
        with database.write() as connection:
            self.workflow = workflow_make(connection, [[]] * NUM_TASKS, now=clock.now)
            self.run_id = run_make(
                connection, self.workflow.workflow_id, now=clock.now, next_report_increment=1e6
            )

    def end(self, node: str, event: TaskInstanceEvent, times: int = 1, cause: Cause | None = None) -> None:
        """Attempts of the next tasks end on a node."""
        positions = range(self.next, self.next + times)
        self.next += times
        with self.database.write() as connection:
            ids = attempts_make(
                connection, self.workflow, self.run_id, positions, batch_num=1 + self.next, now=self.clock.now
            )
            events = [InstanceEvent(i, TaskInstanceEvent.START, nodename=node) for i in ids]
            events += [InstanceEvent(i, event, cause=cause) for i in ids]
            attempts_apply_events(
                connection, events, now=self.clock.now, actor="worker", max_infrastructure_losses=10
            )

    def fail_on_bad(self) -> None:
        for node in NODES[:3]:
            self.end(node, TaskInstanceEvent.FINISH, 9)
        self.end("bad", TaskInstanceEvent.FAIL, 6, Cause.CODE)

    def monitor(self, exclude_seconds: float = 0) -> Monitor:
        return Monitor(self.database, HOUR, NodeLimits(), exclude_seconds=exclude_seconds)

    def avoided(self) -> list[str]:
        with self.database.read() as connection:
            return [each.nodename for each in bad_nodes_read(connection, "dummy", self.clock.now).nodes]


@pytest.fixture
def scene(database: Database, clock: DatabaseClock) -> Iterator[Scene]:
    yield Scene(database, clock)
    with database.write() as connection:
        for table in (BadNode, Alarm):
            connection.execute(delete(table))


@pytest.mark.parametrize("backend", databases.parameters())
def test_a_failing_node_is_told_of_once_and_forgotten_after_the_window(scene: Scene) -> None:
    monitor = scene.monitor()
    assert monitor.run_once().suspects == {}
    scene.fail_on_bad()
    for _ in range(3):
        (suspect,) = monitor.run_once().suspects["dummy"]
        assert (suspect.nodename, suspect.num_failed, suspect.num_tasks) == ("bad", 6, 6)
        scene.clock.pass_by(120)
    with scene.database.read() as connection:
        (alarm,) = connection.execute(select(Alarm.kind, Alarm.subject, Alarm.num_seen, Alarm.message)).all()
    assert alarm[:3] == ("bad_node", "dummy bad", 1)
    assert "6 of 6 tasks failed on it in the last 60 minutes" in alarm.message
    assert scene.avoided() == []
    scene.clock.pass_by(HOUR)
    assert monitor.run_once().num_outcomes == 0


@pytest.mark.parametrize("backend", databases.parameters())
def test_jobs_avoid_it_where_that_is_wanted(scene: Scene) -> None:
    """For a while; who forgives it has the last word until more fails there."""
    monitor = scene.monitor(exclude_seconds=600)
    scene.fail_on_bad()
    monitor.run_once()
    assert scene.avoided() == ["bad"]
    with scene.database.write() as connection:
        bad_node_forgive(connection, "dummy", "bad")
    scene.clock.pass_by(120)
    assert monitor.run_once().suspects
    assert scene.avoided() == []
    scene.end("bad", TaskInstanceEvent.FAIL, 1, Cause.CODE)
    monitor.run_once()
    assert scene.avoided() == ["bad"]
    scene.clock.pass_by(601)
    monitor.run_once()
    assert scene.avoided() == []


@pytest.mark.parametrize("cause", sorted(module.NOT_THE_NODE))
def test_causes_that_say_nothing_about_a_node(scene: Scene, cause: Cause) -> None:
    for node in NODES[:3]:
        scene.end(node, TaskInstanceEvent.FINISH, 9)
    event = TaskInstanceEvent.RESOURCE if cause is Cause.RESOURCE else TaskInstanceEvent.FAIL
    scene.end("bad", event, 6, cause)
    result = scene.monitor().run_once()
    assert (result.suspects, result.num_outcomes) == ({}, 27)


def test_a_later_leader_sees_the_same(scene: Scene) -> None:
    """What it needs is in the database; looking alone writes nothing."""
    scene.fail_on_bad()
    scene.clock.pass_by(HOUR / 2)
    assert scene.monitor().find_once().suspects
    monitor = scene.monitor()
    monitor.run_once()
    monitor.forget()
    assert monitor.run_once().suspects
    assert Monitor.from_config(JobmonConfig(), scene.database).find_once().suspects


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, clock: DatabaseClock) -> None:
    """In number and in time; the same task on the same node counts once, with its latest outcome."""
    monkeypatch.setattr(module, "MOST_OUTCOMES", 100)
    window = Window(HOUR)
    for task_id in range(1000):
        window.add(1, 1, "n", task_id, Outcome(clock.now + timedelta(seconds=task_id), True))
    assert len(window) == 100
    for _ in range(5):
        window.add(1, 1, "n", 999, Outcome(clock.now + timedelta(seconds=999), False))
    assert window.by_cluster() == {1: {(1, "n"): (100, 99)}}
    window.forget_before(clock.now + timedelta(seconds=990))
    assert len(window) == 10
