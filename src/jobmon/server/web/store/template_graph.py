"""Which templates of a workflow wait for which: the graph of the tasks, drawn small. Reads only.

Of a small workflow every task is looked at, of a large one some of each array, and some spread evenly over all: tasks of one
template nearly always wait for tasks of the same templates. Both lists of neighbours are read, and of long ones only the ends:
what is missed at one end of an edge is found at the other.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, case, func, select

from jobmon.server.web.models import Edge, Task, Workflow
from jobmon.server.web.store.define import chunks
from jobmon.server.web.store.progress import workflows_progress

EXACT_TASKS: Final = 2000
"""Workflows of up to so many tasks are looked at as a whole."""
SAMPLED_TASKS: Final = 2000
"""So many tasks of a larger one are looked at, spread evenly; and half as many again, at least two of each array."""
LIST_CHARACTERS: Final = 300
"""Of a list of neighbours so much is read from its beginning and from its end."""
CACHED_GRAPHS: Final = 500

_NUMBER = re.compile(r"(?<=[\[,])\d+(?=[,\]])")
_cache: WeakKeyDictionary[Engine, OrderedDict[int, TemplateGraph]] = WeakKeyDictionary()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class TemplateGraph:
    """Arrays of a workflow and what they wait for.

    Attributes:
        upstream: ids of the arrays each array waits for; an array whose tasks wait for each other is its own.
        num_looked_at: tasks that were looked at.
        is_exact: these were all.
    """

    upstream: Mapping[int, frozenset[int]] = field(default_factory=dict)
    num_looked_at: int = 0
    is_exact: bool = True


def workflow_template_graph(connection: Connection, workflow_id: int) -> TemplateGraph:
    """Which arrays of a workflow wait for which; kept, for the graph of a registered workflow never changes."""
    with _lock:
        cached = _cache.setdefault(connection.engine, OrderedDict())
        if workflow_id in cached:
            cached.move_to_end(workflow_id)
            return cached[workflow_id]
    row = connection.execute(
        select(Workflow.dag_id, Workflow.created_date).where(Workflow.id == workflow_id)
    ).first()
    if row is None:
        return TemplateGraph()
    graph = _read(connection, workflow_id, row.dag_id)
    if row.created_date is not None:
        with _lock:
            cached[workflow_id] = graph
            while len(cached) > CACHED_GRAPHS:
                cached.popitem(last=False)
    return graph


def _read(connection: Connection, workflow_id: int, dag_id: int) -> TemplateGraph:
    sizes = {
        array_id: progress.total
        for array_id, progress in workflows_progress(connection, [workflow_id])[workflow_id].items()
    }
    is_exact = sum(sizes.values()) <= EXACT_TASKS
    array_of = _tasks(connection, workflow_id, sizes, is_exact)
    neighbours: dict[int, tuple[set[int], set[int]]] = {}
    for part in chunks(sorted(array_of)):
        rows = connection.execute(
            select(Edge.node_id, *_ends(Edge.upstream_node_ids), *_ends(Edge.downstream_node_ids)).where(
                Edge.dag_id == dag_id, Edge.node_id.in_(part)
            )
        )
        for node_id, *texts in rows:
            neighbours[node_id] = (_numbers(texts[:2]), _numbers(texts[2:]))
    known = set().union(*(up | down for up, down in neighbours.values()))
    array_of |= _arrays_of_nodes(connection, workflow_id, known - array_of.keys())
    upstream: dict[int, set[int]] = defaultdict(set, {array_id: set() for array_id in sizes})
    for node_id, (up, down) in neighbours.items():
        for each in up & array_of.keys():
            upstream[array_of[node_id]].add(array_of[each])
        for each in down & array_of.keys():
            upstream[array_of[each]].add(array_of[node_id])
    found = {array_id: frozenset(waits_for) for array_id, waits_for in upstream.items()}
    return TemplateGraph(found, len(neighbours), is_exact)


def _tasks(
    connection: Connection, workflow_id: int, sizes: Mapping[int, int], is_exact: bool
) -> dict[int, int]:
    """Array by node of the tasks that are looked at."""
    wanted = select(Task.node_id, Task.array_id).where(Task.workflow_id == workflow_id)
    if is_exact:
        return {row[0]: row[1] for row in connection.execute(wanted)}
    found: dict[int, int] = {}
    share = max(2, SAMPLED_TASKS // (2 * len(sizes)))
    for array_id in sizes:  # some of each, however few it has
        some = wanted.where(Task.array_id == array_id).limit(share)
        found |= {row[0]: row[1] for row in connection.execute(some)}
    ids = select(Task.id).where(Task.workflow_id == workflow_id).limit(1)
    first = connection.scalar(ids.order_by(Task.id)) or 0
    last = connection.scalar(ids.order_by(Task.id.desc())) or 0
    spread = {first + (last - first) * i // SAMPLED_TASKS for i in range(SAMPLED_TASKS + 1)}
    for part in chunks(sorted(spread)):
        found |= {row[0]: row[1] for row in connection.execute(wanted.where(Task.id.in_(part)))}
    return found


def _ends(column: Any) -> list[Any]:
    """Beginning and end of a list of ids."""
    length = func.length(column)
    return [
        func.substr(column, 1, LIST_CHARACTERS),
        func.substr(column, case((length > LIST_CHARACTERS, length - LIST_CHARACTERS + 1), else_=1)),
    ]


def _numbers(texts: Sequence[str | None]) -> set[int]:
    return {int(number) for text in texts for number in _NUMBER.findall((text or "").replace(" ", ""))}


def _arrays_of_nodes(connection: Connection, workflow_id: int, node_ids: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for part in chunks(sorted(node_ids)):
        rows = connection.execute(
            select(Task.node_id, Task.array_id).where(Task.workflow_id == workflow_id, Task.node_id.in_(part))
        )
        found |= {row[0]: row[1] for row in rows}
    return found
