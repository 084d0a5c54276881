"""What people see of batch clusters: conditions, reasons to wait, notes on requests, nodes that are avoided."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run

from jobmon.client.following import read_progress, shown
from jobmon.client.notebook import bar_html
from jobmon.client.progress import LineDisplay
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.cluster import ClusterRequest, ClusterResponse, QueueRequest
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import this_process
from jobmon.core.requester import Requester, current_user
from jobmon.core.states import Cause, TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.swarm import (
    BatchRequest,
    ClusterCondition,
    QueueReason,
    RunEventsRequest,
    RunStateResponse,
    SyncRequest,
    SyncResponse,
    WorkflowRunRequest,
    WorkflowRunResponse,
)

AWAY = "Cluster lab is unreachable since 2026-05-01 12:00:00: squeue timed out."
NOTE = "its peak was 1.9 of 2 GiB"
Sync = Callable[..., SyncResponse]


@pytest.fixture
def workflow(requester: Requester) -> Workflow:
    """Two tasks for a batch cluster, registered."""
    request = ClusterRequest("lab", "slurm", {}, [QueueRequest("long", {})])
    requester.send("POST", "/define/cluster", request, ClusterResponse)
    tool = Tool("cli", requester=requester)
    template = tool.get_task_template(
        "fit",
        "fit {n}",
        node_args=["n"],
        default_cluster_name="lab",
        default_compute_resources={"queue": "long", "runtime": 60, "memory": 1},
        retry_policy={"cancelled": "give_up"},
    )
    workflow = tool.create_workflow(name="steps", workflow_args="cli")
    workflow.add_tasks([template.create_task(name=f"fit_{n}", n=n) for n in range(2)])
    workflow.bind()
    return workflow


@pytest.fixture
def sync(requester: Requester, workflow: Workflow) -> Sync:
    """What the controller of a run tells."""
    message = WorkflowRunRequest("key", current_user(), "4", this_process(), 600)
    path = f"/swarm/workflow/{workflow.workflow_id}/workflow_run"
    run_id = requester.send("POST", path, message, WorkflowRunResponse).workflow_run_id
    way = ["bind", "instantiate", "launch", "start"]
    events = RunEventsRequest([WorkflowRunEvent(each) for each in way])
    requester.send("POST", f"/swarm/workflow_run/{run_id}/events", events, RunStateResponse)

    def tell(**told: object) -> SyncResponse:
        return requester.send("POST", f"/swarm/workflow_run/{run_id}/sync", SyncRequest(**told), SyncResponse)

    return tell


@pytest.fixture
def attempts(requester: Requester, workflow: Workflow, sync: Sync) -> list[int]:
    """Both tasks wait in the queue of the cluster; the second one asks for more than before."""
    from jobmon.swarm.gateway import Gateway

    (page,) = Gateway(requester, workflow.workflow_id).tasks()
    batch = BatchRequest(
        page.array_ids[0],
        1,
        page.task_resources_ids[0],
        page.task_ids,
        "fit-1.key",
        {page.task_ids[1]: NOTE},
    )
    created = sync(batches=[batch]).batches[0].task_instance_ids
    sync(
        events=[
            InstanceEvent(i, TaskInstanceEvent.LAUNCH, distributor_id=f"7_{step}")
            for step, i in enumerate(created)
        ]
    )
    return created


def test_the_condition_of_a_cluster_is_told_everywhere(
    run: Run, requester: Requester, workflow: Workflow, sync: Sync, attempts: list[int], tmp_path: Path
) -> None:
    """As long as it lasts, in its controller's words."""
    workflow_id = workflow.workflow_id
    task_id = workflow.get_tasks_by_node_args("fit", n=0)[0].task_id
    page = tmp_path / "report.html"

    def views() -> list[str]:
        assert run("workflow", "report", workflow_id, "--output", page).exit_code == 0
        return [
            run("workflow", "status", "-w", workflow_id).stdout,
            run("task", "explain", task_id).stdout,
            run("workflow", "errors", workflow_id).stdout,
            page.read_text(),
            shown(read_progress(requester, workflow_id)).notice,
        ]

    assert not any("unreachable" in view for view in views())
    sync(conditions=[ClusterCondition("lab", 1.0, AWAY)])
    assert all(AWAY in view for view in views())
    found = json.loads(run("task", "explain", task_id, "-o", "json").stdout)
    assert found["conditions"] == [AWAY]
    sync(conditions=[])
    assert not any("unreachable" in view for view in views())


