"""Workflows: what may be added, and what is refused before anything is registered."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import RecordingRequester

from jobmon.client.dag import Dag
from jobmon.client.task_template import TaskTemplate
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.exceptions import (
    CyclicGraphError,
    DuplicateNodeArgsError,
    EmptyWorkflowError,
    NodeDependencyNotExistError,
    UnknownQueueError,
    WorkflowAlreadyExists,
)
from jobmon.serializers import define

REGISTRATIONS = {"NodesRequest", "DagRequest", "WorkflowRequest", "ArraysRequest", "TasksRequest"}


@pytest.fixture
def simple(tool: Tool) -> TaskTemplate:
    return tool.get_task_template("step", "step {number}", ["number"])


def chain(template: TaskTemplate, length: int) -> list[Any]:
    tasks = [template.create_task(number=number) for number in range(length)]
    for first, second in itertools.pairwise(tasks):
        second.add_upstream(first)
    return tasks


# -- adding -----------------------------------------------------------------------------------------
def test_a_task_is_added_once(tool: Tool, template: TaskTemplate) -> None:
    workflow = tool.create_workflow()
    task = workflow.add_task(template.create_task(country="Chile", data=1, exe="x"))
    for again in (task, template.create_task(country="Chile", data=1, exe="other")):
        with pytest.raises(ValueError, match=r"fit_country-Chile.*added already"):
            workflow.add_task(again)
    assert workflow.tasks == {task.task_hash: task}


def test_node_args_must_tell_tasks_apart(tool: Tool, template: TaskTemplate) -> None:
    workflow = tool.create_workflow()
    workflow.add_task(template.create_task(country="Chile", data=1, exe="x"))
    with pytest.raises(DuplicateNodeArgsError, match="fit_country-Chile"):
        workflow.add_task(template.create_task(country="Chile", data=2, exe="x"))
    assert len(workflow.tasks) == 1


def test_tasks_made_one_by_one_form_one_array(tool: Tool, simple: TaskTemplate) -> None:
    workflow = tool.create_workflow()
    tasks = chain(simple, 3)
    workflow.add_tasks(task for task in tasks)
    assert list(workflow.arrays) == ["step"]
    assert workflow.arrays["step"].tasks == tasks
    assert tasks[0].workflow is workflow


def test_tasks_of_an_array_are_joined_by_tasks_made_one_by_one(tool: Tool, simple: TaskTemplate) -> None:
    workflow = tool.create_workflow()
    tasks = simple.create_tasks(number=[1, 2], max_concurrently_running=4)
    workflow.add_tasks(tasks)
    single = workflow.add_task(simple.create_task(number=3))
    assert single.array is tasks[0].array


@pytest.mark.parametrize("is_single_first", [True, False])
def test_tasks_of_one_template_form_one_array_however_they_were_made(
    tool: Tool, simple: TaskTemplate, is_single_first: bool
) -> None:
    """What a call of create_tasks said of its tasks stays theirs; the array is one, with the smaller limit."""
    workflow = tool.create_workflow()
    some = simple.create_tasks(number=[1, 2], compute_resources={"cores": 2}, max_concurrently_running=5)
    single = simple.create_task(number=3, compute_resources={"cores": 1}, max_attempts=7)
    more = simple.create_tasks(
        number=[4, 5],
        compute_resources={"runtime": 9},
        max_attempts=2,
        max_concurrently_running=4,
        name="late",
    )
    workflow.add_tasks([single, *some] if is_single_first else [*some, single])
    workflow.add_task(more[0])
    (array,) = workflow.arrays.values()
    assert array is some[0].array is single.array is more[0].array
    assert (array.name, array.max_concurrently_running) == ("late", 4)
    assert some[0].compute_resources == {"cores": 2}
    assert more[0].compute_resources == {"runtime": 9}
    assert [task.max_attempts for task in (some[0], single, more[0])] == [3, 7, 2]
    workflow.add_task(more[1])
    assert len(workflow.get_tasks_by_node_args("step", number=[1, 3, 4, 5])) == 4
    workflow.bind()
    assert {task.array.array_id for task in workflow.tasks.values()} == {array.array_id}
    with pytest.raises(ValueError, match="was added already"):
        workflow.add_tasks(simple.create_tasks(number=[5]))
    workflow.set_default_cluster_name("multiprocess")
    workflow.add_tasks(simple.create_tasks(number=[6], cluster_name="multiprocess"))
    assert more[0].array is array


def test_the_calls_for_one_array_agree_on_the_cluster(tool: Tool, simple: TaskTemplate) -> None:
    workflow = tool.create_workflow()
    workflow.add_tasks(simple.create_tasks(number=[1], cluster_name="dummy"))
    with pytest.raises(ValueError, match="are to run on sequential, others of it on dummy"):
        workflow.add_tasks(simple.create_tasks(number=[2], cluster_name="sequential"))
    assert len(workflow.tasks) == 1


def test_a_task_belongs_to_one_workflow(tool: Tool, simple: TaskTemplate) -> None:
    task = tool.create_workflow().add_task(simple.create_task(number=1))
    with pytest.raises(ValueError, match="another workflow"):
        tool.create_workflow().add_task(task)


def test_a_task_that_was_left_out_of_an_array_may_be_replaced(tool: Tool, simple: TaskTemplate) -> None:
    workflow = tool.create_workflow()
    first, _left_out = simple.create_tasks(number=[1, 2])
    workflow.add_task(first)
    instead = workflow.add_task(simple.create_task(number=2))
    assert workflow.get_tasks_by_node_args("step", number=2) == [instead]


def test_tasks_are_found_by_node_args(tool: Tool) -> None:
    template = tool.get_task_template("grid", "{x} {y} {z}", ["x", "y"], ["z"])
    workflow = tool.create_workflow()
    workflow.add_tasks(template.create_tasks(x=[1, 2, 3], y=["ab", "c"], z=0))
    found = workflow.get_tasks_by_node_args("grid", x=[1, "3"], y="c")
    assert [task.node.node_args for task in found] == [{"x": "1", "y": "c"}, {"x": "3", "y": "c"}]
    template.get_task_template_version("{x} {place}", ["x", "place"])
    elsewhere = workflow.add_task(template.create_task(x=1, place="here"))
    assert workflow.get_tasks_by_node_args("grid", place="here") == [elsewhere]
    assert elsewhere in workflow.get_tasks_by_node_args("grid", x=1)
    with pytest.raises(ValueError, match="no tasks of 'other'"):
        workflow.get_tasks_by_node_args("other", x=1)
    with pytest.raises(ValueError, match="z: no node arg"):
        workflow.get_tasks_by_node_args("grid", z=0)


def test_limits_of_templates(tool: Tool, simple: TaskTemplate, requester: RecordingRequester) -> None:
    workflow = tool.create_workflow()
    workflow.add_tasks(chain(simple, 2))
    workflow.set_task_template_max_concurrency_limit("step", 7)
    assert workflow.arrays["step"].max_concurrently_running == 7
    with pytest.raises(KeyError, match="other"):
        workflow.set_max_concurrently_running("other", 1)
    with pytest.raises(ValueError, match="max_concurrently_running"):
        workflow.set_max_concurrently_running("step", -1)
    workflow.bind()
    workflow.set_max_concurrently_running("step", 0)
    path, message = requester.messages[-1]
    assert path == "PUT /swarm/workflow/7/limit"
    assert (message.max_tasks, message.task_template_version_id) == (
        0,
        simple.active_task_template_version.id,
    )


def test_without_args_a_workflow_is_a_new_one(tool: Tool) -> None:
    one, other = tool.create_workflow(), tool.create_workflow()
    assert one.workflow_args_hash != other.workflow_args_hash
    same = [tool.create_workflow(workflow_args="1990").workflow_args_hash for _ in range(2)]
    assert same[0] == same[1]


@pytest.mark.parametrize("what", ["workflow_id", "dag_id"])
def test_ids_are_known_after_bind(tool: Tool, simple: TaskTemplate, what: str) -> None:
    workflow = tool.create_workflow()
    with pytest.raises(AttributeError, match="bind"):
        getattr(workflow, what)
    workflow.add_tasks(chain(simple, 1))
    workflow.bind()
    assert workflow.is_bound
    assert getattr(workflow, what) > 0


# -- refused before anything is registered ----------------------------------------------------------
def refuse(
    workflow: Workflow, requester: RecordingRequester, error: type[Exception], match: str = ""
) -> None:
    for attempt in (workflow.validate, workflow.bind, workflow.run):
        with pytest.raises(error, match=match):
            attempt()
    assert not REGISTRATIONS & set(requester.sent)


def test_an_empty_workflow(tool: Tool, requester: RecordingRequester) -> None:
    refuse(tool.create_workflow(), requester, EmptyWorkflowError, "no tasks")
    assert issubclass(EmptyWorkflowError, RuntimeError)


def test_an_upstream_that_was_not_added(
    tool: Tool, simple: TaskTemplate, requester: RecordingRequester
) -> None:
    workflow = tool.create_workflow()
    workflow.add_tasks(chain(simple, 3)[1:])
    refuse(workflow, requester, NodeDependencyNotExistError, "step_number-1.*depends on.*step_number-0")


def test_a_downstream_that_was_not_added(
    tool: Tool, simple: TaskTemplate, requester: RecordingRequester
) -> None:
    workflow = tool.create_workflow()
    workflow.add_tasks(chain(simple, 3)[:2])
    refuse(workflow, requester, NodeDependencyNotExistError, "step_number-1.*upstream of.*step_number-2")


def test_a_circle_is_named(tool: Tool, simple: TaskTemplate, requester: RecordingRequester) -> None:
    workflow = tool.create_workflow()
    tasks = chain(simple, 6)
    tasks[2].add_upstream(tasks[4])
    workflow.add_tasks(tasks)
    refuse(workflow, requester, CyclicGraphError, "3 tasks form a circle")
    with pytest.raises(CyclicGraphError) as caught:
        workflow.validate()
    named = {f"step_number-{n}" for n in range(6) if f"step_number-{n}" in str(caught.value)}
    assert named == {"step_number-2", "step_number-3", "step_number-4"}


def test_a_task_that_waits_for_itself(
    tool: Tool, simple: TaskTemplate, requester: RecordingRequester
) -> None:
    workflow = tool.create_workflow()
    task = workflow.add_task(simple.create_task(number=1))
    task.add_upstream(task)
    refuse(workflow, requester, CyclicGraphError, "step_number-1 -> step_number-1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14))
def test_circles_are_found_and_nothing_else(simple: TaskTemplate, edges: set[tuple[int, int]]) -> None:
    tasks = [simple.create_task(number=number) for number in range(8)]
    for upstream, downstream in edges:
        tasks[downstream].add_upstream(tasks[upstream])
    reach = {(a, b) for a, b in edges}
    for middle in range(8):
        reach |= {(a, b) for a in range(8) for b in range(8) if (a, middle) in reach and (middle, b) in reach}
    dag = Dag.of_tasks(tasks, simple.requester)
    if any((number, number) in reach for number in range(8)):
        with pytest.raises(CyclicGraphError):
            dag.validate()
    else:
        dag.validate()


def test_a_chain_of_100_000_is_no_problem_for_the_check(simple: TaskTemplate) -> None:
    tasks = chain(simple, 100_000)
    Dag.of_tasks(reversed(tasks), simple.requester).validate()


def test_two_clusters(tool: Tool, simple: TaskTemplate, requester: RecordingRequester) -> None:
    workflow = tool.create_workflow()
    for number, cluster in enumerate(("dummy", "sequential")):
        workflow.add_task(simple.create_task(number=number, cluster_name=cluster))
    refuse(workflow, requester, RuntimeError, "step_number-0.*dummy.*step_number-1.*sequential")


def test_an_unknown_queue(tool: Tool, simple: TaskTemplate, requester: RecordingRequester) -> None:
    workflow = tool.create_workflow(default_cluster_name="dummy")
    workflow.add_task(simple.create_task(number=1, compute_resources={"queue": "long.q"}))
    refuse(workflow, requester, UnknownQueueError, "no queue 'long.q'.*null.q")


def test_an_unknown_fallback_queue(tool: Tool, simple: TaskTemplate, requester: RecordingRequester) -> None:
    workflow = tool.create_workflow(default_cluster_name="dummy")
    workflow.add_task(simple.create_task(number=1, fallback_queues=["long.q"]))
    refuse(workflow, requester, UnknownQueueError, "no queue 'long.q'")


@pytest.mark.parametrize(
    "resources", [{"memory": "2 horses"}, {"runtime": "soon"}, {"memory": object()}, {"x": object()}]
)
def test_resources_nobody_understands(
    tool: Tool, simple: TaskTemplate, requester: RecordingRequester, resources: dict[str, Any]
) -> None:
    workflow = tool.create_workflow(default_cluster_name="dummy")
    workflow.add_task(simple.create_task(number=1, compute_resources=resources))
    refuse(workflow, requester, ValueError, "resources of.*step_number-1")


def test_args_of_another_workflow(tool: Tool, simple: TaskTemplate, requester: RecordingRequester) -> None:
    workflow = tool.create_workflow(workflow_args="1990")
    workflow.add_tasks(chain(simple, 2))
    requester.match = define.WorkflowMatchResponse(12, "F", "other", "other")
    refuse(workflow, requester, WorkflowAlreadyExists, "Workflow 12 .*'1990'.*other tasks")
    requester.match = define.WorkflowMatchResponse(12, "F", "other", workflow.task_hash)
    refuse(workflow, requester, WorkflowAlreadyExists, "other dependencies")


# -- limits of queues -------------------------------------------------------------------------------
class SmallQueue(ClusterQueue):
    """Has 4 GiB."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        return kwargs.get("memory", 0) <= 4, "memory over 4 GiB"

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        return {**kwargs, "memory": min(kwargs.get("memory", 1), 4)}

    @property
    def required_resources(self) -> list[str]:
        return ["cores"]


