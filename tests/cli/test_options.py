"""Reading the command line; no server needed."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from jobmon.client.cli import cli
from jobmon.client.cli.group import walk
from jobmon.client.cli.options import ManyOption


@click.command()
@click.option("-t", "--task-id", "task_ids", cls=ManyOption, type=int)
@click.option("-s", "--status", "statuses", cls=ManyOption, type=click.Choice(["DONE", "FATAL"]))
@click.option("-f", "--force", is_flag=True)
@click.argument("workflow_id", default="")
def show(task_ids: tuple[int, ...], statuses: tuple[str, ...], force: bool, workflow_id: str) -> None:
    click.echo(f"{list(task_ids)} {list(statuses)} {force} {workflow_id}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-t 1 2 3", "[1, 2, 3] [] False"),
        ("-t 1 -t 2", "[1, 2] [] False"),
        ("-t 1 2 -f -t 3", "[1, 2, 3] [] True"),
        ("--task-id 1 2 --status DONE FATAL", "[1, 2] ['DONE', 'FATAL'] False"),
        ("--task-id=1 2 -sDONE", "[1, 2] ['DONE'] False"),
        ("", "[] [] False"),
        ("-s DONE 12 -t 1", "[1] ['DONE'] False 12"),
        ("12 -s DONE FATAL -t 1", "[1] ['DONE', 'FATAL'] False 12"),
        ("-f 12", "[] [] True 12"),
    ],
)
def test_lists_and_repeated_options_are_the_same(words: str, expected: str) -> None:
    result = CliRunner().invoke(show, words.split())
    assert result.output.strip() == expected, result.output


@pytest.mark.parametrize(
    "words",
    [
        "nonsense",
        "workflow status -w x",
        "workflow tasks",
        "workflow tasks -w 1 -s NONSENSE",
        "workflow tasks -w 1 -l 0",
        "workflow concurrency -w 1 -m -1",
        "workflow stop",
        "workflow stop 1 -w 2",
        "task update -t 1 -s X",
        "config set onlykey",
    ],
)
def test_usage_errors_exit_2(words: str) -> None:
    result = CliRunner().invoke(cli, words.split())
    assert result.exit_code == 2
    assert "Error" in result.output


COMMANDS = dict(walk(cli))


@pytest.mark.parametrize("path", ["", *COMMANDS])
def test_every_command_explains_itself(path: str) -> None:
    """Also by ``-h``; whatever can be carried out has an example, which is a command line there is."""
    texts = [CliRunner().invoke(cli, [*path.split(), flag]) for flag in ("-h", "--help")]
    assert [each.exit_code for each in texts] == [0, 0]
    assert texts[0].output == texts[1].output
    if path and isinstance(COMMANDS[path], click.Group):
        return
    assert "Example" in texts[0].output
    if path:
        assert f"  jobmon {path}" in texts[0].output or f"(jobmon {path}" in texts[0].output


@pytest.mark.parametrize("path", COMMANDS)
def test_options_are_described(path: str) -> None:
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("worklfow status", "'jobmon workflow'"),
        ("workflow task", "'jobmon workflow tasks'"),
        ("logs", "'jobmon workflow logs'"),
        ("task resset", "'jobmon workflow reset'"),
        ("workflow_statuses -w 1", None),
        ("xyzzy", None),
    ],
)
def test_an_unknown_command_names_the_nearest(words: str, near: str | None) -> None:
    result = CliRunner().invoke(cli, words.split(), prog_name="jobmon")
    assert result.exit_code == 2
    assert "There is no command" in result.stderr
    assert near in result.stderr if near else "Did you mean" not in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("workflow tasks x", "'x' is no id; an id is a whole number from 1."),
        ("workflow status 1 0", "'0' is no id"),
        ("task status", "Name the tasks"),
        ("task dependencies", "Name one task: jobmon task dependencies ID."),
        ("task explain 1 -t 2", "Name one task: jobmon task explain ID."),
        ("workflow tasks", "Name one workflow: jobmon workflow tasks ID."),
    ],
)
def test_what_is_said_about_ids(words: str, message: str) -> None:
    result = CliRunner().invoke(cli, words.split(), prog_name="jobmon")
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("path", ["", "workflow", "task"])
def test_a_group_tells_whole_sentences(path: str) -> None:
    assert "..." not in CliRunner().invoke(cli, [*path.split(), "--help"]).output.partition("Commands:")[2]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, jobmon.client.cli\n"
        "heavy = {'httpx', 'yaml', 'rich', 'tabulate', 'asyncio', 'sqlalchemy', 'pandas', 'tenacity'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_errors_are_one_line_without_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBMON__CONFIG_FILE", "/nonexistent.yaml")
    result = CliRunner().invoke(cli, ["config", "show"])
    assert result.exit_code == 1
    assert result.stderr == "Error: The configuration file /nonexistent.yaml does not exist.\n"
    assert result.stdout == ""
    result = CliRunner().invoke(cli, ["--debug", "config", "show"])
    assert type(result.exception).__name__ == "ConfigError"
