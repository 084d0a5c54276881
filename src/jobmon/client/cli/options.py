"""Options and output that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from jobmon.core.states import USER_LABELS

F = TypeVar("F", bound=Callable[..., Any])


class ManyOption(click.Option):
    """An option that takes all values up to the next option: ``-t 1 2 3`` is ``-t 1 -t 2 -t 3``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["multiple"] = True
        super().__init__(*args, **kwargs)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser hand on the values that follow the first one."""
        super().add_to_parser(parser, ctx)
        for name in self.opts:
            option = parser._long_opt.get(name) or parser._short_opt.get(name)
            if option is not None and not getattr(option, "takes_many", False):
                option.process = _process_many(option.process)
                option.takes_many = True


def _process_many(process_one: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def process(value: Any, state: Any) -> None:
        process_one(value, state)
        while state.rargs and not state.rargs[0].startswith("-"):
            process_one(state.rargs.pop(0), state)

    return process


def output_option(function: F) -> F:
    """``-o table|json|csv``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "csv"]),
        default="table",
        show_default=True,
        help="A table for people; JSON or CSV for programs.",
    )(function)


def limit_option(default: int | None) -> Callable[[F], F]:
    """``-l N``."""
    return click.option(
        "-l",
        "--limit",
        type=click.IntRange(min=1),
        default=default,
        show_default=default is not None,
        help="Show at most so many.",
    )


def status_option(function: F) -> F:
    """``-s STATUS``, several times or with several values."""
    return click.option(
        "-s",
        "--status",
        "statuses",
        cls=ManyOption,
        type=click.Choice(USER_LABELS, case_sensitive=False),
        help="Only tasks in these states.",
    )(function)


def workflow_option(function: F) -> F:
    """``-w ID``, required."""
    return click.option(
        "-w", "--workflow-id", type=click.IntRange(min=1), required=True, help="Id of the workflow."
    )(function)


def workflow_argument(function: F) -> F:
    """The workflow as ``ID`` or as ``-w ID``; the function takes ``workflow_id``."""

    @functools.wraps(function)
    def with_workflow_id(
        *args: Any, positional_id: int | None, workflow_id: int | None, **kwargs: Any
    ) -> Any:
        if (positional_id is None) == (workflow_id is None):
            context = click.get_current_context()
            raise click.UsageError(f"Name one workflow: {context.command_path} ID.", ctx=context)
        return function(*args, workflow_id=positional_id or workflow_id, **kwargs)

    option = click.option("-w", "--workflow-id", type=click.IntRange(min=1), help="Id of the workflow.")
    argument = click.argument("positional_id", metavar="ID", type=click.IntRange(min=1), required=False)
    decorated: F = argument(option(with_workflow_id))  # type: ignore[assignment]
    return decorated


def echo_records(records: Sequence[Mapping[str, Any]], columns: Sequence[str], output: str) -> None:
    """Print rows the way ``-o`` asks for: ``table``, ``json`` or ``csv``."""
    if output == "table":
        echo_table(records, columns)
    elif output == "json":
        from jobmon.client.commands.records import to_json

        click.echo(to_json(records))
    else:
        from jobmon.client.commands.records import to_csv

        click.echo(to_csv(records, columns), nl=False)


def echo_table(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows as a table; ``None`` is left empty."""
    from tabulate import tabulate

    rows = [["" if record[name] is None else record[name] for name in columns] for record in records]
    click.echo(tabulate(rows, headers=list(columns), tablefmt="psql", disable_numparse=True))
