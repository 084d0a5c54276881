"""``jobmon workflow``."""

from __future__ import annotations

import click

from jobmon.client.cli.options import (
    ManyOption,
    echo_table,
    limit_option,
    output_option,
    status_option,
    workflow_option,
)


@click.group()
def workflow() -> None:
    """How far workflows are; limit, reset, stop and resume them."""


@workflow.command()
@click.option(
    "-w",
    "--workflow-id",
    "workflow_ids",
    cls=ManyOption,
    type=click.IntRange(min=1),
    help="Ids of workflows.",
)
@click.option(
    "-u", "--user", "users", cls=ManyOption, help="Users whose latest workflows to show; default: you."
)
@limit_option(5)
@output_option
def status(workflow_ids: tuple[int, ...], users: tuple[str, ...], limit: int, output: str) -> None:
    """How many tasks of workflows are pending, running, done and failed."""
    from jobmon.client.commands import workflow as commands

    if output == "json":
        click.echo(commands.workflow_status(workflow_ids, users, json=True, limit=limit))
        return
    rows = commands.workflow_status_rows(workflow_ids, users, limit)
    echo_table(commands.workflow_status_records(rows), commands.STATUS_COLUMNS)
    for line in commands.next_commands(rows):
        click.echo(line)


@workflow.command()
@workflow_option
@status_option
@limit_option(5)
@output_option
def tasks(workflow_id: int, statuses: tuple[str, ...], limit: int, output: str) -> None:
    """The tasks of a workflow."""
    from jobmon.client.commands import workflow as commands

    if output == "json":
        click.echo(commands.workflow_tasks(workflow_id, statuses, json=True, limit=limit))
        return
    echo_table(commands.workflow_task_records(workflow_id, statuses, limit), commands.TASK_COLUMNS)


@workflow.command()
@workflow_option
@click.option("-a", "--array", "array_name", default="", help="Only of this array (template).")
@click.option("-j", "--job", "job_name", default="", help="Only of the task of this name.")
@limit_option(5)
@output_option
def logs(workflow_id: int, array_name: str, job_name: str, limit: int, output: str) -> None:
    """The log files of the tasks of a workflow."""
    from jobmon.client.commands import records
    from jobmon.client.commands import workflow as commands

    rows = commands.get_filepaths(workflow_id, array_name, job_name, limit)
    if output == "json":
        click.echo(records.to_json(rows))
    else:
        echo_table(rows, commands.LOG_COLUMNS)


@workflow.command()
@workflow_option
@click.option("-p", "--partial", is_flag=True, help="Keep the tasks that are done.")
def reset(workflow_id: int, partial: bool) -> None:
    """Make the tasks of a workflow ready to run again."""
    from jobmon.client.commands import workflow as commands

    click.echo(commands.workflow_reset(workflow_id, partial))


@workflow.command()
@workflow_option
@click.option(
    "-m", "--max-tasks", type=click.IntRange(min=0), required=True, help="Tasks at once; 0 is a pause."
)
def concurrency(workflow_id: int, max_tasks: int) -> None:
    """Set how many tasks of a workflow may run at once."""
    from jobmon.client.commands import workflow as commands

    click.echo(commands.concurrency_limit(workflow_id, max_tasks))


@workflow.command()
@click.argument("argument", metavar="ID", type=click.IntRange(min=1), required=False)
@click.option("-w", "--workflow-id", type=click.IntRange(min=1), help="Id of the workflow.")
@click.option(
    "-t", "--timeout", type=click.FloatRange(min=0), default=60, show_default=True, help="Seconds to wait."
)
def stop(argument: int | None, workflow_id: int | None, timeout: float) -> None:
    """End a workflow and kill what it runs."""
    from jobmon.client.commands import workflow as commands

    if (argument is None) == (workflow_id is None):
        raise click.UsageError("Name one workflow: jobmon workflow stop ID.")
    click.echo(commands.stop_workflow(argument or workflow_id or 0, timeout))


@workflow.command()
@workflow_option
@click.option("-c", "--cluster", default="", help="Cluster its tasks are for; refused when it is another.")
@click.option(
    "--reset-running", is_flag=True, help="End what still runs of an earlier run, instead of adopting it."
)
@click.option(
    "-t",
    "--timeout",
    type=click.FloatRange(min=0),
    default=180,
    show_default=True,
    help="Seconds an earlier run has to hand over.",
)
@click.option(
    "--execution-timeout",
    type=click.FloatRange(min=0),
    default=36000,
    show_default=True,
    help="Seconds the new run may take.",
)
@click.option("--force-cleanup", is_flag=True, help="Then count as ended what was ordered to end.")
def resume(
    workflow_id: int,
    cluster: str,
    reset_running: bool,
    timeout: float,
    execution_timeout: float,
    force_cleanup: bool,
) -> None:
    """Run what is not done of a workflow, without its script."""
    from jobmon.client.commands.resume import resume_workflow_from_id

    resume_workflow_from_id(
        workflow_id,
        cluster,
        reset_if_running=reset_running,
        timeout=timeout,
        seconds_until_timeout=execution_timeout,
        force_cleanup=force_cleanup,
        tell=click.echo,
    )
