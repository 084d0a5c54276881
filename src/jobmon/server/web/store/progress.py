"""Counters of tasks by status, array by array, so that nobody has to count a million of them to see how far they are.

Rules
-----
1. Whoever changes the status of tasks changes the counters in the same transaction: by differences where it knows what it
   changes (:func:`progress_add`), by counting again where it does not (:func:`progress_recount`).
2. Counters are changed last, in the order of the arrays' ids: transactions of one run wait for each other anyway.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from jobmon.core.states import TASK_TERMINAL, TaskStatus
from jobmon.server.web import dialect
from jobmon.server.web.models import Array, ArrayProgress, Task

STATUS_COLUMNS: Final[Mapping[TaskStatus, str]] = {status: status.name.lower() for status in TaskStatus}
"""Column of a status in ``array_progress``."""
RETRIES: Final = "num_retries"

_table: Any = ArrayProgress.__table__
_COLUMNS = (*STATUS_COLUMNS.values(), RETRIES)
_ADD = (
    update(ArrayProgress)
    .where(ArrayProgress.array_id == bindparam("of_array"))
    .values({name: _table.c[name] + bindparam(f"more_{name}") for name in _COLUMNS})
)
_NOTHING = {f"more_{name}": 0 for name in _COLUMNS}
RETRIES_OF_TASK = case((Task.num_attempts > 1, Task.num_attempts - 1), else_=0)
"""Attempts of a task beyond its first."""


class Changes:
    """What a transaction changes of the counters, by array."""

    def __init__(self) -> None:
        self._by_array: dict[int, Counter[str]] = defaultdict(Counter)

    def move(self, array_id: int, before: TaskStatus | None, after: TaskStatus, count: int = 1) -> None:
        """Note that tasks went from a status to another; ``None``: they are new."""
        changes = self._by_array[array_id]
        if before is not None:
            changes[STATUS_COLUMNS[before]] -= count
        changes[STATUS_COLUMNS[after]] += count

    def retry(self, array_id: int, count: int) -> None:
        """Note attempts beyond the first; negative: they count no more."""
        self._by_array[array_id][RETRIES] += count

    def rows(self) -> list[dict[str, int]]:
        """Parameters of the update, in the order of the arrays; those where nothing is left to change are left out."""
        return [
            {"of_array": array_id, **_NOTHING, **{f"more_{name}": more for name, more in changes.items()}}
            for array_id, changes in sorted(self._by_array.items())
            if any(changes.values())
        ]


def progress_begin(connection: Connection, workflow_id: int, array_ids: Iterable[int]) -> None:
    """Make the counters of new arrays."""
    rows = [
        {"array_id": array_id, "workflow_id": workflow_id, **dict.fromkeys(_COLUMNS, 0)}
        for array_id in sorted(array_ids)
    ]
    if rows:
        connection.execute(insert(ArrayProgress), rows)


def progress_add(connection: Connection, changes: Changes) -> None:
    """Change the counters by what a transaction has changed."""
    rows = changes.rows()
    if rows:
        connection.execute(_ADD, rows)


def progress_recount(connection: Connection, workflow_id: int) -> Progress:
    """Count all tasks of a workflow again; the sum over its arrays. Nobody else may be changing them."""
    counted = (
        select(Task.array_id, Task.status, func.count(), func.sum(RETRIES_OF_TASK))
        .where(Task.workflow_id == workflow_id)
        .group_by(Task.array_id, Task.status)
    )
    arrays = connection.scalars(select(Array.id).where(Array.workflow_id == workflow_id))
    counts: dict[int, Counter[str]] = {array_id: Counter() for array_id in arrays}
    for array_id, letter, count, retries in connection.execute(counted):
        counts[array_id][STATUS_COLUMNS[TaskStatus(letter)]] = count
        counts[array_id][RETRIES] += int(retries or 0)
    rows = [
        {"array_id": array_id, "workflow_id": workflow_id, **dict.fromkeys(_COLUMNS, 0), **counted_of}
        for array_id, counted_of in sorted(counts.items())
    ]
    dialect.upsert(connection, _table, rows, _COLUMNS)
    return together(_progress_of(row) for row in rows)


@dataclass(slots=True)
class Progress:
    """Tasks of one array, or of several together: their number by status letter, and attempts beyond the first."""

    by_status: dict[str, int] = field(default_factory=dict)
    retries: int = 0

    @property
    def num_unfinished(self) -> int:
        """Tasks that are neither done nor given up."""
        return sum(count for status, count in self.by_status.items() if status not in TASK_TERMINAL)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_status.values())

    def add(self, other: Progress) -> None:
        """Count the tasks of another array too."""
        for status, count in other.by_status.items():
            self.by_status[status] = self.by_status.get(status, 0) + count
        self.retries += other.retries


def workflows_progress(connection: Connection, workflow_ids: Sequence[int]) -> dict[int, dict[int, Progress]]:
    """Tasks of workflows by array, in the order of the arrays."""
    found: dict[int, dict[int, Progress]] = {workflow_id: {} for workflow_id in workflow_ids}
    rows = connection.execute(
        select(_table).where(_table.c.workflow_id.in_(workflow_ids)).order_by(_table.c.array_id)
    ).mappings()
    for row in rows:
        found[row["workflow_id"]][row["array_id"]] = _progress_of(row)
    return found


def _progress_of(row: Mapping[Any, Any]) -> Progress:
    by_status = {status.value: row[name] for status, name in STATUS_COLUMNS.items() if row[name]}
    return Progress(by_status, row[RETRIES])


def together(arrays: Iterable[Progress]) -> Progress:
    """The sum over arrays."""
    total = Progress()
    for each in arrays:
        total.add(each)
    return total
