"""Reading the command line; no server needed."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from jobmon.client.cli import cli
from jobmon.client.cli.options import ManyOption


@click.command()
@click.option("-t", "--task-id", "task_ids", cls=ManyOption, type=int)
@click.option("-s", "--status", "statuses", cls=ManyOption)
@click.option("-f", "--force", is_flag=True)
def show(task_ids: tuple[int, ...], statuses: tuple[str, ...], force: bool) -> None:
    click.echo(f"{list(task_ids)} {list(statuses)} {force}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-t 1 2 3", "[1, 2, 3] [] False"),
        ("-t 1 -t 2", "[1, 2] [] False"),
        ("-t 1 2 -f -t 3", "[1, 2, 3] [] True"),
        ("--task-id 1 2 --status DONE FATAL", "[1, 2] ['DONE', 'FATAL'] False"),
        ("--task-id=1 2 -sDONE", "[1, 2] ['DONE'] False"),
        ("", "[] [] False"),
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


def test_every_command_has_help() -> None:
    commands = [[]]
    for name, group in cli.commands.items():
        commands.append([name])
        if isinstance(group, click.Group):
            commands += [[name, each] for each in group.commands]
    for words in commands:
        result = CliRunner().invoke(cli, [*words, "--help"])
        assert result.exit_code == 0
        assert "Usage:" in result.output


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
