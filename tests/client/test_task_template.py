"""Task templates: which args are accepted, and what becomes of them."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobmon.client.array import Array
from jobmon.client.task_template import TaskTemplate
from jobmon.client.task_template_version import TaskTemplateVersion, fields_of
from jobmon.client.tool import Tool


@pytest.mark.parametrize("name", ["name", "upstream_tasks", "cluster_name", "max_concurrently_running"])
def test_an_arg_may_not_be_called_like_a_parameter(tool: Tool, name: str) -> None:
    with pytest.raises(ValueError, match=f"must not be called '{name}'"):
        tool.get_task_template("fit", f"run {{{name}}}", node_args=[name])


def test_every_arg_must_occur_in_the_command(tool: Tool) -> None:
    with pytest.raises(ValueError, match="do not occur in the command: year"):
        tool.get_task_template("fit", "run {country}", node_args=["country"], op_args=["year"])


def test_every_field_of_the_command_must_be_an_arg(tool: Tool) -> None:
    with pytest.raises(ValueError, match=r"not declared.*: year"):
        tool.get_task_template("fit", "run {country} {year}", node_args=["country"])


def test_an_arg_has_one_kind(tool: Tool) -> None:
    with pytest.raises(ValueError, match="declared twice: country"):
        tool.get_task_template("fit", "run {country}", node_args=["country"], task_args=["country"])


@pytest.mark.parametrize("command", ["run {", "run {}", "run {0}", "run {a-b}"])
def test_a_malformed_command_is_refused(tool: Tool, command: str) -> None:
    with pytest.raises(ValueError):
        tool.get_task_template("fit", command, node_args=[])


def test_fields_inside_format_specifications_count() -> None:
    assert fields_of("{a:>{width}} {{not}} {b.real}") == {"a", "width", "b"}


@pytest.mark.parametrize("name", ["", "  ", "x" * 256, 7])
def test_a_template_needs_a_proper_name(tool: Tool, name: str) -> None:
    with pytest.raises(ValueError, match="name of a task template"):
        tool.get_task_template(name, "true")


def test_a_retry_policy_goes_with_the_arrays_of_the_template(tool: Tool) -> None:
    """The last one set holds, for arrays made before as well."""
    template = tool.get_task_template("fit", "run {a}", node_args=["a"], retry_policy={"code": "give_up"})
    tasks = template.create_tasks(a=[1, 2])
    assert tasks[0].array.to_wire().retry_policy == template.retry_policy == {"code": "give_up"}
    template.set_retry_policy({"cancelled": "retry_blameless"})
    assert tasks[0].array.to_wire().retry_policy == {"cancelled": "retry_blameless"}
    template.retry_policy["code"] = "give_up"  # a copy
    assert template.retry_policy == {"cancelled": "retry_blameless"}
    tool.get_task_template("fit", "run {a}", node_args=["a"])
    assert template.retry_policy == {"cancelled": "retry_blameless"}
    with pytest.raises(ValueError, match="'always' is not known"):
        template.set_retry_policy({"code": "always"})


def test_resources_without_a_cluster_are_refused(tool: Tool) -> None:
    with pytest.raises(ValueError, match="default_cluster_name"):
        tool.get_task_template("fit", "true", default_compute_resources={"memory": 1})


def test_the_same_command_and_args_are_the_same_version(tool: Tool) -> None:
    one = tool.get_task_template("fit", "{a} {b}", node_args=["a", "b"])
    first = one.active_task_template_version
    other = tool.get_task_template("fit", "{a} {b}", node_args=["b", "a"])
    assert one is other
    assert other.active_task_template_version is first
    tool.get_task_template("fit", "{a} {b}", node_args=["a"], task_args=["b"])
    assert one.active_task_template_version is not first


def test_kinds_of_args_are_part_of_the_identity(template: TaskTemplate) -> None:
    hashes = {
        TaskTemplateVersion(template, "{a}{b}", *kinds).arg_mapping_hash
        for kinds in ((["a", "b"],), (["a"], ["b"]), (["b"], ["a"]), (["a"], [], ["b"]), ([], ["a", "b"]))
    }
    assert len(hashes) == 5


def test_a_registered_version_cannot_be_changed(template: TaskTemplate) -> None:
    with pytest.raises(AttributeError, match="registered"):
        template.active_task_template_version.command_template = "rm"


def test_args_given_must_be_those_declared(template: TaskTemplate) -> None:
    with pytest.raises(ValueError, match=r"missing: data, exe; unknown: year"):
        template.create_task(country="Chile", year=7)
    with pytest.raises(ValueError, match=r"missing: country"):
        template.create_tasks(data=1, exe="python")


def test_a_template_without_version_makes_no_tasks(requester: object) -> None:
    with pytest.raises(RuntimeError, match="not registered"):
        TaskTemplate("lonely", requester).create_task()  # type: ignore[arg-type]


def test_an_unbound_template_has_no_id(requester: object) -> None:
    lonely = TaskTemplate("lonely", requester)  # type: ignore[arg-type]
    for attribute in ("id", "tool_version", "active_task_template_version"):
        with pytest.raises(AttributeError):
            getattr(lonely, attribute)


def test_create_tasks_makes_the_cross_product(tool: Tool) -> None:
    template = tool.get_task_template("fit", "{a}{b}{c}", node_args=["a", "b"], task_args=["c"])
    tasks = template.create_tasks(a=(x for x in "xy"), b=[1, 2, 3], c="!")
    assert [task.command for task in tasks] == ["x1!", "x2!", "x3!", "y1!", "y2!", "y3!"]
    assert len({task.array for task in tasks}) == 1
    assert Array.expand_dict(a=[1, 2], b=[3]) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]


def test_create_tasks_of_nothing_is_nothing(template: TaskTemplate) -> None:
    assert template.create_tasks(country=[], data=1, exe="x") == []


@pytest.mark.parametrize("value", ["Chile", 7, None])
def test_a_node_arg_of_create_tasks_must_be_a_list(template: TaskTemplate, value: object) -> None:
    with pytest.raises(ValueError, match="'country' must be a list"):
        template.create_tasks(country=value, data=1, exe="x")


def test_create_tasks_refuses_the_same_value_twice(template: TaskTemplate) -> None:
    with pytest.raises(ValueError, match=r"same node args twice.*Chile"):
        template.create_tasks(country=["Chile", "Chile"], data=1, exe="x")


def test_upstreams_hold_for_every_task_of_an_array(tool: Tool, template: TaskTemplate) -> None:
    first = template.create_tasks(country=["a", "b"], data=1, exe="x")
    second = tool.get_task_template("sum", "{year}", ["year"]).create_tasks(
        year=[1, 2, 3], upstream_tasks=first
    )
    assert all(task.upstream_tasks == set(first) for task in second)
    assert all(task.downstream_tasks == set(second) for task in first)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_any_text_reaches_the_command_unchanged(template: TaskTemplate, text: str) -> None:
    task = template.create_task(country=shlex.quote(text), data=text, exe="")
    assert task.command == f" fit.py {shlex.quote(text)} {text}"
    assert task.task_args == {"data": text}
    assert task.name


@pytest.mark.parametrize("text", ["a\0b", "\udcff", "x" * 2049])
def test_values_no_database_or_command_line_can_carry_are_refused(template: TaskTemplate, text: str) -> None:
    with pytest.raises(ValueError, match="The value of 'country'"):
        template.create_task(country=text, data=1, exe="x")


def test_values_become_text(template: TaskTemplate) -> None:
    task = template.create_task(country=None, data=1.5, exe=True)
    assert (task.node.node_args, task.task_args, task.op_args) == (
        {"country": "None"},
        {"data": "1.5"},
        {"exe": "True"},
    )
