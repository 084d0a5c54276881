"""Binding: what is sent, in which order, how often, and what it does to the real server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from recording import RecordingRequester

from jobmon.client import bind, dag
from jobmon.client.attributes import add_task_attributes
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.client.workflow_run import WorkflowRun, WorkflowRunFactory
from jobmon.core.exceptions import (
    RetryBudgetExhausted,
    UnknownClusterError,
    WorkflowAlreadyComplete,
    WorkflowAlreadyExists,
    WorkflowNotResumable,
)
from jobmon.core.requester import Requester
from jobmon.core.states import WorkflowRunEvent
from jobmon.serializers import define
from jobmon.serializers.swarm import WorkflowMetadataResponse


def pipeline(tool: Tool, size: int = 5, workflow_args: str = "1990", **kwargs: Any) -> Workflow:
    """``size`` fits, then a summary of them."""
    kwargs.setdefault("default_cluster_name", "dummy")
    fit = tool.get_task_template("fit", "fit {country} {data} {exe}", ["country"], ["data"], ["exe"])
    end = tool.get_task_template("end", "end {year}", ["year"])
    workflow = tool.create_workflow(workflow_args=workflow_args, name="pipeline", **kwargs)
    fits = fit.create_tasks(country=range(size), data="d", exe="python", max_concurrently_running=3)
    workflow.add_tasks(fits)
    workflow.add_task(end.create_task(year=1990, upstream_tasks=fits, task_attributes={"kind": "last"}))
    return workflow


# -- what is sent -----------------------------------------------------------------------------------
def test_a_handful_of_requests_in_the_right_order(tool: Tool, requester: RecordingRequester) -> None:
    workflow = pipeline(tool)
    requester.messages.clear()
    workflow.bind()
    assert [path for path, _ in requester.messages] == [
        "GET /define/cluster/dummy",
        "POST /define/workflow_match",
        "POST /define/nodes",
        "POST /define/dag",
        *(path for path, _ in requester.messages[4:5] if path.endswith("/edges")),
        "POST /define/workflow",
        "POST /define/workflow/7/arrays",
        "POST /define/task_resources",
        "POST /define/workflow/7/tasks",
        "POST /define/workflow/7/bound",
    ]
    workflow.bind()
    assert requester.sent["TasksRequest"] == 1


def test_chunks(tool: Tool, requester: RecordingRequester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bind, "CHUNK_SIZE", 4)
    monkeypatch.setattr(dag.Dag.bind, "__defaults__", (4, "", None))
    workflow = pipeline(tool, size=10)
    workflow.bind()
    assert requester.sent["NodesRequest"] == 3
    assert requester.sent["EdgesRequest"] == 3
    assert requester.sent["TasksRequest"] == 3
    edges = [message for _, message in requester.messages if isinstance(message, define.EdgesRequest)]
    assert [message.is_last for message in edges] == [False, False, True]
    assert sum(len(message.node_ids) for message in edges) == 11
    assert sum(len(up) for message in edges for up in message.upstream_node_ids) == 10


def test_long_commands_make_smaller_chunks(
    tool: Tool, requester: RecordingRequester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bind, "CHUNK_CHARACTERS", 30)
    pipeline(tool, size=10).bind()
    assert requester.sent["TasksRequest"] > 3


def test_equal_resources_are_sent_once_and_tasks_grouped_by_what_they_share(
    tool: Tool, requester: RecordingRequester
) -> None:
    template = tool.get_task_template("step", "step {number}", ["number"])
    workflow = tool.create_workflow(default_cluster_name="dummy")
    for number in range(6):
        asked = {"memory": "1G" if number % 2 else 2}
        attributes = ["odd"] if number == 3 else None
        task = template.create_task(number=number, compute_resources=asked, task_attributes=attributes)
        workflow.add_task(task)
    workflow.bind()
    by_type = {type(message): message for _, message in requester.messages}
    assert len(by_type[define.TaskResourcesRequest].resources) == 2
    groups = by_type[define.TasksRequest].groups
    assert [group.commands for group in groups] == [
        ["step 0", "step 2", "step 4"],
        ["step 1", "step 3", "step 5"],
    ]
    assert groups[0].attributes == []
    assert groups[1].attributes[:2] == [{}, {"odd": None}]


def test_scales_are_sent_as_what_can_be_stored(tool: Tool, requester: RecordingRequester) -> None:
    template = tool.get_task_template("step", "step {number}", ["number"])
    scales = {"memory": iter([4, 5, 6]), "runtime": 0.5, "cores": abs}
    workflow = tool.create_workflow(default_cluster_name="dummy")
    tasks = template.create_tasks(number=range(2), resource_scales=scales, max_attempts=3)
    workflow.add_tasks(tasks)
    workflow.bind()
    (sent,) = [message for _, message in requester.messages if isinstance(message, define.TasksRequest)]
    assert sent.groups[0].resource_scales == '{"cores": "abs", "memory": [4, 5], "runtime": 0.5}'

    from jobmon.client.run import hooks_of

    hooks = hooks_of(workflow)
    assert [list(hooks.resource_scales[task.task_id]["memory"]) for task in tasks] == [[4, 5, 6]] * 2


def test_a_changed_workflow_is_bound_again(tool: Tool, requester: RecordingRequester) -> None:
    workflow = pipeline(tool)
    workflow.bind()
    next(iter(workflow.tasks.values())).update_compute_resources(memory=3)
    workflow.bind()
    assert requester.sent["TasksRequest"] == 2


def test_what_a_script_does_not_change_has_the_same_hashes(requester: RecordingRequester) -> None:
    """Ids differ, insertion order differs, op args and names differ: the workflow is the same."""
    tool = Tool("x", requester=requester)
    one, other = pipeline(tool), pipeline(tool)
    other.tasks = dict(reversed(other.tasks.items()))
    assert one.task_hash == other.task_hash
    graphs = [dag.Dag.of_tasks(workflow.tasks.values(), requester) for workflow in (one, other)]
    assert graphs[0].dag_hash == graphs[1].dag_hash
    first, *_, last = other.tasks.values()
    last.add_upstream(pipeline(tool, 9).arrays["fit"].tasks[8])
    assert first.upstream_tasks
    assert (
        dag.Dag.of_tasks(other.tasks.values(), requester).dag_hash == graphs[1].dag_hash
    )  # downstreams count
    first.node._task._downstreams = (last,)  # type: ignore[union-attr]
    assert dag.Dag.of_tasks(other.tasks.values(), requester).dag_hash != graphs[0].dag_hash


# -- the real server --------------------------------------------------------------------------------
def test_a_workflow_is_registered_and_found_again(app_requester: Requester) -> None:
    first = pipeline(Tool("life", requester=app_requester))
    first.bind()
    again = pipeline(Tool("life", requester=app_requester))
    again.bind()
    assert again.workflow_id == first.workflow_id
    assert again.dag_id == first.dag_id
    ids = [[task.task_id for task in workflow.tasks.values()] for workflow in (first, again)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 6
    assert {task.initial_status for task in again.tasks.values()} == {"G"}
    assert [array.array_id for array in again.arrays.values()] == [a.array_id for a in first.arrays.values()]


def test_templates_and_versions_are_found_again(app_requester: Requester) -> None:
    tool = Tool("life", requester=app_requester)
    template = tool.get_task_template("fit", "fit {a} {b}", ["a"], ["b"])
    again = Tool("life", requester=app_requester)
    assert again.id == tool.id
    assert again.active_tool_version.id == tool.active_tool_version.id
    assert list(again.active_task_templates) == ["fit"]
    loaded = again.active_task_templates["fit"]
    loaded.set_active_task_template_version_id("latest")
    version = loaded.active_task_template_version
    assert version.id == template.active_task_template_version.id
    assert (version.node_args, version.task_args, version.command_template) == ({"a"}, {"b"}, "fit {a} {b}")
    with pytest.raises(ValueError, match="no version 99"):
        loaded.set_active_task_template_version_id(99)


def test_versions_of_a_tool(app_requester: Requester) -> None:
    tool = Tool("life", requester=app_requester)
    first = tool.active_tool_version.id
    second = tool.get_new_tool_version()
    assert tool.active_tool_version.id == second != first
    assert Tool("life", requester=app_requester).active_tool_version.id == second
    assert Tool("life", first, requester=app_requester).active_tool_version.id == first
    tool.set_active_tool_version_id(first)
    assert tool.active_tool_version.id == first
    with pytest.raises(ValueError, match="no version 99"):
        Tool("life", 99, requester=app_requester)


def test_a_bind_that_was_cut_off_is_completed_by_the_next(app_requester: Requester) -> None:
    """After each possible number of requests the script dies; another one starts all over."""
    send = app_requester.send
    for allowed in range(3, 20):
        left = allowed

        def cut(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise RetryBudgetExhausted("cut off")
            return send(*args, **kwargs)

        app_requester.send = cut  # type: ignore[method-assign]
        try:
            pipeline(Tool("life", requester=app_requester), workflow_args=str(allowed)).bind()
            finished = True
        except RetryBudgetExhausted:
            finished = False
        finally:
            app_requester.send = send  # type: ignore[method-assign]
        workflow = pipeline(Tool("life", requester=app_requester), workflow_args=str(allowed))
        workflow.bind()
        assert {task.initial_status for task in workflow.tasks.values()} == {"G"}
        assert len({task.task_id for task in workflow.tasks.values()}) == 6
        if finished:
            return
    raise AssertionError("a bind took more requests than expected")


def test_the_same_args_with_other_tasks_are_refused(app_requester: Requester) -> None:
    tool = Tool("life", requester=app_requester)
    pipeline(tool).bind()
    with pytest.raises(WorkflowAlreadyExists, match="same workflow_args"):
        pipeline(tool, size=6).bind()
    pipeline(tool, size=6, workflow_args="1991").bind()


def test_an_unknown_cluster_is_named(app_requester: Requester) -> None:
    workflow = pipeline(Tool("life", requester=app_requester), default_cluster_name="abacus")
    with pytest.raises(UnknownClusterError, match=r"abacus.*"):
        workflow.bind()
    assert not workflow.is_bound


def test_attributes_can_be_added_later(app_requester: Requester, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = pipeline(Tool("life", requester=app_requester))
    workflow.add_attributes({"a": 1})
    workflow.bind()
    workflow.add_attributes({"a": 2, "b": "x"})
    assert workflow.workflow_attributes == {"a": "2", "b": "x"}
    task = next(iter(workflow.tasks.values()))
    task.add_attribute("kind", "first")
    add_task_attributes({"kind": "second"}, task.task_id, app_requester)
    monkeypatch.setenv("JOBMON_TASK_ID", str(task.task_id))
    add_task_attributes(["seen"], requester=app_requester)
    monkeypatch.delenv("JOBMON_TASK_ID")
    with pytest.raises(ValueError, match="JOBMON_TASK_ID"):
        add_task_attributes({"a": 1}, requester=app_requester)


def test_limits_can_be_changed_later(app_requester: Requester) -> None:
    workflow = pipeline(Tool("life", requester=app_requester))
    workflow.bind()
    workflow.set_task_template_max_concurrency_limit("fit", 2)
    path = f"/swarm/workflow/{workflow.workflow_id}/metadata"
    metadata = app_requester.send("GET", path, None, WorkflowMetadataResponse)
    assert {each.task_template_name: each.max_concurrently_running for each in metadata.arrays}["fit"] == 2


def test_running_and_running_again(app_requester: Requester, capsys: pytest.CaptureFixture[str]) -> None:
    tool = Tool("life", requester=app_requester)
    workflow = pipeline(tool)
    result = workflow.run()
    assert result == "D"
    assert isinstance(result, str)
    assert (result.total_tasks, result.done_count, result.num_newly_completed) == (6, 6, 6)
    assert {task.final_status for task in workflow.tasks.values()} == {"D"}
    assert workflow._num_newly_completed == 6
    assert workflow.last_workflow_run_id == result.workflow_run_id
    shown = capsys.readouterr().err
    assert f"workflow {workflow.workflow_id} 'pipeline': 6 tasks, 0 done before" in shown
    assert "DONE, 6 of 6 tasks done" in shown
    for again in (workflow, pipeline(tool)):
        with pytest.raises(
            WorkflowAlreadyComplete, match=f"Workflow {workflow.workflow_id} .*complete already"
        ):
            again.run(resume=True)


def test_running_inside_an_event_loop(app_requester: Requester) -> None:
    async def notebook() -> str:
        return pipeline(Tool("life", requester=app_requester)).run()

    assert asyncio.run(notebook()) == "D"


def broken_pipeline(tool: Tool, command: str) -> Workflow:
    script = "test {number} != 2 || {{ echo because >&2; {how}; }}"
    step = tool.get_task_template("step", script, ["number"], [], ["how"])
    end = tool.get_task_template("end", "true {year}", ["year"])
    workflow = tool.create_workflow(
        workflow_args="broken", default_cluster_name="multiprocess", default_max_attempts=2
    )
    steps = step.create_tasks(number=range(4), how=command)
    workflow.add_tasks(steps)
    workflow.add_task(end.create_task(year=1, upstream_tasks=steps))
    return workflow


def test_a_failure_is_explained_and_mended(
    app_requester: Requester,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JOBMON__EMBEDDED__DIRECTORY", str(tmp_path))
    tool = Tool("life", requester=app_requester)
    workflow = broken_pipeline(tool, "false")
    result = workflow.run()
    assert result == "E"
    assert (result.done_count, result.failed_count) == (3, 1)
    *_, failed, _third, end = workflow.tasks.values()
    assert (failed.final_status, end.final_status) == ("F", "G")
    assert set(workflow.task_errors) == {"step_number-2"}
    errors = failed.get_errors()
    assert errors is not None
    assert "because" in errors["error_log"][0]["description"]
    assert workflow.get_errors() == {failed.task_id: errors}
    assert failed.resource_usage()["num_attempts"] == 2
    assert failed.resource_usage()["runtime"] >= 0
    assert end.get_errors() is None
    assert end.resource_usage() == {"num_attempts": 0, "nodename": None, "runtime": None, "memory": None}
    shown = capsys.readouterr().err
    assert "failed: step_number-2" in shown
    assert "because" in shown

    with pytest.raises(WorkflowAlreadyExists, match=r"run\(resume=True\)"):
        broken_pipeline(tool, "true").run()
    mended = broken_pipeline(tool, "true")
    result = mended.run(resume=True)
    assert result == "D"
    assert (result.num_previously_complete, result.num_newly_completed) == (3, 2)
    assert mended.task_errors == {}
    assert "5 tasks, 3 done before" in capsys.readouterr().err


def test_resuming_what_was_never_run_is_no_error(
    app_requester: Requester, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "jobmon"):
        assert pipeline(Tool("life", requester=app_requester)).run(resume=True) == "D"
    assert "never run before" in caplog.text


def test_resources_may_be_decided_when_the_upstreams_are_done(app_requester: Requester) -> None:
    tool = Tool("life", requester=app_requester)
    template = tool.get_task_template("step", "step {number}", ["number"])
    workflow = tool.create_workflow(default_cluster_name="dummy")
    calls: list[str] = []

    def decide() -> dict[str, Any]:
        calls.append("x")
        return {"memory": "3G"}

    first = workflow.add_task(template.create_task(number=1))
    workflow.add_task(
        template.create_task(number=2, upstream_tasks=[first], compute_resources_callable=decide)
    )
    assert workflow.run() == "D"
    assert calls == ["x"]


def test_runs_step_by_step(app_requester: Requester) -> None:
    workflow = pipeline(Tool("life", requester=app_requester))
    workflow.bind()
    factory = WorkflowRunFactory(workflow.workflow_id, app_requester)
    run = factory.create_workflow_run()
    assert run.bind() == run.workflow_run_id
    with pytest.raises(WorkflowNotResumable):
        factory.create_workflow_run()
    with pytest.raises(WorkflowNotResumable):
        workflow.run(resume=True, resume_timeout=0.2)
    assert run.apply(WorkflowRunEvent.ABORT) == "A"
    factory.set_workflow_resume(resume_timeout=5)
    with pytest.raises(AttributeError, match="bind"):
        _ = WorkflowRun(workflow.workflow_id, app_requester).workflow_run_id
