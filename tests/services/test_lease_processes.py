"""The lease among real processes that are killed, stopped, continued and ended, some with clocks ten minutes off."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from sqlalchemy import delete, select

import databases
from jobmon.server.services.lease import LeaseView, lease_read
from jobmon.server.web.database import Database
from jobmon.server.web.models import Lease, Tool
from processes import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("backend", databases.parameters(databases.SERVERS)),
]

LEASE_SECONDS = 1.5
SLACK_SECONDS = 8.0
"""A machine that is busy with other tests; where it is not, the lease moves within its time."""
OFFSETS = (0, 600, -600)


class Actors:
    """Processes that act under one lease."""

    def __init__(self, database: Database, uri: str) -> None:
        self.database = database
        script = Path(__file__).with_name("acting.py")
        self.processes = [
            subprocess.Popen([sys.executable, script, uri, str(LEASE_SECONDS), str(offset)])
            for offset in OFFSETS
        ]

    def lease(self) -> LeaseView | None:
        with self.database.read() as connection:
            return lease_read(connection)

    def actions(self) -> list[tuple[int, int]]:
        """Term and process of each action, in the order of their commits."""
        with self.database.read() as connection:
            names = connection.scalars(select(Tool.name).order_by(Tool.id)).all()
        return [(int(name.split()[0]), int(name.split(":")[-2])) for name in names]

    def leader(self, after_term: int = 0) -> subprocess.Popen[bytes]:
        """Wait until a process has acted in a later term; that process."""
        wait_until(
            lambda: any(term > after_term for term, _ in self.actions()),
            f"an action after term {after_term}",
            LEASE_SECONDS + SLACK_SECONDS,
        )
        pid = self.actions()[-1][1]
        return next(process for process in self.processes if process.pid == pid)

    def assert_terms_are_apart(self) -> None:
        """One process a term, and no action of a term after one of a later term."""
        terms = [(term, {pid for _, pid in each}) for term, each in groupby(self.actions(), lambda a: a[0])]
        assert [term for term, _ in terms] == sorted({term for term, _ in terms})
        assert all(len(pids) == 1 for _, pids in terms)

    def close(self) -> None:
        for process in self.processes:
            process.kill()  # also one that is stopped
            process.wait(10)


@pytest.fixture
def actors(database: Database, database_uri: str) -> Iterator[Actors]:
    actors = Actors(database, database_uri)
    yield actors
    actors.close()
    with database.write() as connection:
        connection.execute(delete(Tool))
        connection.execute(delete(Lease))


def test_the_lease_moves_and_nobody_acts_twice(actors: Actors) -> None:
    """Stopped for longer than the lease and continued; killed; ended in good order: one after the other."""
    first = actors.leader()
    first.send_signal(signal.SIGSTOP)
    second = actors.leader(after_term=1)
    assert second is not first
    term = actors.actions()[-1][0]
    first.send_signal(signal.SIGCONT)
    num_actions = len(actors.actions())
    wait_until(lambda: len(actors.actions()) > num_actions + 20, "the second to go on")
    actors.assert_terms_are_apart()

    second.kill()
    third = actors.leader(after_term=term)
    assert third is not second
    lease = actors.lease()
    assert lease is not None
    assert lease.is_held

    began = time.monotonic()
    third.send_signal(signal.SIGTERM)
    assert third.wait(20) == 0
    given_back = actors.lease()
    assert given_back is not None
    assert not given_back.is_held or given_back.term > lease.term
    actors.leader(after_term=lease.term)
    assert time.monotonic() - began < LEASE_SECONDS + SLACK_SECONDS
    actors.assert_terms_are_apart()


def test_a_leader_stopped_inside_a_transaction_holds_nobody_up(actors: Actors, database: Database) -> None:
    """The database ends its transaction, and with it the lock on the lease: stopped at random moments, three times."""
    actors.leader()
    for _ in range(3):
        term, pid = actors.actions()[-1]
        leader = next(process for process in actors.processes if process.pid == pid)
        leader.send_signal(signal.SIGSTOP)
        actors.leader(after_term=term)
        leader.send_signal(signal.SIGCONT)
    actors.assert_terms_are_apart()
