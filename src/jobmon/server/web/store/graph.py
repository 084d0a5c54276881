"""Nodes and graphs: shared by all workflows, found by their hashes, added where they are missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from jobmon.core.exceptions import InvalidUsage, NotFoundError, UsageError
from jobmon.serializers.define import DagResponse, EdgesRequest, NodeGroup
from jobmon.server.web import bulk, dialect
from jobmon.server.web.models import Arg, Dag, Edge, Node, NodeArg, TaskTemplateVersion
from jobmon.server.web.store.candidates import candidates_take_off
from jobmon.server.web.store.define import chunks, require_row, row_get_or_create, table_of

ARG_CHARACTERS = 2048

_NODE_COLUMNS = ("id", "task_template_version_id", "node_args_hash")
_NODE_ARG_COLUMNS = ("node_id", "arg_id", "val")
_EDGE_COLUMNS = ("dag_id", "node_id", "upstream_node_ids", "downstream_node_ids")
_IDS_OF_HASHES = select(Node.node_args_hash, Node.id).where(
    Node.task_template_version_id == bindparam("version_id"), dialect.among(Node.node_args_hash, "hashes")
)


def nodes_get_or_create(connection: Connection, groups: Sequence[NodeGroup]) -> list[list[int]]:
    """Ids of nodes, group by group.

    Raises:
        UsageError: a value of an arg is too long; nothing was stored.
    """
    for group in groups:
        require_row(connection, TaskTemplateVersion, group.task_template_version_id, "task template version")
        require_equal_lengths("nodes", group.node_args_hashes, group.values)
        require_short_args(connection, "node", group.arg_ids, group.values)
    return [_group_get_or_create(connection, group) for group in groups]


def _group_get_or_create(connection: Connection, group: NodeGroup) -> list[int]:
    found = _node_ids(connection, group.task_template_version_id, group.node_args_hashes, lock=False)
    if candidates_take_off(connection, table_of(Node), found.values()):
        found = _node_ids(connection, group.task_template_version_id, group.node_args_hashes, lock=False)
    missing = {
        node_args_hash: values
        for node_args_hash, values in zip(group.node_args_hashes, group.values, strict=True)
        if node_args_hash not in found
    }
    if missing:
        ids = dict(zip(missing, dialect.allocate_ids(connection, table_of(Node), len(missing)), strict=True))
        version_id = group.task_template_version_id
        rows = [(node_id, version_id, node_args_hash) for node_args_hash, node_id in ids.items()]
        bulk.insert_rows(connection, table_of(Node), _NODE_COLUMNS, rows, ignore=True)
        # Another binder may have been first; its rows keep their ids, and it wrote their args.
        ours = ids
        if not dialect.is_sqlite(connection):
            ours = _node_ids(connection, version_id, list(ids), lock=True)
        found |= ours
        args = [
            (node_id, arg_id, value)
            for node_args_hash, node_id in ours.items()
            if ids[node_args_hash] == node_id
            for arg_id, value in zip(group.arg_ids, missing[node_args_hash], strict=True)
        ]
        bulk.insert_rows(connection, table_of(NodeArg), _NODE_ARG_COLUMNS, args, ignore=True)
    return [found[node_args_hash] for node_args_hash in group.node_args_hashes]


def _node_ids(
    connection: Connection, task_template_version_id: int, hashes: Sequence[str], *, lock: bool
) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in chunks(hashes):
        statement = dialect.lock_rows(connection, _IDS_OF_HASHES) if lock else _IDS_OF_HASHES
        rows = connection.execute(statement, {"version_id": task_template_version_id, "hashes": part})
        found.update((row[0], row[1]) for row in rows)
    return found


def require_equal_lengths(what: str, *columns: Sequence[Any]) -> None:
    """Refuse columns of unequal lengths."""
    if len({len(column) for column in columns}) > 1:
        raise InvalidUsage(f"The columns of {what} must have equal lengths.")


def require_short_args(
    connection: Connection, kind: str, arg_ids: Sequence[int], values: Sequence[Sequence[str]]
) -> None:
    """Refuse rows of args that do not match ``arg_ids`` or do not fit their column."""
    for row in values:
        if len(row) != len(arg_ids):
            raise InvalidUsage(
                f"Each row of {kind} args must have {len(arg_ids)} values, one has {len(row)}."
            )
        for arg_id, value in zip(arg_ids, row, strict=True):
            if len(value) > ARG_CHARACTERS:
                name = connection.scalar(select(Arg.name).where(Arg.id == arg_id))
                raise UsageError(
                    f"The value of {kind} arg '{name}' has {len(value)} characters; at most "
                    f"{ARG_CHARACTERS} fit: '{value[:60]}…'. Pass the path of a file instead."
                )


def dag_get_or_create(connection: Connection, dag_hash: str) -> DagResponse:
    """The graph of that hash."""
    dag_id = row_get_or_create(connection, Dag, {"hash": dag_hash})
    if candidates_take_off(connection, table_of(Dag), [dag_id]):
        dag_id = row_get_or_create(connection, Dag, {"hash": dag_hash})
    return dag_read(connection, dag_id)


def dag_read(connection: Connection, dag_id: int) -> DagResponse:
    """Whether a graph is complete."""
    row = connection.execute(select(Dag.created_date).where(Dag.id == dag_id)).first()
    if row is None:
        raise NotFoundError(f"There is no dag {dag_id}.")
    return DagResponse(dag_id, row.created_date is not None)


def edges_add_if_incomplete(
    connection: Connection, dag_id: int, message: EdgesRequest, now: datetime
) -> DagResponse:
    """Store neighbours of nodes; a complete graph stays as it is."""
    dag = dag_read(connection, dag_id)
    if dag.is_complete:
        return dag
    require_equal_lengths("edges", message.node_ids, message.upstream_node_ids, message.downstream_node_ids)
    encode = msgspec.json.encode
    rows = [
        (dag_id, node_id, encode(upstream).decode(), encode(downstream).decode())
        for node_id, upstream, downstream in zip(
            message.node_ids, message.upstream_node_ids, message.downstream_node_ids, strict=True
        )
    ]
    bulk.insert_rows(connection, table_of(Edge), _EDGE_COLUMNS, rows, ignore=True)
    if message.is_last:
        connection.execute(
            update(Dag).where(Dag.id == dag_id, Dag.created_date.is_(None)).values(created_date=now)
        )
    return DagResponse(dag_id, message.is_last)
