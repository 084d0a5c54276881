"""``jobmon cluster bad-nodes``."""

from __future__ import annotations

import click

from jobmon.client.cli.options import echo_records, output_option


@click.command("bad-nodes")
@click.argument("name")
@click.option("--forgive", default="", metavar="NODE", help="Use this node again.")
@output_option
def bad_nodes(name: str, forgive: str, output: str) -> None:
    """The nodes of the cluster NAME that failed lately, in anybody's workflow: new jobs avoid them.

    A node is forgiven by itself after task.bad_node_seconds.

    \b
    Examples:
      jobmon cluster bad-nodes slurm
      jobmon cluster bad-nodes slurm --forgive n17
    """
    from jobmon.client.commands import bad_nodes as commands

    if forgive:
        click.echo(commands.forgive_node(name, forgive))
        return
    nodes = commands.bad_nodes(name)
    if output != "table":
        echo_records(commands.values(nodes), commands.VALUES, output)
        return
    if not nodes:
        click.echo(f"No node of cluster {name} is avoided.")
        return
    echo_records(commands.records(nodes), commands.COLUMNS, output)
