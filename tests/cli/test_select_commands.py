"""Choosing tasks at the command line: looking at them, setting them by hand; the real server, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from command_line import Run

from jobmon.client.cli import cli
from jobmon.client.commands.select import select_tasks, selected_task_records
from jobmon.client.commands.task import count_update, get_sub_task_tree, update_task_status
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester


@pytest.fixture
def fits(requester: Requester, tmp_path: Path) -> Workflow:
    """Fits of three countries by two ages, all done but those of Peru, which failed, and a summary of all."""
    tool = Tool("select", requester=requester, default_cluster_name="sequential", default_max_attempts=1)
    fit = tool.get_task_template("fit", "test {country} != Peru # {age}", ["country", "age"])
    total = tool.get_task_template("total", ": {what}", ["what"])
    workflow = tool.create_workflow(name="fits", workflow_args="fits")
    tasks = fit.create_tasks(country=["Chile", "Norway", "Peru"], age=[0, 5])
    tasks[0].add_attribute("checked", "by ada")
    tasks[1].add_attribute("checked", None)
    checks = tool.get_task_template("check", ": {country}", ["country"])
    check = checks.create_task(country="Chile", upstream_tasks=tasks[:2])
    summary = total.create_task(what="all", upstream_tasks=tasks)
    workflow.add_tasks([*tasks, check, summary])
    assert workflow.run() == "E"
    return workflow


def names(fits: Workflow, *words: object, limit: int = 100) -> list[str]:
    result = CliRunner().invoke(
        cli, ["workflow", "tasks", str(fits.workflow_id), "-l", str(limit), "-o", "json", *map(str, words)]
    )
    assert result.exit_code == 0, result.output
    return [row["TASK_NAME"] for row in json.loads(result.stdout)]


def ids_of(fits: Workflow, *wanted: str) -> list[int]:
    return sorted(task.task_id for task in fits.tasks.values() if task.name in wanted)


def statuses(fits: Workflow) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in selected_task_records(fits.workflow_id):
        counts[row["STATUS"]] = counts.get(row["STATUS"], 0) + 1
    return counts


def test_looking(fits: Workflow, run: Run) -> None:
    assert names(fits, "--template", "fit", "-s", "FATAL") == [
        "fit_country-Peru_age-0",
        "fit_country-Peru_age-5",
    ]
    assert names(fits, "--node-arg", "country=Chile", "--node-arg", "age=5") == ["fit_country-Chile_age-5"]
    assert len(names(fits, "--node-arg", "country=Chile", "--node-arg", "country=Peru")) == 5
    assert len(names(fits, "--attribute", "checked")) == 2
    assert names(fits, "--attribute", "checked=by ada") == ["fit_country-Chile_age-0"]
    assert len(names(fits, "--template", "fit", "--template", "total", limit=4)) == 4
    assert "TASK_NAME" in run("workflow", "tasks", fits.workflow_id, "--template", "total").output
    wrong = run("workflow", "tasks", fits.workflow_id, "--node-arg", "country")
    assert (wrong.exit_code, "NAME=VALUE" in wrong.stderr) == (2, True)
    unknown = run("workflow", "tasks", fits.workflow_id, "--template", "fitt")
    assert (unknown.exit_code, "Its templates: check, fit, total" in unknown.stderr) == (1, True)


def test_limit_of_one_template(fits: Workflow, run: Run) -> None:
    words = ["workflow", "concurrency", "-w", fits.workflow_id, "-m", 2, "--template"]
    assert "at most 2 tasks of 'fit' at once" in run(*words, "fit").output
    wrong = run(*words, "fitt")
    assert (
        wrong.exit_code,
        "no tasks of the template 'fitt'. Its templates: check, fit, total" in wrong.stderr,
    ) == (
        1,
        True,
    )


def test_in_python(fits: Workflow) -> None:
    def chosen(**conditions: Any) -> list[int]:
        return select_tasks(fits.workflow_id, **conditions)

    peru = ids_of(fits, "fit_country-Peru_age-0", "fit_country-Peru_age-5")
    assert chosen(status="FATAL") == chosen(status=["F"]) == chosen(node_args={"country": "Peru"}) == peru
    assert chosen(template="fit", node_args={"age": range(6), "country": ("Peru",)}) == peru
    assert chosen(task_ids=[*peru, *ids_of(fits, "check_country-Chile")], status="DONE") == ids_of(
        fits, "check_country-Chile"
    )
    assert chosen(task_ids=peru[0]) == peru[:1]
    assert chosen(task_ids=[]) == []
    assert len(chosen(attributes=["checked"])) == len(chosen(attributes={"checked": None})) == 2
    assert chosen(limit=2) == chosen()[:2]
    with pytest.raises(UsageError, match="'fatal error' is not a status"):
        chosen(status="fatal error")
    with pytest.raises(UsageError, match="limit"):
        chosen(limit=0)
    with pytest.raises(UsageError, match="No value"):
        chosen(node_args={"age": []})
    tree = get_sub_task_tree(peru)
    assert tree == {**dict.fromkeys(peru, "F"), ids_of(fits, "total_what-all")[0]: "G"}
    assert get_sub_task_tree(peru[0], "PENDING") == get_sub_task_tree(peru[0], ["G"])


def test_setting_what_is_chosen(fits: Workflow, run: Run) -> None:
    words = ["task", "update", "-w", fits.workflow_id, "--template", "fit", "--in-status", "FATAL", "-s", "G"]
    refused = run(*words)
    assert refused.exit_code == 1
    assert (
        f"2 tasks of workflow {fits.workflow_id} and 1 that wait for them will be set to REGISTERED"
        in refused.stderr
    )
    assert "add -y" in refused.stderr
    assert statuses(fits) == {"DONE": 5, "FATAL": 2, "PENDING": 1}
    agreed = run(*words, "-y")
    assert agreed.exit_code == 0, agreed.output
    assert "2 of 3 tasks (with 1 task that waits for them) were set to REGISTERED" in agreed.output
    nothing = run(*words, "-y")
    assert (nothing.exit_code, "No task of workflow" in nothing.stderr) == (1, True)
    assert (
        run("task", "update", "-w", fits.workflow_id, "--template", "fit", "-s", "D", "-r", "-y").exit_code
        == 0
    )
    assert statuses(fits) == {"DONE": 8}


def test_a_terminal_is_asked(fits: Workflow, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["task", "update", "-w", str(fits.workflow_id), "--in-status", "FATAL", "-s", "D"]
    asked: list[str] = []

    monkeypatch.setattr("jobmon.client.cli.task._is_terminal", lambda: True)
    monkeypatch.setattr("click.confirm", lambda text, abort: asked.append(text))
    assert run(*words).exit_code == 0
    assert asked == [f"2 tasks of workflow {fits.workflow_id} will be set to DONE. Go on?"]
    assert statuses(fits) == {"DONE": 7, "PENDING": 1}


def test_only_these(fits: Workflow, run: Run) -> None:
    (chile,) = ids_of(fits, "fit_country-Chile_age-0")
    (check,) = ids_of(fits, "check_country-Chile")
    refused = run("task", "update", "-t", chile, "-s", "G", "--only")
    assert refused.exit_code == 1
    assert f"task {check} is DONE" in refused.stderr
    with pytest.raises(AssertionError, match="used what they made"):
        update_task_status([chile], fits.workflow_id, "G", downstream=False)
    assert count_update([chile], fits.workflow_id, "G") == 3
    assert run("task", "update", "-t", chile, check, "-s", "G", "--only").exit_code == 0
    assert statuses(fits) == {"DONE": 3, "FATAL": 2, "PENDING": 3}
    with pytest.raises(AssertionError, match="Not both"):
        update_task_status([chile], fits.workflow_id, "G", recursive=True, downstream=False)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-s", "D"], "workflow reset"),
        (["-s", "D", "-w", "1"], "workflow reset"),
        (["-s", "D", "-t", "1", "--template", "fit"], "not both"),
        (["-s", "D", "--template", "fit"], "name it with -w"),
        (["-s", "G", "-t", "1", "--only", "-r"], "contradict"),
    ],
)
def test_words_that_say_too_little_or_too_much(run: Run, words: list[str], reason: str) -> None:
    result = run("task", "update", *words)
    assert (result.exit_code, reason in result.stderr) == (2, True), result.output
