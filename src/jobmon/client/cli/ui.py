"""``jobmon ui``."""

from __future__ import annotations

import click

from jobmon.client.cli.options import ID


@click.command()
@click.option("-w", "--workflow-id", type=ID, help="Go to this workflow.")
@click.option("--print-url", is_flag=True, help="Print the link, and open nothing.")
def ui(workflow_id: int | None, print_url: bool) -> None:
    """Open the pages of the server in a browser: workflows, their tasks, errors, resources, clusters.

    The local server is started if need be, and lets in by a link that is good once, for twelve hours.

    \b
    Examples:
      jobmon ui
      jobmon ui -w 12
      jobmon ui --print-url
    """
    from jobmon.client.commands import ui as commands

    click.echo(commands.page_url(workflow_id) if print_url else commands.open_pages(workflow_id))
