"""What a failure of the database means, whichever database it is, and what to do about it.

The third part of :mod:`jobmon.server.web.dialect`: databases say the same in numbers and codes of their own.
"""

from __future__ import annotations

import sqlite3
from enum import Enum
from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobmon.core.exceptions import ServerError


class Failure(Enum):
    """Why a transaction failed."""

    CONFLICT = "another transaction stood in the way; the same again at once may succeed"
    LOCKED = "another transaction, or all connections being in use, stood in the way for long"
    GONE = "the database does not answer; whether what was committed last is stored is not known"
    READ_ONLY = "the database takes no changes"
    FULL = "the database has no room"
    OTHER = "the statement or its values are at fault"


class DatabaseBusy(ServerError):
    """The database is busy; try again."""

    status_code = 503


class DatabaseUnreachable(ServerError):
    """The database does not answer; try again."""

    status_code = 503


class DatabaseReadOnly(ServerError):
    """The database takes no changes; nothing was stored."""

    status_code = 503


class DatabaseFull(ServerError):
    """The database has no room left; nothing was stored."""

    status_code = 507


_MYSQL = {
    # deadlock; record changed since last read (MariaDB's snapshot isolation)
    **dict.fromkeys((1213, 1020), Failure.CONFLICT),
    # lock wait timeout; NOWAIT; interrupted; took too long
    **dict.fromkeys((1205, 3572, 1317, 1969, 3024), Failure.LOCKED),
    # cannot connect, went away, lost, shutdown in progress, killed, too many connections, not ready
    **dict.fromkeys((1040, 1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1203), Failure.GONE),
    **dict.fromkeys((1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031), Failure.GONE),
    **dict.fromkeys((1290, 1792, 1836, 3100), Failure.READ_ONLY),
    # disk full, table full, error of the storage engine (28: no space), temporary file
    **dict.fromkeys((1021, 1114, 1041, 1037, 1038), Failure.FULL),
}
_NO_SPACE = ("errno: 28", "error 28", "No space left on device")

_SQLSTATES = {
    "40001": Failure.CONFLICT,
    "40P01": Failure.CONFLICT,
    "55P03": Failure.LOCKED,
    "57014": Failure.LOCKED,  # cancelled, or took too long
    "25006": Failure.READ_ONLY,
    "53100": Failure.FULL,
    "53200": Failure.FULL,
    "25P03": Failure.GONE,  # idle in a transaction for too long: the session was ended
}
_SQLSTATE_CLASSES = {"08": Failure.GONE, "57": Failure.GONE, "53": Failure.GONE}

_SQLITE = {
    sqlite3.SQLITE_BUSY: Failure.CONFLICT,
    sqlite3.SQLITE_LOCKED: Failure.CONFLICT,
    sqlite3.SQLITE_READONLY: Failure.READ_ONLY,
    sqlite3.SQLITE_FULL: Failure.FULL,
    sqlite3.SQLITE_CANTOPEN: Failure.GONE,
}


def failure_of(error: SQLAlchemyError) -> Failure:
    """What kind of failure an error is."""
    if isinstance(error, PoolTimeout):
        return Failure.LOCKED
    if isinstance(error, PendingRollbackError):
        return Failure.GONE  # the connection was lost, and used again
    if not isinstance(error, DBAPIError):
        return Failure.OTHER
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return _SQLITE.get(getattr(original, "sqlite_errorcode", 0) & 0xFF, Failure.OTHER)
    # Newer drivers of MySQL tell SQLSTATEs as well, which say less than its numbers.
    is_postgresql = type(original).__module__.startswith("psycopg")
    found = _failure_on_postgresql(original) if is_postgresql else _failure_on_mysql(original)
    if found is Failure.OTHER and error.connection_invalidated:
        return Failure.GONE
    return found


def _failure_on_postgresql(original: Any) -> Failure:
    state = original.sqlstate or ""
    if not state and type(original).__name__ == "OperationalError":
        return Failure.GONE  # it never came to a conversation, or that was cut off
    return _SQLSTATES.get(state) or _SQLSTATE_CLASSES.get(state[:2], Failure.OTHER)


def _failure_on_mysql(original: Any) -> Failure:
    args: tuple[Any, ...] = getattr(original, "args", ())
    if any(words in str(original) for words in _NO_SPACE):
        return Failure.FULL
    if args and args[0] == 0 and type(original).__name__ == "InterfaceError":
        return Failure.GONE
    return _MYSQL.get(args[0], Failure.OTHER) if args and isinstance(args[0], int) else Failure.OTHER


def is_fault_of_values(error: Exception) -> bool:
    """Whether a value that somebody sent fits no column: a number beyond 64 bits, a NUL in a text, a time after the year 9999."""
    return isinstance(error, OverflowError | DataError)


def answer_to(error: SQLAlchemyError) -> ServerError | None:
    """The error clients are told instead, who may try again; ``None`` where trying again does not help."""
    reason = getattr(error, "orig", None) or "no connection became free"
    match failure_of(error):
        case Failure.CONFLICT | Failure.LOCKED:
            return DatabaseBusy(f"The database is busy ({reason}); try again.")
        case Failure.GONE:
            return DatabaseUnreachable(f"The database does not answer ({reason}); try again.")
        case Failure.READ_ONLY:
            return DatabaseReadOnly(
                f"The database takes no changes ({reason}); nothing was stored. Is it a replica, or being maintained?"
            )
        case Failure.FULL:
            return DatabaseFull(
                f"The database has no room left ({reason}); nothing was stored. Its operator must make room."
            )
        case Failure.OTHER:
            return None
