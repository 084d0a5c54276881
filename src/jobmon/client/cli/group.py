"""Groups of commands that know their neighbours, and commands that complete lists of values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from jobmon.client.cli.options import ManyOption

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_OPEN_LIST = f"{__name__}.open_list"


class JobmonCommand(click.Command):
    """A command whose lists (``-s DONE FATAL``) are completed beyond their first value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember which list is open after the last word, for its completion."""
        words = list(args)
        rest = super().parse_args(ctx, args)
        last_option = next((word for word in reversed(words) if word.startswith("-")), "")
        ctx.meta[_OPEN_LIST] = next(
            (each for each in self.params if isinstance(each, ManyOption) and last_option in each.opts), None
        )
        return rest

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """All parameters; while a list is open it, and not an argument, is what a word completes."""
        params = super().get_params(ctx)
        if ctx.meta.get(_OPEN_LIST) is None:
            return params
        return [each for each in params if isinstance(each, click.Option)]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Values of the list that is open, else options."""
        option = ctx.meta.get(_OPEN_LIST)
        if isinstance(option, ManyOption) and not incomplete.startswith("-"):
            return option.shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)


class CommandGroup(click.Group):
    """A group that answers an unknown command with the nearest ones, also those of other groups."""

    command_class = JobmonCommand
    group_class = type  # groups in it are of its own kind

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command the first word names.

        Raises:
            click.UsageError: there is none; the message says what it may have been.
        """
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            near = list(self._near(ctx, name))
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"There is no command '{name}'.{hint}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What each command does, in whole sentences."""
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(limit=1000)) for name, command in commands if not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _near(self, ctx: click.Context, name: str) -> Iterator[str]:
        """Command lines that resemble the word, best first, at most three."""
        root = ctx.find_root()
        assert isinstance(root.command, click.Group)
        here = ctx.command_path.removeprefix(root.command_path).strip()
        by_last: dict[str, list[str]] = {}
        for path, _ in walk(root.command):
            by_last.setdefault(path.rpartition(" ")[2], []).append(path)
        wanted = name.replace("_", "-").lower()
        found = [
            path for last in difflib.get_close_matches(wanted, by_last, cutoff=0.7) for path in by_last[last]
        ]
        found.sort(key=lambda path: not path.startswith(here))
        yield from (f"'{root.info_name} {path}'" for path in found[:3])


def walk(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group by its words (``workflow status``), a group before what is in it."""
    for name in sorted(group.commands):
        command = group.commands[name]
        yield " ".join((*above, name)), command
        if isinstance(command, click.Group):
            yield from walk(command, *above, name)
