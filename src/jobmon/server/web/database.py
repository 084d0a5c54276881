"""Connections and transactions: one request is one transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError, ServerError
from jobmon.server.web import dialect

T = TypeVar("T")

RETRY_DELAYS_SECONDS = (0.002, 0.004, 0.008, 0.016, 0.032)


class DatabaseBusy(ServerError):
    """The database is busy; try again."""

    status_code = 503


class Database:
    """The database behind a server.

    Args:
        uri: SQLAlchemy URI.
        connect_args: arguments of the driver.
        pool: arguments of the connection pool.
    """

    def __init__(
        self, uri: str, connect_args: dict[str, Any] | None = None, pool: dict[str, Any] | None = None
    ) -> None:
        self.engine = make_engine(uri, connect_args, pool)
        # SQLite writers queue up here rather than in SQLite's own busy handler, which sleeps.
        self._writer: threading.Lock | None = threading.Lock() if dialect.is_sqlite(self.engine) else None
        self._write_engine = self.engine.execution_options(jobmon_write=True)
        self._read_engine = self.engine.execution_options(jobmon_write=False)

    @classmethod
    def from_config(cls, config: JobmonConfig) -> Database:
        """The database of ``db.sqlalchemy_database_uri``."""
        uri = str(config.get("db", "sqlalchemy_database_uri"))
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
        return cls(uri, dict(config.get("db", "sqlalchemy_connect_args")), pool)

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
        """Do ``work`` in a write transaction; again, a few times, where another transaction stood in the way.

        Raises:
            DatabaseBusy: it did so every time; the client tries again later.
        """
        for delay in (*RETRY_DELAYS_SECONDS, None):
            try:
                with self.write() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not dialect.is_retryable(error):
                    raise
                if delay is None:
                    raise DatabaseBusy(f"The database is busy ({error.orig}); try again.") from error
                time.sleep(delay)
        raise AssertionError("unreachable")

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


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
        engine = create_engine(url, connect_args=connect_args or {}, **options)
    except (ArgumentError, ImportError) as error:
        raise ConfigError(f"db.sqlalchemy_database_uri cannot be used: {error}") from error
    dialect.configure(engine)
    return engine


__all__ = ["Database", "DatabaseBusy", "OperationalError", "make_engine"]
