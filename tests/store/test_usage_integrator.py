"""The usage integrator on a cluster whose accounting a test writes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from click.testing import CliRunner
from scene import LAUNCH_AND_START, Scene

import databases
from jobmon.core.batch_cluster import RemoteUsage
from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.exceptions import ClusterUnreachable
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.serializers.swarm import BatchRequest, SyncRequest
from jobmon.server.cli import cli
from jobmon.server.services import usage_integrator
from jobmon.server.services.usage_integrator import Place, UsageIntegrator, first_history_before
from jobmon.server.web import dialect

MIB = 2**20
HOUR = 3600.0
FAIL = TaskInstanceEvent.FAIL


class Accounting(ClusterDistributor):
    """A cluster that knows what is written here."""

    def __init__(self) -> None:
        super().__init__("dummy")
        self.known: dict[str, RemoteUsage] = {}
        self.asked: list[list[str]] = []
        self.trouble: Exception | None = None
        self.num_starts = 0

    def start(self) -> None:
        self.num_starts += 1

    def terminate_task_instances(self, distributor_ids: Sequence[str]) -> None:
        raise AssertionError("nothing is ended from here")

    def usage(self, distributor_ids: Sequence[str]) -> dict[str, RemoteUsage]:
        self.asked.append(list(distributor_ids))
        if self.trouble is not None:
            raise self.trouble
        return {i: self.known[i] for i in distributor_ids if i in self.known}


class Times:
    """An integrator, its cluster and a clock."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.cluster = Accounting()
        self.places: list[Place] = []
        self.now = scene.read(dialect.utcnow) + timedelta(seconds=60)
        self.integrator = UsageIntegrator(scene.database, 48 * HOUR, 60, self._distributor)

    def _distributor(self, place: Place) -> ClusterDistributor:
        self.places.append(place)
        return self.cluster

    def look(self, after_seconds: float = 0) -> usage_integrator.UsageResult:
        self.now += timedelta(seconds=after_seconds)
        return self.integrator.run_once(self.now)


@pytest.fixture
def times(bound: Scene) -> Times:
    bound.is_out_of_order = True
    bound.start_run()
    return Times(bound)


def ended(scene: Scene, position: int, distributor_id: str, name: str = "", **details: object) -> int:
    """An attempt on a batch cluster that ended."""
    batch = BatchRequest(
        scene.ids["array"],
        scene.ids["batch"],
        scene.ids["resources"],
        [scene.task_ids[position]],
        name=name or f"job-{distributor_id}",
    )
    scene.ids["batch"] += 1
    (attempt,) = scene.sync(SyncRequest([], [batch])).batches[0].task_instance_ids
    launch, start = LAUNCH_AND_START
    told = [InstanceEvent(attempt, launch, distributor_id=distributor_id), InstanceEvent(attempt, start)]
    end = InstanceEvent(attempt, FAIL, Cause.CODE, **details)  # type: ignore[arg-type]
    scene.sync(SyncRequest([*told, end]))
    return int(attempt)


def stored(scene: Scene, attempt: int) -> tuple[object, ...]:
    sql = f"SELECT wallclock, maxrss, cpu, energy FROM task_instance WHERE id = {attempt}"
    return scene.rows(sql)[0]


def test_what_is_missing_is_filled_in(times: Times) -> None:
    """What the attempt told itself stays."""
    attempt = ended(times.scene, 0, "7_1", wallclock=5.0)
    times.cluster.known["7_1"] = RemoteUsage(9.0, 30 * MIB, 2.5, 400)
    result = times.look()
    assert (result.filled, result.lacking, result.unreachable) == ([attempt], 0, {})
    assert stored(times.scene, attempt) == (5.0, 30 * MIB, 2.5, 400)
    assert times.places == [Place("dummy", "dummy", "{}")]
    times.look(100)
    assert times.cluster.asked == [["7_1"]]


