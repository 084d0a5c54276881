"""Which tasks wait for which, directly or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from jobmon.core.exceptions import UsageError
from jobmon.server.web.models import Edge, Task, Workflow
from jobmon.server.web.store.define import chunks

MAX_TASKS = 10_000
"""Tasks that can be set by hand at once."""
SHALLOW = 30
"""Levels of a graph that are followed query by query."""


def tasks_directly_downstream(connection: Connection, workflow_id: int, task_ids: Sequence[int]) -> list[Any]:
    """Tasks (id, node id, status) that wait for one of these."""
    nodes: list[int] = []
    for part in chunks(task_ids):
        nodes += connection.scalars(select(Task.node_id).where(Task.id.in_(part)))
    return _tasks_of_nodes(connection, workflow_id, _downstream_nodes(connection, workflow_id, nodes))


def _downstream_nodes(connection: Connection, workflow_id: int, node_ids: Sequence[int]) -> set[int]:
    dag_id = connection.scalar(select(Workflow.dag_id).where(Workflow.id == workflow_id))
    found: set[int] = set()
    for part in chunks(node_ids):
        texts = connection.scalars(
            select(Edge.downstream_node_ids).where(Edge.dag_id == dag_id, Edge.node_id.in_(part))
        )
        for text in texts:
            found.update(msgspec.json.decode(text, type=list[int]))
    return found


def _tasks_of_nodes(connection: Connection, workflow_id: int, node_ids: set[int]) -> list[Any]:
    rows: list[Any] = []
    for part in chunks(sorted(node_ids)):
        rows += connection.execute(
            select(Task.id, Task.node_id, Task.status).where(
                Task.workflow_id == workflow_id, Task.node_id.in_(part)
            )
        ).all()
    return rows


def tasks_with_downstream(
    connection: Connection, workflow_id: int, task_ids: Sequence[int], *, is_bounded: bool = True
) -> list[Any]:
    """Tasks and all that wait for them, directly or not (id, node id, status).

    Args:
        connection: a transaction.
        workflow_id: their workflow.
        task_ids: the tasks to begin with.
        is_bounded: refuse more than can be changed at once.

    Raises:
        UsageError: they are more than can be changed at once.
    """
    seen: set[int] = set()
    for part in chunks(task_ids):
        seen.update(connection.scalars(select(Task.node_id).where(Task.id.in_(part))))
    frontier, depth = set(seen), 0
    neighbours: dict[int, list[int]] = {}
    while frontier:
        if is_bounded:
            require_few(len(seen), workflow_id)
        if depth < SHALLOW:
            found = _downstream_nodes(connection, workflow_id, sorted(frontier))
        else:  # a long chain: one query for the whole graph beats one for each of its links
            neighbours = neighbours or _all_downstream_nodes(connection, workflow_id)
            found = {after for node_id in frontier for after in neighbours.get(node_id, ())}
        frontier, depth = found - seen, depth + 1
        seen |= frontier
    return sorted(_tasks_of_nodes(connection, workflow_id, seen), key=lambda row: row.id)


def _all_downstream_nodes(connection: Connection, workflow_id: int) -> dict[int, list[int]]:
    rows = connection.execute(
        select(Edge.node_id, Edge.downstream_node_ids)
        .join(Workflow, Workflow.dag_id == Edge.dag_id)
        .where(Workflow.id == workflow_id)
    )
    return {node_id: msgspec.json.decode(text, type=list[int]) for node_id, text in rows}


def require_few(count: int, workflow_id: int) -> None:
    """Refuse to change more tasks than can be changed at once."""
    if count > MAX_TASKS:
        raise UsageError(
            f"More than {MAX_TASKS} tasks would change, which is as many as can be set at once. Name fewer (by "
            "template, node arg, attribute or status: jobmon task update --help), one part after the other, or "
            f"reset the workflow: jobmon workflow reset -w {workflow_id} (-p keeps what is done)."
        )
