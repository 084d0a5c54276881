"""``jobmon workflow submit``."""

from __future__ import annotations

import click


@click.command()
@click.argument("script", metavar="SCRIPT")
@click.argument("arguments", metavar="[-- ARGUMENTS]", nargs=-1, type=click.UNPROCESSED)
@click.option("--dry-run", is_flag=True, help="Show what would be submitted; submit nothing.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Of a dry run: words for people, or JSON for programs.",
)
def submit(script: str, arguments: tuple[str, ...], dry_run: bool, output: str) -> None:
    """Run a script that defines and runs workflows; with --dry-run show what it would submit.

    A dry run starts the script and ends it at its first run() or bind(), where it registers and submits nothing. Of the
    tasks that may begin at once it shows, for each template and each set of resources, the job script that the cluster
    would get, or the command where this machine runs it. What stands before that call is carried out; what the script
    prints goes to stderr.

    \b
    Examples:
      jobmon workflow submit --dry-run life_expectancy.py
      jobmon workflow submit life_expectancy.py -- --year 2020
    """
    from jobmon.client.commands import submit as commands

    if not dry_run:
        click.get_current_context().exit(commands.run_script(script, arguments))
    preview = commands.preview_script(script, arguments)
    commands.require_submittable(preview)
    if output == "json":
        from jobmon.client.commands.records import to_json

        click.echo(to_json(preview))
        return
    click.echo(commands.preview_text(preview))
