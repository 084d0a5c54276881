"""Tools, templates, clusters and resources: found again by what they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from scene import Scene

from jobmon.core.exceptions import InvalidUsage, NotFoundError, UnknownClusterError, UnknownQueueError
from jobmon.serializers.define import TaskResourcesItem, TaskTemplateVersionRequest
from jobmon.server.web.store import define


def test_tool_is_found_again_and_has_a_version(scene: Scene) -> None:
    first = scene.write(lambda c: define.tool_get_or_create(c, "life"))
    again = scene.write(lambda c: define.tool_get_or_create(c, "life"))
    assert first == again
    assert len(scene.read(lambda c: define.tool_versions_list(c, first.id))) == 1


def test_scripts_that_start_together_share_the_first_tool_version(scene: Scene) -> None:
    with ThreadPoolExecutor(8) as pool:
        tools = list(
            pool.map(lambda _: scene.write(lambda c: define.tool_get_or_create(c, "life")), range(16))
        )
    assert len({tool.id for tool in tools}) == 1
    assert scene.rows("SELECT count(*) FROM tool_version") == [(1,)]


def test_new_tool_version_is_the_newest(scene: Scene) -> None:
    tool = scene.write(lambda c: define.tool_get_or_create(c, "life"))
    new = scene.write(lambda c: define.tool_version_get_or_create(c, tool.id, "second"))
    assert scene.read(lambda c: define.tool_versions_list(c, tool.id))[-1] == new


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_names_that_do_not_fit_are_refused(scene: Scene, name: str) -> None:
    with pytest.raises(InvalidUsage, match="1 to 255 characters"):
        scene.write(lambda c: define.tool_get_or_create(c, name))


def test_template_version_is_known_by_command_and_args(scene: Scene) -> None:
    scene.define()
    template = scene.ids["template"]
    message = TaskTemplateVersionRequest(
        template.task_template_id, "fit {n} {data}", "h", ["n"], ["data"], []
    )
    assert scene.write(lambda c: define.task_template_version_get_or_create(c, message)) == template
    message.command_template = "fit2 {n} {data}"
    other = scene.write(lambda c: define.task_template_version_get_or_create(c, message))
    assert other.id != template.id
    assert other.node_args == template.node_args
    versions = scene.read(lambda c: define.task_template_versions_list(c, template.task_template_id))
    assert versions == [template, other]


def test_template_without_args(scene: Scene) -> None:
    scene.define()
    message = TaskTemplateVersionRequest(scene.ids["template"].task_template_id, "true", "h", [], [], [])
    version = scene.write(lambda c: define.task_template_version_get_or_create(c, message))
    assert (version.node_args, version.task_args, version.op_args) == ({}, {}, {})


def test_things_of_unknown_owners_are_refused(scene: Scene) -> None:
    with pytest.raises(NotFoundError, match="no tool 7"):
        scene.write(lambda c: define.tool_version_get_or_create(c, 7, "any"))
    with pytest.raises(NotFoundError, match="no tool version 7"):
        scene.write(lambda c: define.task_template_get_or_create(c, 7, "fit"))
    with pytest.raises(NotFoundError, match="no task template 7"):
        scene.read(lambda c: define.task_template_versions_list(c, 7))


def test_unknown_cluster_names_the_known_ones(scene: Scene) -> None:
    with pytest.raises(UnknownClusterError, match=r"'slurm'.*dummy, multiprocess, sequential"):
        scene.read(lambda c: define.cluster_read(c, "slurm"))


def test_equal_resources_are_one_row_whatever_the_order_of_keys(scene: Scene) -> None:
    scene.define()
    queue_id = scene.read(lambda c: define.cluster_read(c, "dummy")).queues[0].id
    items = [
        TaskResourcesItem(queue_id, "O", {"memory": 1, "cores": 2}),
        TaskResourcesItem(queue_id, "O", {"cores": 2, "memory": 1}),
        TaskResourcesItem(queue_id, "A", {"cores": 2, "memory": 1}),
        TaskResourcesItem(queue_id, "O", {"cores": 2, "memory": 10}),
    ]
    ids = scene.write(lambda c: define.task_resources_get_or_create(c, items))
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert scene.write(lambda c: define.task_resources_get_or_create(c, items)) == ids


def test_resources_of_an_unknown_queue_are_refused(scene: Scene) -> None:
    with pytest.raises(UnknownQueueError, match="id 99"):
        scene.write(lambda c: define.task_resources_get_or_create(c, [TaskResourcesItem(99, "O", {})]))
