"""Options and output that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobmon.core.states import USER_LABELS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


class CapitalChoice(click.Choice[str]):
    """One of some words in capitals, which may be typed in small letters."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word in capitals."""
        return super().convert(value.upper() if isinstance(value, str) else value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The words that begin like this, whatever the case."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self.choices if word.startswith(incomplete.upper())]


class ManyOption(click.Option):
    """An option that takes all values up to the next option: ``-t 1 2 3`` is ``-t 1 -t 2 -t 3``.

    Where it is one of some words, a number that follows them is not taken: ``tasks -s DONE FATAL 12``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["multiple"] = True
        super().__init__(*args, **kwargs)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser hand on the values that follow the first one."""
        super().add_to_parser(parser, ctx)
        for name in self.opts:
            option = parser._long_opt.get(name) or parser._short_opt.get(name)
            if option is not None and not getattr(option, "takes_many", False):
                option.process = self._process_many(option.process)
                option.takes_many = True

    def _process_many(self, process_one: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def process(value: Any, state: Any) -> None:
            process_one(value, state)
            while state.rargs and self._takes(state.rargs[0]):
                process_one(state.rargs.pop(0), state)

        return process

    def _takes(self, word: str) -> bool:
        return not word.startswith("-") and not (isinstance(self.type, click.Choice) and word.isdigit())


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
        type=CapitalChoice(USER_LABELS),
        help="Only tasks in these states.",
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
