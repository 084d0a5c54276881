"""The cascade: who decides on which cluster a task runs, with which resources, and how often it is tried."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import RecordingRequester

from jobmon.client.array import Array
from jobmon.client.defaults import DEFAULT_CLUSTER_NAME
from jobmon.client.node import Node
from jobmon.client.task import Task
from jobmon.client.task_template import TaskTemplate
from jobmon.client.tool import Tool

NODE: dict[str, Any] = {"country": "Chile", "data": 1, "exe": "x"}


def test_without_a_word_it_runs_on_this_machine(tool: Tool, template: TaskTemplate) -> None:
    task = tool.create_workflow().add_task(template.create_task(**NODE))
    assert task.cluster_name == DEFAULT_CLUSTER_NAME == "multiprocess"
    assert task.compute_resources == {}
    assert task.resource_scales == {"memory": 0.5, "runtime": 0.5}
    assert task.max_attempts == 3


def test_each_level_is_stronger_than_the_one_above(tool: Tool, template: TaskTemplate) -> None:
    names = ("a", "b", "c", "d", "e")
    levels = [dict.fromkeys(names[level:], level) for level in range(5)]
    tool.set_default_cluster_name("dummy")
    tool.set_default_compute_resources_from_dict("dummy", levels[0])
    workflow = tool.create_workflow(default_compute_resources_set={"dummy": levels[1], "slurm": {"z": 9}})
    template.set_default_compute_resources_from_dict("dummy", levels[2])
    (task,) = template.create_tasks(country=["Chile"], data=1, exe="x", compute_resources=levels[3])
    task.update_compute_resources(**levels[4])
    workflow.add_task(task)
    assert task.compute_resources == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}
    assert task.array.compute_resources == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 3}


def test_the_limit_of_attempts_comes_from_the_nearest_level(tool: Tool, template: TaskTemplate) -> None:
    def attempts(**kwargs: Any) -> int:
        return tool.create_workflow().add_task(template.create_task(**NODE, **kwargs)).max_attempts

    assert attempts() == 3
    tool.set_default_max_attempts(4)
    assert attempts() == 4
    workflow = tool.create_workflow(default_max_attempts=5)
    assert workflow.add_task(template.create_task(**NODE)).max_attempts == 5
    template.set_default_max_attempts(6)
    assert attempts() == 6
    (task,) = template.create_tasks(country=["x"], data=1, exe="x", max_attempts=7)
    assert task.max_attempts == 7
    assert attempts(max_attempts=8) == 8


def test_a_limit_of_zero_says_nothing(tool: Tool) -> None:
    tool.set_default_max_attempts(5)
    tool.set_default_max_attempts(0)
    assert tool.default_max_attempts == 5


def test_the_cluster_comes_from_the_nearest_level(tool: Tool, template: TaskTemplate) -> None:
    tool.set_default_clu("dummy")
    workflow = tool.create_workflow()
    task = workflow.add_task(template.create_task(**NODE))
    assert task.cluster_name == "dummy"
    workflow.set_default_cluster_name("slurm")
    assert task.cluster_name == "slurm"
    template.default_cluster_name = "sge"
    assert task.cluster_name == "sge"
    assert template.create_task(**NODE, cluster_name="sequential").cluster_name == "sequential"


def test_updates_change_what_they_name_and_nothing_else(tool: Tool, template: TaskTemplate) -> None:
    tool.set_default_compute_resources_from_dict("dummy", {"memory": 1, "cores": 2})
    tool.update_default_compute_resources("dummy", memory=5)
    tool.update_default_resource_scales("dummy", memory=0.1)
    assert tool.default_compute_resources_set == {"dummy": {"memory": 5, "cores": 2}}
    assert tool.default_resource_scales_set == {"dummy": {"memory": 0.1}}
    assert tool.default_cluster_name == "dummy"
    task = template.create_task(
        **NODE, compute_resources={"memory": 1, "cores": 2}, resource_scales={"cores": 1}
    )
    task.update_compute_resources(memory=9)
    task.update_resource_scales(memory=0.2)
    assert task.compute_resources == {"memory": 9, "cores": 2}
    assert task.resource_scales == {"cores": 1, "memory": 0.2}


def test_tasks_do_not_share_what_one_of_them_changes(template: TaskTemplate) -> None:
    asked = {"memory": 1}
    first, second = (template.create_task(country=c, data=1, exe="x", compute_resources=asked) for c in "ab")
    first.update_compute_resources(memory=2)
    asked["memory"] = 3
    assert (first.compute_resources, second.compute_resources) == ({"memory": 2}, {"memory": 1})


def test_the_setter_of_a_template_sets_its_cluster_that_of_a_tool_only_the_first(
    tool: Tool, template: TaskTemplate
) -> None:
    for cluster in ("slurm", "sge"):
        tool.set_default_compute_resources_from_dict(cluster, {})
        template.set_default_compute_resources_from_dict(cluster, {})
    assert (tool.default_cluster_name, template.default_cluster_name) == ("slurm", "sge")


def test_resources_may_be_a_callable(template: TaskTemplate) -> None:
    task = template.create_task(**NODE, compute_resources=lambda: {"memory": 3})
    assert task.compute_resources == {}
    callable_ = task.cascade.compute_resources_callable
    assert callable_ is not None
    assert callable_() == {"memory": 3}
    with pytest.raises(ValueError, match="compute_resources"):
        template.create_task(**NODE, compute_resources=[1])  # type: ignore[arg-type]


def test_a_tool_takes_its_defaults_when_it_is_made(requester: Any) -> None:
    tool = Tool(
        "x",
        requester=requester,
        default_cluster_name="dummy",
        default_compute_resources_set={"dummy": {"memory": 1}},
        default_max_attempts=5,
    )
    assert tool.create_workflow().default_compute_resources_set == {"dummy": {"memory": 1}}
    assert tool.create_workflow().default_max_attempts == 5
    assert tool.create_workflow().default_cluster_name == "dummy"


def test_scales_of_a_workflow_belong_to_its_cluster(tool: Tool) -> None:
    workflow = tool.create_workflow(default_cluster_name="dummy", default_resource_scales_set={"memory": 0.1})
    assert workflow.default_resource_scales_set == {"dummy": {"memory": 0.1}}
    with pytest.raises(ValueError, match="default_cluster_name"):
        tool.create_workflow(default_resource_scales_set={"memory": 0.1})


YAML = """
tool_resources: {dummy: {memory: 1G, cores: 1}}
task_template_resources: {fit: {dummy: {memory: 2G}}}
tool_scales: {dummy: {memory: 0.7}}
task_template_scales: {fit: {dummy: {memory: 0.8}}}
"""


@pytest.fixture
def yaml_file(tmp_path: Path) -> str:
    path = tmp_path / "resources.yaml"
    path.write_text(YAML)
    return str(path)


def test_defaults_from_yaml(tool: Tool, template: TaskTemplate, yaml_file: str) -> None:
    tool.set_default_compute_resources_from_yaml("dummy", yaml_file, set_task_templates=True)
    tool.set_default_resource_scales_from_yaml("dummy", yaml_file, set_task_templates=True)
    workflow = tool.create_workflow()
    task = workflow.add_task(template.create_task(**NODE))
    assert task.cluster_name == "dummy"
    assert task.compute_resources == {"memory": "2G", "cores": 1}
    assert task.resource_scales == {"memory": 0.8}
    workflow.set_default_compute_resources_from_yaml("dummy", yaml_file)
    template.set_default_compute_resources_from_yaml(yaml_file, "dummy")
    task.set_compute_resources_from_yaml("dummy", yaml_file)
    assert task.compute_resources == {"memory": "2G", "cores": 1}


def test_a_template_takes_its_defaults_from_yaml(tool: Tool, yaml_file: str) -> None:
    template = tool.get_task_template("fit", "true", yaml_file=yaml_file, default_cluster_name="dummy")
    assert template.default_compute_resources_set == {"dummy": {"memory": "2G"}}
    assert template.default_resource_scales_set == {"dummy": {"memory": 0.8}}


def test_keys_missing_from_yaml(tool: Tool, template: TaskTemplate, tmp_path: Path) -> None:
    path = tmp_path / "resources.yaml"
    path.write_text("tool_resources: {dummy: {memory: 1}}")
    with pytest.raises(KeyError, match="task_template_resources"):
        tool.set_default_compute_resources_from_yaml("dummy", str(path), set_task_templates=True)
    assert tool.default_compute_resources_set == {}  # all or nothing
    tool.set_default_compute_resources_from_yaml("dummy", str(path), True, ignore_missing_keys=True)
    assert tool.default_compute_resources_set == {"dummy": {"memory": 1}}
    for text in ("a: [", "- 1", "tool_resources: {dummy: 7}"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"resources\.yaml"):
            tool.set_default_compute_resources_from_yaml("dummy", str(path))


def test_templates_must_exist_before_yaml_sets_them(tool: Tool, yaml_file: str) -> None:
    with pytest.raises(ValueError, match="no task templates"):
        tool.set_default_compute_resources_from_yaml("dummy", yaml_file, set_task_templates=True)


# -- every level against every other --------------------------------------------------------------
LEVELS = ("tool", "workflow", "template", "array", "task")
SOME = st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), max_size=2)
SAYS = st.fixed_dictionaries(
    {
        "cluster": st.sampled_from(["", "", "dummy", "sequential"]),
        "resources": SOME,
        "scales": SOME,
        "attempts": st.sampled_from([None, 0, 1, 5]),
    }
)


def cascade_of(tool: Tool, template: TaskTemplate, said: dict[str, dict[str, Any]]) -> Task:
    """A task for which every level said something, by another setter on each."""
    for cluster in ("dummy", "sequential", "multiprocess"):
        tool.set_default_compute_resources_from_dict(cluster, said["tool"]["resources"])
        tool.set_default_resource_scales_from_dict(cluster, said["tool"]["scales"])
        template.set_default_compute_resources_from_dict(cluster, {})
        template.update_default_compute_resources(cluster, **said["template"]["resources"])
        template.set_default_resource_scales_from_dict(cluster, said["template"]["scales"])
    tool.set_default_cluster_name(said["tool"]["cluster"])
    template.default_cluster_name = said["template"]["cluster"]
    tool.active_tool_version.default_max_attempts = template.default_max_attempts = None
    tool.set_default_max_attempts(said["tool"]["attempts"])
    template.set_default_max_attempts(said["template"]["attempts"])
    workflow = tool.create_workflow(default_max_attempts=said["workflow"]["attempts"])
    for cluster in ("dummy", "sequential", "multiprocess"):
        workflow.update_default_compute_resources(cluster, **said["workflow"]["resources"])
        workflow.update_default_resource_scales(cluster, **said["workflow"]["scales"])
    if said["workflow"]["cluster"]:
        workflow.set_default_cluster_name(said["workflow"]["cluster"])
    array = Array(
        template.active_task_template_version,
        {"data": 1},
        {"exe": "x"},
        said["array"]["cluster"],
        compute_resources=said["array"]["resources"],
        resource_scales=said["array"]["scales"],
        max_attempts=said["array"]["attempts"],
    )
    own = said["task"]
    task = Task(
        Node(template.active_task_template_version, {"country": "Chile"}),
        {"data": 1},
        {"exe": "x"},
        cluster_name="" if said["array"]["cluster"] else own["cluster"],
        compute_resources=own["resources"],
        resource_scales=own["scales"],
        max_attempts=own["attempts"],
    )
    array.add_task(task)
    return workflow.add_task(task)


def strongest(said: dict[str, dict[str, Any]], what: str, default: Any) -> Any:
    return next((said[level][what] for level in reversed(LEVELS) if said[level][what]), default)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.fixed_dictionaries(dict.fromkeys(LEVELS, SAYS)))
def test_the_cascade_whoever_says_what(
    tool: Tool, template: TaskTemplate, said: dict[str, dict[str, Any]]
) -> None:
    task = cascade_of(tool, template, said)
    if said["array"]["cluster"]:
        said["task"]["cluster"] = ""
    assert task.cluster_name == strongest(said, "cluster", "multiprocess")
    assert task.max_attempts == strongest(said, "attempts", 3)
    resources: dict[str, int] = {}
    scales: dict[str, int] = {}
    for level in LEVELS:
        resources.update(said[level]["resources"])
        scales.update(said[level]["scales"])
    assert task.compute_resources == resources
    assert task.resource_scales == (scales or {"memory": 0.5, "runtime": 0.5})


@pytest.mark.parametrize(("weak", "strong"), list(itertools.combinations(LEVELS, 2)))
def test_of_two_levels_the_one_nearer_to_the_task_decides(
    tool: Tool, template: TaskTemplate, weak: str, strong: str
) -> None:
    def says(cluster: str, number: int, own: str) -> dict[str, Any]:
        return {"cluster": cluster, "resources": {"a": number, own: number}, "scales": {"a": number, own: number},
                "attempts": number}  # fmt: skip

    nothing = {"cluster": "", "resources": {}, "scales": {}, "attempts": None}
    said: dict[str, dict[str, Any]] = dict.fromkeys(LEVELS, nothing)
    said[weak], said[strong] = says("dummy", 4, "b"), says("sequential", 5, "c")
    if (weak, strong) == ("array", "task"):  # an array and its tasks run on one cluster
        said[strong] = says("dummy", 5, "c")
    task = cascade_of(tool, template, said)
    assert task.cluster_name == said[strong]["cluster"]
    assert task.compute_resources == task.resource_scales == {"a": 5, "b": 4, "c": 5}
    assert task.max_attempts == 5


def test_resources_of_another_cluster_do_not_count(tool: Tool, template: TaskTemplate) -> None:
    template.set_default_compute_resources_from_dict("slurm", {"memory": 9})
    template.set_default_compute_resources_from_dict("dummy", {"memory": 1})
    assert template.create_task(**NODE).compute_resources == {"memory": 1}
    assert template.create_task(**NODE, cluster_name="slurm").compute_resources == {"memory": 9}


def test_changes_between_bind_and_run_count(
    tool: Tool, template: TaskTemplate, requester: RecordingRequester
) -> None:
    workflow = tool.create_workflow(default_cluster_name="dummy")
    (task,) = template.create_tasks(country=["Chile"], data=1, exe="x")
    workflow.add_task(task)
    workflow.bind()
    changes: list[Callable[[], Any]] = [
        lambda: template.update_default_compute_resources("dummy", cores=2),
        lambda: workflow.update_default_compute_resources("dummy", memory=2),
        lambda: task.update_compute_resources(cores=3),
        lambda: task.update_resource_scales(cores=3),
        lambda: template.default_compute_resources_set["dummy"].update(cores=4, gpus=1),
        lambda: template.set_default_max_attempts(7),
        lambda: workflow.set_default_max_attempts(8),
        lambda: setattr(template, "default_cluster_name", "sequential"),
    ]
    for change in changes:
        before = requester.sent["TasksRequest"]
        workflow.bind()
        assert requester.sent["TasksRequest"] == before
        change()
        workflow.bind()
        assert requester.sent["TasksRequest"] == before + 1


def test_a_workflow_prefers_its_own_section_of_a_file(tool: Tool, tmp_path: Path) -> None:
    path = tmp_path / "resources.yaml"
    path.write_text(
        "workflow_resources: {dummy: {memory: 3G}}\nworkflow_scales: {dummy: {memory: 0.3}}\n" + YAML
    )
    workflow = tool.create_workflow()
    workflow.set_default_compute_resources_from_yaml("dummy", str(path))
    workflow.set_default_resource_scales_from_yaml("dummy", str(path))
    assert workflow.default_compute_resources_set == {"dummy": {"memory": "3G"}}
    assert workflow.default_resource_scales_set == {"dummy": {"memory": 0.3}}
    path.write_text("tool_scales: {dummy: {memory: 0.1}}")
    workflow.set_default_resource_scales_from_yaml("dummy", str(path))
    assert workflow.default_resource_scales_set == {"dummy": {"memory": 0.1}}
    with pytest.raises(KeyError, match="no 'workflow_resources' and no 'tool_resources'"):
        workflow.set_default_compute_resources_from_yaml("dummy", str(path))


def test_a_file_changes_a_task_only_on_its_cluster(template: TaskTemplate, yaml_file: str) -> None:
    task = template.create_task(**NODE, compute_resources={"memory": 1, "cores": 7})
    task.set_compute_resources_from_yaml("dummy", yaml_file)
    assert task.compute_resources == {"memory": "2G", "cores": 7}
    with pytest.raises(KeyError, match="on slurm"):
        task.set_compute_resources_from_yaml("slurm", yaml_file)


def test_resources_without_a_cluster_are_refused(tool: Tool) -> None:
    for given_defaults in (
        {"default_compute_resources": {"memory": 1}},
        {"default_resource_scales": {"memory": 1}},
    ):
        with pytest.raises(ValueError, match="default_cluster_name"):
            tool.get_task_template("bare", "true", **given_defaults)  # type: ignore[arg-type]


def test_numbers_as_r_writes_them(tool: Tool, template: TaskTemplate) -> None:
    task = template.create_task(**NODE, max_attempts=4.0)  # type: ignore[arg-type]
    assert (task.max_attempts, type(task.max_attempts)) == (4, int)
    workflow = tool.create_workflow(max_concurrently_running=10.0)  # type: ignore[arg-type]
    assert (workflow.max_concurrently_running, type(workflow.max_concurrently_running)) == (10, int)
    with pytest.raises(ValueError, match="max_concurrently_running"):
        tool.create_workflow(max_concurrently_running=1.5)  # type: ignore[arg-type]
