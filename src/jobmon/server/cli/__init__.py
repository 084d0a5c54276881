"""The command ``jobmon-server``, for operators: the database, the web service and the services beside it.

One module for each group of commands; what a command needs is imported when it runs.
"""

from __future__ import annotations

import sys

import click

from jobmon.core import __version__
from jobmon.core.exceptions import JobmonError
from jobmon.server.cli.db import db
from jobmon.server.cli.reaper import monitor, notify, reaper
from jobmon.server.cli.serve import start
from jobmon.server.cli.token import token
from jobmon.server.cli.usage_integrator import usage_integrator


@click.group()
@click.version_option(__version__, prog_name="jobmon-server")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Operate a Jobmon server."""
    context.obj = debug


for command in (db, start, usage_integrator, reaper, monitor, notify, token):
    cli.add_command(command)


def main() -> None:
    """Run the command; errors are one line, unless ``--debug`` asks for more."""
    try:
        cli(standalone_mode=True)
    except JobmonError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
