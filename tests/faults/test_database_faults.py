"""Faults of the database under a server at work: nothing that was acknowledged is lost or doubled, and all ends well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import strains
from bench.load import Shape
from database_proxy import proxy_to_database
from fault_marks import Fault, under
from own_engines import OwnEngine, OwnEngines, filled, mount_memory, unmount
from under_load import scene

from databases import Backend
from jobmon.server.web.db_admin import init_db
from processes import is_gone, wait_until
from server_place import Servers

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]

FAULT_SECONDS = 2.0
"""How long a fault lasts: longer than the server has patience for."""
IMPATIENT = {"db__reconnect_seconds": 1}
LONG = Shape(workflows=2, lanes=15, links=12, seconds=0.4)
NUM_DEADLOCKS = 3
SQLITE_BYTES = 32 * 2**20


@pytest.fixture
def engine(own_engines: OwnEngines, backend: Backend) -> OwnEngine | None:
    """The database server that is to suffer; ``None`` for SQLite."""
    return None if backend is Backend.SQLITE else own_engines.engine(backend)


@pytest.fixture
def small_disk(tmp_path: Path, backend: Backend) -> Iterator[Path | None]:
    """A small file system for a SQLite database; ``None`` for the others, which have one already."""
    if backend is not Backend.SQLITE:
        yield None
        return
    path = tmp_path / "disk"
    path.mkdir()
    if why := mount_memory(path, SQLITE_BYTES):
        pytest.skip(f"a small file system cannot be mounted here: {why}")
    yield path
    unmount(path)


@pytest.fixture
def uri(engine: OwnEngine | None, small_disk: Path | None) -> Iterator[str]:
    """A database with tables that is to suffer."""
    if engine is None:
        assert small_disk is not None
        uri = f"sqlite:///{small_disk}/jobmon.sqlite"
        init_db(uri)
        yield uri
        return
    with engine.database() as uri:
        init_db(uri)
        yield uri


@under("database stopped")
def test_database_stopped(fault: Fault, engine: OwnEngine, uri: str, servers: Servers) -> None:
    with scene(servers, uri, **IMPATIENT) as at_work:
        engine.stop()
        time.sleep(FAULT_SECONDS)
        engine.start()
        at_work.check(fault.statuses, must_see=True)


@under("database restarted")
def test_database_restarted(fault: Fault, engine: OwnEngine, uri: str, servers: Servers) -> None:
    with scene(servers, uri) as at_work:
        for part in (0.1, 0.4):
            at_work.load.wait_ended(part)
            engine.kill()
            engine.start()
        at_work.check(fault.statuses)


@under("database refuses connections")
def test_database_refuses_connections(fault: Fault, engine: OwnEngine, uri: str, servers: Servers) -> None:
    with scene(servers, uri, **IMPATIENT) as at_work:
        with strains.all_connections_taken(engine, uri):
            time.sleep(FAULT_SECONDS)
        at_work.check(fault.statuses, must_see=True)


@under("database read-only")
def test_database_read_only(fault: Fault, engine: OwnEngine, uri: str, servers: Servers) -> None:
    with scene(servers, uri) as at_work:
        with strains.read_only(engine):
            time.sleep(FAULT_SECONDS)
        at_work.check(fault.statuses, must_see=True)


@under("database out of space")
def test_database_out_of_space(
    fault: Fault, engine: OwnEngine | None, uri: str, small_disk: Path | None, servers: Servers
) -> None:
    """A database that cannot go on without room may end itself, and is started whenever it has, as an operator would."""
    if engine is not None and engine.why_not_small:
        pytest.skip(f"a small file system cannot be mounted here: {engine.why_not_small}")
    with scene(servers, uri, shape=LONG, **IMPATIENT) as at_work:
        with filled(engine.data if engine is not None else small_disk or Path()):
            wait_until(
                lambda: "has no room left" in at_work.text or (engine is not None and is_gone(engine.pid)),
                "a database without room",
            )
            if engine is not None and is_gone(engine.pid):
                time.sleep(FAULT_SECONDS)
        with engine.kept_running() if engine is not None else nullcontext():
            at_work.check(fault.statuses, must_see=True)


@under("deadlocks")
def test_deadlocks(fault: Fault, engine: OwnEngine, uri: str, servers: Servers) -> None:
    """The test's own transactions are never the ones that are rolled back."""
    strains.make_scales(engine, uri)
    before = strains.num_deadlocks(engine)
    with scene(servers, uri, shape=LONG) as at_work:
        num_won = 0
        while num_won < NUM_DEADLOCKS:
            at_work.load.wait_ended(0)  # it is not over
            num_won += strains.deadlock(engine, uri)
        at_work.check(fault.statuses)
    wait_until(lambda: strains.num_deadlocks(engine) >= before + NUM_DEADLOCKS, "the database to say so")


@under("database slow")
def test_database_slow(fault: Fault, engine: OwnEngine | None, uri: str, servers: Servers) -> None:
    with scene(servers, uri) as at_work:
        for part in (0.1, 0.4):
            at_work.load.wait_ended(part)
            with strains.attempts_locked(engine, uri):
                time.sleep(FAULT_SECONDS)
        at_work.check(fault.statuses)


@under("commits unanswered")
def test_commits_unanswered(fault: Fault, uri: str, servers: Servers) -> None:
    with proxy_to_database(uri) as (proxy, through), scene(servers, uri, server_uri=through) as at_work:
        proxy.cut = 0.05
        at_work.check(fault.statuses)
        assert proxy.num_cut > 5
