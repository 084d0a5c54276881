"""``jobmon workflow errors``."""

from __future__ import annotations

import click

from jobmon.client.cli.options import echo_records, limit_option, output_option, workflow_argument


@click.command()
@workflow_argument
@limit_option(10)
@click.option(
    "--all",
    "all_attempts",
    is_flag=True,
    help="Also failures that other attempts followed, and those of tasks that are done.",
)
@output_option
def errors(workflow_id: int, limit: int, all_attempts: bool, output: str) -> None:
    """What went wrong in a workflow: failures that are alike together, and what they share.

    Numbers, paths and ids in the texts are folded into placeholders such as <n>; texts that are the same then are one
    kind of failure. For each kind: how many tasks, an example, and node args or hosts that the failures have in common
    and the tasks that are done have not.

    \b
    Examples:
      jobmon workflow errors 12
      jobmon workflow errors 12 --all -o json
    """
    from jobmon.client.commands import failures as commands

    answer = commands.workflow_error_clusters(workflow_id, limit, all_attempts)
    if output == "table":
        click.echo("\n".join(commands.error_lines(workflow_id, answer)))
        return
    to_record = commands.error_record if output == "json" else commands.flat_error_record
    echo_records([to_record(row) for row in answer.clusters], commands.ERROR_COLUMNS, output)
