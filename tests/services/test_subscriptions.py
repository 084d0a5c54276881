"""Being told of the end of a run: stored with it, told once after it, whoever ended it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from database_clock import DatabaseClock
from other_sides import FakeWeb
from sqlalchemy import delete, select

import databases
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import UsageError
from jobmon.core.notify_target import NotifyChannel, OpenChannels, parse_target
from jobmon.core.requester import Requester, current_user
from jobmon.core.states import WorkflowRunEvent, WorkflowRunStatus
from jobmon.serializers.swarm import WorkflowRunRequest, WorkflowRunResponse
from jobmon.server.services.deliveries import Deliveries
from jobmon.server.services.host import ServiceHost
from jobmon.server.services.lease import LeasedDatabase, LeaseKeeper
from jobmon.server.services.notify.channels import NotifySettings
from jobmon.server.services.notify.notice import DeliveryError, Notice
from jobmon.server.services.notify.notifier import Notifier
from jobmon.server.services.reaper import Reaper
from jobmon.server.services.subscriptions import subscriptions_add
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Lease, Subscription
from jobmon.server.web.store.runs import run_apply_event
from jobmon.testing.factory import NOWHERE, run_make, workflow_make
from processes import wait_until

LEASE_SECONDS = 30.0
every_backend = pytest.mark.parametrize("backend", databases.parameters())


class Recorder:
    """A channel that keeps what it is to tell, and fails as it is told to."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.errors: list[DeliveryError] = []

    def send(self, notice: Notice) -> None:
        self.notices.append(notice)
        if self.errors:
            raise self.errors.pop(0)


class Scene:
    """A workflow that is run, and what tells of its end."""

    def __init__(self, database: Database, clock: DatabaseClock) -> None:
        self.database, self.clock, self.channel = database, clock, Recorder()
        self.settings = NotifySettings(max_tries=3, timeout_seconds=10)
        with database.write() as connection:
            self.workflow = workflow_make(connection, [[], []], now=clock.now, name="flow")
            self.run_id = run_make(connection, self.workflow.workflow_id, now=clock.now)
            subscriptions_add(
                connection,
                self.run_id,
                [parse_target("#a"), parse_target("#a"), parse_target("#b")],
                clock.now,
            )

    def deliveries(self) -> Deliveries:
        """Those of one process, which takes the lease when it is free."""
        keeper = LeaseKeeper(self.database, LEASE_SECONDS)
        keeper.look()
        notifier = Notifier(self.settings, {channel: lambda: self.channel for channel in NotifyChannel})
        return Deliveries(LeasedDatabase(keeper), notifier, "https://gui.example")

    def look(self, deliveries: Deliveries) -> int:
        """Claim, and wait until it was told and noted."""
        deliveries.database.keeper.look()
        told = deliveries.run_once()
        workers = deliveries.notifier._workers.values()
        wait_until(lambda: all(w.room() == 1000 for w in workers), "the notifier to be done")
        return told

    def end(self, event: WorkflowRunEvent = WorkflowRunEvent.FAIL) -> None:
        with self.database.write() as connection:
            run_apply_event(connection, self.run_id, event, now=self.clock.now, actor="controller")

    def rows(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(Subscription.__table__).order_by(Subscription.id)))


@pytest.fixture
def scene(database: Database, clock: DatabaseClock) -> Iterator[Scene]:
    scene = Scene(database, clock)
    yield scene
    with database.write() as connection:
        for table in (Subscription, Lease):
            connection.execute(delete(table))


@every_backend
def test_the_end_is_told_once_to_each(scene: Scene) -> None:
    """Not before it, not again, with what one wants to know."""
    deliveries = scene.deliveries()
    assert scene.look(deliveries) == 0
    scene.clock.pass_by(3725)
    scene.end()
    assert [scene.look(deliveries) for _ in range(3)] == [2, 0, 0]
    assert sorted(str(n.target) for n in scene.channel.notices) == ["#a", "#b"]
    notice = scene.channel.notices[0]
    assert notice.subject == f"Workflow {scene.workflow.workflow_id} 'flow' ended with an error"
    for words in (
        "ERROR after 1 h 2 min",
        "Tasks: 2 (2 pending)",
        "jobmon workflow status -w",
        "jobmon workflow resume",
    ):
        assert words in notice.text
    assert f"https://gui.example/ui/workflow/{scene.workflow.workflow_id}" in notice.text
    assert notice.data["run_status"] == "ERROR"
    assert notice.data["tasks"] == {"PENDING": 2}
    assert notice.data["run_seconds"] == 3725
    assert not notice.data["was_reaped"]
    assert all(row.told_at == row.settled_at == scene.clock.now for row in scene.rows())


@every_backend
def test_the_end_by_the_reaper_is_told_as_well(scene: Scene) -> None:
    """The controller died; the second look of the reaper finds the run lost."""
    reaper = Reaper(scene.database, 10)
    for monotonic in (0.0, 61.0):
        scene.clock.pass_by(100)
        reaper.run_once(monotonic=monotonic)
    deliveries = scene.deliveries()
    assert scene.look(deliveries) == 3  # and the alarm, which goes to the log
    assert len(scene.channel.notices) == 2
    assert scene.channel.notices[0].data["was_reaped"]
    assert "gave no sign of life" in scene.channel.notices[0].text


