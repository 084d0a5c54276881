"""Which nodes a controller avoids: what the server remembers now, and never a large part of a cluster."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ClusterUnreachable, ServerError
from jobmon.swarm.batch_clusters import MAX_EXCLUDED_NODES, BadNodes
from jobmon.swarm.gateway import Gateway
from processes import wait_until


class Node:
    """A node as the server tells of it."""

    def __init__(self, nodename: str) -> None:
        self.nodename = nodename


class World:
    """A server and a cluster that can be away."""

    cluster_name = "c"

    def __init__(self, num_nodes: int) -> None:
        self.known_bad: list[str] | None = []
        self.size: int | None = num_nodes

    def bad_nodes(self, cluster_name: str) -> list[Node]:
        assert cluster_name == "c"
        if self.known_bad is None:
            raise ServerError("away")
        return [Node(name) for name in self.known_bad]

    def num_nodes(self) -> int:
        if self.size is None:
            raise ClusterUnreachable("away")
        return self.size


def bad_nodes_of(world: World, **settings: Any) -> BadNodes:
    config = JobmonConfig(dict_config={"distributor": settings})
    return BadNodes(cast(Gateway, world), cast(ClusterDistributor, world), config)


def test_what_failed_a_moment_ago_is_avoided_at_once() -> None:
    """The next submission is what ran there; a server that is away changes nothing."""
    world = World(100)
    bad_nodes = bad_nodes_of(world)
    assert list(bad_nodes()) == []
    world.known_bad = ["n3"]
    assert list(bad_nodes()) == ["n3"]
    world.known_bad = None
    assert list(bad_nodes()) == ["n3"]
    world.known_bad = []
    assert list(bad_nodes()) == []


def test_a_server_that_does_not_answer_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was known counts; the question goes on, and is not asked twice at a time."""
    monkeypatch.setattr("jobmon.swarm.batch_clusters.ANSWER_SECONDS", 0.01)
    world = World(100)
    asked, answer = [], threading.Event()

    def bad_nodes(cluster_name: str) -> list[Node]:
        asked.append(cluster_name)
        answer.wait(20)
        return [Node("n3")]

    monkeypatch.setattr(world, "bad_nodes", bad_nodes)
    found = bad_nodes_of(world)
    assert [list(found()) for _ in range(5)] == [[]] * 5
    assert asked == ["c"]
    answer.set()
    wait_until(lambda: list(found()) == ["n3"], "the answer")


@pytest.mark.parametrize(
    ("num_nodes", "expected"), [(1, 1), (4, 1), (20, 4), (1000, MAX_EXCLUDED_NODES), (None, 1)]
)
def test_most_of_a_cluster_is_never_avoided(num_nodes: int | None, expected: int) -> None:
    """The latest failures count; of a cluster of which nothing is known, one."""
    world = World(0)
    world.size = num_nodes
    world.known_bad = [f"n{number}" for number in range(50)]
    assert list(bad_nodes_of(world)()) == world.known_bad[:expected]


def test_nothing_is_avoided_where_nobody_wants_that() -> None:
    """``distributor.exclude_bad_nodes`` says so."""
    world = World(100)
    world.known_bad = ["n3"]
    assert list(bad_nodes_of(world, exclude_bad_nodes=False)()) == []
