"""``jobmon doctor``."""

from __future__ import annotations

import click

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Lines for people; JSON for programs.",
)
@click.pass_context
def doctor(context: click.Context, output: str) -> None:
    """Check versions, configuration, directories, server, database, clusters and clock.

    Each line is ok, warn or fail, with what to do about it. Nothing is changed and no server is started.
    The exit code is 1 when something failed.

    \b
    Examples:
      jobmon doctor
      jobmon doctor -o json
    """
    from jobmon.client.commands import doctor as commands
    from jobmon.client.commands import records

    findings = commands.diagnose()
    if output == "json":
        click.echo(records.to_json(findings))
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            state = click.style(f"{finding.state:<5}", fg=_COLORS[finding.state])
            click.echo(f"{state} {finding.check:<{width}}  {finding.text}")
            if finding.remedy:
                click.echo(f"{'':<{width + 6}}  → {finding.remedy}")
    if any(finding.state == commands.FAIL for finding in findings):
        context.exit(1)
