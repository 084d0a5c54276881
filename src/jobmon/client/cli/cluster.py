"""``jobmon cluster``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobmon.client.cli.bad_nodes import bad_nodes
from jobmon.client.cli.group import CommandGroup
from jobmon.client.cli.options import echo_records, output_option

if TYPE_CHECKING:
    from jobmon.core.cluster import ClusterResponse


@click.group(cls=CommandGroup)
def cluster() -> None:
    """Which clusters there are, what their queues take; ask a cluster and register it."""


@cluster.command()
@click.argument("name")
@click.option(
    "--type", "cluster_type", default="", help="The plugin that drives it; default: as before, or slurm."
)
@click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="KEY=VALUE",
    help="A connection parameter; those given earlier stay, KEY= takes one away.",
)
@output_option
def sync(name: str, cluster_type: str, parameters: tuple[str, ...], output: str) -> None:
    """Ask the cluster NAME for its queues and limits, from this machine, and register what it says.

    Tasks are checked against these limits before they are submitted. Do it again when the cluster has changed: queues it
    no longer has stay, marked as gone, for the workflows that used them.

    \b
    Examples:
      jobmon cluster sync slurm
      jobmon cluster sync stage --type slurm -p connection=rest -p url=unix:///run/slurmrestd.sock
    """
    from jobmon.client.commands import cluster as commands

    registered, description = commands.sync_cluster(name, cluster_type, commands.read_parameters(parameters))
    _echo_queues(registered, output)
    if output == "table":
        click.echo("")
        for fact, text in description.facts.items():
            click.echo(f"{fact}: {text}")


@cluster.command("list")
@output_option
def list_clusters(output: str) -> None:
    """The clusters tasks can be sent to.

    \b
    Examples:
      jobmon cluster list
    """
    from jobmon.client.commands import cluster as commands

    echo_records(commands.cluster_records(commands.read_clusters()), commands.LIST_COLUMNS, output)


@cluster.command()
@click.argument("name")
@output_option
def show(name: str, output: str) -> None:
    """The queues of the cluster NAME: the most a task may ask of each; empty where nothing is limited.

    \b
    Examples:
      jobmon cluster show slurm
      jobmon cluster show slurm -o json
    """
    from jobmon.client.commands import cluster as commands

    found = commands.read_cluster(name)
    _echo_queues(found, output)
    if output == "table" and found.connection_parameters:
        click.echo("")
        for key, text in commands.shown_parameters(found).items():
            click.echo(f"{key}: {text}")


def _echo_queues(found: ClusterResponse, output: str) -> None:
    from jobmon.client.commands import cluster as commands

    if output == "table":
        rows = commands.queue_records(found)
        echo_records(rows, commands.queue_columns(rows), output)
    else:
        echo_records(commands.queue_values(found), commands.QUEUE_VALUES, output)


cluster.add_command(bad_nodes)
