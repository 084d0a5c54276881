"""The flat names of earlier generations (``jobmon workflow_status``): each is translated into the command of today.

A flat name has no code of its own: :data:`FLAT` says which command it is now and how each of its options is spelt
there. What is typed is translated, shown, and carried out as if it had been typed.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from jobmon.client.cli.options import ID, CapitalChoice, ManyOption
from jobmon.core.states import USER_LABELS, TaskStatus

STRATEGY = click.Choice(["avg", "max", "min"])


@dataclass(frozen=True)
class FlatParameter:
    """One option or argument of a flat name.

    Attributes:
        parameter: how it is read.
        now: words that stand before its value today; empty: the value alone; ``None``: it has no effect.
    """

    parameter: click.Parameter
    now: str | None

    def words(self, value: Any) -> list[str]:
        """The words of today for a value; none for the default."""
        if self.now is None or value is None or value is False or value == self.parameter.default:
            return []
        if value is True:
            return self.now.split()
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not values or values == self.parameter.default:
            return []
        return [*self.now.split(), *(str(each) for each in values)]


@dataclass(frozen=True)
class FlatName:
    """A flat name.

    Attributes:
        now: the command of today, in words after ``jobmon``.
        parameters: what it takes.
    """

    now: str
    parameters: tuple[FlatParameter, ...] = ()

    def words(self, values: Mapping[str, Any]) -> list[str]:
        """The command line of today, after ``jobmon``, for values by parameter name."""
        options: list[str] = []
        arguments: list[str] = []
        for each in self.parameters:
            place = options if isinstance(each.parameter, click.Option) else arguments
            place += each.words(values[str(each.parameter.name)])
        separator = ["--"] if any(word.startswith("-") for word in arguments) else []
        return [*self.now.split(), *options, *separator, *arguments]


def _one(*names: str, now: str | None, **settings: Any) -> FlatParameter:
    return FlatParameter(click.Option(list(names), **settings), now)


def _many(*names: str, now: str, **settings: Any) -> FlatParameter:
    return FlatParameter(ManyOption(list(names), **settings), now)


def _argument(name: str) -> FlatParameter:
    return FlatParameter(click.Argument([name]), "")


def _flag(*names: str, now: str | None) -> FlatParameter:
    return FlatParameter(click.Option(list(names), is_flag=True), now)


_WORKFLOW = _one("-w", "--workflow_id", type=ID, required=True, now="-w")
_TASKS = _many("-t", "--task_ids", type=ID, required=True, now="-t")
_LABELS = _many("-s", "--status", type=CapitalChoice(USER_LABELS), now="-s")
_LIMIT = _one("-l", "--limit", type=click.IntRange(min=1), default=5, now="-l")
_JSON = _flag("-n", "--json", now="-o json")

FLAT: Mapping[str, FlatName] = {
    "workflow_status": FlatName(
        "workflow status",
        (
            _many("-w", "--workflow_id", type=ID, now="-w"),
            _many("-u", "--user", now="-u"),
            _LIMIT,
            _JSON,
        ),
    ),
    "workflow_tasks": FlatName("workflow tasks", (_WORKFLOW, _LABELS, _LIMIT, _JSON)),
    "task_template_resources": FlatName(
        "workflow resources usage",
        (
            _one("-t", "--task_template_version", type=ID, required=True, now="-t"),
            _many("-w", "--workflows", type=ID, now="-w"),
            _one("-a", "--node_args", metavar="JSON", now="-a"),
        ),
    ),
    "task_status": FlatName("task status", (_TASKS, _LABELS, _JSON)),
    "update_task_status": FlatName(
        "task update",
        (
            _TASKS,
            _one("-w", "--workflow_id", type=ID, now="-w"),
            _one(
                "-s",
                "--new_status",
                type=click.Choice([TaskStatus.DONE.value, TaskStatus.REGISTERED.value]),
                required=True,
                now="-s",
            ),
            _flag("-f", "--force", now="-f"),
            _flag("-r", "--recursive", now="-r"),
        ),
    ),
    "concurrency_limit": FlatName(
        "workflow concurrency",
        (_WORKFLOW, _one("-m", "--max_tasks", type=click.IntRange(min=0), required=True, now="-m")),
    ),
    "task_dependencies": FlatName(
        "task dependencies", (_one("-t", "--task_id", type=ID, required=True, now="-t"),)
    ),
    "workflow_reset": FlatName("workflow reset", (_WORKFLOW, _flag("-p", "--partial_reset", now="-p"))),
    "create_resource_yaml": FlatName(
        "workflow resources yaml",
        (
            _one("-w", "--workflow_id", type=ID, now="-w"),
            _one("-t", "--task_id", type=ID, now="-t"),
            _one("--value_mem", type=STRATEGY, default="avg", now="--mem-strategy"),
            _one("--value_core", type=STRATEGY, default="avg", now="--core-strategy"),
            _one("--value_runtime", type=STRATEGY, default="max", now="--runtime-strategy"),
            _one("-f", "--file", metavar="FILE", now="-f"),
            _flag("-p", "--print", now="--stdout"),
            _many("-c", "--clusters", default=("slurm",), now="-c"),
        ),
    ),
    "get_filepaths": FlatName(
        "workflow logs",
        (
            _WORKFLOW,
            _one("-a", "--array_name", default="", now="-a"),
            _one("-j", "--job_name", default="", now="-j"),
            _LIMIT,
            _JSON,
        ),
    ),
    "workflow_resume": FlatName(
        "workflow resume",
        (
            _WORKFLOW,
            _one("-c", "--cluster_name", default="", now="-c"),
            _flag("--reset-running-jobs", now="--reset-running"),
            _one("-t", "--timeout", type=click.FloatRange(min=0), default=180.0, now="-t"),
            _one(
                "--seconds-until-timeout",
                type=click.FloatRange(min=0),
                default=36000.0,
                now="--execution-timeout",
            ),
            _flag("--use-original-resources", now="--keep-resources"),
            _flag("--increase-resource", now=None),  # what happens without --keep-resources
            _flag("--force-cleanup", now="--force-cleanup"),
        ),
    ),
    "update_config": FlatName(
        "config set", (_one("--config-file", now="--config-file"), _argument("key"), _argument("value"))
    ),
}
"""Every flat name but ``version``, which is what it was."""


class FlatCommand(click.Command):
    """A flat name as a command: hidden, and carried out by the command of today."""

    def __init__(self, name: str) -> None:
        self.flat = FLAT[name]
        super().__init__(
            name,
            params=[each.parameter for each in self.flat.parameters],
            help=f"Earlier name of 'jobmon {self.flat.now}'; see there.\n\nExample:\n  jobmon {self.flat.now} --help",
            hidden=True,
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Say what to type instead, and carry that out."""
        if ctx.params.get("use_original_resources") and ctx.params.get("increase_resource"):
            raise click.UsageError(
                "--use-original-resources and --increase-resource exclude each other.", ctx
            )
        words = self.flat.words(ctx.params)
        click.secho(
            f"DEPRECATION WARNING: 'jobmon {self.name}' is an earlier name; type: jobmon {shlex.join(words)}",
            fg="yellow",
            err=True,
        )
        return carry_out(ctx.find_root(), words)


def carry_out(root: click.Context, words: Sequence[str]) -> Any:
    """Carry out a command line of today below the root's context.

    Args:
        root: context of the root group.
        words: the words after ``jobmon``.
    """
    parent, rest = root, list(words)
    while isinstance(parent.command, click.Group):
        name, command, rest = parent.command.resolve_command(parent, rest)
        assert command is not None
        if isinstance(command, click.Group):
            parent = click.Context(command, parent=parent, info_name=name)
        else:
            with command.make_context(name, rest, parent=parent) as context:
                return command.invoke(context)
    return None


def get_flat_command(name: str) -> click.Command | None:
    """The hidden command of a flat name; ``None`` for any other name."""
    return FlatCommand(name) if name in FLAT else None
