"""Errors of each driver are told apart: what to try again, what to tell clients, what is a mistake."""

from __future__ import annotations

import sqlite3

import psycopg
import pymysql
import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobmon.server.web.failure_dialect import Failure, answer_to, failure_of


def on_sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("what it says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("original", "failure"),
    [
        (pymysql.err.OperationalError(1213, "Deadlock found"), Failure.CONFLICT),
        (pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"), Failure.LOCKED),
        (pymysql.err.OperationalError(1290, "running with the --read-only option"), Failure.READ_ONLY),
        (pymysql.err.OperationalError(1040, "Too many connections"), Failure.GONE),
        (pymysql.err.OperationalError(2013, "Lost connection to server during query"), Failure.GONE),
        (pymysql.err.OperationalError(1114, "The table 'task' is full"), Failure.FULL),
        (pymysql.err.OperationalError(1030, "Got error 28 from storage engine"), Failure.FULL),
        (pymysql.err.ProgrammingError(1146, "Table 'task' doesn't exist"), Failure.OTHER),
        (psycopg.errors.DeadlockDetected("deadlock detected"), Failure.CONFLICT),
        (psycopg.errors.LockNotAvailable("canceling statement"), Failure.LOCKED),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute UPDATE"), Failure.READ_ONLY),
        (psycopg.errors.TooManyConnections("sorry, too many clients already"), Failure.GONE),
        (psycopg.OperationalError("connection refused"), Failure.GONE),
        (psycopg.errors.AdminShutdown("terminating connection"), Failure.GONE),
        (psycopg.errors.DiskFull("could not extend file"), Failure.FULL),
        (psycopg.errors.UndefinedTable("relation does not exist"), Failure.OTHER),
        (on_sqlite(sqlite3.SQLITE_BUSY), Failure.CONFLICT),
        (on_sqlite(sqlite3.SQLITE_FULL), Failure.FULL),
        (on_sqlite(sqlite3.SQLITE_READONLY), Failure.READ_ONLY),
        (on_sqlite(sqlite3.SQLITE_ERROR), Failure.OTHER),
    ],
    ids=repr,
)
def test_what_an_error_means(original: Exception, failure: Failure) -> None:
    """Also when the driver of MySQL tells a SQLSTATE, as its newer versions do."""
    if isinstance(original, pymysql.err.Error):
        original.sqlstate = "HY000"  # type: ignore[attr-defined]
    error = OperationalError("SELECT 1", {}, original)
    assert failure_of(error) is failure
    assert (answer_to(error) is None) == (failure is Failure.OTHER)


def test_all_connections_in_use() -> None:
    """The server's own pool has a limit too."""
    assert failure_of(PoolTimeout("QueuePool limit of size 8 reached")) is Failure.LOCKED
