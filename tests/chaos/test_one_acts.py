"""Several of a kind, some of them stopped for a while or with clocks ten minutes off: one of them acts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from crash_scene import HERE, CrashScenes
from sqlalchemy import select, update

from databases import SERVERS, Backend, bare_database, parameters
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.requester import current_user
from jobmon.core.states import WORKFLOW_RUN_TERMINAL
from jobmon.server.services.lease import LeaseKeeper, LeaseView, lease_read
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.db_admin import init_db
from jobmon.server.web.models import WorkflowHistory, WorkflowRun
from jobmon.testing.factory import run_make, workflow_make
from jobmon.testing.history import assert_history
from processes import Script, is_gone, wait_until
from server_place import servers_in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

OFFSETS = (0, 600, -600)
"""Seconds by which clocks are wrong."""
NUM_RUNS = 6
HOUR = timedelta(hours=1)
LEASE_SECONDS = 2.0
SERVICES = {
    "lease__seconds": LEASE_SECONDS,
    "reaper__grace_seconds": 1,
    "reaper__poll_interval_minutes": 1 / 60,
    "monitor__enabled": "false",
}


# -- reapers --------------------------------------------------------------------------------------------------
class Lost:
    """A database in which runs are lost, again and again.

    Args:
        database: the database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.run_ids: list[int] = []

    def add_runs(self) -> None:
        """Runs whose controllers are no more and were due an hour ago."""
        with self.database.write() as connection:
            now = dialect.utcnow(connection)
            for _ in range(NUM_RUNS):
                workflow = workflow_make(connection, now=now, user=current_user())
                controller = ProcessIdentity("elsewhere", "", 1, 1)
                run_id = run_make(connection, workflow.workflow_id, now=now, controller=controller)
                row = WorkflowRun.id == run_id
                connection.execute(update(WorkflowRun).where(row).values(heartbeat_date=now - HOUR))
                self.run_ids.append(run_id)

    def endings(self) -> Counter[int]:
        """How often each run was ended."""
        statement = select(WorkflowHistory.workflow_run_id).where(
            WorkflowHistory.run_to.in_(sorted(WORKFLOW_RUN_TERMINAL))
        )
        with self.database.read() as connection:
            return Counter(connection.scalars(statement))

    def wait_ended(self) -> None:
        """Wait until all runs have ended; each has once."""
        wait_until(lambda: self.endings().keys() >= set(self.run_ids), "the end of all lost runs", 60)
        assert self.endings() == dict.fromkeys(self.run_ids, 1)

    def lease(self) -> LeaseView | None:
        """Who leads."""
        with self.database.read() as connection:
            return lease_read(connection)

    def leader(self, but: str = "") -> str:
        """Wait until somebody leads, other than this one; who."""

        def look() -> str:
            lease = self.lease()
            return lease.holder if lease is not None and lease.is_held and lease.holder != but else ""

        return wait_until(look, "a leader", 60)


@pytest.fixture
def lost(backend: Backend, tmp_path: Path) -> Iterator[Lost]:
    """A database of this test alone."""
    with bare_database(backend, tmp_path) as uri:
        init_db(uri)
        database = Database(uri)
        yield Lost(database)
        assert_history(uri)
        database.dispose()


