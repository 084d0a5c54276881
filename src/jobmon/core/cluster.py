"""A cluster as it is registered in the database."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from msgspec import Struct

from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode
from jobmon.core.cluster_type import ClusterType
from jobmon.core.exceptions import UnknownQueueError
from jobmon.core.requester import Requester

T = TypeVar("T")


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
        """Read the cluster's definition from the server."""
        path = f"/define/cluster/{quote(self.cluster_name, safe='')}"
        self._wire = self.requester.send("GET", path, None, ClusterResponse)
        self._type = ClusterType(self._wire.cluster_type)

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
        return [queue.name for queue in self._bound.queues]

    def get_queue(self, queue_name: str = "") -> ClusterQueue:
        """The queue of that name; without a name, the only queue there is.

        Raises:
            UnknownQueueError: there is none of that name, or a name is needed; the message lists the queues.
        """
        names = self.queue_names
        if not queue_name and len(names) == 1:
            queue_name = names[0]
        if queue_name not in self._queues:
            wire = next((queue for queue in self._bound.queues if queue.name == queue_name), None)
            if wire is None:
                problem = f"has no queue '{queue_name}'" if queue_name else "has several queues; name one"
                raise UnknownQueueError(
                    f"Cluster '{self.cluster_name}' {problem}. Queues: {', '.join(names)}."
                )
            self._queues[queue_name] = self._type.cluster_queue_class(wire.id, wire.name, wire.parameters)
        return self._queues[queue_name]

    def get_distributor(self) -> ClusterDistributor:
        """An object that drives the cluster."""
        return self._type.cluster_distributor_class(self.cluster_name, **self.connection_parameters)

    def get_worker_node(self) -> ClusterWorkerNode:
        """What the wrapper uses on the cluster's compute nodes."""
        return self._type.cluster_worker_node_class()
