"""What ``jobmon workflow submit --dry-run`` shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from site_cluster import Site, installed

from jobmon.client.commands.submit import (
    SubmissionPreview,
    preview_text,
    preview_workflow,
    require_submittable,
)
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.plugins.multiprocess.queue import LocalQueue


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requester: Requester) -> Iterator[Site]:
    """A cluster that answers."""
    with installed(tmp_path, monkeypatch) as found:
        yield found


def workflow_on(requester: Requester, cluster: str, count: int = 3, **resources: Any) -> Workflow:
    """``fit`` for each of some numbers, then one ``sum``."""
    tool = Tool("submit", requester=requester)
    fit = tool.get_task_template("fit", "fit {n}", node_args=["n"], default_cluster_name=cluster)
    total = tool.get_task_template("sum", "sum {n}", node_args=["n"], default_cluster_name=cluster)
    tasks = fit.create_tasks(n=list(range(count)), compute_resources=resources)
    workflow = tool.create_workflow(name="numbers", workflow_args=f"{cluster} {count}")
    workflow.add_tasks([*tasks, total.create_task(n=1, upstream_tasks=tasks)])
    return workflow


def test_what_a_batch_cluster_would_get(site: Site, requester: Requester) -> None:
    """One script for the tasks of a template that ask for the same, and what waits for them."""
    workflow = workflow_on(requester, "hpc", 1200, queue="short", cores=2)
    preview = preview_workflow(workflow)
    (ready,) = preview.ready
    assert (ready.template, ready.cluster, ready.queue, ready.num_tasks) == ("fit", "hpc", "short", 1200)
    assert ready.num_batches == 3
    assert ready.script == "submit fit-1.WORKFLOW.RUN of 500 to short, at once 0"
    assert ready.first_command == "fit 0"
    assert [(each.template, each.num_tasks) for each in preview.waiting] == [("sum", 1)]
    text = preview_text(preview)
    assert "has 1 201 tasks: 1200 to submit at once, 1 later, 0 done." in text
    assert "== fit: 1 200 tasks on hpc, queue short; cores 2" in text
    assert "\n\nIn the scripts WORKFLOW.RUN and workflow_0 stand for" in text
    assert "As 3 job arrays, the first of them: (its step 1 is fit_n-0: fit 0)\n\nsubmit fit-1" in text
    assert "  sum: 1 task on hpc, queue long" in text
    assert msgspec.json.decode(msgspec.json.encode(preview), type=SubmissionPreview) == preview


def test_tasks_that_share_jobs_are_shown_so(
    site: Site, requester: Requester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer steps, and the time of all tasks of one."""
    monkeypatch.setattr(LocalQueue, "longest_shared_seconds", lambda queue, resources: 600.0)
    preview = preview_workflow(workflow_on(requester, "hpc", 100, queue="short", runtime=5))
    (ready,) = preview.ready
    assert (ready.num_tasks, ready.num_batches, ready.tasks_per_job) == (100, 1, 6)
    assert ready.script.startswith("submit fit-1.WORKFLOW.RUN of 17 to short")
    assert "As 1 job array, whose jobs run 6 tasks one after the other, this: " in preview_text(preview)


def test_limits_of_concurrency_are_shown(site: Site, requester: Requester) -> None:
    """The smaller one, where not all may run at once."""
    workflow = workflow_on(requester, "hpc", 10, queue="short")
    workflow.max_concurrently_running = 4
    assert preview_workflow(workflow).ready[0].script.endswith("at once 4")


def test_tasks_that_ask_for_different_things_are_apart(site: Site, requester: Requester) -> None:
    """As they are on the cluster."""
    workflow = workflow_on(requester, "hpc", 2, queue="short")
    template = Tool("submit", requester=requester).get_task_template(
        "fit", "fit {n}", node_args=["n"], default_cluster_name="hpc"
    )
    workflow.add_task(template.create_task(n=7, compute_resources={"queue": "long", "cores": 3}))
    workflow.add_task(template.create_task(n=8, compute_resources={"queue": "short"}))
    ready = preview_workflow(workflow).ready
    assert [(each.queue, each.num_tasks) for each in ready] == [("short", 3), ("long", 1)]


def test_commands_of_a_local_cluster(requester: Requester) -> None:
    """There is no script; the first command is shown, and nothing was registered."""
    preview = preview_workflow(workflow_on(requester, "sequential"))
    assert (preview.ready[0].num_batches, preview.ready[0].script) == (0, "")
    assert "== fit: 3 tasks on sequential, queue null.q\nfit_n-0 runs here: fit 0" in preview_text(preview)
    assert preview.workflow_id is None


def test_what_is_done_is_left_alone(requester: Requester, tmp_path: Path) -> None:
    """Of a workflow that was run before, only what remains."""
    tool = Tool("again", requester=requester)
    template = tool.get_task_template("step", "{command}", ["command"], default_cluster_name="sequential")
    workflow = tool.create_workflow(name="again", workflow_args="again")
    good = template.create_task(name="good", command="true")
    bad = template.create_task(
        name="bad", command=f"test -e {tmp_path}/x", max_attempts=1, upstream_tasks=[good]
    )
    workflow.add_tasks([good, bad])
    assert workflow.run() == "E"
    preview = preview_workflow(workflow)
    assert (preview.workflow_id, preview.num_done) == (workflow.workflow_id, 1)
    assert [each.first_task for each in preview.ready] == ["bad"]
    assert preview.waiting == []


def test_too_much_is_a_problem_and_what_is_had_is_shown(site: Site, requester: Requester) -> None:
    """``run()`` brings it within the limits: so does the dry run, and says so."""
    preview = preview_workflow(workflow_on(requester, "hpc", queue="short", memory=2))
    assert "memory=2 is outside the limits of queue short" in preview.problems[0]
    assert preview.ready[0].resources == {"memory": 0.5}
    assert "\n\nProblem: " in preview_text(preview)
    require_submittable(preview)


def test_a_workflow_that_cannot_run_is_refused(site: Site, requester: Requester) -> None:
    """Nothing would be submitted, and the reason is the error."""
    preview = preview_workflow(workflow_on(requester, "hpc", queue="none"))
    assert (preview.ready, preview.waiting) == ([], [])
    with pytest.raises(UsageError, match="has no queue 'none'"):
        require_submittable(preview)


def test_json_names_everything(site: Site, requester: Requester) -> None:
    """For programs."""
    found = json.loads(msgspec.json.encode(preview_workflow(workflow_on(requester, "hpc", queue="short"))))
    assert found["ready"][0].keys() >= {
        "template",
        "queue",
        "resources",
        "num_tasks",
        "num_batches",
        "script",
    }
