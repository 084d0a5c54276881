"""Clusters a site adds to those every database starts with: register one, bring one up to date, list them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, select, update

from jobmon.core.exceptions import InvalidUsage
from jobmon.serializers.define import ClusterRequest, ClusterResponse, ClustersResponse
from jobmon.server.web import dialect
from jobmon.server.web.db_admin import DEFAULT_CLUSTERS
from jobmon.server.web.models import Cluster, ClusterType, Queue
from jobmon.server.web.store.define import cluster_read, require_name, row_get_or_create

PARAMETERS_CHARACTERS = 2500
"""Width of the columns of parameters."""
GONE = "is_gone"
"""Parameter of a queue that its cluster no longer has; tasks of earlier workflows still refer to it."""


def clusters_read(connection: Connection) -> ClustersResponse:
    """All clusters with their queues, oldest first."""
    names = connection.scalars(select(Cluster.name).order_by(Cluster.id)).all()
    return ClustersResponse([cluster_read(connection, name) for name in names])


def cluster_create_or_update(connection: Connection, message: ClusterRequest) -> ClusterResponse:
    """Register a cluster, or give the one of that name these parameters and queues.

    Queues that are not named stay, marked as gone.

    Raises:
        InvalidUsage: it is one of the local clusters, is of another type, or a name or a parameter does not fit.
    """
    _check(message)
    type_id = row_get_or_create(connection, ClusterType, {"name": message.cluster_type})
    parameters = _text(message.connection_parameters, f"The connection parameters of cluster {message.name}")
    row_get_or_create(
        connection,
        Cluster,
        {"name": message.name},
        {"cluster_type_id": type_id, "connection_parameters": parameters},
    )
    statement = select(Cluster.id, Cluster.cluster_type_id).where(Cluster.name == message.name)
    cluster = connection.execute(dialect.lock_rows(connection, statement)).one()
    if cluster.cluster_type_id != type_id:
        present = connection.scalar(select(ClusterType.name).where(ClusterType.id == cluster.cluster_type_id))
        raise InvalidUsage(
            f"Cluster '{message.name}' is of type '{present}', and tasks were submitted to it as such; register the "
            f"one of type '{message.cluster_type}' under another name."
        )
    connection.execute(
        update(Cluster).where(Cluster.id == cluster.id).values(connection_parameters=parameters)
    )
    _set_queues(connection, cluster.id, {queue.name: queue.parameters for queue in message.queues})
    return cluster_read(connection, message.name)


def _check(message: ClusterRequest) -> None:
    require_name(message.name, "a cluster")
    require_name(message.cluster_type, "a cluster type")
    if message.name in DEFAULT_CLUSTERS:
        raise InvalidUsage(f"'{message.name}' is a cluster that comes with Jobmon; choose another name.")
    if not message.queues:
        raise InvalidUsage(f"Cluster '{message.name}' has no queues; tasks need one.")
    for queue in message.queues:
        require_name(queue.name, f"a queue of cluster {message.name}")


def _set_queues(connection: Connection, cluster_id: int, wanted: Mapping[str, Mapping[str, Any]]) -> None:
    rows = connection.execute(
        select(Queue.id, Queue.name, Queue.parameters).where(Queue.cluster_id == cluster_id)
    )
    present = {row.name: row for row in rows}
    for name, parameters in wanted.items():
        text = _text(parameters, f"The parameters of queue {name}")
        if name not in present:
            row_get_or_create(
                connection, Queue, {"cluster_id": cluster_id, "name": name}, {"parameters": text}
            )
        elif present[name].parameters != text:
            _set_parameters(connection, present[name].id, text)
    for name in present.keys() - wanted.keys():
        marked = {**msgspec.json.decode(present[name].parameters), GONE: True}
        text = _encoded(marked)
        _set_parameters(
            connection,
            present[name].id,
            text if len(text) <= PARAMETERS_CHARACTERS else _encoded({GONE: True}),
        )


def _set_parameters(connection: Connection, queue_id: int, text: str) -> None:
    connection.execute(update(Queue).where(Queue.id == queue_id).values(parameters=text))


def _encoded(parameters: Mapping[str, Any]) -> str:
    return msgspec.json.encode(parameters).decode()


def _text(parameters: Mapping[str, Any], what: str) -> str:
    """The parameters as JSON text.

    Raises:
        InvalidUsage: the text does not fit its column.
    """
    text = _encoded(parameters)
    if len(text) > PARAMETERS_CHARACTERS:
        raise InvalidUsage(
            f"{what} take {len(text)} characters as JSON; there is room for {PARAMETERS_CHARACTERS}."
        )
    return text
