"""Tasks: names, identity, neighbours, attributes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobmon.client.node import Node
from jobmon.client.task import Task, connect, validate_task_resource_scales
from jobmon.client.task_template import TaskTemplate
from jobmon.client.tool import Tool

FIXTURE_IS_CONSTANT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)


def make(template: TaskTemplate, country: object = "Chile", data: object = 1, **kwargs: object) -> Task:
    return template.create_task(country=country, data=data, exe="python", **kwargs)  # type: ignore[arg-type]


# -- names ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["1st", "a b", "a/b", "a\\b", "a'b", 'a"b', "a\nb", "a\tb", "x" * 256])
def test_bad_names_are_refused(template: TaskTemplate, name: str) -> None:
    with pytest.raises(ValueError, match="name of a task"):
        make(template, name=name)


def test_an_explicit_empty_name_is_refused(template: TaskTemplate) -> None:
    node = Node(template.active_task_template_version, {"country": "x"})
    with pytest.raises(ValueError, match="must not be empty"):
        Task(node, {"data": 1}, {"exe": "x"}, name="")
    with pytest.raises(ValueError, match="must not be empty"):
        Task.is_valid_job_name("")


def test_the_default_name_is_made_of_template_and_node_args(tool: Tool, template: TaskTemplate) -> None:
    assert make(template).name == "fit_country-Chile"
    assert make(template, "a b/c'\"\\\n").name == "fit_country-a_b_c____"
    assert len(make(template, "x" * 2000).name) == 249
    digit = tool.get_task_template("2nd", "{a}", ["a"])
    assert digit.create_task(a=1).name == "_2nd_a-1"


@FIXTURE_IS_CONSTANT
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300))
def test_default_names_are_valid(template: TaskTemplate, text: str) -> None:
    assert Task.is_valid_job_name(make(template, text).name)


# -- identity ---------------------------------------------------------------------------------------
def test_only_template_node_args_and_task_args_are_identity(template: TaskTemplate) -> None:
    plain = make(template)
    same = template.create_task(
        country="Chile",
        data=1,
        exe="other",
        name="x",
        max_attempts=9,
        task_attributes=["a"],
        upstream_tasks=[plain],
    )
    assert plain == same
    assert hash(plain) == hash(same)
    assert make(template, data=2) != plain
    assert make(template, "Peru") != plain
    assert make(template, "Peru").node != plain.node
    assert make(template, data=2).node == plain.node


def test_tasks_are_sorted_by_their_hashes(template: TaskTemplate) -> None:
    tasks = [make(template, number) for number in range(20)]
    assert [task.task_hash for task in sorted(tasks)] == sorted(task.task_hash for task in tasks)


ARGS = st.fixed_dictionaries({name: st.text("ab1=,:_", max_size=4) for name in ("a", "b", "c")})


@FIXTURE_IS_CONSTANT
@given(ARGS, ARGS)
def test_different_args_never_have_one_hash(tool: Tool, one: dict[str, str], other: dict[str, str]) -> None:
    template = tool.get_task_template("hash", "{a}{b}{c}", node_args=["a", "b"], task_args=["c"])
    first, second = template.create_task(**one), template.create_task(**other)
    assert (first.task_hash == second.task_hash) == (one == other)
    same_node = (one["a"], one["b"]) == (other["a"], other["b"])
    assert (first.node.node_hash == second.node.node_hash) == same_node


def test_the_order_of_args_does_not_matter(template: TaskTemplate) -> None:
    version = template.active_task_template_version
    node = Node(version, {"country": "Chile"})
    assert Task(node, {"data": 1}, {"exe": "x"}).task_hash == make(template).task_hash


def test_nodes_refuse_other_args(template: TaskTemplate) -> None:
    with pytest.raises(ValueError, match="year"):
        Node(template.active_task_template_version, {"year": 1})


# -- neighbours -------------------------------------------------------------------------------------
def test_upstreams_and_downstreams_are_two_sides(template: TaskTemplate) -> None:
    first, second, third = (make(template, number) for number in range(3))
    second.add_upstream(first)
    second.add_downstreams([third])
    third.add_upstreams([first, second, second])
    assert first.downstream_tasks == {second, third}
    assert third.upstream_tasks == {first, second}
    assert second.node.upstream_nodes == {first.node}
    assert second.node.downstream_nodes == {third.node}


EDGES = st.lists(
    st.tuples(
        st.lists(st.integers(0, 11), min_size=1, max_size=12),
        st.lists(st.integers(0, 11), min_size=1, max_size=12),
        st.sampled_from(["bulk", "up", "one by one"]),
    ),
    max_size=8,
)


@FIXTURE_IS_CONSTANT
@given(EDGES)
def test_however_tasks_are_connected_the_neighbours_are_the_same(
    template: TaskTemplate, edges: list[tuple[list[int], list[int], str]]
) -> None:
    tasks = [make(template, number) for number in range(12)]
    upstreams: dict[int, set[int]] = {number: set() for number in range(12)}
    for sources, targets, how in edges:
        for target in targets:
            upstreams[target] |= set(sources)
        sources_once, targets_once = dict.fromkeys(sources), dict.fromkeys(targets)
        if how == "bulk":
            connect(tuple(tasks[s] for s in sources_once), tuple(tasks[t] for t in targets_once))
        elif how == "up":
            for target in targets:
                tasks[target].add_upstreams(tasks[s] for s in sources)
        else:
            for source in sources:
                tasks[source].add_downstreams([tasks[t] for t in targets])
    for number, task in enumerate(tasks):
        assert task.upstream_tasks == {tasks[s] for s in upstreams[number]}
        assert task.downstream_tasks == {tasks[t] for t in range(12) if number in upstreams[t]}
        assert len(task._upstreams) == len(task.upstream_tasks)


# -- attributes, scales, what is not known yet ------------------------------------------------------
def test_attributes_are_texts_or_names(template: TaskTemplate) -> None:
    assert make(template, task_attributes={"year": 1990, "note": None}).task_attributes == {
        "year": "1990",
        "note": None,
    }
    assert make(template, task_attributes=["a", "b"]).task_attributes == {"a": None, "b": None}
    task = make(template)
    task.add_attribute("kind", 1)
    assert task.task_attributes == {"kind": "1"}


@pytest.mark.parametrize("attributes", ["text", 7, {"x": "y" * 256}, {"": 1}])
def test_other_attributes_are_refused(template: TaskTemplate, attributes: object) -> None:
    with pytest.raises(ValueError, match=r"[Aa]ttribute"):
        make(template, task_attributes=attributes)


@pytest.mark.parametrize("scale", ["0.5", [1, 2], None, True])
def test_scales_that_cannot_scale_are_refused(template: TaskTemplate, scale: object) -> None:
    with pytest.raises(ValueError, match="resource scale of 'memory'"):
        validate_task_resource_scales({"memory": scale})
    with pytest.raises(ValueError, match="resource scale of 'memory'"):
        make(template, resource_scales={"memory": scale})


def test_tasks_do_not_use_up_one_anothers_iterators(template: TaskTemplate) -> None:
    tasks = template.create_tasks(
        country=["a", "b"], data=1, exe="x", resource_scales={"memory": iter([5, 6])}
    )
    first, second = (task.resource_scales["memory"] for task in tasks)
    assert list(first) == list(second) == [5, 6]


@pytest.mark.parametrize("attempts", [-1, 1.5, "3"])
def test_attempts_are_a_positive_number(template: TaskTemplate, attempts: object) -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        make(template, max_attempts=attempts)


@pytest.mark.parametrize("what", ["task_id", "initial_status", "final_status", "array", "workflow"])
def test_what_is_not_known_yet_is_an_attribute_error(template: TaskTemplate, what: str) -> None:
    with pytest.raises(AttributeError):
        getattr(make(template), what)
