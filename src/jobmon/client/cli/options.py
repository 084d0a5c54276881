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


class IdType(click.ParamType[int]):
    """The id of something in the database."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The id as a number."""
        text = str(value).strip()
        if not (text.isascii() and text.isdigit()) or not int(text):
            self.fail(f"'{value}' is no id; an id is a whole number from 1.", param, ctx)
        return int(text)


ID = IdType()


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
    return _one_id("workflow", "-w")(function)


def task_argument(function: F) -> F:
    """The task as ``ID`` or as ``-t ID``; the function takes ``task_id``."""
    return _one_id("task", "-t")(function)


def workflows_argument(function: F) -> F:
    """Workflows as ``ID ID`` or as ``-w ID ID``, or none; the function takes ``workflow_ids``."""
    return _some_ids("workflow", "-w")(function)


def tasks_argument(function: F) -> F:
    """Tasks as ``ID ID`` or as ``-t ID ID``, or none; the function takes ``task_ids``."""
    return _some_ids("task", "-t")(function)


def _one_id(kind: str, letter: str) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_id(*args: Any, positional_id: int | None, **kwargs: Any) -> Any:
            if (positional_id is None) == (kwargs[f"{kind}_id"] is None):
                context = click.get_current_context()
                raise click.UsageError(f"Name one {kind}: {context.command_path} ID.", ctx=context)
            kwargs[f"{kind}_id"] = positional_id or kwargs[f"{kind}_id"]
            return function(*args, **kwargs)

        option = click.option(letter, f"--{kind}-id", type=ID, help=f"The {kind}, as ID without {letter}.")
        argument = click.argument("positional_id", metavar="ID", type=ID, required=False)
        decorated: F = argument(option(with_id))  # type: ignore[assignment]
        return decorated

    return decorate


def _some_ids(kind: str, letter: str) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_ids(*args: Any, positional_ids: tuple[int, ...], **kwargs: Any) -> Any:
            kwargs[f"{kind}_ids"] = (*positional_ids, *kwargs[f"{kind}_ids"])
            return function(*args, **kwargs)

        option = click.option(
            letter,
            f"--{kind}-id",
            f"{kind}_ids",
            cls=ManyOption,
            type=ID,
            help=f"Ids of {kind}s, as ID ID without {letter}.",
        )
        argument = click.argument("positional_ids", metavar="[ID]...", type=ID, nargs=-1)
        decorated: F = argument(option(with_ids))  # type: ignore[assignment]
        return decorated

    return decorate


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


def echo_first(records: Sequence[Mapping[str, Any]], limit: int, columns: Sequence[str], output: str) -> None:
    """Print the first rows of those that were asked for with a limit of one more; says where there are more."""
    echo_records(records[:limit], columns, output)
    if len(records) > limit:
        more = 20 * limit
        click.echo(f"These are the first {limit}; -l {more} shows up to {more}.", err=True)


def echo_table(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows as a table, which fits where it goes to a terminal; ``None`` is left empty."""
    from jobmon.client.table import fitting_table

    rows = [["" if record[name] is None else str(record[name]) for name in columns] for record in records]
    click.echo(fitting_table(columns, rows, terminal_width()))


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; ``None`` where it is a file or a pipe, which have room for all."""
    import shutil
    import sys

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
