"""The one home of what differs between SQLite, MariaDB/MySQL and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Executable,
    Select,
    String,
    Table,
    any_,
    bindparam,
    event,
    func,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator

from jobmon.server.web.failure_dialect import Failure, failure_of
from jobmon.server.web.models import IdBlock

IS_WRITE = "jobmon_write"
"""Execution option of engines: whether their transactions write."""
ID_ENGINE = "jobmon_ids"
"""Execution option of engines that write: the engine whose connections ids are given out by."""
LOCK_WAIT_SECONDS = 10
"""How long a statement waits for a lock of another transaction."""


MOST_BYTES_OF_ROWS = 64 * 1024 * 1024
"""Length of the document :func:`rows_of` has rows gathered in."""


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


SelectT = TypeVar("SelectT", bound=Select[*tuple[Any, ...]])


def lock_rows(connection: Connection, statement: SelectT) -> SelectT:
    """Have a select lock its rows; a SQLite writer holds the lock of the whole file already.

    Others may meanwhile add rows that refer to them: no transaction changes the key of a row.
    """
    return statement if is_sqlite(connection) else _locking(statement)


@lru_cache(256)
def _locking(statement: SelectT) -> SelectT:
    return statement.with_for_update(key_share=True)


def in_this_order(statement: SelectT) -> SelectT:
    """Have MariaDB and MySQL read the tables of a select in the order in which they are named.

    Left to itself, and to statistics that lag behind tables that grow fast, their optimizer may begin with a small table and
    read all that refers to it, a million rows, where five hundred are named by their ids.
    """
    for name in _MYSQL_NAMES:
        statement = statement.prefix_with("STRAIGHT_JOIN", dialect=name)
    return statement


_MYSQL_NAMES = ("mysql", "mariadb")


def rows_of(
    connection: Connection, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    """All rows of a statement that selects numbers and texts.

    The driver of MariaDB and MySQL is written in Python and needs longer for a row than the database does: there all come
    as one JSON document, in any order.
    """
    if connection.dialect.name not in _MYSQL_NAMES:
        return connection.execute(statement, parameters).all()
    document = connection.scalar(_as_document(statement), parameters)
    rows: list[list[Any]] = msgspec.json.decode(document or "[]")
    return rows


@lru_cache(256)
def _as_document(statement: Select[*tuple[Any, ...]]) -> Select[str]:
    row = func.json_array(*statement.selected_columns)
    return statement.with_only_columns(func.json_arrayagg(row), maintain_column_froms=True).order_by(None)


def limit_idle(connection: Connection, seconds: float) -> None:
    """Have the database end the transaction, and free its locks, when this process stops talking before it is committed.

    SQLite and MySQL cannot do that. MariaDB's limit is the session's: the next transaction of the connection lifts it, for
    there is no moment in this one from which on its process could not be stopped.
    """
    whole = max(1, int(seconds))
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{whole}s'")
    elif getattr(connection.dialect, "is_mariadb", False):
        connection.info[_IS_LIMITED] = True
        connection.exec_driver_sql(f"SET SESSION idle_transaction_timeout = {whole}")


_IS_LIMITED = "jobmon_idle_limited"


def insert_ignore(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those that would break a unique constraint are left out."""
    if not rows:
        return
    statement: Executable
    if connection.dialect.name == "sqlite":
        statement = sqlite.insert(table).on_conflict_do_nothing()
    elif connection.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    else:  # IGNORE would also let pass texts that are too long, and cut them, and rows of no parent
        into = mysql.insert(table)
        key = next(iter(table.primary_key))
        statement = into.on_duplicate_key_update({key.name: key})
    connection.execute(statement, rows)


