"""Many rows in one statement: inserts, and updates by id where each row has values of its own.

A driver that is handed many rows sends one statement for each of them, and each is a journey to the server. So the rows
travel as one parameter instead: for MariaDB and MySQL as a JSON document that ``JSON_TABLE`` reads (MariaDB 10.6, MySQL 8),
for PostgreSQL as one array for each column. SQLite has no journey, and repeating a prepared statement is its fastest way.

Columns may hold numbers, texts, times and nothing. Names come from the tables, values are always bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Integer, String, Table, Text, TextClause, text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

MAX_ROWS = 2000
"""Rows of one statement: what a server takes at once is limited, and so is how long it holds its locks for it."""

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of one statement on MariaDB and MySQL, whose ``max_allowed_packet`` is 16 MiB or more."""

Row = Sequence[Any]


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row], *, ignore: bool = False
) -> None:
    """Insert rows.

    Args:
        connection: a write transaction.
        table: the table; columns that are not named get their defaults in the database.
        columns: what is set.
        rows: the values of each row, in the order of the columns.
        ignore: leave out those that would break a unique constraint.
    """
    names = tuple(columns)
    _write(connection, _insert_statement(table, names, connection.dialect, ignore), rows)


def update_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Set columns of rows; those that do not exist are passed over.

    Args:
        connection: a write transaction.
        table: the table, whose primary key is ``id``.
        columns: what is set.
        rows: the values of each row in the order of the columns, and its id last; in the order of the ids.
    """
    names = tuple(columns)
    _write(connection, _update_statement(table, names, connection.dialect), rows)


def _write(connection: Connection, statement: str | TextClause, rows: Sequence[Row]) -> None:
    if not rows:
        return
    if isinstance(statement, str):
        connection.exec_driver_sql(statement, [_for_sqlite(row) for row in rows])
        return
    is_postgresql = connection.dialect.name == "postgresql"
    for start in range(0, len(rows), MAX_ROWS):
        part = rows[start : start + MAX_ROWS]
        for parameters in [_as_arrays(part)] if is_postgresql else _as_json(part):
            connection.execute(statement, parameters)


def _for_sqlite(row: Row) -> tuple[Any, ...]:
    return tuple([_time_as_text(value) if type(value) is datetime else value for value in row])


@lru_cache(64)
def _time_as_text(time: datetime) -> str:
    """A time as SQLAlchemy writes it into SQLite."""
    return time.isoformat(" ", "microseconds")


def _as_json(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """The rows as one document, or as several where that would be too large for one packet."""
    document = msgspec.json.encode(rows)
    if len(document) <= MAX_BYTES or len(rows) == 1:
        yield {"rows": document.decode()}
        return
    middle = len(rows) // 2
    yield from _as_json(rows[:middle])
    yield from _as_json(rows[middle:])


def _as_arrays(rows: Sequence[Row]) -> dict[str, Any]:
    return {f"v{i}": list(column) for i, column in enumerate(zip(*rows, strict=True))}


@lru_cache(256)
def _insert_statement(
    table: Table, columns: tuple[str, ...], dialect: Dialect, ignore: bool
) -> str | TextClause:
    into = f"INSERT INTO {_quoted(dialect, table.name)} ({', '.join(_quoted(dialect, c) for c in columns)})"
    if dialect.name == "sqlite":
        values = f"{into} VALUES ({', '.join('?' * len(columns))})"
        return f"{values} ON CONFLICT DO NOTHING" if ignore else values
    read = ", ".join(f"v{i}" for i in range(len(columns)))
    statement = f"{into} SELECT {read} FROM {_given(table, columns, dialect)}"
    return text(f"{statement} {_leaving_out(table, dialect)}" if ignore else statement)


def _leaving_out(table: Table, dialect: Dialect) -> str:
    """What keeps rows that are there already as they are; MySQL's ``IGNORE`` would pass over other errors too."""
    if dialect.name == "postgresql":
        return "ON CONFLICT DO NOTHING"
    key = f"{_quoted(dialect, table.name)}.{_quoted(dialect, next(iter(table.primary_key)).name)}"
    return f"ON DUPLICATE KEY UPDATE {key} = {key}"


@lru_cache(256)
def _update_statement(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str | TextClause:
    name, names = _quoted(dialect, table.name), [_quoted(dialect, column) for column in columns]
    if dialect.name == "sqlite":
        return f"UPDATE {name} SET {', '.join(f'{each} = ?' for each in names)} WHERE id = ?"
    given, key = _given(table, (*columns, "id"), dialect), f"given.v{len(columns)}"
    if dialect.name == "postgresql":
        changes = ", ".join(f"{each} = given.v{i}" for i, each in enumerate(names))
        return text(f"UPDATE {name} SET {changes} FROM {given} WHERE {name}.id = {key}")
    changes = ", ".join(f"{name}.{each} = given.v{i}" for i, each in enumerate(names))
    return text(f"UPDATE {name} JOIN {given} ON {name}.id = {key} SET {changes}")


def _given(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    """The rows that came as a parameter, as a table ``given`` with the columns ``v0``, ``v1`` ..."""
    kinds = [_type_to_read(table.c[name].type, dialect) for name in columns]
    if dialect.name == "postgresql":
        arrays = ", ".join(f"CAST(:v{i} AS {kind}[])" for i, kind in enumerate(kinds))
        return f"unnest({arrays}) AS given({', '.join(f'v{i}' for i in range(len(kinds)))})"
    read = ", ".join(f"v{i} {kind} PATH '$[{i}]'" for i, kind in enumerate(kinds))
    return f"JSON_TABLE(:rows, '$[*]' COLUMNS ({read})) AS given"


def _type_to_read(kind: TypeEngine[Any], dialect: Dialect) -> str:
    """The type a value is read as before it goes into a column: a wider one.

    Reading cuts what is too long or too large without a word; a column of a smaller type refuses it.
    """
    kind = kind.dialect_impl(dialect)
    if isinstance(kind, Integer):
        return "BIGINT"
    if isinstance(kind, String) and dialect.name == "postgresql":
        return "TEXT"
    if isinstance(kind, Text | mysql.MEDIUMTEXT):
        return "LONGTEXT CHARACTER SET utf8mb4"
    if isinstance(kind, String):
        return f"VARCHAR({(kind.length or 0) + 1}) CHARACTER SET utf8mb4"
    return kind.compile(dialect)


def _quoted(dialect: Dialect, name: str) -> str:
    return dialect.identifier_preparer.quote(name)
