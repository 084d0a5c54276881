"""``jobmon workflow plan``."""

from __future__ import annotations

import click

from jobmon.client.cli.options import terminal_width


@click.command()
@click.argument("script_or_id", metavar="SCRIPT-OR-ID")
@click.argument("arguments", metavar="[-- ARGUMENTS]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Words and tables for people, or JSON for programs.",
)
def plan(script_or_id: str, arguments: tuple[str, ...], output: str) -> None:
    """What a run would do, before anything runs: which tasks and why, what they ask for, how long it takes.

    A number is the id of a registered workflow. Anything else is a script: it is started and ended at its first
    run() or bind(), where it registers and runs nothing. What stands before that call is carried out. What the script
    prints goes to stderr; its arguments follow after --.

    \b
    Examples:
      jobmon workflow plan 12
      jobmon workflow plan life_expectancy.py -- --year 2020
    """
    from pathlib import Path

    from jobmon.client.commands import plan as commands
    from jobmon.client.commands.records import to_json
    from jobmon.client.plan_text import plan_text

    if script_or_id.isdecimal() and not Path(script_or_id).exists():
        if arguments:
            raise click.UsageError("Arguments are for scripts; a workflow has none.")
        made = commands.plan_registered(int(script_or_id))
    else:
        made = commands.plan_script(script_or_id, arguments)
    click.echo(plan_text(made, terminal_width()) if output == "text" else to_json(made.to_dict()))
