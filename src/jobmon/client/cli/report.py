"""``jobmon workflow report``."""

from __future__ import annotations

import click

from jobmon.client.cli.group import JobmonCommand
from jobmon.client.cli.options import workflow_argument


@click.command(cls=JobmonCommand)
@workflow_argument
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(dir_okay=False),
    required=True,
    help="File to write: .html for a report; .csv or .parquet for every attempt as a row.",
)
def report(workflow_id: int, path: str) -> None:
    """A report on a workflow as one HTML file, or all of its attempts as a table.

    The report needs no network and can be sent to others: summary, timeline, what was asked for and what was used,
    retries, errors, configuration. The table is for one's own analysis.

    \b
    Examples:
      jobmon workflow report 12 -o report.html
      jobmon workflow report 12 -o trace.csv
    """
    import sys

    from jobmon.client.commands.report import SUFFIXES, write_report

    if not path.endswith(SUFFIXES):
        raise click.UsageError(f"'{path}' must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")

    is_seen = sys.stderr.isatty()

    def tell(num_attempts: int) -> None:
        if is_seen:
            click.echo(f"\r{num_attempts} attempts read", nl=False, err=True)

    num_attempts = write_report(workflow_id, path, tell=tell)
    if is_seen:
        click.echo("\r\033[K", nl=False, err=True)
    click.echo(f"Wrote {path}: {num_attempts} attempts of workflow {workflow_id}.")
