"""What a controller reads of a workflow, and its limits."""

from __future__ import annotations

import pytest
from scene import Scene

from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.serializers.swarm import LimitRequest
from jobmon.server.web import dialect
from jobmon.server.web.store import swarm_read


def test_pages_hold_every_task_once_with_its_upstreams(bound: Scene) -> None:
    seen: list[int] = []
    upstream: list[list[int]] = []
    after: int | None = 0
    while after is not None:
        page = bound.read(lambda c, a=after: swarm_read.tasks_read_page(c, bound.workflow_id, a, 3))  # type: ignore[misc]
        seen += page.task_ids
        upstream += page.upstream_node_ids
        after = page.next_task_id
    nodes = bound.ids["nodes"]
    assert seen == bound.task_ids
    assert upstream == [[], *([node] for node in nodes[:-1])]


def test_metadata_names_arrays_queues_and_clusters(bound: Scene) -> None:
    metadata = bound.read(lambda c: swarm_read.workflow_metadata_read(c, bound.workflow_id))
    assert (metadata.tool_name, metadata.is_bound, metadata.user) == ("life", True, "")
    assert [(array.task_template_name, array.id) for array in metadata.arrays] == [
        ("fit", bound.ids["array"])
    ]
    (resources,) = metadata.task_resources
    assert (resources.cluster_name, resources.queue_name, resources.requested_resources) == (
        "dummy",
        "null.q",
        {"cores": 1},
    )


def test_unknown_workflow(scene: Scene) -> None:
    with pytest.raises(NotFoundError, match="no workflow 9"):
        scene.read(lambda c: swarm_read.tasks_read_page(c, 9, 0, 10))
    with pytest.raises(NotFoundError, match="no workflow 9"):
        scene.read(lambda c: swarm_read.workflow_metadata_read(c, 9))


def set_limit(scene: Scene, limit: LimitRequest) -> list[int]:
    return scene.write(
        lambda c: swarm_read.workflow_set_limit(
            c, scene.workflow_id, limit, now=dialect.utcnow(c), actor="user:ada"
        )
    )


def test_limits_are_set_and_told_to_the_alive_run(bound: Scene) -> None:
    assert set_limit(bound, LimitRequest(5)) == []
    run_id = bound.start_run()
    cursor = bound.rows("SELECT last_cursor FROM workflow_run")[0][0]
    assert set_limit(bound, LimitRequest(2, bound.ids["template"].id)) == [run_id]
    assert bound.rows("SELECT max_concurrently_running FROM workflow") == [(5,)]
    assert bound.rows("SELECT max_concurrently_running FROM array") == [(2,)]
    assert bound.rows(
        "SELECT workflow_run_id, cursor FROM workflow_history WHERE event = 'limit' ORDER BY id"
    ) == [
        (None, 0),
        (run_id, cursor + 1),
    ]


def test_bad_limits_are_refused(bound: Scene) -> None:
    with pytest.raises(UsageError, match="not -1"):
        set_limit(bound, LimitRequest(-1))
    with pytest.raises(NotFoundError, match="template version 99"):
        set_limit(bound, LimitRequest(1, 99))
