"""``jobmon task explain``."""

from __future__ import annotations

import click

from jobmon.client.cli.options import task_argument, terminal_width


@click.command()
@task_argument
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Words for people, or JSON for programs.",
)
def explain(task_id: int, output: str) -> None:
    """Why a task is not running yet, why it runs again, or why it failed.

    \b
    Examples:
      jobmon task explain 4711
      jobmon task explain 4711 -o json
    """
    from jobmon.client.commands.explain import explain_task
    from jobmon.client.commands.records import to_json

    explanation = explain_task(task_id)
    click.echo(explanation.text(terminal_width()) if output == "text" else to_json(explanation.to_dict()))
