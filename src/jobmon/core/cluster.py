"""A cluster as it is registered in the database, and how one gets there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from msgspec import Struct

from jobmon.core.batch_cluster import ClusterDescription
from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode
from jobmon.core.cluster_type import ClusterType
from jobmon.core.exceptions import JobmonError, NotAllowedError, UnknownClusterError, UnknownQueueError
from jobmon.core.requester import Requester

T = TypeVar("T")

logger = logging.getLogger(__name__)


class QueueResponse(Struct):
    """A queue of a cluster and its limits, as the server tells it."""

    id: int
    name: str
    cluster_id: int
    parameters: dict[str, Any]


class ClusterResponse(Struct):
    """A cluster, the type of plugin that drives it, and its queues, as the server tells it."""

    id: int
    name: str
    cluster_type: str
    connection_parameters: dict[str, Any]
    queues: list[QueueResponse]


class QueueRequest(Struct):
    """A queue as it is registered."""

    name: str
    parameters: dict[str, Any] = {}


class ClusterRequest(Struct):
    """Register a cluster, or bring it up to date; queues it has beyond these are marked as gone."""

    name: str
    cluster_type: str
    connection_parameters: dict[str, Any]
    queues: list[QueueRequest]


class Sender(Protocol):
    """The part of a requester that is used here."""

    def send(self, method: str, path: str, message: Struct | None, response_type: type[T]) -> T:
        """Send a typed message."""
        ...


class Cluster:
    """A cluster and its queues; ``get_cluster`` builds and binds one."""

    def __init__(self, cluster_name: str, requester: Sender | None = None) -> None:
        self.cluster_name = cluster_name
        self.requester: Sender = requester or Requester.from_defaults()
        self._wire: ClusterResponse | None = None
        self._queues: dict[str, ClusterQueue] = {}

    @classmethod
    def get_cluster(cls, cluster_name: str, requester: Sender | None = None) -> Cluster:
        """The cluster of that name, bound.

        Raises:
            UnknownClusterError: there is none; the message lists those there are.
        """
        cluster = cls(cluster_name, requester)
        cluster.bind()
        return cluster

    def bind(self) -> None:
        """Read the cluster's definition from the server.

        A cluster the server does not know is registered at once where that needs no more than its name: a plugin of
        that name is installed, and the cluster describes its queues from here.

        Raises:
            UnknownClusterError: there is none, and none can be registered; the message says why and what to do.
        """
        path = f"/define/cluster/{quote(self.cluster_name, safe='')}"
        try:
            self._wire = self.requester.send("GET", path, None, ClusterResponse)
        except UnknownClusterError as error:
            self._wire = self._register(error)
        self._type = ClusterType(self._wire.cluster_type)

    def _register(self, unknown: UnknownClusterError) -> ClusterResponse:
        name = self.cluster_name
        try:
            description = ClusterType(name).cluster_distributor_class(name).discover()
        except UnknownClusterError:
            raise UnknownClusterError(
                f"{unknown} To register one: jobmon cluster sync {name} --type TYPE"
            ) from None
        except Exception as error:  # a plugin may be a site's own; whatever it says, the cluster is not known
            why = str(error) if isinstance(error, JobmonError) else f"{type(error).__name__}: {error}"
            raise UnknownClusterError(
                f"{unknown} It was not found from here either: {why}{'' if why.endswith(('.', '?')) else '.'} "
                f"Where it can be asked, register it with: jobmon cluster sync {name}"
            ) from error
        try:
            registered = register_cluster(self.requester, name, name, {}, description)
        except NotAllowedError as error:
            raise UnknownClusterError(
                f"{unknown} An administrator of this server can register it: jobmon cluster sync {name}"
            ) from error
        queues = ", ".join(queue.name for queue in registered.queues)
        logger.info("Cluster '%s' was new to the server and is registered now; its queues: %s.", name, queues)
        return registered

    @property
    def is_bound(self) -> bool:
        """Whether the definition was read."""
        return self._wire is not None

    @property
    def _bound(self) -> ClusterResponse:
        if self._wire is None:
            raise AttributeError(f"Cluster {self.cluster_name} is not bound; call bind() first.")
        return self._wire

    @property
    def id(self) -> int:
        """Id in the database."""
        return self._bound.id

    @property
    def cluster_type_name(self) -> str:
        """Name of the plugin that drives it."""
        return self._bound.cluster_type

    @property
    def connection_parameters(self) -> dict[str, Any]:
        """What the plugin needs to reach it."""
        return self._bound.connection_parameters

    @property
    def queue_names(self) -> list[str]:
        """Names of its queues."""
        return [queue.name for queue in self._bound.queues if not queue.parameters.get("is_gone")]

    def get_queue(self, queue_name: str = "") -> ClusterQueue:
        """The queue of that name; without a name, the only queue there is, or the one the cluster prefers.

        Raises:
            UnknownQueueError: there is none of that name, or a name is needed; the message lists the queues.
        """
        names = self.queue_names
        queue_name = queue_name or self._preferred()
        if queue_name not in self._queues:
            wire = next((queue for queue in self._bound.queues if queue.name == queue_name), None)
            if wire is None:
                problem = f"has no queue '{queue_name}'" if queue_name else "has several queues; name one"
                raise UnknownQueueError(
                    f"Cluster '{self.cluster_name}' {problem}. Queues: {', '.join(names)}."
                )
            self._queues[queue_name] = self._type.cluster_queue_class(wire.id, wire.name, wire.parameters)
        return self._queues[queue_name]

    def _preferred(self) -> str:
        """The queue of tasks that name none; empty when they have to."""
        queues = [queue for queue in self._bound.queues if not queue.parameters.get("is_gone")]
        preferred = [queue for queue in queues if queue.parameters.get("is_default")] or queues
        return preferred[0].name if len(preferred) == 1 else ""

    def get_distributor(self) -> ClusterDistributor:
        """An object that drives the cluster."""
        return self._type.cluster_distributor_class(self.cluster_name, **self.connection_parameters)

    def get_worker_node(self) -> ClusterWorkerNode:
        """What the wrapper uses on the cluster's compute nodes."""
        return self._type.cluster_worker_node_class()


def register_cluster(
    requester: Sender,
    name: str,
    cluster_type: str,
    parameters: Mapping[str, Any],
    description: ClusterDescription,
) -> ClusterResponse:
    """Register a cluster as it described itself, or bring what is known of it up to date.

    Args:
        requester: how to reach the server.
        name: what tasks call it.
        cluster_type: name of the plugin that drives it.
        parameters: how it is reached, as given by people; they go before what was found out.
        description: its queues.

    Raises:
        InvalidUsage: the server does not take it; the message says why.
    """
    message = ClusterRequest(
        name,
        cluster_type,
        {**description.connection_parameters, **parameters},
        [QueueRequest(queue.name, dict(queue.parameters)) for queue in description.queues],
    )
    return requester.send("POST", "/define/cluster", message, ClusterResponse)
