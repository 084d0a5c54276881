"""The root of the command line: global options, and how errors leave it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

import click

from jobmon.client.cli.cluster import cluster
from jobmon.client.cli.completion import completion
from jobmon.client.cli.config import config
from jobmon.client.cli.doctor import doctor
from jobmon.client.cli.group import CommandGroup
from jobmon.client.cli.server import server
from jobmon.client.cli.task import task
from jobmon.client.cli.ui import ui
from jobmon.client.cli.workflow import workflow

INTERRUPTED = 130


class RootGroup(CommandGroup):
    """Turns errors into one line on stderr, unless ``--debug`` asks for the traceback; knows the flat names."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command of today, else the hidden one of a flat name."""
        found = super().get_command(ctx, cmd_name)
        if found is not None or "_" not in cmd_name:
            return found
        from jobmon.client.cli.flat import get_flat_command

        return get_flat_command(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:  # the outermost frame: a person reads what comes out
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(_words(error)) from error


def _words(error: Exception) -> str:
    from jobmon.core.exceptions import JobmonError

    if isinstance(error, JobmonError):
        return str(error)
    return f"{type(error).__name__}: {error} (this is a fault of Jobmon; --debug shows where)"


@click.group(
    cls=RootGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The names of earlier generations (workflow_status, task_status, update_task_status …) work as well; "
    "each says what to type today.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, each request to the server among it.")
@click.option("--debug", is_flag=True, help="Log everything, and show the traceback of an error.")
@click.version_option(None, "-V", "--version", package_name="jobmon", message="%(version)s")
@click.pass_context
def cli(context: click.Context, verbose: bool, debug: bool) -> None:
    """Look at workflows, change them by hand, run, resume and stop them.

    \b
    Examples:
      jobmon workflow status            how far your latest workflows are
      jobmon workflow errors 12         what went wrong in workflow 12
      jobmon doctor                     whether everything is as it should be
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    if verbose or debug:
        import logging

        logging.basicConfig(
            level=logging.DEBUG if debug else logging.INFO,
            stream=sys.stderr,
            format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        )


@cli.command()
@click.option("--components", is_flag=True, help="Also of the server and of what Jobmon is built on.")
def version(components: bool) -> None:
    """Print the version of Jobmon.

    \b
    Examples:
      jobmon version
      jobmon version --components
    """
    from jobmon.client.commands.version import component_versions
    from jobmon.core import __version__

    if not components:
        click.echo(__version__)
        return
    for name, text in component_versions().items():
        click.echo(f"{name}: {text}")


for _command in (workflow, task, cluster, config, server, ui, doctor, completion):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Carry out a command line and exit: 0 done, 1 an error, 2 a command line that was not understood.

    Args:
        arguments: the words after ``jobmon``; by default those of this process.
    """
    import warnings

    modules: dict[str, Any] = sys.modules
    modules.setdefault(
        "httpx._main", None
    )  # its own command, for which it would load rich with every command of ours
    warnings.showwarning = _WarningsOnce().show  # of this process, which is all ours
    cli.main(args=list(arguments) if arguments is not None else None, prog_name="jobmon")
    sys.exit(0)


class _WarningsOnce:
    """Prints each warning once, without the place in the code."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Print a warning; takes what ``warnings.showwarning`` is given."""
        if str(message) not in self._shown:
            self._shown.add(str(message))
            click.secho(f"Warning: {message}", fg="yellow", err=True)
