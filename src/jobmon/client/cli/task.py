"""``jobmon task``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from jobmon.client.cli.explain import explain
from jobmon.client.cli.group import CommandGroup
from jobmon.client.cli.options import (
    ID,
    CapitalChoice,
    echo_records,
    echo_table,
    limit_option,
    output_option,
    status_option,
    task_argument,
    tasks_argument,
)
from jobmon.client.cli.select import selector_options
from jobmon.core.states import SETTABLE_BY_HAND, USER_LABELS

if TYPE_CHECKING:
    from jobmon.core.requester import Requester

ERROR_LINES = 15


@click.group(cls=CommandGroup)
def task() -> None:
    """The attempts of tasks and why they failed; setting tasks by hand."""


@task.command()
@tasks_argument
@status_option
@limit_option(None)
@output_option
def status(task_ids: tuple[int, ...], statuses: tuple[str, ...], limit: int | None, output: str) -> None:
    """All attempts of tasks: outcome, resources used, log files, what went wrong.

    \b
    Examples:
      jobmon task status 117
      jobmon task status 117 118 119 -s FATAL -o json
    """
    from jobmon.client.commands import task as commands
    from jobmon.client.failures import failure_stories

    if not task_ids:
        raise click.UsageError("Name the tasks: jobmon task status ID ID.")

    rows = commands.task_attempts(task_ids, statuses, limit)
    found = [commands.status_record(row) for row in rows]
    if output != "table":
        echo_records(found, commands.STATUS_COLUMNS, output)
        return
    click.echo(f"TASK_IDS: {list(task_ids)}")
    for record in found:
        record["ERROR_TRACE"] = _end_of(record["ERROR_TRACE"])
    echo_table(found, commands.STATUS_COLUMNS)
    for line in [*failure_stories(rows), *commands.next_commands(rows)]:
        click.echo(line)


def _end_of(text: str) -> str:
    lines = text.strip().splitlines()
    return "\n".join((["…"] if len(lines) > ERROR_LINES else []) + lines[-ERROR_LINES:])


@task.command()
@tasks_argument
@click.option(
    "-w",
    "--workflow-id",
    type=ID,
    help="Their workflow; needed where tasks are chosen without ids.",
)
@click.option(
    "-s",
    "--status",
    "new_status",
    type=CapitalChoice(sorted(SETTABLE_BY_HAND, key=len)),
    required=True,
    help="D, DONE: count as done. G, REGISTERED: run again, with all that waits for them.",
)
@click.option("-f", "--force", is_flag=True, help="Also where tasks behind them have started in a live run.")
@click.option("-r", "--recursive", is_flag=True, help="With all tasks that wait for them.")
@click.option(
    "--only",
    is_flag=True,
    help="G for these alone; refused when a task that waits for them is done or active.",
)
@selector_options
@click.option(
    "--in-status",
    "in_statuses",
    multiple=True,
    type=CapitalChoice(USER_LABELS),
    help="Only tasks in this state; may be repeated.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before tasks chosen without ids are set.")
def update(
    task_ids: tuple[int, ...],
    workflow_id: int | None,
    new_status: str,
    force: bool,
    recursive: bool,
    only: bool,
    selectors: dict[str, Any],
    in_statuses: tuple[str, ...],
    yes: bool,
) -> None:
    """Set tasks to done or to registered by hand.

    Name the tasks by their ids, or choose them (-w with --template, --node-arg, --attribute, --in-status): all
    conditions must hold. How many are meant is shown first, and asked for in a terminal.

    \b
    Examples:
      jobmon task update 17 18 -s DONE
      jobmon task update -w 12 --template fit --in-status FATAL -s G
    """
    from jobmon.client.commands import task as commands
    from jobmon.client.commands.validation import validate_workflow
    from jobmon.core.requester import Requester

    if in_statuses:
        selectors["status"] = list(in_statuses)
    _check_choice(task_ids, workflow_id, selectors, recursive and only)
    requester = Requester.from_defaults()
    ids: Sequence[int] = task_ids
    if workflow_id is None:
        workflow_id = validate_workflow(task_ids, requester)
    if selectors:
        ids = _choose(workflow_id, selectors, requester)
        count = commands.count_update(
            ids, workflow_id, new_status, force, recursive, requester, downstream=not only
        )
        _confirm(workflow_id, len(ids), count, new_status, yes)
    told = commands.update_task_status(
        ids, workflow_id, new_status, force, recursive, requester, downstream=not only
    )
    click.echo(told)


def _check_choice(
    task_ids: Sequence[int], workflow_id: int | None, selectors: dict[str, Any], is_contradiction: bool
) -> None:
    if is_contradiction:
        raise click.UsageError("--only and -r contradict each other.")
    if bool(task_ids) == bool(selectors):
        raise click.UsageError(
            "Name tasks by their ids, or choose them with --template, --node-arg, --attribute or --in-status"
            + ("; not both." if task_ids else ". For all tasks of a workflow: jobmon workflow reset.")
        )
    if selectors and workflow_id is None:
        raise click.UsageError("Tasks are chosen within a workflow; name it with -w.")


def _choose(workflow_id: int, selectors: dict[str, Any], requester: Requester) -> list[int]:
    from jobmon.client.commands.select import select_tasks
    from jobmon.client.commands.validation import RefusedError

    ids = select_tasks(workflow_id, **selectors, requester=requester)
    if not ids:
        raise RefusedError(
            f"No task of workflow {workflow_id} is chosen by that; nothing was changed. To see what there is: "
            f"jobmon workflow tasks -w {workflow_id}"
        )
    return ids


def _confirm(workflow_id: int, num_chosen: int, num_meant: int, new_status: str, is_agreed: bool) -> None:
    """Ask whether so many tasks shall be set; nobody can be asked where the input is no terminal."""
    from jobmon.core.words import counted

    behind = f" and {num_meant - num_chosen} that wait for them" if num_meant > num_chosen else ""
    name = SETTABLE_BY_HAND[new_status].name
    what = f"{counted(num_chosen, 'task')} of workflow {workflow_id}{behind} will be set to {name}."
    if is_agreed:
        return
    if not _is_terminal():
        raise click.ClickException(f"{what} To agree where nobody can be asked, add -y.")
    click.confirm(f"{what} Go on?", abort=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


@task.command()
@task_argument
@output_option
def dependencies(task_id: int, output: str) -> None:
    """What a task waits for, and what waits for it.

    \b
    Examples:
      jobmon task dependencies 117
    """
    from jobmon.client.commands import records
    from jobmon.client.commands import task as commands
    from jobmon.core.states import TASK_USER_LABEL, TaskStatus

    found = commands.get_task_dependencies(task_id)
    if output == "json":
        click.echo(records.to_json(found))
        return
    rows = {
        direction: [
            {
                "DIRECTION": direction,
                "TASK_ID": row["id"],
                "TASK_NAME": row["name"],
                "STATUS": TASK_USER_LABEL[TaskStatus(row["status"])],
            }
            for row in neighbours
        ]
        for direction, neighbours in found.items()
    }
    if output == "csv":
        echo_records(rows["up"] + rows["down"], ("DIRECTION", "TASK_ID", "TASK_NAME", "STATUS"), output)
        return
    for title, direction in (("Upstream tasks", "up"), ("Downstream tasks", "down")):
        click.echo(f"{title}:")
        if rows[direction]:
            echo_table(rows[direction], ("TASK_ID", "TASK_NAME", "STATUS"))
        else:
            click.echo("  none")


task.add_command(explain)
