"""The hierarchical commands as the page of public behaviour lists them: options, defaults, columns, forms of output."""

from __future__ import annotations

import csv
import io
import json

import click
import pytest
from command_line import Run

from jobmon.client.cli import cli
from jobmon.client.cli.group import walk
from jobmon.client.workflow import Workflow

PAGE = """
version: --components
workflow status: -w --workflow-id -u --user -l --limit=5 -o --output=table
workflow tasks: -w --workflow-id -s --status -l --limit=5 -o --output=table
workflow reset: -w --workflow-id -p --partial
workflow resume: -w --workflow-id -c --cluster --reset-running -t --timeout=180 --execution-timeout=36000
    --keep-resources --force-cleanup
workflow concurrency: -w --workflow-id -m --max-tasks
workflow logs: -w --workflow-id -a --array -j --job -l --limit=5 -o --output=table
workflow resources usage: -t --template-version -w --workflow-id -a --node-args
workflow resources yaml: -w --workflow-id -t --task-id --mem-strategy=avg --core-strategy=avg --runtime-strategy=max
    -c --cluster -f --file --stdout
task status: -t --task-id -s --status -l --limit -o --output=table
task update: -t --task-id -w --workflow-id -s --status -f --force -r --recursive
task dependencies: -t --task-id -o --output=table
config show: --section --key -o --output=yaml
config set: --config-file
"""
LINES = PAGE.strip().replace("\n    ", " ").splitlines()
COMMANDS = dict(walk(cli))


@pytest.mark.parametrize("line", LINES)
def test_options_and_defaults(line: str) -> None:
    path, _, text = line.partition(":")
    options = {name: each for each in COMMANDS[path].params for name in each.opts}
    for word in text.split():
        name, _, default = word.partition("=")
        assert name in options, f"{path} {name}"
        if default:
            assert str(options[name].default) == default


def test_global_options() -> None:
    names = {name for each in cli.params for name in each.opts}
    assert {"-v", "--verbose", "--debug"} <= names


def test_short_forms_mean_the_same_everywhere() -> None:
    """A letter of the options that many commands share is never something else."""
    shared = {"-w": "--workflow-id", "-o": "--output", "-l": "--limit"}
    for path, command in COMMANDS.items():
        for each in command.params:
            for short, long in shared.items():
                if isinstance(each, click.Option) and short in each.opts:
                    assert long in each.opts, path


COLUMNS = {
    "workflow status -w {workflow}": "WF_ID WF_NAME WF_STATUS CREATED_DATE TASKS PENDING SCHEDULED RUNNING DONE FATAL "
    "RETRIES",
    "workflow tasks {workflow}": "TASK_ID TASK_NAME STATUS RETRIES",
    "workflow logs {workflow}": "TASK_ID TASK_NAME ARRAY_NAME TASK_INSTANCE_ID OUTPUT_PATH ERROR_PATH",
    "task status -t {task}": "TASK_ID task_status TASK_INSTANCE_ID DISTRIBUTOR_ID STATUS RESOURCE_USAGE STDOUT STDERR "
    "ERROR_TRACE",
}


@pytest.mark.parametrize("line", COLUMNS)
def test_columns_in_every_form(line: str, run: Run, workflow: Workflow) -> None:
    """A table may have cells of many lines; CSV is for programs and has every column, JSON at least these."""
    task_id = next(task.task_id for task in workflow.tasks.values() if task.name == "two")
    words = line.format(workflow=workflow.workflow_id, task=task_id).split()
    columns = COLUMNS[line].split()

    table = run(*words)
    assert table.exit_code == 0, table.output
    (header,) = [row for row in table.stdout.splitlines() if columns[0] in row and columns[-1] in row]
    assert [word for word in header.split() if word != "|"] == columns

    rows = list(csv.DictReader(io.StringIO(run(*words, "-o", "csv").stdout)))
    assert rows
    assert list(rows[0])[: len(columns)] == columns

    found = json.loads(run(*words, "-o", "json").stdout)
    assert len(found) == len(rows)
    assert set(columns) <= set(found[0])


def test_dependencies_in_every_form(run: Run, workflow: Workflow) -> None:
    task_id = next(task.task_id for task in workflow.tasks.values() if task.name == "two")
    rows = list(csv.DictReader(io.StringIO(run("task", "dependencies", "-t", task_id, "-o", "csv").stdout)))
    assert [(row["DIRECTION"], row["TASK_NAME"], row["STATUS"]) for row in rows] == [
        ("down", "three", "PENDING")
    ]
    assert json.loads(run("task", "dependencies", "-t", task_id, "-o", "json").stdout)["up"] == []
    assert "Upstream tasks:\n  none\n" in run("task", "dependencies", "-t", task_id).stdout


def test_states_may_be_typed_in_small_letters(run: Run, workflow: Workflow) -> None:
    """And the id may follow them."""
    words = ("workflow", "tasks", "-o", "json", "-s", "done", "Fatal", workflow.workflow_id)
    assert {row["STATUS"] for row in json.loads(run(*words).stdout)} == {"DONE", "FATAL"}
    assert "is not one of 'PENDING'" in run("workflow", "tasks", "1", "-s", "nothing").stderr
