"""Looking at a workflow that failed, changing it by hand, and going on with it; the real server, in this process."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

from jobmon.client import status_commands
from jobmon.client.workflow import Workflow
from jobmon.core.exceptions import NotFoundError, WorkflowRunStateError


def as_json(run: Run, *words: object) -> Any:
    result = run(*words, "-o", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def as_user(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("jobmon.core.requester._cached_user", name)


def test_status_in_json_and_as_a_table(run: Run, workflow: Workflow) -> None:
    (row,) = as_json(run, "workflow", "status")
    assert {
        name: row[name]
        for name in ("WF_ID", "WF_NAME", "WF_STATUS", "TASKS", "PENDING", "DONE", "FATAL", "RETRIES")
    } == {
        "WF_ID": workflow.workflow_id,
        "WF_NAME": "steps",
        "WF_STATUS": "FAILED",
        "TASKS": 3,
        "PENDING": 1,
        "DONE": 1,
        "FATAL": 1,
        "RETRIES": 1,
    }
    table = run("workflow", "status", "-w", workflow.workflow_id).output
    header = "WF_ID WF_NAME WF_STATUS CREATED_DATE TASKS PENDING SCHEDULED RUNNING DONE FATAL RETRIES"
    assert [word for word in table.splitlines()[1].split() if word != "|"] == header.split()
    assert "1 (33.3%)" in table
    assert f"jobmon workflow tasks -w {workflow.workflow_id} -s FATAL" in table


def test_status_of_others(run: Run, workflow: Workflow) -> None:
    assert as_json(run, "workflow", "status", "-u", "nobody", "else") == []
    assert len(as_json(run, "workflow", "status", "-u", getpass.getuser())) == 1
    result = run("workflow", "status", "-w", workflow.workflow_id, 98, 99)
    assert (result.exit_code, result.stderr) == (1, "Error: There is no workflow 98, 99.\n")


def test_from_the_failed_task_to_the_reason(run: Run, workflow: Workflow) -> None:
    (failed,) = as_json(run, "workflow", "tasks", "-w", workflow.workflow_id, "-s", "FATAL")
    assert (failed["TASK_NAME"], failed["STATUS"], failed["RETRIES"]) == ("two", "FATAL", 1)
    attempts = as_json(run, "task", "status", "-t", failed["TASK_ID"])
    assert len(attempts) == 2
    assert "3" in attempts[-1]["ERROR_TRACE"]
    assert "alas" in attempts[-1]["ERROR_TRACE"]
    assert Path(attempts[-1]["STDERR"]).read_text() == "alas\n"
    logs = as_json(run, "workflow", "logs", "-w", workflow.workflow_id, "-j", "two")
    assert [row["ERROR_PATH"] for row in logs] == [row["STDERR"] for row in attempts]
    table = run("task", "status", "-t", failed["TASK_ID"]).output
    assert table.startswith(f"TASK_IDS: [{failed['TASK_ID']}]\n")
    assert f"jobmon workflow resume -w {workflow.workflow_id}" in table


def test_dependencies(run: Run, workflow: Workflow) -> None:
    tasks = {task.name: task.task_id for task in workflow.tasks.values()}
    found = as_json(run, "task", "dependencies", "-t", tasks["three"])
    assert [row["name"] for row in found["up"]] == ["one", "two"]
    assert found["down"] == []
    output = run("task", "dependencies", "-t", tasks["one"]).output
    assert "three" in output.split("Downstream")[1]


def test_ids_with_and_without_their_option(run: Run, workflow: Workflow) -> None:
    """Lists both ways, in any order, mixed."""
    other = workflow.tool_version.tool.create_workflow(name="other")
    template = next(iter(workflow.arrays.values())).task_template_version.task_template
    other.add_task(template.create_task(name="four", command="echo 4", cluster_name="sequential"))
    other.bind()
    ids = [workflow.workflow_id, other.workflow_id]
    tasks = [task.task_id for task in workflow.tasks.values()]
    for words in ((*ids,), ("-w", *ids), (ids[0], "-w", ids[1]), ("-o", "csv", *ids, "-l", 3)):
        answer = json.loads(run("workflow", "status", *words, "-o", "json").stdout)
        assert sorted(row["WF_ID"] for row in answer) == ids
    told = [
        run("task", "status", *words).stdout
        for words in ((*tasks[:2],), ("-t", *tasks[:2]), ("-s", "DONE", "FATAL", *tasks[:2]))
    ]
    assert told[0] == told[1] == told[2]
    for command in ("dependencies", "explain"):
        assert run("task", command, tasks[0]).stdout == run("task", command, "-t", tasks[0]).stdout
    assert "1 of 1 task" in run("task", "update", tasks[1], "-s", "DONE").stdout


def test_a_list_that_was_cut_says_so(run: Run, workflow: Workflow) -> None:
    """On stderr, so that programs may read what there is."""
    for command in ("tasks", "logs"):
        cut = run("workflow", command, workflow.workflow_id, "-l", 2, "-o", "csv")
        assert len(cut.stdout.splitlines()) == 3
        assert cut.stderr == "These are the first 2; -l 40 shows up to 40.\n"
        assert run("workflow", command, workflow.workflow_id, "-l", 40).stderr == ""
    assert "There is no workflow of nobody yet." in run("workflow", "status", "-u", "nobody").stderr


def test_mend_and_resume(run: Run, workflow: Workflow, directory: Path) -> None:
    result = run("workflow", "resume", "-w", workflow.workflow_id)
    assert result.exit_code == 1
    assert "alas" in result.stderr
    assert "Traceback" not in result.stderr
    (directory / "mended").touch()
    result = run("workflow", "resume", "-w", workflow.workflow_id, "-c", "sequential")
    assert result.exit_code == 0, result.output
    assert "3 of 3 tasks done" in result.stdout
    result = run("workflow", "resume", "-w", workflow.workflow_id)
    assert (result.exit_code, "done already" in result.stderr) == (1, True)


def test_resume_refuses_another_cluster(run: Run, workflow: Workflow) -> None:
    result = run("workflow", "resume", "-w", workflow.workflow_id, "-c", "slurm")
    assert result.exit_code == 1
    assert "are for cluster sequential, not for 'slurm'" in result.stderr


def test_set_by_hand(run: Run, workflow: Workflow) -> None:
    tasks = {task.name: task.task_id for task in workflow.tasks.values()}
    result = run("task", "update", "-t", tasks["two"], tasks["three"], "-s", "DONE")
    assert result.exit_code == 0, result.output
    assert f"workflow {workflow.workflow_id} is DONE" in result.output
    result = run("task", "update", "-t", tasks["one"], "-w", workflow.workflow_id, "-s", "G")
    assert "2 of 2 tasks (with 1 task that waits for them) were set to REGISTERED" in result.output
    assert as_json(run, "workflow", "status")[0]["WF_STATUS"] == "HALTED"


def test_reset(run: Run, workflow: Workflow) -> None:
    assert "2 of its tasks will run" in run("workflow", "reset", "-w", workflow.workflow_id, "-p").output
    assert "3 of its tasks will run" in run("workflow", "reset", "-w", workflow.workflow_id).output
    assert as_json(run, "workflow", "status")[0]["PENDING"] == 3


def test_limit_and_stop_of_what_does_not_run(run: Run, workflow: Workflow) -> None:
    assert "at most 7 tasks" in run("workflow", "concurrency", "-w", workflow.workflow_id, "-m", 7).output
    assert "no more tasks" in run("workflow", "concurrency", "-w", workflow.workflow_id, "-m", 0).output
    assert "was not running" in run("workflow", "stop", workflow.workflow_id).output


def test_only_the_owner_changes(run: Run, workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = next(iter(workflow.tasks.values())).task_id
    as_user(monkeypatch, "eve")
    for words in (
        ["workflow", "reset", "-w", workflow.workflow_id],
        ["workflow", "stop", workflow.workflow_id],
        ["workflow", "concurrency", "-w", workflow.workflow_id, "-m", 1],
        ["workflow", "resume", "-w", workflow.workflow_id],
        ["task", "update", "-t", task_id, "-s", "D"],
    ):
        result = run(*words)
        assert result.exit_code == 1
        assert "user eve may not change it" in result.stderr
    assert run("workflow", "status", "-w", workflow.workflow_id).exit_code == 0


def test_functions_for_scripts(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow_id, requester = workflow.workflow_id, workflow.requester
    ids = [task.task_id for task in workflow.tasks.values()]
    rows = status_commands.workflow_status(workflow_id)
    assert len(rows) == 1
    assert (
        json.loads(status_commands.workflow_tasks(workflow_id, status=["DONE"], json=True))[0]["TASK_NAME"]
        == "one"
    )
    assert len(status_commands.task_status(ids)) == 4
    assert status_commands.validate_workflow(ids, requester) == workflow_id
    with pytest.raises(NotFoundError, match="12345"):
        status_commands.validate_workflow([*ids, 12345], requester)
    with pytest.raises(AssertionError, match="not to 'R'"):
        status_commands.update_task_status(ids, workflow_id, "R")
    with pytest.raises(AssertionError, match="belongs to"):
        status_commands.validate_username(workflow_id, "eve", requester)
    status_commands.validate_username(workflow_id, getpass.getuser(), requester)
    with pytest.raises(WorkflowRunStateError, match="ERROR"):
        status_commands.resume_workflow_from_id(workflow_id, "sequential", log=False)
    as_user(monkeypatch, "eve")
    with pytest.raises(AssertionError, match="may not change"):
        status_commands.update_task_status(ids, workflow_id, "D")
