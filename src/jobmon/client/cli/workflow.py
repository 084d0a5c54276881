"""``jobmon workflow``."""

from __future__ import annotations

from typing import Any

import click

from jobmon.client.cli.errors import errors
from jobmon.client.cli.group import CommandGroup
from jobmon.client.cli.options import (
    ManyOption,
    echo_first,
    echo_records,
    echo_table,
    limit_option,
    output_option,
    status_option,
    workflow_argument,
    workflows_argument,
)
from jobmon.client.cli.plan import plan
from jobmon.client.cli.report import report
from jobmon.client.cli.resources import resources
from jobmon.client.cli.run import attach, resume, run, stop, wait
from jobmon.client.cli.select import selector_options
from jobmon.client.cli.submit import submit
from jobmon.client.cli.watch import watch


@click.group(cls=CommandGroup)
def workflow() -> None:
    """How far workflows are and what went wrong; run, limit, reset, stop and resume them."""


@workflow.command()
@workflows_argument
@click.option(
    "-u", "--user", "users", cls=ManyOption, help="Users whose latest workflows to show; default: you."
)
@limit_option(5)
@output_option
def status(workflow_ids: tuple[int, ...], users: tuple[str, ...], limit: int, output: str) -> None:
    """How many tasks of workflows are pending, running, done and failed.

    For a workflow that is being run a line says how far it is, how many tasks it gets done, and about how long it may
    take yet: the tasks that remain times the mean run time of finished tasks of their template, divided by the number
    of tasks that have run at once of late. JSON and CSV have it as PERCENT_DONE, RATE_PER_MINUTE and REMAINING_SECONDS.

    \b
    Examples:
      jobmon workflow status
      jobmon workflow status 12 13 -o json
    """
    from jobmon.client.commands import workflow as commands

    rows = commands.workflow_status_rows(workflow_ids, users, limit)
    if output != "table":
        echo_records(commands.workflow_progress_records(rows), commands.PROGRESS_COLUMNS, output)
        return
    echo_table(commands.workflow_status_records(rows), commands.STATUS_COLUMNS)
    if not rows:
        whose = f"of {' or '.join(users)}" if users else "of yours"
        click.echo(f"There is no workflow {whose} yet.", err=True)
    lines = [*commands.eta_lines(rows), *commands.condition_lines(rows), *commands.next_commands(rows)]
    for line in lines:
        click.echo(line)


@workflow.command()
@workflow_argument
@status_option
@selector_options
@limit_option(5)
@output_option
def tasks(
    workflow_id: int, statuses: tuple[str, ...], selectors: dict[str, Any], limit: int, output: str
) -> None:
    """The tasks of a workflow; all conditions given must hold.

    \b
    Examples:
      jobmon workflow tasks 12 -l 100
      jobmon workflow tasks 12 -s FATAL RUNNING -o csv
      jobmon workflow tasks 12 --template fit --node-arg country=Chile --attribute checked
    """
    from jobmon.client.commands import workflow as commands

    if selectors:
        from jobmon.client.commands.select import selected_task_records

        records = selected_task_records(workflow_id, status=statuses, limit=limit + 1, **selectors)
    else:
        records = commands.workflow_task_records(workflow_id, statuses, limit + 1)
    echo_first(records, limit, commands.TASK_COLUMNS, output)


@workflow.command()
@workflow_argument
@click.option("-a", "--array", "array_name", default="", help="Only of this array (template).")
@click.option("-j", "--job", "job_name", default="", help="Only of the task of this name.")
@limit_option(5)
@output_option
def logs(workflow_id: int, array_name: str, job_name: str, limit: int, output: str) -> None:
    """The log files of the tasks of a workflow.

    \b
    Examples:
      jobmon workflow logs 12 -j my_task
      jobmon workflow logs 12 -a my_template -l 100 -o csv
    """
    from jobmon.client.commands import workflow as commands

    rows = commands.get_filepaths(workflow_id, array_name, job_name, limit + 1)
    echo_first(rows, limit, commands.LOG_COLUMNS, output)


@workflow.command()
@workflow_argument
@click.option("-p", "--partial", is_flag=True, help="Keep the tasks that are done.")
def reset(workflow_id: int, partial: bool) -> None:
    """Make the tasks of a workflow ready to run again.

    \b
    Examples:
      jobmon workflow reset 12            all of them
      jobmon workflow reset 12 -p         those that are not done
    """
    from jobmon.client.commands import workflow as commands

    click.echo(commands.workflow_reset(workflow_id, partial))


@workflow.command()
@workflow_argument
@click.option(
    "-m", "--max-tasks", type=click.IntRange(min=0), required=True, help="Tasks at once; 0 is a pause."
)
@click.option("--template", default="", metavar="NAME", help="Only of the tasks of this task template.")
def concurrency(workflow_id: int, max_tasks: int, template: str) -> None:
    """Set how many tasks of a workflow may run at once, also while it runs.

    \b
    Examples:
      jobmon workflow concurrency 12 -m 50
      jobmon workflow concurrency 12 -m 0          pause: start no more tasks
      jobmon workflow concurrency 12 -m 5 --template fit
    """
    from jobmon.client.commands import workflow as commands

    click.echo(commands.concurrency_limit(workflow_id, max_tasks, template=template))


for _command in (attach, resume, run, stop, wait):
    workflow.add_command(_command)
workflow.add_command(errors)
workflow.add_command(plan)
workflow.add_command(report)
workflow.add_command(resources)
workflow.add_command(submit)
workflow.add_command(watch)
