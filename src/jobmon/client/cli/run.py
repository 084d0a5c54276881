"""``jobmon workflow run``, ``resume``, ``attach``, ``wait`` and ``stop``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from jobmon.client.cli.options import workflow_argument
from jobmon.core.states import WorkflowRunStatus

if TYPE_CHECKING:
    from jobmon.client.result import WorkflowRunResult

_detach_option = click.option(
    "--detach", is_flag=True, help="Return at once; the run goes on by itself, also when the terminal closes."
)
_execution_timeout_option = click.option(
    "--execution-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=36000,
    show_default=True,
    help="Seconds the new run may take.",
)
_notify_option = click.option(
    "--notify",
    multiple=True,
    metavar="WHOM",
    help="Who is told of the end of the run: #channel, @user, mail:name@example.org or https://…; may be repeated. "
    "Default: notify.on_end.",
)


def _tell(workflow_id: int, result: WorkflowRunResult) -> None:
    """Print the last words about a run; those of one in which not every task is done are an error."""
    from jobmon.client.commands.run import how_it_ended
    from jobmon.core.exceptions import WorkflowRunStateError

    if result.is_detached:
        from jobmon.client.detached import how_to_follow

        click.echo(how_to_follow(result, sys.stdout))
        return
    words = how_it_ended(workflow_id, result)
    if result != WorkflowRunStatus.DONE.value:
        raise WorkflowRunStateError(words)
    click.echo(words)


@click.command()
@workflow_argument
@click.option("--fail-fast", is_flag=True, help="End at the first task that fails for good.")
@_execution_timeout_option
@_detach_option
@click.option(
    "--on",
    "cluster",
    default="",
    metavar="CLUSTER",
    help="With --detach: the run goes on in a job of this batch cluster, not on this machine.",
)
@click.option("--queue", default="", help="With --on: the job's queue; default: the one the cluster prefers.")
@click.option(
    "--memory", default="", help="With --on: memory of the job, GiB or with a unit; default: 1 GiB."
)
@click.option(
    "--runtime",
    default="",
    help="With --on: run time of the job, seconds or with a unit; default: a little more than --execution-timeout.",
)
@click.option("--project", default="", help="With --on: the project (account) that is charged for the job.")
@_notify_option
def run(
    workflow_id: int,
    fail_fast: bool,
    execution_timeout: float,
    detach: bool,
    cluster: str,
    queue: str,
    memory: str,
    runtime: str,
    project: str,
    notify: tuple[str, ...],
) -> None:
    """Run a workflow that is registered and is not being run, without its script.

    One that was never run begins, one that ended early goes on with what is not done. Exit code 0: every task is done.

    With --on the machine you are on need not stay up: the run goes on in a job of the cluster, which is started anew where its
    node fails. It takes a Jobmon server that the nodes can reach (http.service_url). The local server will do where the
    nodes are this machine, or where embedded.node_interface names the address of this machine that leads to them.

    \b
    Examples:
      jobmon workflow run 12
      jobmon workflow run 12 --detach
      jobmon workflow run 12 --detach --on slurm --queue long --memory 2G
    """
    from jobmon.client.commands.run import run_workflow_by_id
    from jobmon.client.progress import choose_display

    job = None
    if cluster:
        from jobmon.swarm.job import JobOptions

        if not detach:
            raise click.UsageError("--on goes with --detach.")
        job = JobOptions(cluster, queue, memory, runtime, project)
    elif queue or memory or runtime or project:
        raise click.UsageError("--queue, --memory, --runtime and --project go with --on.")

    result = run_workflow_by_id(
        workflow_id,
        fail_fast=fail_fast,
        seconds_until_timeout=execution_timeout,
        detach=detach,
        job=job,
        display=choose_display(not detach),
        notify=notify or None,
    )
    _tell(workflow_id, result)


@click.command()
@workflow_argument
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
@_execution_timeout_option
@click.option(
    "--keep-resources",
    is_flag=True,
    help="Ask for no more than last time, also where tasks ended for want of resources.",
)
@click.option("--force-cleanup", is_flag=True, help="After --timeout count as ended what was ordered to end.")
@_detach_option
@_notify_option
def resume(
    workflow_id: int,
    cluster: str,
    reset_running: bool,
    timeout: float,
    execution_timeout: float,
    keep_resources: bool,
    force_cleanup: bool,
    detach: bool,
    notify: tuple[str, ...],
) -> None:
    """Run what is not done of a workflow, without its script; a run that is alive has to hand over.

    \b
    Examples:
      jobmon workflow resume 12
      jobmon workflow resume 12 --reset-running --keep-resources
    """
    from jobmon.client.commands.resume import resume_workflow
    from jobmon.client.progress import choose_display

    result = resume_workflow(
        workflow_id,
        cluster,
        reset_running_jobs=reset_running,
        timeout=timeout,
        seconds_until_timeout=execution_timeout,
        increase_resource=not keep_resources,
        force_cleanup=force_cleanup,
        detach=detach,
        display=choose_display(not detach),
        notify=notify or None,
    )
    _tell(workflow_id, result)


@click.command()
@workflow_argument
@click.option(
    "-t", "--timeout", type=click.FloatRange(min=0), help="Seconds to wait at most; default: no limit."
)
def wait(workflow_id: int, timeout: float | None) -> None:
    """Wait until the run of a workflow has ended, wherever it goes on.

    Exit code 0: every task is done; 1: not every task, or it still goes on. The message says which.

    \b
    Examples:
      jobmon workflow wait 12 && make figures
      jobmon workflow wait 12 --timeout 3600
    """
    from jobmon.client.commands.run import wait_workflow

    _tell(workflow_id, wait_workflow(workflow_id, timeout))


@click.command()
@workflow_argument
def attach(workflow_id: int) -> None:
    """Show the progress of a run that goes on elsewhere; Ctrl-C leaves it alone. Exit codes are those of wait.

    \b
    Examples:
      jobmon workflow attach 12
    """
    from jobmon.client.commands.run import wait_workflow
    from jobmon.client.progress import choose_display

    try:
        result = wait_workflow(workflow_id, display=choose_display(True))
    except KeyboardInterrupt:
        click.echo(
            f"Workflow {workflow_id} goes on. To stop it: jobmon workflow stop {workflow_id}", err=True
        )
        raise click.exceptions.Exit(130) from None
    _tell(workflow_id, result)


@click.command()
@workflow_argument
@click.option("--drain", is_flag=True, help="Let running tasks finish and start no more.")
@click.option("--no-wait", is_flag=True, help="With --drain: give the order and return.")
@click.option(
    "-t",
    "--timeout",
    type=click.FloatRange(min=0),
    help="Seconds to wait for the end; default: 60, with --drain no limit.",
)
def stop(workflow_id: int, drain: bool, no_wait: bool, timeout: float | None) -> None:
    """End the run of a workflow, wherever it goes on, and kill what it runs; it can be resumed.

    \b
    Examples:
      jobmon workflow stop 12
      jobmon workflow stop 12 --drain         running tasks finish, none is started
    """
    from jobmon.client.commands.run import stop_workflow

    if no_wait and not drain:
        raise click.UsageError("--no-wait goes with --drain.")
    click.echo(stop_workflow(workflow_id, timeout, drain=drain, wait=not no_wait))
