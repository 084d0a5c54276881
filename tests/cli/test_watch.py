"""``jobmon workflow errors`` and ``watch``, and what ``status`` says of a workflow that runs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Run
from rich.console import Console

from jobmon.client import status_commands
from jobmon.client.cli.watch import picture
from jobmon.client.commands import watch as commands
from jobmon.client.commands import workflow as workflow_commands
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.requester import Requester
from jobmon.serializers.monitor import (
    EtaRow,
    RunningTaskRow,
    TaskErrorRow,
    TemplateProgressRow,
    WorkflowOverviewResponse,
    WorkflowStatusRow,
)

FAILING = "test {loc} != 3 || {{ echo \"KeyError: 'k{n}'\" >&2; exit 3; }}"


@pytest.fixture
def located(requester: Requester) -> Workflow:
    """A workflow that ran: of its twelve tasks the four of location 3 failed."""
    tool = Tool("errors", requester=requester)
    template = tool.get_task_template(
        "fit", FAILING, node_args=["n", "loc"], default_cluster_name="sequential", max_attempts=2
    )
    workflow = tool.create_workflow(name="fits", workflow_args="errors")
    workflow.add_tasks(template.create_tasks(n=["1", "2", "3", "4"], loc=["1", "2", "3"]))
    assert workflow.run() == "E"
    return workflow


def test_what_went_wrong_in_a_workflow(run: Run, located: Workflow) -> None:
    result = run("workflow", "errors", located.workflow_id)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:3] == [
        f"workflow {located.workflow_id}: 4 tasks failed in one way",
        "",
        "4 tasks: KeyError: '<id>'",
    ]
    assert "all 4 have loc 3; none of the 8 that are done have it" in result.stdout
    assert "look closer: jobmon task status -t" in result.stdout
    assert f"jobmon workflow resume -w {located.workflow_id}" in result.stdout
    (row,) = json.loads(run("workflow", "errors", "-w", located.workflow_id, "-o", "json").stdout)
    assert (row["TASKS"], row["ATTEMPTS"], row["CAUSE"], row["TEMPLATES"]) == (4, 4, "code", {"fit": 4})
    assert row == status_commands.workflow_errors(located.workflow_id)[0]
    (everything,) = csv.DictReader(
        io.StringIO(run("workflow", "errors", located.workflow_id, "--all", "-o", "csv").stdout)
    )
    assert (everything["TASKS"], everything["ATTEMPTS"], everything["TEMPLATES"]) == ("4", "8", "fit: 4")


def test_what_failures_share_though_they_say_something_else(
    run: Run, requester: Requester, tmp_path: Path
) -> None:
    """Two texts, too few of each to tell; together they are of one location."""
    tool = Tool("mixed", requester=requester)
    template = tool.get_task_template(
        "fit",
        "test {loc} != 3 || {{ case {n} in 1|2) echo 'no input';; *) echo 'no room';; esac >&2; exit 3; }}",
        node_args=["n", "loc"],
        default_cluster_name="sequential",
        max_attempts=1,
    )
    workflow = tool.create_workflow()
    workflow.add_tasks(template.create_tasks(n=["1", "2", "3", "4"], loc=["1", "2", "3"]))
    assert workflow.run() == "E"
    told = run("workflow", "errors", workflow.workflow_id).stdout
    shared = "all 4 have loc 3; none of the 8 that are done have it"
    assert told.splitlines()[:2] == [
        f"workflow {workflow.workflow_id}: 4 tasks failed in 2 ways",
        f"  failures of fit together: {shared}",
    ]
    assert told.count("have loc 3") == 1
    page = tmp_path / "report.html"
    assert run("workflow", "report", workflow.workflow_id, "-o", page).exit_code == 0
    assert f"<li>fit: {shared}</li>" in page.read_text()


def test_no_errors_and_no_workflow(run: Run, requester: Requester, tmp_path: Path) -> None:
    tool = Tool("fine", requester=requester)
    template = tool.get_task_template("ok", "true {n}", node_args=["n"], default_cluster_name="sequential")
    workflow = tool.create_workflow()
    workflow.add_task(template.create_task(n="1"))
    assert workflow.run() == "D"
    result = run("workflow", "errors", workflow.workflow_id)
    assert result.stdout == f"No attempt of workflow {workflow.workflow_id} has failed.\n"
    retried = tool.create_workflow()
    once = f"test -e {tmp_path}/once || {{ touch {tmp_path}/once; false; }}"
    twice = tool.get_task_template("twice", "{command}", ["command"], default_cluster_name="sequential")
    retried.add_task(twice.create_task(command=once, max_attempts=2))
    assert retried.run() == "D"
    result = run("workflow", "errors", retried.workflow_id)
    assert result.stdout.splitlines() == [
        f"No task of workflow {retried.workflow_id} that is not done has failed.",
        f"Failures that another attempt made good:  jobmon workflow errors {retried.workflow_id} --all",
    ]
    assert run("workflow", "errors", 99).exit_code == 1
    assert run("workflow", "errors").exit_code == 2
    result = run("workflow", "watch", workflow.workflow_id)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert ": DONE, " in result.stdout


def test_failed_attempts_tell_their_stories(run: Run, workflow: Workflow) -> None:
    two = next(task for task in workflow.tasks.values() if task.name == "two")
    output = run("task", "status", "-t", two.task_id).output
    assert f"two (task {two.task_id}), attempt 1 of 2, sequential" in output
    assert "    ran again as attempt 2\n" in output
    assert "    gave up after 2 attempts\n" in output
    found = two.get_errors()
    assert found is not None
    assert "gave up after 2 attempts" in found["story"]


def test_watching_a_workflow_that_failed(run: Run, workflow: Workflow) -> None:
    result = run("workflow", "watch", workflow.workflow_id)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("failed: two (task ")
    assert "alas (attempt 1 of 2" in lines[0]
    assert lines[1].startswith("failed: two (task ")
    assert ": FAILED, " in lines[2]
    assert lines[2].endswith(": 1 pending, 1 done, 1 fatal")
    assert f"jobmon workflow resume -w {workflow.workflow_id}" in result.stdout


# -- while it runs --------------------------------------------------------------------------------------
ETA = EtaRow(45.2, 120.0, 7800.0, 6600.0, 9600.0, "from the mean run time of 4 500 finished tasks")


def failure(number: int) -> TaskErrorRow:
    return TaskErrorRow(
        number, f"fit_with_a_long_name_{number}", number, number, "", "KeyError: '[red]'", "", "", ""
    )


def overview(status: str = "R", done: int = 45, failures: int = 0) -> WorkflowOverviewResponse:
    templates = [
        TemplateProgressRow(
            n, f"template_{n}_of_a_rather_long_name", {"D": done, "F": 1, "G": n, "R": 2}, 62.0
        )
        for n in range(1, 30)
    ]
    return WorkflowOverviewResponse(
        3,
        "demo [bold]",
        status,
        724.0,
        {"D": done, "R": 12, "G": 30, "O": 3, "F": 1},
        templates,
        ETA if status == "R" else None,
        [failure(n) for n in range(failures, 0, -1)],
        [RunningTaskRow(5, "fit_5", 7, "node-with-a-name.of.a.cluster", 93.0)],
    )


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 30), (200, 60), (30, 10)])
def test_the_picture_fits_the_terminal(width: int, height: int) -> None:
    text = drawn(overview(failures=5), width, height)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 24)
    if width >= 60:
        assert "workflow 3 'demo [bold]': RUNNING, 12 min 04 s" in text
        assert "45 % done, 120 tasks a minute, about 2 h 10 min left" in text
        assert "FAILED" in text
        assert "KeyError: '[red]'" in text
        assert ("more templates" in text) == (height < 50)
        assert "1 min 33 s  fit_5 (task 5) on node" in text


def drawn(seen: WorkflowOverviewResponse, width: int, height: int, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, **options)
    console.print(picture(seen, width, height))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_colours_are_off_when_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = {"force_terminal": True, "color_system": "standard"}
    assert "\x1b[31m" in drawn(overview(failures=1), 80, 30, **terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in drawn(overview(failures=1), 80, 30, **terminal)


def test_lines_are_about_what_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each new failure and for other counts, none when nothing has changed."""
    seen = [
        overview(),
        overview(),
        overview(done=46, failures=1),
        overview(done=46, failures=2),
        overview("D", done=100),
    ]
    monkeypatch.setattr(commands, "overviews", lambda workflow_id, wait: iter(seen))
    result = run("workflow", "watch", 3)
    assert result.exit_code == 0, result.output
    assert [line.split(",")[0] for line in result.stdout.splitlines()] == [
        "workflow 3 'demo [bold]': RUNNING",
        "failed: fit_with_a_long_name_1 (task 1): KeyError: '[red]'",
        "workflow 3 'demo [bold]': RUNNING",
        "failed: fit_with_a_long_name_2 (task 2): KeyError: '[red]'",
        "workflow 3 'demo [bold]': DONE",
    ]
    assert "45 % done, 120 tasks a minute" in result.stdout


