"""Nodes of clusters that failed lately, and are avoided for a while."""

from __future__ import annotations

from urllib.parse import quote

from jobmon.client.commands.records import Record
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.core.words import rough_duration
from jobmon.serializers.swarm import BadNode, BadNodesResponse, ForgiveNodeRequest

COLUMNS = ("NODE", "FORGIVEN_IN", "REASON")
VALUES = ("NODE", "EXPIRES_IN_SECONDS", "REASON")
"""The same for programs."""


def bad_nodes(cluster_name: str, requester: Requester | None = None) -> list[BadNode]:
    """Nodes of a cluster that failed lately in anybody's workflow, the latest first; new jobs avoid them.

    Args:
        cluster_name: the cluster.
        requester: how to reach the server.

    Raises:
        NotFoundError: there is no such cluster.
    """
    requester = requester or Requester.from_defaults()
    return requester.send("GET", _path(cluster_name, "bad_nodes"), None, BadNodesResponse).nodes


def forgive_node(cluster_name: str, nodename: str, requester: Requester | None = None) -> str:
    """Forget that a node failed, so that jobs are sent there again; what was done, in words.

    Raises:
        NotFoundError: there is no such cluster.
        UsageError: nothing is held against the node.
    """
    requester = requester or Requester.from_defaults()
    known = [node.nodename for node in bad_nodes(cluster_name, requester)]
    if nodename not in known:
        raise UsageError(
            f"Nothing is held against node '{nodename}' of cluster {cluster_name}. Nodes that are avoided: "
            f"{', '.join(known) or 'none'}."
        )
    message = ForgiveNodeRequest(nodename)
    requester.send("POST", _path(cluster_name, "forgive_node"), message, BadNodesResponse)
    return f"Node {nodename} of cluster {cluster_name} is used again."


def _path(cluster_name: str, what: str) -> str:
    return f"/swarm/cluster/{quote(cluster_name, safe='')}/{what}"


def records(nodes: list[BadNode]) -> list[Record]:
    """Rows for people."""
    return [
        dict(zip(COLUMNS, (node.nodename, rough_duration(node.expires_in_seconds), node.reason), strict=True))
        for node in nodes
    ]


def values(nodes: list[BadNode]) -> list[Record]:
    """Rows for programs."""
    return [
        dict(zip(VALUES, (node.nodename, round(node.expires_in_seconds, 1), node.reason), strict=True))
        for node in nodes
    ]
