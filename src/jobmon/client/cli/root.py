"""The root of the command line: global options, and how errors leave it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from jobmon.client.cli.config import config
from jobmon.client.cli.server import server
from jobmon.client.cli.task import task
from jobmon.client.cli.workflow import workflow


class RootGroup(click.Group):
    """Turns errors into one line on stderr, unless ``--debug`` asks for the traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(130) from None
        except Exception as error:  # the outermost frame: a person reads what comes out
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(_words(error)) from error


def _words(error: Exception) -> str:
    from jobmon.core.exceptions import JobmonError

    if isinstance(error, JobmonError):
        return str(error)
    return f"{type(error).__name__}: {error} (this is a fault of Jobmon; --debug shows where)"


@click.group(cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Log what is done.")
@click.option("--debug", is_flag=True, help="Log everything, and show the traceback of an error.")
def cli(verbose: bool, debug: bool) -> None:
    """Look at workflows, change them by hand, resume and stop them."""
    if verbose or debug:
        import logging

        logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, stream=sys.stderr)


@cli.command()
@click.option("--components", is_flag=True, help="Also of the server and of what Jobmon is built on.")
def version(components: bool) -> None:
    """Print the version of Jobmon."""
    from jobmon.client.commands.version import component_versions
    from jobmon.core import __version__

    if not components:
        click.echo(__version__)
        return
    for name, text in component_versions().items():
        click.echo(f"{name}: {text}")


for _group in (workflow, task, config, server):
    cli.add_command(_group)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Carry out a command line and exit: 0 done, 1 an error, 2 a command line that was not understood.

    Args:
        arguments: the words after ``jobmon``; by default those of this process.
    """
    cli.main(args=list(arguments) if arguments is not None else None, prog_name="jobmon")
    sys.exit(0)
