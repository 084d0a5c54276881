"""Connections and transactions: one request is one transaction."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError
from jobmon.server.web import dialect
from jobmon.server.web.failure_dialect import DatabaseBusy, Failure, answer_to, failure_of

T = TypeVar("T")

RETRY_DELAYS_SECONDS = (0.002, 0.004, 0.008, 0.016, 0.032)
"""Between tries of a transaction that another one stood in the way of."""
RECONNECT_SECONDS = 10.0
"""How long a transaction is tried again while the database does not answer, unless configured otherwise."""
RECONNECT_DELAY_SECONDS = 0.05
"""Before the first such try; then twice as long each time, up to a second."""
_ID_POOL = {"pool_size": 2, "max_overflow": 0}


class Database:
    """The database behind a server. Its connections are closed with it, however it goes.

    Args:
        uri: SQLAlchemy URI.
        connect_args: arguments of the driver.
        pool: arguments of the connection pool.
        reconnect_seconds: how long a transaction is tried again while the database does not answer.
    """

    def __init__(
        self,
        uri: str,
        connect_args: dict[str, Any] | None = None,
        pool: dict[str, Any] | None = None,
        reconnect_seconds: float = RECONNECT_SECONDS,
    ) -> None:
        self.engine = make_engine(uri, connect_args, pool)
        self.reconnect_seconds = reconnect_seconds
        self._id_engine = (
            None
            if dialect.is_sqlite(self.engine)
            else make_engine(uri, connect_args, {**(pool or {}), **_ID_POOL})
        )
        weakref.finalize(self, _dispose, self.engine, self._id_engine).atexit = False
        # SQLite writers queue up here rather than in SQLite's own busy handler, which sleeps.
        self._writer: threading.Lock | None = threading.Lock() if dialect.is_sqlite(self.engine) else None
        writing: dict[str, Any] = {dialect.IS_WRITE: True, dialect.ID_ENGINE: self._id_engine}
        self._write_engine = self.engine.execution_options(**writing)
        self._read_engine = self.engine.execution_options(**{dialect.IS_WRITE: False})

    @classmethod
    def from_config(cls, config: JobmonConfig, *, only_reads: bool = False) -> Database:
        """The database of ``db.sqlalchemy_database_uri``.

        Args:
            config: the configuration.
            only_reads: that of ``db.query_sqlalchemy_database_uri``, where there is one.

        Raises:
            ConfigError: none is configured.
        """
        uri = str(config.get("db", "query_sqlalchemy_database_uri")) if only_reads else ""
        uri = uri or str(config.get("db", "sqlalchemy_database_uri"))
        if not uri:
            raise ConfigError(
                "The server needs a database: set db.sqlalchemy_database_uri (JOBMON__DB__SQLALCHEMY_DATABASE_URI), "
                "for example sqlite:////path/to/jobmon.sqlite."
            )
        pool = {
            "pool_size": config.get_int("db", "pool.size"),
            "max_overflow": config.get_int("db", "pool.max_overflow"),
            "pool_timeout": config.get_float("db", "pool.timeout"),
            "pool_recycle": config.get_int("db", "pool.recycle"),
            "pool_pre_ping": config.get_boolean("db", "pool.pre_ping"),
        }
        connect_args = dict(config.get("db", "sqlalchemy_connect_args"))
        return cls(uri, connect_args, pool, config.get_float("db", "reconnect_seconds"))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._read_engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; committed at the end, rolled back by an exception."""
        with self._writer or nullcontext(), self._write_engine.begin() as connection:
            yield connection

    def retrying_write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in a write transaction; again, where another transaction stood in the way or the database was away.

        A commit of which no word came back is done again too: whatever is done twice changes nothing the second time.

        Raises:
            DatabaseBusy: another transaction stood in the way every time; the client tries again later.
            DatabaseUnreachable: the database was away for too long.
            DatabaseReadOnly, DatabaseFull: it takes no changes.
        """
        patience = _Patience(self.reconnect_seconds)
        while True:
            try:
                with self.write() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                failure = failure_of(error)
                if failure is Failure.READ_ONLY:
                    self.dispose()  # it may be a replica by now, and its name lead to another one
                delay = patience.delay_after(failure)
                if delay is None:
                    answer = answer_to(error)
                    if answer is None:
                        raise
                    raise answer from error
            time.sleep(delay)

    def dispose(self) -> None:
        """Close all connections."""
        _dispose(self.engine, self._id_engine)


def _dispose(*engines: Engine | None) -> None:
    for engine in engines:
        if engine is not None:
            engine.dispose()


class _Patience:
    """How often and for how long a transaction is tried again."""

    def __init__(self, reconnect_seconds: float) -> None:
        self._conflict_delays = iter(RETRY_DELAYS_SECONDS)
        self._reconnect_seconds = reconnect_seconds
        self._deadline: float | None = None
        self._reconnect_delay = RECONNECT_DELAY_SECONDS

    def delay_after(self, failure: Failure) -> float | None:
        """Seconds until the next try; ``None``: there is none."""
        if failure is Failure.CONFLICT:
            return next(self._conflict_delays, None)
        if failure is not Failure.GONE:
            return None
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._reconnect_seconds
        if now >= self._deadline:
            return None
        delay, self._reconnect_delay = self._reconnect_delay, min(1.0, 2 * self._reconnect_delay)
        return min(delay, self._deadline - now)


def make_engine(
    uri: str, connect_args: dict[str, Any] | None = None, pool: dict[str, Any] | None = None
) -> Engine:
    """An engine for the URI, set up for its kind of database."""
    try:
        url = make_url(uri)
        options = dict(pool or {})
        if url.get_backend_name() == "sqlite":
            options.pop("pool_recycle", None)
            options.pop("pool_pre_ping", None)
            connect_args = {"check_same_thread": False, "timeout": 15, **(connect_args or {})}
        else:
            # What is read after a lock was waited for must be what its holder committed, on MariaDB too.
            options["isolation_level"] = "READ COMMITTED"
        engine = create_engine(url, connect_args=connect_args or {}, hide_parameters=True, **options)
    except (ArgumentError, ImportError) as error:
        raise ConfigError(f"db.sqlalchemy_database_uri cannot be used: {error}") from error
    dialect.configure(engine)
    _close_what_comes_back_late(engine)
    return engine


def _close_what_comes_back_late(engine: Engine) -> None:
    """Have connections closed that were in use while the engine was disposed of; its old pool would keep them open."""
    disposals = 0

    @event.listens_for(engine, "connect")
    def _note(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["disposals"] = disposals

    @event.listens_for(engine, "engine_disposed")
    def _count(_engine: Engine) -> None:
        nonlocal disposals
        disposals += 1

    @event.listens_for(engine, "checkin")
    def _close(connection: Any, record: ConnectionPoolEntry) -> None:
        if connection is not None and record.info.get("disposals") != disposals:
            record.invalidate()


__all__ = ["Database", "DatabaseBusy", "OperationalError", "make_engine"]