def test_of_a_job_that_was_shared_nothing_is_taken(times: Times) -> None:
    """What all of its attempts used is true of none of them."""
    scene = times.scene
    batch = BatchRequest(
        scene.ids["array"], scene.ids["batch"], scene.ids["resources"], scene.task_ids[:3], name="shared"
    )
    ids = scene.sync(SyncRequest([], [batch])).batches[0].task_instance_ids
    launch, start = LAUNCH_AND_START
    for attempt, job in zip(ids, ("7_1", "7_1", "7_2"), strict=True):
        events = [
            InstanceEvent(attempt, launch, distributor_id=job),
            InstanceEvent(attempt, start),
            InstanceEvent(attempt, FAIL, Cause.CODE),
        ]
        scene.sync(SyncRequest(events))
    times.cluster.known = {"7_1": RemoteUsage(9.0, 30 * MIB), "7_2": RemoteUsage(8.0, 20 * MIB)}
    assert times.look().filled == [ids[2]]
    assert times.cluster.asked == [["7_2"]]


def test_nobody_is_asked_without_need(times: Times) -> None:
    """Attempts that told their peak, that live, that a controller ran itself, that the cluster gave no id."""
    ended(times.scene, 0, "1", maxrss=5)
    times.scene.attempt(1, *LAUNCH_AND_START)
    times.scene.attempt(2, *LAUNCH_AND_START, FAIL, distributor_id="3")
    ended(times.scene, 3, "")
    times.look()
    assert times.cluster.asked == []


def test_the_accounting_has_time_to_settle(times: Times) -> None:
    """What ended a moment ago is not asked about."""
    ended(times.scene, 0, "1")
    times.now -= timedelta(seconds=50)
    assert times.look().lacking == 1
    assert times.cluster.asked == []
    times.look(25)
    assert times.cluster.asked == [["1"]]


def test_what_the_cluster_does_not_know_is_asked_again_ever_more_seldom(times: Times) -> None:
    """Until it is too old."""
    attempt = ended(times.scene, 0, "1")
    asked_after: list[int] = []
    for minutes in range(0, 49 * 60, 1):
        before = len(times.cluster.asked)
        result = times.look(60)
        if len(times.cluster.asked) > before:
            asked_after.append(minutes)
        if result.retired:
            break
    pauses = [b - a for a, b in pairwise(asked_after)]
    assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(pauses[6:]) == {60}
    assert (result.retired, result.lacking) == (1, 0)
    assert stored(times.scene, attempt) == (None, None, None, None)


def test_a_cluster_that_does_not_measure_memory_is_asked_three_times(times: Times) -> None:
    """What else it knows is filled in at once."""
    attempt = ended(times.scene, 0, "1")
    times.cluster.known["1"] = RemoteUsage(wallclock=3.0)
    lacking = [times.look(3600).lacking for _ in range(4)]
    assert lacking == [1, 1, 0, 0]
    assert stored(times.scene, attempt) == (3.0, None, None, None)


@pytest.mark.parametrize("trouble", [ClusterUnreachable("timed out"), OSError("no such command")])
def test_a_cluster_that_is_away_is_asked_later(times: Times, trouble: Exception) -> None:
    """Nothing is given up for it before its time."""
    attempt = ended(times.scene, 0, "1")
    times.cluster.known["1"] = RemoteUsage(maxrss=MIB)
    times.cluster.trouble = trouble
    result = times.look()
    assert (result.lacking, result.unreachable) == (1, {"dummy": str(trouble)})
    times.cluster.trouble = None
    assert times.look(60).filled == [attempt]


