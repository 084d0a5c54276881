"""The page on the tables of the database, made from the models."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from sqlalchemy import Table, UniqueConstraint

from jobmon.server.web import models  # noqa: F401 - registers all tables
from jobmon.server.web.models.base import Base

INTRODUCTION = """\
# Database tables

Everything Jobmon knows is in these tables; read them with any SQL program. On your own machine it is the SQLite file
`~/.jobmon/jobmon.sqlite`, which may be read while workflows run. Only Jobmon writes them.

Statuses are letters; the tables `…_status` say what they mean, and so does the page on [states](states.md). Times
are UTC. Columns in **bold** are the primary key; those that may be empty are marked *null*.

[Asking the database](howto/sql.md) has queries to begin with.
"""


def tables_page() -> str:
    """The page, in Markdown."""
    classes = {mapper.local_table.name: mapper.class_ for mapper in Base.registry.mappers}
    lines = [INTRODUCTION]
    for name in sorted(classes):
        lines += [f"## {name}", "", *_description(classes[name]), "", *_columns(classes[name].__table__), ""]
    return "\n".join(lines).rstrip() + "\n"


def _description(model: type[Base]) -> list[str]:
    text = inspect.getdoc(model) or ""
    return [line.replace("``", "`") for line in text.splitlines()]


def _columns(table: Table) -> Iterator[str]:
    yield "| Column | Type | | Refers to |"
    yield "|---|---|---|---|"
    unique = {
        column.name
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint) and len(constraint.columns) == 1
        for column in constraint.columns
    }
    for column in table.columns:
        name = f"**{column.name}**" if column.primary_key else column.name
        marks = [
            word for word, holds in (("null", column.nullable), ("unique", column.name in unique)) if holds
        ]
        target = ", ".join(f"{key.column.table.name}.{key.column.name}" for key in column.foreign_keys)
        yield f"| {name} | {_type(column.type)} | {', '.join(marks)} | {target} |"


def _type(kind: object) -> str:
    return str(getattr(kind, "impl", kind)).lower()
