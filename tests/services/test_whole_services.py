"""Services as users and operators meet them: real servers, scripts and reapers, killed and told of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from other_sides import FakeWeb
from sqlalchemy import delete, func, select, update

import databases
from jobmon.core.process_identity import ProcessIdentity
from jobmon.server.services.lease import lease_read
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Alarm, Lease, WorkflowHistory, WorkflowRun
from jobmon.testing.factory import run_make, workflow_make
from processes import Place, new_place, wait_until

pytestmark = pytest.mark.e2e

NUM_RUNS = 10


@pytest.fixture
def place(tmp_path: Path, database_template: Path, web: FakeWeb) -> Iterator[Place]:
    """A user's place, whose server may tell the web, and looks for lost runs every second."""
    for place in new_place(tmp_path, database_template):
        place.configure(
            notify__webhook_hosts=f"127.0.0.1:{web.port}",
            reaper__poll_interval_minutes=1 / 60,
            reaper__grace_seconds=1,
            heartbeat__workflow_run_interval=0.3,
        )
        yield place


def test_the_end_of_a_run_is_told(place: Place, web: FakeWeb) -> None:
    """The script names whom; the configuration does where it names nobody."""
    place.configure(notify__on_end=f"{web.url}/default, #not-there")
    script = place.start_flow([place.task("a")], run={"notify": [f"{web.url}/script"]})
    assert script.result()["status"] == "D"
    web.wait(1)
    assert (
        place.start_flow([place.task("b", then="false")], workflow={"workflow_args": "2"}).result()["status"]
        == "E"
    )
    web.wait(2)
    told = {request.path: request.json for request in web.received}
    assert told["/script"]["run_status"] == "DONE"
    assert told["/script"]["tasks"] == {"DONE": 1}
    assert told["/default"]["run_status"] == "ERROR"
    assert told["/default"]["tasks"] == {"FATAL": 1}


def test_who_cannot_be_told_is_refused_before_anything_runs(place: Place) -> None:
    """With what there is instead."""
    for target, words in (("#a", "slack is not configured there (configured: webhook)"), ("a", "#channel")):
        error = place.start_flow([place.task("a")], run={"notify": target}).error()
        assert error["type"] in ("InvalidRequest", "UsageError")
        assert words in error["message"]
    assert place.num_starts("a") == [0]
    assert place.runs() == ""


def test_the_end_of_a_run_whose_controller_was_killed_is_told_once(place: Place, web: FakeWeb) -> None:
    """By whoever ended the run: the reaper."""
    script = place.start_flow([place.task("a", gate="go")], run={"notify": f"{web.url}/end"})
    place.wait_started("a")
    script.kill()
    script.end()
    place.wait_run("E")
    web.wait(1)
    assert web.received[0].json["was_reaped"]
    place.open("go")
    assert (
        place.run_flow([place.task("a", gate="go")], run={"resume": True, "notify": f"{web.url}/2"})["status"]
        == "D"
    )
    web.wait(2)
    assert [request.path for request in web.received] == ["/end", "/2"]


# -- several reapers on one database ----------------------------------------------------------------------
@pytest.fixture
def start_reaper(
    database_uri: str, web: FakeWeb, tmp_path: Path
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "JOBMON__DB__SQLALCHEMY_DATABASE_URI": database_uri,
        "JOBMON__LEASE__SECONDS": "2",
        "JOBMON__REAPER__GRACE_SECONDS": "1",
        "JOBMON__NOTIFY__DEFAULT": f"{web.url}/ops",
    }

    def start() -> subprocess.Popen[bytes]:
        words = ["reaper", "start", "--poll-interval", "0.01"]
        program = [sys.executable, "-c", "from jobmon.server.cli import main; main()", *words]
        process = subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("backend", databases.parameters([databases.Backend.POSTGRESQL]))
def test_several_reapers_act_once(
    database: Database, start_reaper: Callable[[], subprocess.Popen[bytes]], web: FakeWeb
) -> None:
    """Three of them; the leader is killed while there are lost runs, and the next one goes on where it was."""
    gone = ProcessIdentity("elsewhere.example", "", 1, 0)
    with database.write() as connection:
        now = dialect.utcnow(connection)
        for _ in range(NUM_RUNS):
            made = workflow_make(connection, [[]], now=now)
            run_make(connection, made.workflow_id, now=now, controller=gone)
        connection.execute(update(WorkflowRun).values(heartbeat_date=now - timedelta(seconds=1)))
    reapers = [start_reaper() for _ in range(3)]

    def num_ended() -> int:
        with database.read() as connection:
            return connection.scalar(select(func.count()).where(WorkflowRun.status == "E")) or 0

    def num_told() -> int:
        with database.read() as connection:
            return connection.scalar(select(func.count()).where(Alarm.settled_at.is_not(None))) or 0

    def leader() -> int:
        with database.read() as connection:
            lease = lease_read(connection)
        return int(lease.holder.split(":")[-2]) if lease is not None and lease.is_held else 0

    wait_until(leader, "a leader", 30)
    first = next(process for process in reapers if process.pid == leader())
    wait_until(num_ended, "the first lost run", 30)
    first.kill()
    first.wait(10)
    wait_until(lambda: leader() not in (0, first.pid), "the next leader", 30)
    wait_until(lambda: num_ended() == NUM_RUNS, "the end of all lost runs", 30)
    wait_until(lambda: num_told() == NUM_RUNS, "the telling of all of them", 30)
    with database.read() as connection:
        ends = connection.scalars(
            select(WorkflowHistory.workflow_run_id).where(WorkflowHistory.run_to == "E")
        ).all()
    assert len(ends) == len(set(ends)) == NUM_RUNS
    for process in reapers:
        process.kill()
        process.wait(10)
    subjects = [request.json["subject"] for request in web.received]
    assert len(subjects) == len(set(subjects))  # what the killed one had in its hands is not told again
    with database.write() as connection:
        for table in (Alarm, Lease):
            connection.execute(delete(table))