def test_the_reason_to_wait_is_told(run: Run, workflow: Workflow, sync: Sync, attempts: list[int]) -> None:
    """The one its controller heard of last; until it starts."""
    task_id = workflow.get_tasks_by_node_args("fit", n=0)[0].task_id
    assert "the cluster has told no reason yet" in run("task", "explain", task_id).stdout
    sync(queue_reasons=[QueueReason(attempts, "AssocMaxJobs: your account runs as many jobs as it may")])
    told = run("task", "explain", task_id).stdout
    assert "It waits in queue long of cluster lab as job 7_0 for " in told
    assert " now; AssocMaxJobs: your account runs as many jobs as it may.\n" in told
    sync(events=[InstanceEvent(attempts[0], TaskInstanceEvent.START, nodename="n1")])
    assert "AssocMaxJobs" not in run("task", "explain", task_id).stdout


def test_what_waits_for_room_on_the_cluster(run: Run, workflow: Workflow, sync: Sync) -> None:
    """It was not handed over yet; there are no slots to wait for."""
    task_id = workflow.get_tasks_by_node_args("fit", n=0)[0].task_id
    told = run("task", "explain", task_id).stdout
    assert (
        "- It is ready: its controller hands it to cluster lab as soon as the cluster takes more jobs.\n"
        in told
    )


def test_notes_on_requests_are_told(
    run: Run, workflow: Workflow, sync: Sync, attempts: list[int], tmp_path: Path
) -> None:
    """With the attempt, in the table of all attempts, and in the report's stories of tasks."""
    task_id = workflow.get_tasks_by_node_args("fit", n=1)[0].task_id
    assert run("task", "explain", task_id).stdout.endswith(f"Attempt {attempts[1]}: {NOTE}\n")
    table = tmp_path / "attempts.csv"
    run("workflow", "report", workflow.workflow_id, "--output", table)
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [(row["note"], row["energy"]) for row in rows] == [("", ""), (NOTE, "")]


def test_giving_up_by_policy_is_told_as_that(
    run: Run, workflow: Workflow, sync: Sync, attempts: list[int]
) -> None:
    """Not as attempts that are used up."""
    told = "cancelled by user 1000 on the cluster"
    sync(events=[InstanceEvent(attempts[0], TaskInstanceEvent.FAIL, Cause.CANCELLED, told, exit_code=None)])
    task_id = workflow.get_tasks_by_node_args("fit", n=0)[0].task_id
    words = run("task", "explain", task_id).stdout
    assert "the retry policy of template 'fit' is to give up then." in words
    status = run("task", "status", "-t", task_id).stdout
    assert "it was cancelled on the cluster by a person or its operators" in status
    assert "gave up, as the retry policy of its template says" in status


def test_what_is_not_counted_by_policy_is_told_so(
    run: Run, requester: Requester, workflow: Workflow, sync: Sync, attempts: list[int]
) -> None:
    """Of causes that usually are, and the other way round."""
    sync(events=[InstanceEvent(attempts[0], TaskInstanceEvent.FAIL, Cause.CODE)])
    task_id = workflow.get_tasks_by_node_args("fit", n=0)[0].task_id
    assert "not counted" not in run("task", "status", "-t", task_id).stdout
    template = workflow.arrays["fit"].task_template_version.task_template
    template.set_retry_policy({"code": "retry_blameless", "preempted": "retry"})
    workflow.arrays["fit"].array_id = None  # type: ignore[assignment]
    workflow.arrays["fit"].bind()
    assert "not counted against its attempts; will run again" in run("task", "status", "-t", task_id).stdout
    sync(events=[InstanceEvent(attempts[1], TaskInstanceEvent.LOSE, Cause.PREEMPTED)])
    task_id = workflow.get_tasks_by_node_args("fit", n=1)[0].task_id
    assert "not counted" not in run("task", "status", "-t", task_id).stdout


