"""The one home of what differs between SQLite, MariaDB/MySQL and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Executable,
    Table,
    any_,
    bindparam,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import GenerativeSelect
from sqlalchemy.types import NullType

from jobmon.server.web.models import IdBlock

# Codes of "try again": deadlock, lock wait timeout, serialization failure.
_RETRYABLE_MYSQL = frozenset({1205, 1213})
_RETRYABLE_SQLSTATE = frozenset({"40001", "40P01", "55P03"})


def is_sqlite(bind: Connection | Engine) -> bool:
    """Whether the database is a SQLite file: one writer at a time, locks on the whole file."""
    return bind.dialect.name == "sqlite"


def utcnow(connection: Connection) -> datetime:
    """The database's clock, naive UTC; for SQLite that is this process's clock."""
    if is_sqlite(connection):
        return datetime.now(UTC).replace(tzinfo=None)
    if connection.dialect.name == "postgresql":
        now: datetime = connection.scalar(select(func.timezone("UTC", func.clock_timestamp())))  # type: ignore[assignment]
        return now
    return connection.scalar(select(func.utc_timestamp(6)))  # type: ignore[return-value]


SelectT = TypeVar("SelectT", bound=GenerativeSelect)


def lock_rows(connection: Connection, statement: SelectT) -> SelectT:
    """Have a select lock its rows; a SQLite writer holds the lock of the whole file already."""
    return statement if is_sqlite(connection) else statement.with_for_update()


@contextmanager
def limited_idle(connection: Connection, seconds: float) -> Iterator[None]:
    """Have the database end the transaction, and free its locks, when this process stops talking in the middle of it.

    SQLite and MySQL cannot do that.
    """
    whole = max(1, int(seconds))
    is_mariadb = bool(getattr(connection.dialect, "is_mariadb", False))
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{whole}s'")
    elif is_mariadb:
        connection.exec_driver_sql(f"SET SESSION idle_transaction_timeout = {whole}")
    yield
    if is_mariadb:  # after an error the connection's next user may be limited as well, which does no harm
        connection.exec_driver_sql("SET SESSION idle_transaction_timeout = DEFAULT")


def insert_ignore(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those that would break a unique constraint are left out."""
    if not rows:
        return
    statement: Executable
    if connection.dialect.name == "sqlite":
        statement = sqlite.insert(table).on_conflict_do_nothing()
    elif connection.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    else:
        statement = mysql.insert(table).prefix_with("IGNORE")
    connection.execute(statement, rows)


def upsert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], columns: Iterable[str]
) -> None:
    """Insert rows by primary key; where one exists, set the named columns."""
    if not rows:
        return
    if connection.dialect.name in ("mysql", "mariadb"):
        into = mysql.insert(table)
        connection.execute(into.on_duplicate_key_update({c: into.inserted[c] for c in columns}), rows)
        return
    kind = sqlite if connection.dialect.name == "sqlite" else postgresql
    onto = kind.insert(table)
    keys = [column.name for column in table.primary_key]
    connection.execute(
        onto.on_conflict_do_update(index_elements=keys, set_={c: onto.excluded[c] for c in columns}), rows
    )


def allocate_ids(connection: Connection, table: Table, count: int) -> range:
    """Give out ``count`` ids of a table whose rows are inserted in bulk.

    On SQLite this happens within the transaction, which has the file to itself; elsewhere in one of its own, so
    that the counter's row is never locked for long. Ids of a transaction that fails are not used again there.
    """
    if count <= 0:
        return range(0)
    if is_sqlite(connection):
        return _take(connection, table.name, count)
    with connection.engine.begin() as own:
        return _take(own, table.name, count)


_ADVANCE_BLOCK = (
    update(IdBlock)
    .where(IdBlock.name == bindparam("block"))
    .values(next_id=IdBlock.next_id + bindparam("count"))
)
_READ_BLOCK = select(IdBlock.next_id).where(IdBlock.name == bindparam("block"))


def _take(connection: Connection, name: str, count: int) -> range:
    done = connection.execute(_ADVANCE_BLOCK, {"block": name, "count": count})
    if done.rowcount == 0:
        connection.execute(insert(IdBlock).values(name=name, next_id=1 + count))
    end = connection.scalar(_READ_BLOCK, {"block": name})
    assert end is not None
    return range(end - count, end)


def is_retryable(error: DBAPIError) -> bool:
    """Whether the transaction failed only because of another one: a deadlock or a lock wait."""
    original = error.orig
    if isinstance(original, sqlite3.OperationalError):
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF
        return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state in _RETRYABLE_SQLSTATE:
        return True
    args: tuple[Any, ...] = getattr(original, "args", ())
    return bool(args) and args[0] in _RETRYABLE_MYSQL


def configure(engine: Engine) -> None:
    """Set up each connection: for SQLite durable write-ahead logging, foreign keys and explicit transactions."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None  # transactions begin where SQLAlchemy says so
        cursor = dbapi_connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=15000",
            "cache_size=-65536",
            "temp_store=MEMORY",
            "wal_autocheckpoint=8000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        is_write = connection.get_execution_options().get("jobmon_write", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


class among(FunctionElement[Any]):  # noqa: N801 - reads as an operator: where(among(Task.id, "ids"))
    """Whether an id is one of many, which are given as the list parameter ``name``.

    PostgreSQL takes them as one array; the others as a list of parameters.
    """

    name = "among"
    inherit_cache = True
    type = NullType()  # a Boolean would be compared with 1 where there is no such type

    def __init__(self, column: Any, name: str) -> None:
        super().__init__(column, bindparam(name, type_=postgresql.ARRAY(BigInteger)))


@compiles(among)
def _in_list(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = element.clauses
    return compiler.process(column.in_(bindparam(ids.key, expanding=True)), **options)


@compiles(among, "postgresql")
def _in_array(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = element.clauses
    return compiler.process(column == any_(ids), **options)