def test_many_are_asked_about_in_batches(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of at most so many ids."""
    monkeypatch.setattr(usage_integrator, "MOST_IDS", 2)
    for position in range(4):
        ended(times.scene, position, str(position))
    ended(times.scene, 0, "4")
    times.look()
    assert times.cluster.asked == [["0", "1"], ["2", "3"], ["4"]]


def test_ends_are_found_whenever_they_were_written(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over pages of history, and after looks that found nothing."""
    monkeypatch.setattr(usage_integrator, "PAGE", 3)
    times.look()
    first = [ended(times.scene, position, f"{position}") for position in range(3)]
    assert times.look(3600).lacking == 3
    last = ended(times.scene, 3, "3")
    times.cluster.known = {str(i): RemoteUsage(maxrss=i + 1) for i in range(4)}
    assert times.look(3600).filled == [*first, last]


def test_a_late_transaction_is_not_missed(times: Times) -> None:
    """Its lines may have lower ids than those that were seen: the latest history is read again."""
    ended(times.scene, 0, "0")
    times.scene.write(lambda c: c.exec_driver_sql("UPDATE task_history SET id = 1000 * id"))
    (seen,) = times.scene.rows("SELECT max(id) FROM task_history")[0]
    times.now -= timedelta(seconds=40)
    assert times.look().lacking == 1
    ended(times.scene, 1, "1")
    times.scene.write(lambda c: c.exec_driver_sql(f"UPDATE task_history SET id = id - 999 WHERE id > {seen}"))
    assert times.scene.rows("SELECT max(id) FROM task_history") == [(seen,)]
    assert times.look(40).lacking == 2


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_the_beginning_is_found_by_halving(times: Times, count: int) -> None:
    """After the id all lines since the moment come, also where ids are missing."""
    scene = times.scene
    scene.write(lambda c: c.exec_driver_sql("DELETE FROM task_history"))
    start = datetime(2026, 1, 1)  # noqa: DTZ001
    for i in range(count):
        moment = start + timedelta(hours=i)
        scene.write(
            lambda c, i=i, moment=moment: databases.sql(  # type: ignore[misc]
                c,
                "INSERT INTO task_history (id, cursor, task_id, event, occurred_at, actor)"
                f" VALUES ({5 + 3 * i}, 0, {scene.task_ids[0]}, 'x', '{moment:%Y-%m-%d %H:%M:%S.%f}', 'x')",
            )
        )
    for hours in (-1, 0, 0.5, 3, 6, 99):
        found = scene.read(lambda c, h=hours: first_history_before(c, start + timedelta(hours=h)))  # type: ignore[misc]
        old = [5 + 3 * i for i in range(count) if i < hours]
        assert found == (old[-1] if old else 0)


def test_it_goes_on_whatever_happens(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that fails is followed by the next one; and it ends when told to."""
    stop, looks = threading.Event(), []

    def run_once() -> None:
        looks.append(1)
        if len(looks) == 2:
            stop.set()
        raise RuntimeError("the database is away")

    times.integrator.poll_interval_seconds = 0.01
    monkeypatch.setattr(times.integrator, "run_once", run_once)
    times.integrator.run_forever(stop)
    assert len(looks) == 2


def test_the_command_looks_once(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says what it found; clusters that were away make it fail."""
    scene = times.scene
    ended(scene, 0, "1")
    ended(scene, 1, "2")
    scene.write(
        lambda c: c.exec_driver_sql(
            "UPDATE task_instance SET status_date = '2026-01-01 00:00:00.000000' WHERE distributor_id = '2'"
        )
    )
    monkeypatch.setenv(
        "JOBMON__DB__SQLALCHEMY_DATABASE_URI", scene.database.engine.url.render_as_string(hide_password=False)
    )
    monkeypatch.setattr(usage_integrator, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(Place, "distributor", lambda place: times.cluster)
    times.cluster.known["1"] = RemoteUsage(maxrss=MIB)
    result = CliRunner().invoke(cli, ["usage-integrator", "start", "--once"])
    assert (result.exit_code, result.output) == (
        0,
        "Filled in: 1 attempts. Not known yet: 0. Given up: 1.\n",
    ), result.output
    times.cluster.trouble = ClusterUnreachable("no slurmdbd")
    ended(scene, 2, "3")
    result = CliRunner().invoke(cli, ["usage-integrator", "start", "--once"])
    assert result.exit_code == 1
    assert "Cluster dummy could not be asked: no slurmdbd" in result.output
