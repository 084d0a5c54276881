"""``jobmon server``: the local server of this user."""

from __future__ import annotations

import click

from jobmon.client.cli.group import CommandGroup


@click.group(cls=CommandGroup)
def server() -> None:
    """The local server, which starts by itself where it is needed."""


@server.command()
def start() -> None:
    """Start the local server, unless it runs.

    \b
    Examples:
      jobmon server start
    """
    from jobmon.client.commands import server as commands

    click.echo(commands.start_server())


@server.command()
def stop() -> None:
    """End the local server; workflows that run start it again.

    \b
    Examples:
      jobmon server stop
    """
    from jobmon.client.commands import server as commands

    click.echo(commands.stop_server())


@server.command()
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Format."
)
def status(output: str) -> None:
    """Whether the local server runs, and where its files are.

    \b
    Examples:
      jobmon server status
    """
    from jobmon.client.commands import records
    from jobmon.client.commands import server as commands

    values = commands.server_status()
    if output == "json":
        click.echo(records.to_json(values))
        return
    for name, value in values.items():
        click.echo(f"{name + ':':<12}{'' if value is None else value}")
