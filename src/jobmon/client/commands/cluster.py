"""Clusters: ask one for its queues and limits, register it, show what is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from jobmon.client.commands.config import without_secrets
from jobmon.client.commands.records import Record, to_json
from jobmon.core.batch_cluster import ClusterDescription
from jobmon.core.cluster import ClusterResponse, QueueResponse, register_cluster
from jobmon.core.cluster_type import ClusterType
from jobmon.core.configuration import coerce
from jobmon.core.exceptions import ClusterUnreachable, UnknownClusterError, UsageError
from jobmon.core.requester import Requester
from jobmon.core.resources import describe_memory
from jobmon.core.words import describe_duration
from jobmon.serializers.define import ClustersResponse

DEFAULT_TYPE = "slurm"
RARE_COLUMNS = frozenset({"GRES", "ACCOUNTS"})
"""Of tables: left out where no queue has anything there."""
LIST_COLUMNS = ("CLUSTER", "TYPE", "QUEUES")
QUEUE_COLUMNS = ("QUEUE", "CORES", "MEMORY", "RUNTIME", "NODES", "GRES", "STATE", "ACCOUNTS")
"""Of tables: the most a task may ask for, with units; empty where nothing is limited."""
QUEUE_VALUES = (
    "QUEUE",
    "CORES",
    "MEMORY_GIB",
    "RUNTIME_SECONDS",
    "DEFAULT_RUNTIME_SECONDS",
    "NODES",
    "GRES",
    "STATE",
    "IS_DEFAULT",
    "ACCOUNTS",
)
"""Of JSON and CSV: the same as numbers."""


# -- register -----------------------------------------------------------------------------------------
def sync_cluster(
    name: str,
    cluster_type: str = "",
    given: Mapping[str, Any] | None = None,
    requester: Requester | None = None,
) -> tuple[ClusterResponse, ClusterDescription]:
    """Ask a cluster for its queues from here, and register it or bring what is known of it up to date.

    Args:
        name: what tasks call it.
        cluster_type: name of the plugin that drives it; empty: as it was, else the plugin of that name, else slurm.
        given: connection parameters; those given earlier stay, one whose value is empty goes.
        requester: how to reach the server.

    Returns:
        What is registered now, and what the cluster said.

    Raises:
        UnknownClusterError: no plugin of that type is installed.
        ClusterError: the cluster does not answer, or cannot be asked.
        InvalidUsage: the server does not take it; the message says why.
    """
    requester = requester or Requester.from_defaults()
    known = _find(requester, name)
    kind = cluster_type or (known.cluster_type if known else _type_named(name))
    earlier = known.connection_parameters if known else {}
    parameters = {key: value for key, value in {**earlier, **(given or {})}.items() if value != ""}
    try:
        distributor = ClusterType(kind).cluster_distributor_class(name, **parameters)
    except TypeError as error:
        raise UsageError(f"The plugin {kind} does not take these connection parameters: {error}") from error
    try:
        description = distributor.discover()
    except ClusterUnreachable as error:
        raise ClusterUnreachable(
            f"{error} Nothing was changed. Do this where the cluster can be reached, such as a login node, or say how it "
            "is reached: -p KEY=VALUE."
        ) from error
    return register_cluster(requester, name, kind, parameters, description), description


def _find(requester: Requester, name: str) -> ClusterResponse | None:
    try:
        return _read(requester, name)
    except UnknownClusterError:
        return None


def _read(requester: Requester, name: str) -> ClusterResponse:
    return requester.send("GET", f"/define/cluster/{quote(name, safe='')}", None, ClusterResponse)


def _type_named(name: str) -> str:
    try:
        return ClusterType(name).name
    except UnknownClusterError:
        return DEFAULT_TYPE


def read_parameters(words: Iterable[str]) -> dict[str, Any]:
    """Connection parameters written ``key=value``; values are typed as in the environment.

    Raises:
        UsageError: one has no ``=`` or no key.
    """
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"'{word}' is no parameter; write it key=value, such as connection=rest.")
        found[key.strip()] = coerce(value)
    return found


# -- look ---------------------------------------------------------------------------------------------
def read_clusters(requester: Requester | None = None) -> list[ClusterResponse]:
    """All clusters of the server."""
    requester = requester or Requester.from_defaults()
    return requester.send("GET", "/define/clusters", None, ClustersResponse).clusters


def read_cluster(name: str, requester: Requester | None = None) -> ClusterResponse:
    """A cluster of the server.

    Raises:
        UnknownClusterError: there is none of that name; the message lists those there are.
    """
    try:
        return _read(requester or Requester.from_defaults(), name)
    except UnknownClusterError as error:
        raise UnknownClusterError(f"{error} To register one: jobmon cluster sync {name}") from error


def cluster_records(clusters: Iterable[ClusterResponse]) -> list[Record]:
    """A row for each cluster, with :data:`LIST_COLUMNS`."""
    return [
        {
            "CLUSTER": cluster.name,
            "TYPE": cluster.cluster_type,
            "QUEUES": ", ".join(q.name for q in cluster.queues if not q.parameters.get("is_gone")),
        }
        for cluster in clusters
    ]


def shown_parameters(cluster: ClusterResponse) -> dict[str, str]:
    """The connection parameters for people; what is named like a secret is masked."""
    parameters = without_secrets(cluster.connection_parameters)
    return {key: value if isinstance(value, str) else to_json(value) for key, value in parameters.items()}


def queue_records(cluster: ClusterResponse) -> list[Record]:
    """A row for each queue, with :data:`QUEUE_COLUMNS`: the most that may be asked for."""
    return [
        {
            **row,
            "QUEUE": f"{row['QUEUE']} (default)" if row["IS_DEFAULT"] else row["QUEUE"],
            "MEMORY": None if row["MEMORY_GIB"] is None else describe_memory(row["MEMORY_GIB"]),
            "RUNTIME": None if row["RUNTIME_SECONDS"] is None else describe_duration(row["RUNTIME_SECONDS"]),
        }
        for row in queue_values(cluster)
    ]


def queue_columns(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of a table of queues that have anything to show."""
    return [
        name for name in QUEUE_COLUMNS if name not in RARE_COLUMNS or any(record[name] for record in records)
    ]


def queue_values(cluster: ClusterResponse) -> list[Record]:
    """A row for each queue, with :data:`QUEUE_VALUES`."""
    return [_values(queue) for queue in cluster.queues]


def _values(queue: QueueResponse) -> Record:
    parameters = queue.parameters

    def most(name: str) -> Any:
        limits = parameters.get(name)
        return limits[1] if isinstance(limits, list) and len(limits) == 2 else None

    gres = parameters.get("gres") or {}
    return {
        "QUEUE": queue.name,
        "CORES": most("cores"),
        "MEMORY_GIB": most("memory"),
        "RUNTIME_SECONDS": most("runtime"),
        "DEFAULT_RUNTIME_SECONDS": parameters.get("default_runtime"),
        "NODES": most("nodes"),
        "GRES": ", ".join(f"{kind}:{count}" for kind, count in gres.items()) or None,
        "STATE": "gone"
        if parameters.get("is_gone")
        else "down"
        if parameters.get("is_up") is False
        else "up",
        "IS_DEFAULT": bool(parameters.get("is_default")),
        "ACCOUNTS": ", ".join(parameters.get("accounts") or ()) or None,
    }
