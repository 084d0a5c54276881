"""Tasks some steps up and down from one, and never the whole graph. Reads only, and little at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, case, func, select

from jobmon.core.states import TaskStatus
from jobmon.server.web.models import Edge, Task

LIST_CHARACTERS: Final = 20_000
"""So much of a list of neighbours is read, some 2 500 of them."""
_FIRST: Final = (
    TaskStatus.ERROR_FATAL,
    TaskStatus.ERROR_RECOVERABLE,
    TaskStatus.ADJUSTING_RESOURCES,
    TaskStatus.RUNNING,
)
"""Neighbours in these states are shown first, in this order."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A task in the drawing; ``level`` is negative above the task in the middle, positive below."""

    id: int
    name: str
    status: TaskStatus
    level: int


@dataclass(frozen=True)
class Neighbourhood:
    """Tasks some steps up and down from one.

    Attributes:
        tasks: that one (level 0) and those around it.
        edges: pairs of ids: the second waits for the first.
        hidden: number of tasks of a level that are not shown, by level.
        num_up, num_down: tasks it waits for, and that wait for it, directly.
    """

    tasks: list[Neighbour]
    edges: list[tuple[int, int]]
    hidden: Mapping[int, int] = field(default_factory=dict)
    num_up: int = 0
    num_down: int = 0

    def of_level(self, level: int) -> list[Neighbour]:
        """The tasks of a level."""
        return [task for task in self.tasks if task.level == level]


@dataclass(frozen=True, slots=True)
class _Lists:
    """Neighbours of a node, as far as they were read, and how many there are."""

    up: list[int]
    down: list[int]
    num_up: int
    num_down: int


def task_read_neighbourhood(
    connection: Connection, row: Any, up: int, down: int, per_level: int
) -> Neighbourhood:
    """Tasks some steps up and down from one: of each step some, those that failed first.

    Args:
        connection: a transaction.
        row: the task, from ``explain.task_read_row``.
        up, down: steps; two statements for each.
        per_level: at most so many tasks of a step.
    """
    lists = _lists(connection, row.dag_id, [row.node_id])
    middle = lists.get(row.node_id, _Lists([], [], 0, 0))
    place = (connection, row.dag_id, row.node_id)
    middle = _Lists(
        middle.up,
        middle.down,
        _count(*place, Edge.upstream_node_ids, len(middle.up), middle.num_up),
        _count(*place, Edge.downstream_node_ids, len(middle.down), middle.num_down),
    )
    lists[row.node_id] = middle
    shown: dict[int, Neighbour] = {row.node_id: Neighbour(row.id, row.name, TaskStatus(row.status), 0)}
    hidden: dict[int, int] = {}
    for sign, steps in ((-1, up), (1, down)):
        frontier = [row.node_id]
        for step in range(1, steps + 1):
            known = [lists[node_id] for node_id in frontier if node_id in lists]
            wanted = {n for each in known for n in (each.up if sign < 0 else each.down)} - shown.keys()
            unread = sum(
                (each.num_up - len(each.up)) if sign < 0 else (each.num_down - len(each.down))
                for each in known
            )
            found = _tasks_of_nodes(connection, row.workflow_id, sorted(wanted), per_level)
            if rest := len(wanted) - len(found) + unread:
                hidden[sign * step] = rest
            if not found:
                break
            for node_id, task_id, name, status in found:
                shown[node_id] = Neighbour(task_id, name, TaskStatus(status), sign * step)
            frontier = [each[0] for each in found]
            lists |= _lists(connection, row.dag_id, frontier)
    return Neighbourhood(list(shown.values()), _edges(lists, shown), hidden, middle.num_up, middle.num_down)


def _lists(connection: Connection, dag_id: int, node_ids: Sequence[int]) -> dict[int, _Lists]:
    """Neighbours of nodes; of very long lists the beginning, and about how many there are."""
    columns: list[Any] = []
    for column in (Edge.upstream_node_ids, Edge.downstream_node_ids):
        columns += [func.substr(column, 1, LIST_CHARACTERS), func.length(column)]
    rows = connection.execute(
        select(Edge.node_id, *columns).where(Edge.dag_id == dag_id, Edge.node_id.in_(node_ids))
    )
    found = {}
    for node_id, up_text, up_length, down_text, down_length in rows:
        up, down = _ids(up_text or ""), _ids(down_text or "")
        found[node_id] = _Lists(
            up, down, _about(len(up), up_length or 0), _about(len(down), down_length or 0)
        )
    return found


def _about(num_read: int, length: int) -> int:
    """How many ids a list of this length has: as many as were read, or about so many in proportion."""
    return num_read if length <= LIST_CHARACTERS else round(num_read * length / LIST_CHARACTERS)


def _count(connection: Connection, dag_id: int, node_id: int, column: Any, num_read: int, about: int) -> int:
    """How many neighbours a node has. The database would take seconds to count commas where texts have collations."""
    if about == num_read:
        return num_read
    text = connection.scalar(select(column).where(Edge.dag_id == dag_id, Edge.node_id == node_id))
    return (text or "").count(",") + 1


def _ids(text: str) -> list[int]:
    """Ids of a list of which the end may be missing."""
    if not text.rstrip().endswith("]"):
        text = text.rpartition(",")[0] + "]"
    return msgspec.json.decode(text if len(text) > 1 else "[]", type=list[int])


def _tasks_of_nodes(
    connection: Connection, workflow_id: int, node_ids: Sequence[int], limit: int
) -> list[tuple[int, int, str, str]]:
    if not node_ids:
        return []
    urgency = case(
        {status.value: place for place, status in enumerate(_FIRST)}, value=Task.status, else_=len(_FIRST)
    )
    rows = connection.execute(
        select(Task.node_id, Task.id, Task.name, Task.status)
        .where(Task.workflow_id == workflow_id, Task.node_id.in_(node_ids[: 4 * 2500]))
        .order_by(urgency, Task.id)
        .limit(limit)
    )
    return sorted(((row[0], row[1], row[2], row[3]) for row in rows), key=lambda row: row[1])


def _edges(lists: Mapping[int, _Lists], shown: Mapping[int, Neighbour]) -> list[tuple[int, int]]:
    found = set()
    for node_id, each in lists.items():
        if node_id not in shown:
            continue
        found |= {(shown[other].id, shown[node_id].id) for other in each.up if other in shown}
        found |= {(shown[node_id].id, shown[other].id) for other in each.down if other in shown}
    return sorted(found)


def upstream_read_size(connection: Connection, dag_id: int, node_id: int) -> int:
    """Characters of the list of what a task waits for: whether it is long."""
    return (
        connection.scalar(
            select(func.length(Edge.upstream_node_ids)).where(Edge.dag_id == dag_id, Edge.node_id == node_id)
        )
        or 0
    )
