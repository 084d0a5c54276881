"""Databases at earlier revisions, with rows in every table, and what is compared of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from sqlalchemy import Connection, Engine, MetaData, Table, inspect

import databases
from databases import Backend
from jobmon.server.web.database import make_engine
from jobmon.server.web.db_admin import VERSION_TABLE, alembic_config, load_lookup_rows, revisions
from jobmon.server.web.models import Base

NUM_ROWS = 3
LOOKUP_TABLES = {
    "workflow_status",
    "workflow_run_status",
    "task_status",
    "task_instance_status",
    "arg_type",
    "task_resources_type",
}
EARLIER = revisions()[:-1]


@contextmanager
def bare_engine(backend: Backend, directory: Path) -> Iterator[Engine]:
    """An engine on a new database without tables."""
    with databases.bare_database(backend, directory) as uri:
        engine = make_engine(uri)
        try:
            yield engine
        finally:
            engine.dispose()


def migrate(engine: Engine, what: str, revision: str) -> None:
    """Run the migrations as the server does: on a connection it is handed."""
    config = alembic_config()
    with engine.begin() as connection:
        config.attributes.update(connection=connection, done_before=[])
        getattr(command, what)(config, revision)


def reflected(connection: Connection) -> list[Table]:
    """The tables that are there, in an order in which they can be filled."""
    present = MetaData()
    present.reflect(connection)
    return [table for table in present.sorted_tables if table.name != VERSION_TABLE]


def definition(engine: Engine) -> dict[str, Any]:
    """Every table, as the database describes it."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT type, name, tbl_name, sql FROM sqlite_master"))
            return {
                f"{row.type} {row.name}": tuple(map(str, row)) for row in rows if row.name != VERSION_TABLE
            }
    inspector = inspect(engine)
    return {name: described(inspector, name) for name in inspector.get_table_names() if name != VERSION_TABLE}


def described(inspector: sa.Inspector, name: str) -> list[Any]:
    """What is written down of a table, in an order that does not depend on how it came about."""
    columns = [
        (each["name"], repr(each["type"]), each["nullable"], str(each["default"]))
        for each in inspector.get_columns(name)
    ]
    others = [
        sorted(getattr(inspector, get)(name), key=str)
        for get in ("get_unique_constraints", "get_foreign_keys", "get_indexes")
    ]
    return [sorted(columns), inspector.get_pk_constraint(name), *others]


def fill(engine: Engine) -> None:
    """Some rows in every table, whatever its revision, beside those that come with Jobmon."""
    with engine.begin() as connection:
        load_lookup_rows(connection)
        for table in reflected(connection):
            if table.name not in LOOKUP_TABLES:
                rows = [_row(connection, table, position) for position in range(NUM_ROWS)]
                connection.execute(table.insert(), rows)


def _row(connection: Connection, table: Table, position: int) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in table.columns:
        key = next(iter(column.foreign_keys), None)
        if key is not None:
            others = connection.scalars(sa.select(key.column).order_by(key.column)).all()
            row[column.name] = others[-1 - position]
        elif column.nullable and position == 2:
            row[column.name] = None
        else:
            row[column.name] = _value(table, column, position)
    return row


def _value(table: Table, column: sa.Column[Any], position: int) -> Any:
    kind = column.type
    if isinstance(kind, sa.Boolean) or type(kind).__name__ == "TINYINT":
        return position % 2
    if isinstance(kind, sa.DateTime):
        return datetime(2026, 10, 25, 1, 59, 59, 123456 + position)  # noqa: DTZ001 (times are naive UTC)
    if isinstance(kind, sa.Float):
        return position + 0.1
    if isinstance(kind, sa.BigInteger | sa.Integer):
        if column.primary_key:
            return 1_000_000 + position
        return (1 << 40 if isinstance(kind, sa.BigInteger) else 1_000) + position
    text = f"{position} {table.name}.{column.name} Zürich 🦀 '\"\\ "
    return text[: kind.length] if getattr(kind, "length", None) else text * 1_000


def contents(engine: Engine, columns: dict[str, list[str]] | None = None) -> dict[str, list[Any]]:
    """All rows of all tables, or of some columns of some tables."""
    found: dict[str, list[Any]] = {}
    with engine.connect() as connection:
        for table in reflected(connection):
            if columns is None or table.name in columns:
                names = columns[table.name] if columns else [column.name for column in table.columns]
                rows = connection.execute(sa.select(*(table.c[name] for name in names)))
                found[table.name] = sorted(map(tuple, rows), key=repr)
    return found


def columns_of(engine: Engine) -> dict[str, list[str]]:
    """Names of the columns of every table but those whose rows come with Jobmon."""
    with engine.connect() as connection:
        return {
            table.name: [column.name for column in table.columns]
            for table in reflected(connection)
            if table.name not in LOOKUP_TABLES
        }


def models_made(engine: Engine) -> None:
    """Make the tables from the models, without the migrations."""
    Base.metadata.create_all(engine)
