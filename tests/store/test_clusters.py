"""Clusters of a site: registered, brought up to date, never pulled from under the tasks that use them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from scene import Scene

from jobmon.core.exceptions import InvalidUsage
from jobmon.serializers.define import ClusterRequest, ClusterResponse, QueueRequest
from jobmon.server.web.store import clusters, define


def register(
    scene: Scene, name: str = "hpc", kind: str = "slurm", **queues: dict[str, Any]
) -> ClusterResponse:
    """Register a cluster with these queues."""
    rows = [QueueRequest(each, parameters) for each, parameters in queues.items()]
    message = ClusterRequest(name, kind, {"bin": "/opt/slurm/bin"}, rows)
    return scene.write(lambda c: clusters.cluster_create_or_update(c, message))


def test_a_cluster_is_registered_once(scene: Scene) -> None:
    """The same again changes nothing; queues keep the order in which they came."""
    first = register(scene, z={"cores": [1, 4]}, a={})
    assert [queue.name for queue in first.queues] == ["z", "a"]
    assert first.queues[0].parameters == {"cores": [1, 4]}
    assert (first.cluster_type, first.connection_parameters) == ("slurm", {"bin": "/opt/slurm/bin"})
    assert register(scene, z={"cores": [1, 4]}, a={}) == first
    assert scene.read(lambda c: define.cluster_read(c, "hpc")) == first


def test_queues_keep_their_ids_and_are_marked_when_they_are_gone(scene: Scene) -> None:
    """Tasks refer to them; one that comes back is as new."""
    first = register(scene, short={"cores": [1, 4]}, long={"cores": [1, 8]})
    second = register(scene, long={"cores": [1, 16]}, new={})
    assert [(queue.name, queue.parameters) for queue in second.queues] == [
        ("short", {"cores": [1, 4], "is_gone": True}),
        ("long", {"cores": [1, 16]}),
        ("new", {}),
    ]
    assert [queue.id for queue in second.queues[:2]] == [queue.id for queue in first.queues]
    third = register(scene, short={"cores": [1, 4]}, long={"cores": [1, 16]}, new={})
    assert third.queues[0] == first.queues[0]


def test_a_mark_always_fits(scene: Scene) -> None:
    """Where there is no room beside the limits of a queue, these go."""
    register(scene, full={"x": "y" * 2480}, other={})
    (full, _) = register(scene, other={}).queues
    assert full.parameters == {"is_gone": True}


def test_connection_parameters_are_replaced(scene: Scene) -> None:
    """What is kept of earlier ones is decided by whoever registers."""
    register(scene, q={})
    message = ClusterRequest("hpc", "slurm", {}, [QueueRequest("q")])
    assert scene.write(lambda c: clusters.cluster_create_or_update(c, message)).connection_parameters == {}


def test_the_type_of_a_cluster_stays(scene: Scene) -> None:
    """Its tasks were submitted to one of that type."""
    register(scene, q={})
    with pytest.raises(InvalidUsage, match=r"'hpc' is of type 'slurm'.*another name"):
        register(scene, kind="sge", q={})
    assert scene.rows("SELECT count(*) FROM cluster_type WHERE name = 'sge'") == [(0,)]


@pytest.mark.parametrize("name", ["dummy", "sequential", "multiprocess"])
def test_clusters_that_come_with_jobmon_stay(scene: Scene, name: str) -> None:
    """Every script counts on them."""
    with pytest.raises(InvalidUsage, match="comes with Jobmon"):
        register(scene, name, name, q={})


@pytest.mark.parametrize(
    ("name", "queues", "words"),
    [
        ("", {"q": {}}, "a cluster is empty"),
        ("hpc", {}, "has no queues"),
        ("hpc", {"": {}}, "a queue of cluster hpc is empty"),
        ("hpc", {"q": {"x": "y" * 2500}}, "parameters of queue q take 2508 characters.*room for 2500"),
    ],
)
def test_what_does_not_fit_is_refused(scene: Scene, name: str, queues: dict[str, Any], words: str) -> None:
    """The message says what and how much room there is; nothing is left behind."""
    with pytest.raises(InvalidUsage, match=words):
        register(scene, name, **queues)
    assert scene.rows("SELECT count(*) FROM cluster WHERE name = 'hpc'") == [(0,)]


def test_those_who_register_together_make_one_cluster(scene: Scene) -> None:
    """Each script that meets a new cluster registers it."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: register(scene, a={}, b={}), range(16)))
    assert {each.id for each in found} == {found[0].id}
    assert scene.rows("SELECT count(*) FROM queue WHERE name IN ('a', 'b')") == [(2,)]


def test_all_clusters(scene: Scene) -> None:
    """Those that come with Jobmon, and the site's."""
    register(scene, q={})
    names = [cluster.name for cluster in scene.read(clusters.clusters_read).clusters]
    assert sorted(names) == ["dummy", "hpc", "multiprocess", "sequential"]
