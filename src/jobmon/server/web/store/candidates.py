"""Rows that workflows share and that may be needed no more, since a workflow that used them was deleted.

A row that a deleted workflow used is put on a list. Who looks it up to define a new workflow takes it off again. What is on
the list for a while, and which nothing refers to, is deleted: whoever held its id before it was noted has long since stored a
reference to it, or looked it up again. Candidates are locked while their rows are deleted, and are taken off the list before
rows are looked up for good: of two who are after one row, one waits for the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, Table, delete, exists, select

from jobmon.server.web import dialect
from jobmon.server.web.models import Base, PruneCandidate

_CANDIDATES = Base.metadata.tables[PruneCandidate.__tablename__]
_IN_ONE_LIST = 5000


def candidates_note(connection: Connection, table: Table, ids: Iterable[int], now: datetime) -> None:
    """Note rows that may be needed no more; those noted before keep their time."""
    rows = [{"kind": table.name, "row_id": row_id, "noted_at": now} for row_id in sorted(set(ids))]
    dialect.insert_ignore(connection, _CANDIDATES, rows)


def candidates_take_off(connection: Connection, table: Table, ids: Collection[int]) -> bool:
    """Somebody is about to use these rows. When true is returned, some may be gone: look them up again."""
    is_kind = PruneCandidate.kind == table.name
    if not ids or not connection.scalar(select(exists().where(is_kind))):
        return False
    for part in _parts(sorted(ids)):
        connection.execute(delete(PruneCandidate).where(is_kind, PruneCandidate.row_id.in_(part)))
    return True


def candidates_read(
    connection: Connection, table: Table, before: datetime, *, after_id: int, limit: int
) -> list[int]:
    """Lock candidates that were noted before a time; their ids."""
    statement = (
        select(PruneCandidate.row_id)
        .where(
            PruneCandidate.kind == table.name,
            PruneCandidate.row_id > after_id,
            PruneCandidate.noted_at <= before,
        )
        .order_by(PruneCandidate.row_id)
        .limit(limit)
    )
    return list(connection.scalars(dialect.lock_rows(connection, statement)))


def candidates_done(connection: Connection, table: Table, ids: Sequence[int]) -> None:
    """Take rows off the list that are deleted, or needed."""
    for part in _parts(ids):
        connection.execute(
            delete(PruneCandidate).where(PruneCandidate.kind == table.name, PruneCandidate.row_id.in_(part))
        )


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _IN_ONE_LIST):
        yield ids[start : start + _IN_ONE_LIST]
