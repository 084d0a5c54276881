"""The flat names of earlier generations: translated into the commands of today, one home for what is done."""

from __future__ import annotations

import inspect
import json
import shlex
import warnings
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from command_line import Run

import jobmon.client.cli
from jobmon.client.cli import cli
from jobmon.client.cli.flat import FLAT, FlatCommand
from jobmon.client.cli.group import walk
from jobmon.client.workflow import Workflow

PAGE = """
workflow_status: -w --workflow_id -u --user -n --json -l --limit
workflow_tasks: -w --workflow_id -s --status -n --json -l --limit
task_template_resources: -t --task_template_version -w --workflows -a --node_args
task_status: -t --task_ids -s --status -n --json
update_task_status: -t --task_ids -w --workflow_id -s --new_status -f --force -r --recursive
concurrency_limit: -w --workflow_id -m --max_tasks
task_dependencies: -t --task_id
workflow_reset: -w --workflow_id -p --partial_reset
create_resource_yaml: -w --workflow_id -t --task_id --value_mem --value_core --value_runtime -f --file -p --print -c --clusters
get_filepaths: -w --workflow_id -a --array_name -j --job_name -l --limit -n --json
workflow_resume: -w --workflow_id -c --cluster_name --reset-running-jobs -t --timeout --seconds-until-timeout
    --use-original-resources --increase-resource --force-cleanup
update_config: --config-file
"""
TRANSLATIONS = [
    ("workflow_status -w 1 2 -w 3 -u me you -n -l 7", "workflow status -w 1 2 3 -u me you -l 7 -o json"),
    ("workflow_status", "workflow status"),
    ("workflow_tasks --workflow_id 1 --status DONE fatal", "workflow tasks -w 1 -s DONE FATAL"),
    ("workflow_tasks -w 1 -l 5", "workflow tasks -w 1"),
    (
        "task_template_resources -t 4 -w 1 2 -a '{\"a\": [1]}'",
        "workflow resources usage -t 4 -w 1 2 -a '{\"a\": [1]}'",
    ),
    ("task_status -t 1 2 -s PENDING --json", "task status -t 1 2 -s PENDING -o json"),
    ("update_task_status -t 1 2 -w 3 -s G -f -r", "task update -t 1 2 -w 3 -s G -f -r"),
    ("concurrency_limit -w 1 -m 0", "workflow concurrency -w 1 -m 0"),
    ("task_dependencies -t 9", "task dependencies -t 9"),
    ("workflow_reset -w 1 -p", "workflow reset -w 1 -p"),
    (
        "create_resource_yaml -t 1 --value_mem max --value_runtime max -p -f out.yaml -c a b",
        "workflow resources yaml -t 1 --mem-strategy max -f out.yaml --stdout -c a b",
    ),
    ("get_filepaths -w 1 -a x -j y -n", "workflow logs -w 1 -a x -j y -o json"),
    (
        "workflow_resume -w 1 -c slurm --reset-running-jobs -t 20 --seconds-until-timeout 60 --use-original-resources",
        "workflow resume -w 1 -c slurm --reset-running -t 20.0 --execution-timeout 60.0 --keep-resources",
    ),
    ("workflow_resume -w 1 --increase-resource --force-cleanup", "workflow resume -w 1 --force-cleanup"),
    ("update_config db.pool.size 3 --config-file f", "config set --config-file f db.pool.size 3"),
    ("update_config http.request_timeout -- -1", "config set -- http.request_timeout -1"),
]


def page_options() -> dict[str, set[str]]:
    lines = PAGE.strip().replace("\n    ", " ").splitlines()
    return {line.split(":")[0]: set(line.split(":")[1].split()) for line in lines}


def test_every_name_and_option_of_the_page_exists() -> None:
    found = {
        name: {
            opt
            for each in flat.parameters
            if isinstance(each.parameter, click.Option)
            for opt in each.parameter.opts
        }
        for name, flat in FLAT.items()
    }
    assert found == page_options()


def test_what_they_are_now_exists() -> None:
    """Each command of today, with each option a flat one is translated into."""
    commands = dict(walk(cli))
    for name, flat in FLAT.items():
        options = {opt for parameter in commands[flat.now].params for opt in parameter.opts}
        for each in flat.parameters:
            if each.now:
                assert each.now.split()[0] in options, f"{name} {each.parameter.name}"


def test_hidden_from_help_but_mentioned() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output
    assert "workflow_status" in output.split("Commands:")[1].splitlines()[-2]
    assert not any(f"\n  {name}  " in output for name in FLAT)
    for name in FLAT:
        assert FLAT[name].now in CliRunner().invoke(cli, [name, "--help"]).output