def test_it_is_looked_at_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([overview("G"), overview("Q"), overview("R"), overview("F"), overview("D")])
    monkeypatch.setattr(commands, "workflow_overview", lambda *_, **__: next(seen))
    monkeypatch.setattr(Requester, "from_defaults", classmethod(lambda cls, config=None: None))
    waits: list[int] = []
    looks = list(commands.overviews(3, lambda: waits.append(1)))
    assert ("".join(look.status for look in looks), len(waits)) == ("GQRF", 3)


def test_status_says_how_far_a_running_workflow_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        WorkflowStatusRow(3, "demo", "R", "", {"D": 1, "G": 1}, 0, ETA),
        WorkflowStatusRow(2, "old", "D", "", {"D": 2}, 0),
    ]
    monkeypatch.setattr(workflow_commands, "workflow_status_rows", lambda *_, **__: rows)
    output = run("workflow", "status").output
    assert "\nworkflow 3: 45 % done, 120 tasks a minute, about 2 h 10 min left" in output
    assert "jobmon workflow watch 3" in output
    assert "workflow 2:" not in output
    found = json.loads(run("workflow", "status", "-o", "json").stdout)
    assert [(r["PERCENT_DONE"], r["RATE_PER_MINUTE"], r["REMAINING_SECONDS"]) for r in found] == [
        (50.0, 120.0, 7800.0),
        (100.0, None, None),
    ]
    lines = run("workflow", "status", "-o", "csv").stdout.splitlines()
    assert lines[0].endswith(",RETRIES,PERCENT_DONE,RATE_PER_MINUTE,REMAINING_SECONDS")
    assert lines[1].endswith(",50.0,120.0,7800.0")
    assert lines[2].endswith(",100.0,,")


def test_logs_of_failures_exist(located: Workflow) -> None:
    """What a failure points at can be read."""
    errors = located.get_errors()
    assert all(Path(entry["error_log"][0]["stderr"]).exists() for entry in errors.values())
