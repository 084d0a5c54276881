"""The lease: one holder at a time by the database's clock, and no change by who has lost it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from database_clock import DatabaseClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, event, insert, select

import databases
from jobmon.server.services.lease import (
    LeasedDatabase,
    LeaseKeeper,
    LeaseLost,
    LeaseView,
    lease_read,
)
from jobmon.server.web.database import Database
from jobmon.server.web.failure_dialect import DatabaseUnreachable
from jobmon.server.web.models import Lease, Tool
from processes import wait_until

SECONDS = 30.0
every_backend = pytest.mark.parametrize("backend", databases.parameters())


def read(database: Database) -> LeaseView:
    with database.read() as connection:
        view = lease_read(connection)
    assert view is not None
    return view


@pytest.fixture
def keepers(database: Database) -> Iterator[list[LeaseKeeper]]:
    yield [LeaseKeeper(database, SECONDS) for _ in range(3)]
    with database.write() as connection:
        connection.execute(delete(Lease))


@every_backend
def test_one_at_a_time_and_the_next_when_it_expires(
    database: Database, clock: DatabaseClock, keepers: list[LeaseKeeper]
) -> None:
    """The term grows with each change of holder; keeping it is no change."""
    first, second, _ = keepers
    with database.read() as connection:
        assert lease_read(connection) is None
    assert (first.look(), second.look()) == (1, None)
    clock.pass_by(SECONDS - 1)
    assert (second.look(), first.look()) == (None, 1)
    clock.pass_by(SECONDS - 1)
    assert second.look() is None
    assert read(database).seconds_left == 1
    clock.pass_by(1)
    assert not read(database).is_held
    assert second.look() == 2
    assert first.look() is None
    view = read(database)
    assert (view.holder, view.term, view.acquired_at) == (second.holder, 2, clock.now)


@every_backend
def test_who_has_lost_it_changes_nothing(
    database: Database, clock: DatabaseClock, keepers: list[LeaseKeeper]
) -> None:
    """Neither before the work, nor when the time was over during it, whatever the process believes."""
    first, second, _ = keepers

    def add(name: str, keeper: LeaseKeeper, seconds: float = 0) -> None:
        def work(connection):  # type: ignore[no-untyped-def]
            connection.execute(insert(Tool).values(name=name))
            clock.pass_by(seconds)

        LeasedDatabase(keeper).retrying_write(work)

    with pytest.raises(LeaseLost, match="does not hold"):
        add("before", first)
    first.look()
    add("held", first)
    with pytest.raises(LeaseLost, match="expired during the work"):
        add("too slow", first, SECONDS)
    assert second.look() == 2
    with pytest.raises(LeaseLost, match=second.holder):
        add("stopped for long", first)
    add("taken over", second)
    clock.pass_by(SECONDS)
    with pytest.raises(LeaseLost, match="nobody"):
        add("late", second)
    with database.read() as connection:
        assert sorted(connection.scalars(select(Tool.name))) == ["held", "taken over"]
    with database.write() as connection:
        connection.execute(delete(Tool))


@every_backend
def test_who_ends_in_good_order_gives_it_back(database: Database, keepers: list[LeaseKeeper]) -> None:
    first, second, _ = keepers
    first.start()
    assert first.wait_for_change(None, 20) == 1
    assert second.look() is None
    first.stop(20)
    assert first.term is None
    assert second.look() == 2
    first._release()  # again, and too late: it is another's
    assert read(database).is_held


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["look", "act", "wait", "end"])), max_size=40))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_actions_of_a_term_are_over_when_the_next_begins(
    database: Database, clock: DatabaseClock, steps: list[tuple[int, str]]
) -> None:
    """Whatever the order of looks, actions, pauses and ends of three processes."""
    with database.write() as connection:
        connection.execute(delete(Lease))
    keepers = [LeaseKeeper(database, SECONDS) for _ in range(3)]
    acted: list[int] = []
    for which, what in steps:
        keeper = keepers[which]
        if what == "look":
            keeper.look()
        elif what == "wait":
            clock.pass_by(SECONDS / 2)
        elif what == "end":
            keeper._release()
        else:
            try:
                LeasedDatabase(keeper).retrying_write(lambda _, term=keeper.term: acted.append(term or 0))
            except LeaseLost:
                continue
    assert acted == sorted(acted)
    assert 0 not in acted


def test_a_database_that_is_away_is_told_of_once(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process goes on; the database decides whether it still holds the lease."""
    from sqlalchemy.exc import OperationalError

    keeper = LeaseKeeper(database, SECONDS)
    assert keeper.look() == 1

    def gone(_: object) -> None:
        raise OperationalError("select", {}, Exception("gone"))

    with monkeypatch.context() as patch:
        patch.setattr(database, "retrying_write", gone)
        assert [keeper.look() for _ in range(3)] == [1, 1, 1]
    assert len([r for r in caplog.records if "cannot be renewed" in r.message]) == 1
    assert keeper.look() == 1


@pytest.mark.parametrize("backend", databases.parameters(databases.SERVERS))
def test_who_stops_just_before_the_commit_holds_nobody_up(database: Database) -> None:
    """The database waits for a word of it for no longer than the lease lasts, and then frees what it had locked."""
    first, second = LeaseKeeper(database, 1.0), LeaseKeeper(database, 1.0)
    assert first.look() == 1
    has_stopped, goes_on = threading.Event(), threading.Event()

    def stop(_connection: Connection) -> None:
        if threading.current_thread() is acting:
            has_stopped.set()
            goes_on.wait(30)

    def act() -> None:
        with pytest.raises((LeaseLost, DatabaseUnreachable)):
            LeasedDatabase(first).retrying_write(lambda c: c.execute(insert(Tool).values(name="late")))

    acting = threading.Thread(target=act)
    event.listen(database.engine, "commit", stop)
    try:
        acting.start()
        assert has_stopped.wait(20)
        wait_until(lambda: second.look() == 2, "the next leader")
    finally:
        goes_on.set()
        acting.join(30)
        event.remove(database.engine, "commit", stop)
    with database.write() as connection:
        assert connection.scalars(select(Tool.name)).all() == []
        connection.execute(delete(Lease))