def upsert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], columns: Iterable[str]
) -> None:
    """Insert rows by primary key; where one exists, set the named columns."""
    if not rows:
        return
    if connection.dialect.name in _MYSQL_NAMES:
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
    that the counter's row is never locked for long, and by connections that are for this only: were they of the same pool,
    transactions that have one each could wait for a second for ever. Ids of a transaction that fails are not used again there.
    """
    if count <= 0:
        return range(0)
    if is_sqlite(connection):
        return _take(connection, table.name, count)
    engine: Engine = connection.get_execution_options().get(ID_ENGINE) or connection.engine
    with engine.begin() as own:
        return _take(own, table.name, count)


_ADVANCE_BLOCK = (
    update(IdBlock)
    .where(IdBlock.name == bindparam("block"))
    .values(next_id=IdBlock.next_id + bindparam("count"))
)
_READ_BLOCK = select(IdBlock.next_id).where(IdBlock.name == bindparam("block"))


def _take(connection: Connection, name: str, count: int) -> range:
    values = {"block": name, "count": count}
    if connection.execute(_ADVANCE_BLOCK, values).rowcount == 0:
        table: Any = IdBlock.__table__
        insert_ignore(connection, table, [{"name": name, "next_id": 1}])  # another one may be doing the same
        connection.execute(_ADVANCE_BLOCK, values)
    end = connection.scalar(_READ_BLOCK, {"block": name})
    assert end is not None
    return range(end - count, end)


def lasting_id(connection: Connection, table: Table) -> dict[str, int]:
    """The ``id`` to insert one row with where the database would give out ids of deleted rows again; else nothing.

    SQLite would: it counts on from the largest id there is. Links, logs and notes outlive the rows that prune deletes.
    """
    if not is_sqlite(connection):
        return {}
    counted = connection.scalar(_READ_BLOCK, {"block": table.name}) or 1
    largest = connection.scalar(select(func.max(table.c.id))) or 0
    new_id = max(counted, largest + 1)
    upsert(connection, IdBlock.__table__, [{"name": table.name, "next_id": new_id + 1}], ["next_id"])  # type: ignore[arg-type]
    return {"id": new_id}


def is_retryable(error: DBAPIError) -> bool:
    """Whether the transaction failed only because of another one: a deadlock or a lock wait."""
    return failure_of(error) in (Failure.CONFLICT, Failure.LOCKED)


def configure(engine: Engine) -> None:
    """Set up each connection and each transaction."""
    if is_sqlite(engine):
        _configure_sqlite(engine)
    elif engine.dialect.name == "postgresql":
        _configure_server(engine, _ON_CONNECT_POSTGRESQL)
    else:
        _configure_server(engine, _ON_CONNECT_MYSQL)


_ON_CONNECT_POSTGRESQL = (
    "SET TIME ZONE 'UTC'",
    f"SET lock_timeout = '{LOCK_WAIT_SECONDS}s'",
    # Plans for any values take a few for many, and search lists of thousands one by one.
    "SET plan_cache_mode = force_custom_plan",
)
_ON_CONNECT_MYSQL = (
    (
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', "
        f"time_zone = '+00:00', innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}, "
        f"group_concat_max_len = {MOST_BYTES_OF_ROWS}"
    ),
)
_ON_BEGIN_READING = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
"""What is read in one transaction is of one moment, as on SQLite."""


def _configure_server(engine: Engine, on_connect: Sequence[str]) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: Any) -> None:
        with closing(dbapi_connection.cursor()) as cursor:
            for statement in on_connect:
                cursor.execute(statement)
        dbapi_connection.commit()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        if connection.info.pop(_IS_LIMITED, False):
            connection.exec_driver_sql("SET SESSION idle_transaction_timeout = DEFAULT")
        if not connection.get_execution_options().get(IS_WRITE, True):
            connection.exec_driver_sql(_ON_BEGIN_READING)


def _configure_sqlite(engine: Engine) -> None:
    """Durable write-ahead logging, foreign keys and explicit transactions."""

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
        is_write = connection.get_execution_options().get(IS_WRITE, True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


class among(FunctionElement[Any]):  # noqa: N801 - reads as an operator: where(among(Task.id, "ids"))
    """Whether an id or a text is one of many, which are given as the list parameter ``name``.

    PostgreSQL takes them as one array, SQLite as one JSON text, which costs less than to compile a list of a thousand; the
    others as a list of parameters.
    """

    name = "among"
    inherit_cache = True
    type = NullType()  # a Boolean would be compared with 1 where there is no such type

    def __init__(self, column: Any, name: str) -> None:
        kind = column.type if isinstance(column.type, String) else BigInteger()
        super().__init__(column, bindparam(name, type_=postgresql.ARRAY(kind)))


@compiles(among)
def _in_list(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = element.clauses
    return compiler.process(column.in_(bindparam(ids.key, expanding=True)), **options)


@compiles(among, "sqlite")
def _in_json(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = element.clauses
    given = func.json_each(bindparam(ids.key, type_=_JsonList())).table_valued("value", joins_implicitly=True)
    return compiler.process(column.in_(select(given.c.value)), **options)


class _JsonList(TypeDecorator[Any]):
    """A list of ids or texts as JSON text."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        """The text."""
        return None if value is None else msgspec.json.encode(list(value)).decode()


@compiles(among, "postgresql")
def _in_array(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = element.clauses
    return compiler.process(column == any_(ids), **options)


class epoch_seconds(FunctionElement[int]):  # noqa: N801 - reads as a function
    """Whole seconds of a time (naive UTC) since 1970, so that the database can sort times into intervals."""

    name = "epoch_seconds"
    inherit_cache = True
    type = BigInteger()


@compiles(epoch_seconds)
def _epoch_on_sqlite(element: epoch_seconds, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(strftime('%s', {compiler.process(element.clauses, **options)}) AS INTEGER)"


@compiles(epoch_seconds, "mysql", "mariadb")
def _epoch_on_mysql(element: epoch_seconds, compiler: SQLCompiler, **options: Any) -> str:
    return f"TIMESTAMPDIFF(SECOND, '1970-01-01', {compiler.process(element.clauses, **options)})"


@compiles(epoch_seconds, "postgresql")
def _epoch_on_postgresql(element: epoch_seconds, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(FLOOR(EXTRACT(EPOCH FROM {compiler.process(element.clauses, **options)})) AS BIGINT)"