@pytest.mark.parametrize(("typed", "today"), TRANSLATIONS)
def test_what_is_typed_is_translated(typed: str, today: str, monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out: list[Any] = []
    monkeypatch.setattr("jobmon.client.cli.flat.carry_out", lambda root, words: carried_out.append(words))
    result = CliRunner().invoke(cli, shlex.split(typed), color=True)
    assert result.exit_code == 0, result.output
    assert carried_out == [shlex.split(today)]
    assert f"type: jobmon {today}" in result.stderr
    assert result.stderr.startswith("\x1b[33mDEPRECATION WARNING: ")
    assert result.stdout == ""


@pytest.mark.parametrize(("typed", "today"), TRANSLATIONS)
def test_client_cli_understands_the_same(typed: str, today: str) -> None:
    """Namespaces as scripts know them, made from the same table."""
    with pytest.warns(DeprecationWarning, match="status_commands"):
        client = jobmon.client.cli.ClientCLI()
    namespace = client.parse_args(typed)
    assert FLAT[namespace.sub_command].words(vars(namespace)) == shlex.split(today)
    names = {each.parameter.name for each in FLAT[namespace.sub_command].parameters}
    assert names <= set(vars(namespace))


def test_the_namespace_of_client_cli(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = jobmon.client.cli.ClientCLI()
    namespace = client.parse_args("task_status -t 4 5 -t 6 -s done")
    assert (namespace.task_ids, namespace.status, namespace.json) == ([4, 5, 6], ["DONE"], False)
    namespace = client.parse_args("create_resource_yaml -w 1 -p")
    assert (namespace.value_mem, namespace.value_runtime, namespace.clusters) == ("avg", "max", ["slurm"])
    namespace = client.parse_args(f"workflow_tasks -w {workflow.workflow_id} -s DONE -n")
    namespace.func(namespace)
    assert json.loads(capsys.readouterr().out)[0]["TASK_NAME"] == "one"
    with pytest.raises(SystemExit):
        client.parse_args("workflow_tasks -w zero")
    assert "'zero' is no id" in capsys.readouterr().err


def test_flat_names_do_what_the_commands_of_today_do(run: Run, workflow: Workflow, directory: Path) -> None:
    workflow_id = workflow.workflow_id
    task_ids = {task.name: task.task_id for task in workflow.tasks.values()}
    for old, new in (
        (["workflow_status", "-w", workflow_id], ["workflow", "status", "-w", workflow_id]),
        (["workflow_tasks", "-w", workflow_id, "-n"], ["workflow", "tasks", "-w", workflow_id, "-o", "json"]),
        (["task_status", "-t", *task_ids.values()], ["task", "status", "-t", *task_ids.values()]),
        (["task_dependencies", "-t", task_ids["three"]], ["task", "dependencies", "-t", task_ids["three"]]),
        (["get_filepaths", "-w", workflow_id], ["workflow", "logs", workflow_id]),
    ):
        flat, today = run(*old), run(*new)
        assert (flat.exit_code, flat.stdout) == (0, today.stdout)
        assert flat.stderr.startswith("DEPRECATION WARNING")
        assert today.stderr == ""
    assert "at most 3" in run("concurrency_limit", "-w", workflow_id, "-m", 3).stdout
    assert "was set to 9" in run("update_config", "http.request_timeout", "9").stdout
    done = run("update_task_status", "-t", task_ids["two"], task_ids["three"], "-w", workflow_id, "-s", "D")
    assert "is DONE" in done.stdout
    assert "3 of its tasks will run" in run("workflow_reset", "-w", workflow_id).stdout
    (directory / "mended").touch()
    resumed = run("workflow_resume", "-w", workflow_id, "--use-original-resources")
    assert "3 of 3 tasks done" in resumed.stdout, resumed.output


def test_errors_of_flat_names_are_errors(run: Run) -> None:
    assert run("workflow_tasks").exit_code == 2
    result = run("workflow_resume", "-w", 1, "--use-original-resources", "--increase-resource")
    assert (result.exit_code, "exclude each other" in result.stderr) == (2, True)
    assert run("update_config", "nope.key", "1").exit_code == 1


def test_names_that_scripts_import() -> None:
    assert isinstance(jobmon.client.cli.cli, click.Group)
    assert inspect.signature(jobmon.client.cli.ClientCLI.parse_args).parameters["argstr"].default is None
    assert callable(jobmon.client.cli.main)
    assert all(isinstance(FlatCommand(name), click.Command) for name in FLAT)