def test_what_fails_is_tried_again_later_and_given_up(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.end()
    deliveries = scene.deliveries()
    scene.channel.errors = [DeliveryError("Slack is away.")] * 99
    for _ in range(40):
        scene.look(deliveries)
        scene.clock.pass_by(10)
    assert len(scene.channel.notices) == 2 * scene.settings.max_tries
    assert {notice.delivery_id for notice in scene.channel.notices} == {
        f"run-{scene.run_id}-{row.id}" for row in scene.rows()
    }
    for row in scene.rows():
        assert (row.num_tries, row.told_at, row.error) == (3, None, "Slack is away.")
        assert row.settled_at is not None
    assert len([r for r in caplog.records if "could not be told" in r.message]) == 2


def test_a_channel_that_asks_for_patience_gets_it(scene: Scene) -> None:
    scene.end()
    deliveries = scene.deliveries()
    scene.channel.errors = [DeliveryError("slower", retry_after_seconds=600)] * 2
    assert scene.look(deliveries) == 2
    scene.clock.pass_by(599)
    assert scene.look(deliveries) == 0
    scene.clock.pass_by(1)
    assert scene.look(deliveries) == 2
    assert all(row.told_at is not None for row in scene.rows())


def test_who_dies_after_claiming_leaves_it_to_the_next(scene: Scene) -> None:
    """After the time a try can take; while it lives, nobody else tells it as well."""
    scene.end()
    dead = scene.deliveries()
    dead.notifier.put = lambda notice: True  # type: ignore[method-assign] - it dies here
    assert dead.run_once() == 2
    assert scene.channel.notices == []
    scene.clock.pass_by(LEASE_SECONDS)
    after = scene.deliveries()
    assert scene.look(after) == 0
    scene.clock.pass_by(120)
    assert scene.look(after) == 2
    assert len(scene.channel.notices) == 2


def test_a_claim_that_was_cut_off_too_often_is_given_up(scene: Scene) -> None:
    """It might be what kills the process."""
    scene.end()
    dead = scene.deliveries()
    dead.notifier.put = lambda notice: True  # type: ignore[method-assign]
    for _ in range(6):
        dead.database.keeper.look()
        dead.run_once()
        scene.clock.pass_by(121)
    assert all(row.settled_at is not None and row.told_at is None for row in scene.rows())


def test_nothing_is_claimed_when_there_is_no_room(scene: Scene) -> None:
    scene.end()
    deliveries = scene.deliveries()
    deliveries.notifier.room = lambda: 3  # type: ignore[method-assign]
    assert deliveries.run_once() == 0
    assert all(row.num_tries == 0 for row in scene.rows())


# -- from the client to the other side --------------------------------------------------------------------
@pytest.fixture
def config(config: JobmonConfig, web: FakeWeb) -> JobmonConfig:
    config.set("notify", "webhook_hosts", f"127.0.0.1:{web.port}")
    config.set("notify", "default", f"{web.url}/ops")
    return config


def create(requester: Requester, workflow_id: int, notify: list[str], key: str = "key") -> int:
    message = WorkflowRunRequest(key, current_user(), "4", NOWHERE, 90, notify)
    path = f"/swarm/workflow/{workflow_id}/workflow_run"
    return requester.send("POST", path, message, WorkflowRunResponse).workflow_run_id


def test_over_the_wire(requester: Requester, app: Any, web: FakeWeb, config: JobmonConfig) -> None:
    """What the server offers is asked for; the run is created only with addresses it can tell; sent twice it is once."""
    database = app.state.jobmon.database
    with database.write() as connection:
        workflow = workflow_make(connection, [[]], now=dialect.utcnow(connection), user=current_user())
    there = requester.send("GET", "/swarm/notify", None, OpenChannels)
    assert there == OpenChannels([NotifyChannel.WEBHOOK], [f"127.0.0.1:{web.port}"], [])
    for bad in ("#a", "nobody", "https://elsewhere.example/hunter2"):
        with pytest.raises(UsageError, match="notify") as caught:
            create(requester, workflow.workflow_id, [bad])
        assert "hunter2" not in str(caught.value)
    run_ids = {create(requester, workflow.workflow_id, [f"{web.url}/end"]) for _ in range(2)}
    assert len(run_ids) == 1
    with database.write() as connection:
        run_apply_event(
            connection,
            run_ids.pop(),
            WorkflowRunEvent.ABORT,
            now=dialect.utcnow(connection) + timedelta(seconds=1),
            actor="controller",
        )
    host = ServiceHost(config, database)
    host.keeper.look()
    host.look()
    web.wait(1)
    host.stop(10)
    (request,) = web.received
    assert request.path == "/end"
    assert request.json["run_status"] == WorkflowRunStatus.ABORTED.name


def test_the_host_goes_on_whatever_fails(
    config: JobmonConfig,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What fails is logged once and tried again; the others are done; the lease is given back at the end."""
    host = ServiceHost(config, database)
    failing = True

    def run_once() -> Any:
        if failing:
            raise RuntimeError("the reaper is broken")
        return Reaper(database, 10).run_once()

    monkeypatch.setattr(host.reaper, "run_once", run_once)
    for duty in host.duties:
        duty.interval_seconds = 0.01
    host.start(0.0)
    wait_until(
        lambda: host.counters["reaper_failed"] > 3 and host.counters["deliveries"] > 3, "several looks"
    )
    failing = False
    wait_until(lambda: host.counters["reaper"] > 0, "the reaper to work again")
    host.stop(20)
    assert len([r for r in caplog.records if r.message.startswith("reaper failed")]) == 1
    assert host.counters["monitor"] > 0
    assert LeaseKeeper(database, 30).look() is not None