def test_watching_tells_a_condition_once(
    run: Run, workflow: Workflow, sync: Sync, attempts: list[int]
) -> None:
    """And again when it has come back."""
    from jobmon.client.commands.watch import PlainWatch, workflow_overview

    plain = PlainWatch()

    def lines(*conditions: ClusterCondition) -> list[str]:
        sync(conditions=list(conditions))
        return [line for line in plain.lines(workflow_overview(workflow.workflow_id)) if "lab" in line]

    away = ClusterCondition("lab", 1.0, AWAY)
    assert [lines(), lines(away), lines(away), lines(), lines(away)] == [[], [AWAY], [], [], [AWAY]]


def test_watching_on_a_terminal(workflow: Workflow, sync: Sync, attempts: list[int]) -> None:
    """It stands in the picture, which is no higher for it."""
    from rich.console import Console

    from jobmon.client.cli.watch import picture
    from jobmon.client.commands.watch import workflow_overview

    sync(conditions=[ClusterCondition("lab", 1.0, AWAY)])
    console = Console(file=io.StringIO(), width=100, height=24, force_terminal=True)
    console.print(picture(workflow_overview(workflow.workflow_id), 100, 24))
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert AWAY in drawn
    assert drawn.count("\n") <= 24


def test_the_progress_of_a_run_tells_it(requester: Requester, workflow: Workflow, sync: Sync) -> None:
    """When it comes and when it goes; in notebooks below the bar, as text."""
    stream = io.StringIO()
    display = LineDisplay(stream)
    for conditions in ([], [ClusterCondition("lab", 1.0, AWAY)], [ClusterCondition("lab", 1.0, AWAY)], []):
        sync(conditions=conditions)
        display.update(shown(read_progress(requester, workflow.workflow_id)))
    assert stream.getvalue() == f"  {AWAY}\n  All clusters answer again.\n"
    progress = shown(read_progress(requester, workflow.workflow_id))
    assert "<br>&lt;b&gt; is away</div>" in bar_html("run", progress._replace(notice="<b> is away"))
    assert "<br></div>" not in bar_html("run", progress)


def test_nodes_that_are_avoided(run: Run, workflow: Workflow, sync: Sync, attempts: list[int]) -> None:
    """Shown, for programs as well, and forgiven."""
    assert run("cluster", "bad-nodes", "lab").stdout == "No node of cluster lab is avoided.\n"
    assert run("cluster", "bad-nodes", "lab", "-o", "json").stdout == "[]\n"
    lost = InstanceEvent(
        attempts[0],
        TaskInstanceEvent.LOSE,
        Cause.INFRASTRUCTURE,
        "NODE_FAIL: the node died",
        nodename="n3",
        blames_node=True,
    )
    sync(events=[lost])
    table = run("cluster", "bad-nodes", "lab").stdout
    assert "| n3     | 1 h           | NODE_FAIL: the node died |" in table
    (row,) = json.loads(run("cluster", "bad-nodes", "lab", "-o", "json").stdout)
    assert (row["NODE"], row["REASON"]) == ("n3", "NODE_FAIL: the node died")
    assert 3500 < row["EXPIRES_IN_SECONDS"] <= 3600
    other = run("cluster", "bad-nodes", "lab", "--forgive", "n4")
    assert other.exit_code == 1
    assert "Nothing is held against node 'n4' of cluster lab. Nodes that are avoided: n3." in other.stderr
    forgiven = run("cluster", "bad-nodes", "lab", "--forgive", "n3")
    assert forgiven.stdout == "Node n3 of cluster lab is used again.\n"
    assert run("cluster", "bad-nodes", "lab").stdout == "No node of cluster lab is avoided.\n"
    unknown = run("cluster", "bad-nodes", "nowhere")
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: There is no cluster 'nowhere'.\n")