def pid_of(holder: str) -> int:
    """The process that a lease names."""
    return int(holder.split(":")[-2])


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("backend", parameters(SERVERS))
def test_reapers_whose_clocks_differ(lost: Lost, count: int, tmp_path: Path) -> None:
    """Each lost run is ended once; the leader is killed, and another one ends the next ones."""
    uri = lost.database.engine.url.render_as_string(hide_password=False)
    with servers_in(tmp_path) as servers:
        settings = {f"JOBMON__{name.upper()}": str(value) for name, value in SERVICES.items()}
        environment = {**servers.environment, **settings, "JOBMON__DB__SQLALCHEMY_DATABASE_URI": uri}
        program = Path(sys.executable).with_name("jobmon-server")
        reapers = [
            subprocess.Popen(
                [sys.executable, HERE / "wrong_clock.py", str(offset), program, "reaper", "start"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for offset in OFFSETS[-count:]
        ]
        try:
            lost.add_runs()
            lost.wait_ended()
            first = lost.leader()
            os.kill(pid_of(first), signal.SIGKILL)
            lost.add_runs()
            lost.wait_ended()
            assert lost.leader() != first
        finally:
            for reaper in reapers:
                reaper.kill()
                reaper.wait(10)


@pytest.mark.parametrize("backend", parameters(SERVERS))
def test_a_server_that_was_stopped_does_not_act_on_what_it_knew(lost: Lost, tmp_path: Path) -> None:
    """Stopped for longer than its lease in the midst of its work, and continued: another leads by then."""
    uri = lost.database.engine.url.render_as_string(hide_password=False)
    with servers_in(tmp_path) as servers:
        started = [servers.launch(uri, **SERVICES) for _ in range(2)]
        for server in started:
            server.wait_serving()
        lost.add_runs()
        first = lost.leader()
        wait_until(lambda: bool(lost.endings()), "the first look", 60)
        os.kill(pid_of(first), signal.SIGSTOP)
        lost.add_runs()
        second = lost.leader(but=first)
        lost.wait_ended()
        lost.add_runs()
        os.kill(pid_of(first), signal.SIGCONT)
        lost.wait_ended()
        assert lost.leader() == second
        assert not is_gone(pid_of(first))
        assert all(server.end() == 0 for server in started)


STOPS_WHILE_IT_RENEWS = """
import os, signal, sys
from jobmon.server.services import lease
from jobmon.server.web.database import Database

take, passages = lease.lease_take_if_free, iter(range(9))

def stopping(*arguments):
    term = take(*arguments)
    if next(passages) == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return term

lease.lease_take_if_free = stopping
keeper = lease.LeaseKeeper(Database(sys.argv[1]), float(sys.argv[2]))
while keeper.look():
    pass
print("lost")
"""
"""Takes the lease, and is stopped when it has renewed it and not committed that."""


@pytest.mark.parametrize("backend", parameters(SERVERS))
def test_a_leader_stopped_while_it_renews_holds_nobody_up(lost: Lost) -> None:
    """The database ends its transaction, and with it the lock on the lease; continued, it learns that it leads no more."""
    uri = lost.database.engine.url.render_as_string(hide_password=False)
    words = [sys.executable, "-c", STOPS_WHILE_IT_RENEWS, uri, str(LEASE_SECONDS)]
    first = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
        keeper = LeaseKeeper(lost.database, LEASE_SECONDS)
        assert wait_until(keeper.look, "the lease", 30) == 2
        first.send_signal(signal.SIGCONT)
        assert first.communicate(timeout=30)[0] == "lost\n"
    finally:
        first.kill()
        first.communicate()


# -- controllers ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("backend", parameters(SERVERS))
def test_controllers_whose_clocks_differ(
    backend: Backend, count: int, crash_scenes: CrashScenes, tmp_path: Path
) -> None:
    """Each of them wants to run or resume the same workflow: one runs it at a time, and each task is done once."""
    with crash_scenes.scene(backend, tmp_path / "place") as scene:
        names = {f"t{number}": [] for number in range(12)} | {"last": ["t0", "t1"]}
        tasks = scene.commands(names, "sleep 0.1")
        scripts: list[Script] = []
        for offset in OFFSETS[-count:]:
            scene.clock_offset = offset
            scripts.append(scene.start_crashing(tasks, "multiprocess", run={"resume": True}))
        for script in scripts:
            script.end(90)
        results = [found for script in scripts if (found := script.said("RESULT"))]
        errors = [found["type"] for script in scripts if (found := script.said("ERROR"))]
        assert [each["status"] for each in results].count("D") == 1, [script.text for script in scripts]
        assert {each["status"] for each in results} <= {"D", "T"}
        assert set(errors) <= {"WorkflowAlreadyComplete", "WorkflowNotResumable"}, errors
        scene.note_workflow(results[0])
        scene.assert_promise()
