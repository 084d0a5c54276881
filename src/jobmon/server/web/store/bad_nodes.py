"""Nodes of clusters that failed lately: remembered for a while, whoever's attempt it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.serializers.swarm import BadNode as BadNodeMessage
from jobmon.serializers.swarm import BadNodesResponse
from jobmon.server.web import dialect
from jobmon.server.web.models import BadNode, Cluster, Queue, TaskInstance, TaskResources

REASON_CHARACTERS = 500

_PLACES = (
    select(TaskInstance.id, Queue.cluster_id, TaskInstance.nodename)
    .join(TaskResources, TaskResources.id == TaskInstance.task_resources_id)
    .join(Queue, Queue.id == TaskResources.queue_id)
    .where(TaskInstance.id.in_(bindparam("ids", expanding=True)))
)


def bad_nodes_note(
    connection: Connection, events: Sequence[InstanceEvent], *, now: datetime, seconds: float
) -> None:
    """Remember the nodes that events blame; what is known of a node already is replaced.

    Args:
        connection: a write transaction, in which the events were applied.
        events: those that blame a node.
        now: time of the database.
        seconds: for how long; 0: not at all.
    """
    if not events or seconds <= 0:
        return
    ids = sorted({event.task_instance_id for event in events})
    places = {row[0]: (row[1], row[2]) for row in connection.execute(_PLACES, {"ids": ids})}
    rows = {}
    for event in events:
        cluster_id, known = places.get(event.task_instance_id, (None, None))
        nodename = event.nodename or known
        if cluster_id is None or not nodename:
            continue
        rows[cluster_id, nodename] = {
            "cluster_id": cluster_id,
            "nodename": nodename,
            "reason": (event.description or "A task was lost there.")[:REASON_CHARACTERS],
            "task_instance_id": event.task_instance_id,
            "seen_at": now,
            "expires_at": now + timedelta(seconds=seconds),
        }
    columns = ("reason", "task_instance_id", "seen_at", "expires_at")
    ordered = [rows[key] for key in sorted(rows)]
    dialect.upsert(connection, BadNode.__table__, ordered, columns)  # type: ignore[arg-type]


def bad_nodes_read(connection: Connection, cluster_name: str, now: datetime) -> BadNodesResponse:
    """Nodes of a cluster to be avoided, the latest first.

    Raises:
        NotFoundError: there is no such cluster.
    """
    rows = connection.execute(
        select(BadNode.nodename, BadNode.reason, BadNode.expires_at)
        .where(BadNode.cluster_id == _cluster_id(connection, cluster_name), BadNode.expires_at > now)
        .order_by(BadNode.seen_at.desc(), BadNode.nodename)
    )
    return BadNodesResponse(
        [
            BadNodeMessage(name, reason, (expires_at - now).total_seconds())
            for name, reason, expires_at in rows
        ]
    )


def bad_node_forgive(connection: Connection, cluster_name: str, nodename: str) -> None:
    """Forget that a node failed, if it did.

    Raises:
        NotFoundError: there is no such cluster.
    """
    cluster_id = _cluster_id(connection, cluster_name)
    connection.execute(delete(BadNode).where(BadNode.cluster_id == cluster_id, BadNode.nodename == nodename))


def _cluster_id(connection: Connection, cluster_name: str) -> int:
    cluster_id = connection.scalar(select(Cluster.id).where(Cluster.name == cluster_name))
    if cluster_id is None:
        raise NotFoundError(f"There is no cluster '{cluster_name}'.")
    return cluster_id
