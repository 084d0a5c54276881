"""Many rows in one statement: inserts, and updates by id where each row has values of its own.

A driver that is handed many rows sends one statement for each of them, and each is a journey to the server. So the rows
travel as one parameter instead: for MariaDB and MySQL as a JSON document that ``JSON_TABLE`` reads (MariaDB 10.6, MySQL 8),
for PostgreSQL as one array for each column. What is the same in all rows travels once, as a parameter of its own. SQLite
has no journey, and repeating a prepared statement is its fastest way.

Columns may hold numbers, texts, times and nothing. Names come from the tables, values are always bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import Any

import msgspec
from sqlalchemy import Connection, Integer, String, Table, Text, text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

MAX_ROWS = 2000
"""Rows of one statement: what a server takes at once is limited, and so is how long it holds its locks for it."""

FEW_ROWS = 4
"""So few are updated one by one on SQLite."""

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of one statement on MariaDB and MySQL, whose ``max_allowed_packet`` is 16 MiB or more."""

Row = Sequence[Any]
_text = lru_cache(1024)(text)


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
    kind = connection.dialect
    _write(
        connection,
        table,
        names,
        rows,
        lambda shared: _insert_statement(table, names, shared, kind, ignore),
        own=0,
    )


def update_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Set columns of rows; those that do not exist are passed over.

    Args:
        connection: a write transaction.
        table: the table, whose primary key is ``id``.
        columns: what is set.
        rows: the values of each row in the order of the columns, and its id last; in the order of the ids.
    """
    names = tuple(columns)
    kind = connection.dialect
    if kind.name == "sqlite" and _update_all_alike(connection, table, names, rows):
        return
    _write(
        connection,
        table,
        (*names, "id"),
        rows,
        lambda shared: _update_statement(table, names, shared, kind),
        own=len(names),
    )


def _update_all_alike(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[Row]
) -> bool:
    """Update rows of a SQLite table by one statement, if they all get the same values; whether they did."""
    if len(rows) < FEW_ROWS:
        return False
    values = list(zip(*rows, strict=True))
    if len(_shared(values, len(columns))) < len(columns):
        return False
    setting = ", ".join(f"{_quoted(connection.dialect, each)} = ?" for each in columns)
    (row,) = _for_sqlite([rows[0][:-1]], _times_of(table, columns))
    connection.exec_driver_sql(
        f"UPDATE {_quoted(connection.dialect, table.name)} SET {setting} "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (*row, msgspec.json.encode(values[-1]).decode()),
    )
    return True


Shared = tuple[int, ...]
"""Which columns have the same value in all rows, ascending."""


def _write(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Sequence[Row],
    statement_of: Callable[[Shared], str],
    own: int,
) -> None:
    """Execute a statement for rows; column ``own`` counts as different in each."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(statement_of(()), _for_sqlite(rows, _times_of(table, columns)))
        return
    is_postgresql = connection.dialect.name == "postgresql"
    for start in range(0, len(rows), MAX_ROWS):
        values = list(zip(*rows[start : start + MAX_ROWS], strict=True))
        shared = _shared(values, own)
        once = {f"s{i}": values[i][0] for i in shared}
        others = [column for i, column in enumerate(values) if i not in shared]
        statement = _text(statement_of(shared))
        for parameters in (
            [_as_arrays(others)] if is_postgresql else _as_json(list(zip(*others, strict=True)))
        ):
            connection.execute(statement, {**once, **parameters})


def _shared(values: Sequence[Sequence[Any]], own: int) -> Shared:
    return tuple(i for i, column in enumerate(values) if i != own and column.count(column[0]) == len(column))


@lru_cache(256)
def _times_of(table: Table, columns: tuple[str, ...]) -> Shared:
    """Which columns hold times."""
    return tuple(i for i, name in enumerate(columns) if table.c[name].type.python_type is datetime)


def _for_sqlite(rows: Sequence[Row], times: Shared) -> Sequence[Any]:
    """The rows, with times as text."""
    if not times:
        return rows
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for i in times:
        columns[i] = _times_as_text(columns[i])
    return list(zip(*columns, strict=True))


def _times_as_text(times: Sequence[datetime | None]) -> Sequence[str | None]:
    first = times[0]
    if times.count(first) == len(times):
        return [None if first is None else _time_as_text(first)] * len(times)
    return [None if each is None else _time_as_text(each) for each in times]


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


def _as_arrays(columns: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return {f"v{i}": list(column) for i, column in enumerate(columns)}


@lru_cache(1024)
def _insert_statement(
    table: Table, columns: tuple[str, ...], shared: Shared, dialect: Dialect, ignore: bool
) -> str:
    into = f"INSERT INTO {_quoted(dialect, table.name)} ({', '.join(_quoted(dialect, c) for c in columns)})"
    if dialect.name == "sqlite":
        values = f"{into} VALUES ({', '.join('?' * len(columns))})"
        return f"{values} ON CONFLICT DO NOTHING" if ignore else values
    values = ", ".join(_values(table, columns, shared, dialect))
    statement = f"{into} SELECT {values} FROM {_given(table, columns, shared, dialect)}"
    return f"{statement} {_leaving_out(table, dialect)}" if ignore else statement


def _leaving_out(table: Table, dialect: Dialect) -> str:
    """What keeps rows that are there already as they are; MySQL's ``IGNORE`` would pass over other errors too."""
    if dialect.name == "postgresql":
        return "ON CONFLICT DO NOTHING"
    key = f"{_quoted(dialect, table.name)}.{_quoted(dialect, next(iter(table.primary_key)).name)}"
    return f"ON DUPLICATE KEY UPDATE {key} = {key}"


@lru_cache(1024)
def _update_statement(table: Table, columns: tuple[str, ...], shared: Shared, dialect: Dialect) -> str:
    name, names = _quoted(dialect, table.name), [_quoted(dialect, column) for column in columns]
    if dialect.name == "sqlite":
        return f"UPDATE {name} SET {', '.join(f'{each} = ?' for each in names)} WHERE id = ?"
    with_id = (*columns, "id")
    *values, key = _values(table, with_id, shared, dialect)
    given = _given(table, with_id, shared, dialect)
    changes = list(zip(names, values, strict=True))
    if dialect.name == "postgresql":
        setting = ", ".join(f"{each} = {value}" for each, value in changes)
        return f"UPDATE {name} SET {setting} FROM {given} WHERE {name}.id = {key}"
    setting = ", ".join(f"{name}.{each} = {value}" for each, value in changes)
    return f"UPDATE {name} JOIN {given} ON {name}.id = {key} SET {setting}"


def _values(table: Table, columns: tuple[str, ...], shared: Shared, dialect: Dialect) -> list[str]:
    """What stands for the value of each column: a parameter, or a column of ``given``."""
    numbers = count()
    found = []
    for i, name in enumerate(columns):
        if i not in shared:
            found.append(f"given.v{next(numbers)}")
        elif dialect.name == "postgresql":
            found.append(f"CAST(:s{i} AS {_type_to_read(table.c[name].type, dialect)})")
        else:
            found.append(f":s{i}")
    return found


def _given(table: Table, columns: tuple[str, ...], shared: Shared, dialect: Dialect) -> str:
    """The rows that came as a parameter, as a table ``given`` with the columns ``v0``, ``v1`` ... that are not shared."""
    kinds = [_type_to_read(table.c[name].type, dialect) for i, name in enumerate(columns) if i not in shared]
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