@pytest.fixture
def small(tool: Tool, simple: TaskTemplate, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    workflow = tool.create_workflow(default_cluster_name="dummy")
    cluster = workflow.get_cluster_by_name("dummy")
    monkeypatch.setitem(cluster._queues, "null.q", SmallQueue(1, "null.q", {}))
    workflow.add_task(simple.create_task(number=1, compute_resources={"memory": "9G", "cores": 1}))
    return workflow


def test_too_much_is_cut_with_a_warning(
    small: Workflow, requester: RecordingRequester, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "jobmon"):
        small.bind()
    assert "step_number-1" in caplog.text
    assert "memory over 4 GiB" in caplog.text
    (sent,) = [
        message for _, message in requester.messages if isinstance(message, define.TaskResourcesRequest)
    ]
    assert sent.resources == [define.TaskResourcesItem(1, "V", {"memory": 4, "cores": 1})]


def test_too_much_is_an_error_where_that_was_asked_for(small: Workflow) -> None:
    with pytest.raises(ValueError, match=r"step_number-1.*do not fit.*memory over 4 GiB"):
        small.validate(strict=True, raise_on_error=True)


def test_what_a_queue_needs_must_be_said(small: Workflow, requester: RecordingRequester) -> None:
    (task,) = small.tasks.values()
    task.update_compute_resources(cores=None)
    refuse(small, requester, ValueError, "step_number-1.*cores")


def test_a_task_tells_its_queue_and_what_is_asked_of_it(small: Workflow) -> None:
    (task,) = small.tasks.values()
    assert task.queue_name == "null.q"
    assert task.requested_resources == {"memory": "9G", "cores": 1}
    assert task.original_task_resources.requested_resources == {"memory": 4, "cores": 1}
