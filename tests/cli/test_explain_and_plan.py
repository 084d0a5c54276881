"""``jobmon task explain`` and ``jobmon workflow plan`` for what is registered."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from command_line import Run

from jobmon.client import status_commands
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.requester import Requester


def ids(workflow: Workflow) -> dict[str, int]:
    return {task.name: task.task_id for task in workflow.tasks.values()}


def test_explain(run: Run, workflow: Workflow) -> None:
    """In words, as JSON and in Python the same."""
    tasks = ids(workflow)
    words = run("task", "explain", tasks["two"]).stdout
    assert words.startswith(
        f"Task {tasks['two']} (two), template step, workflow {workflow.workflow_id} 'steps': FATAL\n"
    )
    assert "all of its attempts are used up (2 of 2)" in words
    assert "    alas\n" in words
    assert f"Next:  jobmon workflow resume -w {workflow.workflow_id}" in words
    assert words.count("| code ") == 2  # its attempts
    found = json.loads(run("task", "explain", tasks["three"], "-o", "json").stdout)
    assert [reason["why"] for reason in found["reasons"]] == ["no_run_alive", "upstream_failed"]
    assert found["reasons"][1]["tasks"] == [{"id": tasks["two"], "name": "two", "status": "F"}]
    explanation = status_commands.explain_task(tasks["one"])
    assert (explanation.label, explanation.reasons[0].why) == ("DONE", "done")
    one = next(task for task in workflow.tasks.values() if task.name == "one")
    assert str(one.explain()) == str(explanation) == run("task", "explain", tasks["one"]).stdout.rstrip("\n")
    assert "<pre>Task" in explanation._repr_html_()
    assert "\n-[ 1 ]-" in explanation.text(40)  # too narrow for a table
    unknown = run("task", "explain", 999)
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: There is no task 999.\n")


def test_moments_are_those_of_the_clock_here(
    run: Run, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = next(task.task_id for task in workflow.tasks.values() if task.name == "one")
    in_utc = re.search(r"done at (.{19}) UTC", run("task", "explain", task_id, "-o", "json").stdout)
    assert in_utc
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        told = run("task", "explain", task_id).stdout
    finally:
        monkeypatch.undo()
        time.tzset()
    there = datetime.fromisoformat(in_utc[1]) + timedelta(hours=9)
    assert f"done at {there:%Y-%m-%d %H:%M:%S} in" in told


def test_explain_against_an_earlier_workflow(run: Run, requester: Requester) -> None:
    """What differs, by the name of the arg."""
    tool = Tool("years", requester=requester)
    template = tool.get_task_template(
        "fit", "true {n} {year} {speed}", ["n"], ["year"], ["speed"], default_cluster_name="sequential"
    )
    words = []
    for number, (year, speed) in enumerate([(2019, "slow"), (2019, "slow"), (2020, "slow"), (2020, "fast")]):
        workflow = tool.create_workflow(workflow_args=str(number))
        workflow.add_task(template.create_task(n=1, year=year, speed=speed))
        workflow.bind()
        (task_id,) = ids(workflow).values()
        words.append(run("task", "explain", task_id).stdout)
    assert "Against the past" not in words[0]
    assert "unchanged since task 1 of workflow 1" in words[1]
    assert "changed since task 2 of workflow 2:\n    task arg year was 2019, is 2020" in words[2]
    assert "op arg speed was slow, is fast" in words[3]


def test_plan_of_a_registered_workflow(run: Run, workflow: Workflow, directory: Path) -> None:
    """What a resume would do; again after a reset by hand; and when all is done."""
    words = run("workflow", "plan", workflow.workflow_id).stdout
    assert words.startswith(
        f"Workflow {workflow.workflow_id} 'steps': a run would run 2 of 3 tasks (1 new, 1 failed before) and skip 1"
    )
    assert "Longest chain: 2 tasks: two -> three" in words
    run("task", "update", "-t", ids(workflow)["two"], "-s", "G")
    plan = json.loads(run("workflow", "plan", workflow.workflow_id, "-o", "json").stdout)
    assert plan["counts"] == {"done": 1, "new": 1, "reset by hand": 1}
    assert plan["longest_chain"]["tasks"] == ["two", "three"]
    (directory / "mended").touch()
    assert workflow.run(resume=True) == "D"
    assert "is complete: run() would refuse it." in run("workflow", "plan", workflow.workflow_id).stdout
    assert "There is no workflow 99." in run("workflow", "plan", 99).stderr


def test_plan_of_what_is_neither(run: Run, requester: Requester) -> None:
    missing = run("workflow", "plan", "nothing.py")
    assert (missing.exit_code, "There is no script nothing.py" in missing.stderr) == (1, True)
    assert run("workflow", "plan", 1, "--", "x").exit_code == 2
