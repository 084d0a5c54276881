"""What stands between a database and an earlier version of Jobmon; reads only.

The revisions themselves are asked, without being run: they write their statements down.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, MetaData, func, select

from jobmon.server.web.db_admin import (
    SchemaError,
    alembic_config,
    current_revision,
    reading,
    require_known,
    revisions,
)

_DROP_TABLE = re.compile(r"^DROP TABLE \"?(\w+)", re.MULTILINE)
_DROP_COLUMN = re.compile(r"^ALTER TABLE \"?(\w+)\"? DROP COLUMN \"?(\w+)", re.MULTILINE)
_ADD_COLUMN = re.compile(r"^ALTER TABLE \"?(\w+)\"? ADD COLUMN \"?(\w+)", re.MULTILINE)
_CREATE_TABLE = re.compile(r"^CREATE TABLE \"?(\w+)", re.MULTILINE)
_FILL_TABLE = re.compile(r"^(?:DELETE FROM|INSERT INTO) \"?(\w+)")
_FILL_COLUMN = re.compile(r"^UPDATE \"?(\w+)\"? SET \"?(\w+)\"?=")
_HARMLESS = re.compile(
    r"^(CREATE TABLE|CREATE INDEX|DROP INDEX|UPDATE alembic_version|ALTER TABLE \S+ DROP CONSTRAINT fk_|"
    r"ALTER TABLE \S+ ADD COLUMN (?!.* NOT NULL)|ALTER TABLE \S+ ADD COLUMN .* DEFAULT )"
)


@dataclass
class DowngradeReport:
    """What a way back from one schema to another means.

    Attributes:
        current, target: revisions of the schema.
        obstacles: statements of the way up with which servers of ``target`` could not work; empty: those that run may go on.
        lost: what a downgrade would remove, with the number of rows that have something in it.
    """

    current: str
    target: str
    obstacles: list[str] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)


def check(engine: Engine, target: str = "") -> DowngradeReport:
    """Look at what lies between a database's schema and an earlier one, by default the one before.

    Raises:
        SchemaError: there is no such earlier schema.
    """
    current = require_known(engine, current_revision(engine))
    known = revisions()
    if current is None:
        raise SchemaError(f"{engine.url.render_as_string()} has no schema yet.")
    earlier = [revision for revision in known if revision < current]
    target = target or (earlier[-1] if earlier else "")
    if target not in earlier:
        raise SchemaError(
            f"There is no schema {target or 'before ' + current} to go back to: the database is at {current}, "
            f"before that there {'were ' + ', '.join(earlier) if earlier else 'was none'}."
        )
    report = DowngradeReport(current, target, obstacles(target, current))
    with reading(engine) as connection:
        report.lost = _lost(connection, _statements("downgrade", f"{current}:{target}"))
    return report


def obstacles(earlier: str, later: str) -> list[str]:
    """Statements of the way from one schema to a later one with which code of the earlier one could not work."""
    statements = _statements("upgrade", f"{earlier}:{later}")
    texts = [" ".join(text.split()) for text in statements.split(";")]
    added = set(_ADD_COLUMN.findall(statements))
    created = set(_CREATE_TABLE.findall(statements))

    def is_harmless(text: str) -> bool:
        filled = _FILL_TABLE.match(text)
        return bool(_HARMLESS.match(text) or _only_fills(text, added) or (filled and filled[1] in created))

    return [text for text in texts if text and not is_harmless(text)]


def _only_fills(statement: str, added: set[tuple[str, str]]) -> bool:
    """Whether a statement gives values to columns that earlier code does not know."""
    match = _FILL_COLUMN.match(statement)
    return match is not None and match.groups() in added


def _statements(what: str, revision_range: str) -> str:
    """The statements of a range of revisions, in the words of PostgreSQL, the plainest for it."""
    from alembic import command

    written = io.StringIO()
    config = alembic_config()
    config.attributes["output_buffer"] = written
    getattr(command, what)(config, revision_range, sql=True)
    lines = (line for line in written.getvalue().splitlines() if not line.startswith("--"))
    return "\n".join(line for line in lines if line not in ("BEGIN;", "COMMIT;"))


def _lost(connection: Connection, statements: str) -> dict[str, int]:
    present = MetaData()
    present.reflect(connection)
    tables = set(_DROP_TABLE.findall(statements))
    lost: dict[str, int] = {}
    for name in sorted(tables & present.tables.keys()):
        table = present.tables[name]
        lost[name] = connection.scalar(select(func.count()).select_from(table)) or 0
    for name, column_name in _DROP_COLUMN.findall(statements):
        if name in tables or name not in present.tables:
            continue
        column = present.tables[name].c[column_name]
        # What every row has, such as a default, is nothing anybody wrote.
        usual = select(column).group_by(column).order_by(func.count().desc()).limit(1).scalar_subquery()
        is_told = column.is_not(None) if column.nullable else column != usual
        lost[f"{name}.{column_name}"] = connection.scalar(select(func.count()).where(is_told)) or 0
    return lost
