"""``jobmon task``."""

from __future__ import annotations

import click

from jobmon.client.cli.options import ManyOption, echo_table, limit_option, output_option, status_option

ERROR_LINES = 15


@click.group()
def task() -> None:
    """The attempts of tasks and why they failed; setting tasks by hand."""


def _task_ids(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "-t",
        "--task-id",
        "task_ids",
        cls=ManyOption,
        type=click.IntRange(min=1),
        required=True,
        help="Ids of tasks.",
    )(function)


@task.command()
@_task_ids
@status_option
@limit_option(None)
@output_option
def status(task_ids: tuple[int, ...], statuses: tuple[str, ...], limit: int | None, output: str) -> None:
    """All attempts of tasks: outcome, resources used, log files, what went wrong."""
    from jobmon.client.commands import records
    from jobmon.client.commands import task as commands

    rows = commands.task_attempts(task_ids, statuses, limit)
    found = [commands.status_record(row) for row in rows]
    if output == "json":
        click.echo(records.to_json(found))
        return
    click.echo(f"TASK_IDS: {list(task_ids)}")
    for record in found:
        record["ERROR_TRACE"] = _end_of(record["ERROR_TRACE"])
    echo_table(found, commands.STATUS_COLUMNS)
    for line in commands.next_commands(rows):
        click.echo(line)


def _end_of(text: str) -> str:
    lines = text.strip().splitlines()
    return "\n".join((["…"] if len(lines) > ERROR_LINES else []) + lines[-ERROR_LINES:])


@task.command()
@_task_ids
@click.option("-w", "--workflow-id", type=click.IntRange(min=1), help="Their workflow; found when left out.")
@click.option(
    "-s",
    "--status",
    "new_status",
    type=click.Choice(["D", "G", "DONE", "REGISTERED"], case_sensitive=False),
    required=True,
    help="D, DONE: count as done. G, REGISTERED: run again, with all that waits for them.",
)
@click.option("-f", "--force", is_flag=True, help="Also where tasks behind them have started in a live run.")
@click.option("-r", "--recursive", is_flag=True, help="With all tasks that wait for them.")
def update(
    task_ids: tuple[int, ...], workflow_id: int | None, new_status: str, force: bool, recursive: bool
) -> None:
    """Set tasks to done or to registered by hand."""
    from jobmon.client.commands import task as commands
    from jobmon.client.commands.validation import validate_workflow
    from jobmon.core.requester import Requester

    requester = Requester.from_defaults()
    if workflow_id is None:
        workflow_id = validate_workflow(task_ids, requester)
    click.echo(commands.update_task_status(task_ids, workflow_id, new_status, force, recursive, requester))


@task.command()
@click.option("-t", "--task-id", type=click.IntRange(min=1), required=True, help="Id of the task.")
@output_option
def dependencies(task_id: int, output: str) -> None:
    """What a task waits for, and what waits for it."""
    from jobmon.client.commands import records
    from jobmon.client.commands import task as commands
    from jobmon.core.states import TASK_USER_LABEL, TaskStatus

    found = commands.get_task_dependencies(task_id)
    if output == "json":
        click.echo(records.to_json(found))
        return
    for title, direction in (("Upstream tasks", "up"), ("Downstream tasks", "down")):
        click.echo(f"{title}:")
        rows = [
            {
                "TASK_ID": row["id"],
                "TASK_NAME": row["name"],
                "STATUS": TASK_USER_LABEL[TaskStatus(row["status"])],
            }
            for row in found[direction]
        ]
        if rows:
            echo_table(rows, ("TASK_ID", "TASK_NAME", "STATUS"))
        else:
            click.echo("  none")
