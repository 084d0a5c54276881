"""The lease: of all processes that could do a service's work, one does it at a time.

Rules
-----
1. Time is the database's; no process compares its own clock with what stands in the row.
2. A lease is taken by whoever finds it free or expired, under the lock of its row. Its *term* grows then.
3. Every action is a transaction of :class:`LeasedDatabase`. It locks the row of the lease first and goes on only if term and
   holder are still its own and the time is not over; it looks at the time again before it commits. A process that was
   stopped for longer than its lease, and then goes on, finds that out before it has changed anything.
4. Who ends in good order gives the lease back, and the next one has it within a second. Who dies keeps it until it expires.

On SQLite the database's clock is that of the machine, which all of its processes share.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from jobmon.core.exceptions import JobmonError
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Lease

T = TypeVar("T")

logger = logging.getLogger("jobmon.server.lease")

SERVICES = "services"
"""The one lease of reaper, monitor, usage integrator and notification."""
STANDBY_SECONDS = 1.0
"""Between two looks of a process that waits for the lease."""
RENEWALS = 3
"""How often a lease is renewed within its time."""


class LeaseLost(JobmonError):
    """Another process may hold the lease by now; nothing was changed."""

    status_code = 503


@dataclass(frozen=True)
class LeaseView:
    """A lease as it stands in the database.

    Attributes:
        name: which lease.
        holder: the process, as ``host:pid:number``.
        term: grows whenever the holder changes.
        acquired_at, expires_at: by the clock of the database.
        now: what that clock said when this was read.
    """

    name: str
    holder: str
    term: int
    acquired_at: datetime
    expires_at: datetime
    now: datetime

    @property
    def is_held(self) -> bool:
        """Whether somebody has it."""
        return self.now < self.expires_at

    @property
    def seconds_left(self) -> float:
        """Until it expires; negative after that."""
        return (self.expires_at - self.now).total_seconds()


_READ = select(Lease.name, Lease.holder, Lease.term, Lease.acquired_at, Lease.expires_at)


def lease_read(connection: Connection, name: str = SERVICES) -> LeaseView | None:
    """A lease; ``None`` when nobody ever had it."""
    row = connection.execute(_READ.where(Lease.name == name)).first()
    return None if row is None else LeaseView(*row, now=dialect.utcnow(connection))


def lease_lock(connection: Connection, name: str = SERVICES) -> LeaseView | None:
    """The same, with its row locked; the clock is read after the lock was had."""
    row = connection.execute(dialect.lock_rows(connection, _READ.where(Lease.name == name))).first()
    return None if row is None else LeaseView(*row, now=dialect.utcnow(connection))


def lease_take_if_free(connection: Connection, name: str, holder: str, seconds: float) -> int | None:
    """Take a lease that is free, or keep one's own; its term, ``None`` when another has it.

    Args:
        connection: a write transaction.
        name: which lease.
        holder: who asks; no two processes give the same.
        seconds: for how long from now.
    """
    found = lease_lock(connection, name)
    if found is None:
        now = dialect.utcnow(connection)
        row = {"name": name, "holder": holder, "term": 1, "acquired_at": now}
        connection.execute(insert(Lease).values(**row, expires_at=now + timedelta(seconds=seconds)))
        return 1
    values: dict[str, object] = {"expires_at": found.now + timedelta(seconds=seconds)}
    term = found.term
    if found.holder != holder or not found.is_held:
        if found.is_held:
            return None
        term += 1
        values |= {"holder": holder, "term": term, "acquired_at": found.now}
    connection.execute(update(Lease).where(Lease.name == name).values(**values))
    return term


def lease_release_if_own(connection: Connection, name: str, holder: str, term: int) -> None:
    """Give a lease back, so that the next one need not wait until it expires."""
    found = lease_lock(connection, name)
    if found is not None and (found.holder, found.term) == (holder, term) and found.is_held:
        connection.execute(update(Lease).where(Lease.name == name).values(expires_at=found.now))


def holder_of_this_process() -> str:
    """A name no other process has, that tells an operator where to look."""
    return f"{socket.gethostname()[:200]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class LeaseKeeper:
    """Takes a lease when it is free and keeps it, in a thread of its own.

    Args:
        database: where the lease is.
        seconds: how long it holds without being renewed.
        name: which lease.
    """

    def __init__(self, database: Database, seconds: float, name: str = SERVICES) -> None:
        self.database, self.seconds, self.name = database, seconds, name
        self.holder = holder_of_this_process()
        self._term: int | None = None
        self._stop, self._changed = threading.Event(), threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_failing = False
        self._looking = threading.Lock()

    @property
    def term(self) -> int | None:
        """The term this process leads in, as far as it knows; every action asks the database again."""
        return self._term

    def start(self, delay_seconds: float = 0.0) -> None:
        """Begin, after a delay."""
        self._thread = threading.Thread(
            target=self._keep, args=(delay_seconds,), name="jobmon-lease", daemon=True
        )
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End, and give the lease back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def wait_for_change(self, term: int | None, timeout_seconds: float) -> int | None:
        """Wait until the term is another one than this; the term."""
        with self._changed:
            self._changed.wait_for(lambda: self._term != term or self._stop.is_set(), timeout_seconds)
            return self._term

    def wake(self) -> None:
        """Have whoever waits for a change look again."""
        with self._changed:
            self._changed.notify_all()

    def look(self) -> int | None:
        """Take or renew the lease once; the term, ``None`` while another has it."""
        with self._looking:
            return self._look()

    def _look(self) -> int | None:
        if self._stop.is_set():
            return self._term
        try:
            term = self._take() if self._may_take() else None
        except (DBAPIError, JobmonError) as error:
            # What it had may have expired by now; every action asks anyway, and will be refused.
            if not self._is_failing:
                logger.warning("the lease '%s' cannot be renewed: %s", self.name, error)
            self._is_failing = True
            return self._term
        self._is_failing = False
        self._set(term)
        return term

    def _may_take(self) -> bool:
        """Whether it is worth a write: looking is cheap, and most processes only look."""
        if self._term is not None:
            return True
        with self.database.read() as connection:
            found = lease_read(connection, self.name)
        return found is None or not found.is_held or found.holder == self.holder

    def _take(self) -> int | None:
        try:
            return self.database.retrying_write(self._take_in)
        except IntegrityError:
            return None  # the very first row: somebody else was faster

    def _take_in(self, connection: Connection) -> int | None:
        """Take or renew it in a transaction that holds nobody up if this process is stopped in the midst of it."""
        dialect.limit_idle(connection, self.seconds)
        return lease_take_if_free(connection, self.name, self.holder, self.seconds)

    def _set(self, term: int | None) -> None:
        with self._changed:
            if term != self._term:
                logger.info(
                    "this process %s the lease '%s'",
                    f"has term {term} of" if term is not None else "has lost",
                    self.name,
                )
            self._term = term
            self._changed.notify_all()

    def _keep(self, delay_seconds: float) -> None:
        self._stop.wait(delay_seconds)
        while not self._stop.is_set():
            try:
                term = self.look()
            except Exception:
                logger.exception("the lease '%s' could not be looked at", self.name)
                term = self._term
            renew = self.seconds / RENEWALS
            self._stop.wait(
                renew if term is not None and not self._is_failing else min(STANDBY_SECONDS, renew)
            )
        self._release()

    def _release(self) -> None:
        with self._looking:
            term = self._term
            self._set(None)
        if term is None:
            return
        try:
            self.database.retrying_write(
                lambda connection: lease_release_if_own(connection, self.name, self.holder, term)
            )
        except (DBAPIError, JobmonError) as error:
            logger.warning("the lease '%s' could not be given back, it expires: %s", self.name, error)


class LeasedDatabase:
    """A database whose writes happen only while a lease is held.

    Args:
        keeper: holds the lease.
    """

    def __init__(self, keeper: LeaseKeeper) -> None:
        self.keeper = keeper

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self.keeper.database.read() as connection:
            yield connection

    def retrying_write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in a transaction that counts only if the lease was held from its beginning to its end.

        Raises:
            LeaseLost: it was not; nothing was changed.
            DatabaseBusy: other transactions stood in the way every time.
        """
        keeper = self.keeper
        term = keeper.term
        if term is None:
            raise LeaseLost(f"This process does not hold the lease '{keeper.name}'.")

        def leased(connection: Connection) -> T:
            dialect.limit_idle(connection, keeper.seconds)
            lease = _require(lease_lock(connection, keeper.name), keeper.holder, term)
            result = work(connection)
            # The row is locked: only the time can have changed, for this process may have been stopped.
            if dialect.utcnow(connection) >= lease.expires_at:
                raise LeaseLost(f"The lease '{keeper.name}' expired during the work; nothing was changed.")
            return result

        return keeper.database.retrying_write(leased)


def _require(lease: LeaseView | None, holder: str, term: int) -> LeaseView:
    if lease is None or (lease.holder, lease.term) != (holder, term) or not lease.is_held:
        now = "nobody" if lease is None or not lease.is_held else f"{lease.holder} in term {lease.term}"
        raise LeaseLost(f"The lease of term {term} is lost: {now} holds it.")
    return lease


Transactions = Database | LeasedDatabase
"""What services read and write through: both have ``read`` and ``retrying_write``."""
