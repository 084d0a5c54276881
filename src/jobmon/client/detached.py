"""Detached runs: the controller works in a process of its own, and the terminal may close."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobmon.client.following import read_progress
from jobmon.client.result import WorkflowRunResult
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError, UsageError
from jobmon.core.requester import Requester
from jobmon.core.states import WorkflowRunEvent, WorkflowRunStatus

if TYPE_CHECKING:
    from jobmon.client.workflow import Workflow
    from jobmon.client.workflow_run import WorkflowRun
    from jobmon.swarm.controller import RunOptions, TaskHooks


def run_detached(
    requester: Requester, workflow_id: int, options: RunOptions, config: JobmonConfig, startup_timeout: float
) -> WorkflowRunResult:
    """Create a run and hand it to a process of its own; returns as soon as that works.

    Raises:
        WorkflowNotResumable: another run of the workflow is alive.
        WorkflowAlreadyComplete: every task is done.
        DistributorStartupTimeout, DistributorUnexpected: the process did not come up.
    """
    from jobmon.client.workflow_run import WorkflowRun
    from jobmon.swarm.host import start_host
    from jobmon.swarm.outcome import RunOutcome

    run = WorkflowRun(workflow_id, requester, options.heartbeat_interval, options.report_by_buffer)
    run.bind()
    try:
        log = start_host(requester, workflow_id, run.workflow_run_id, options, config, startup_timeout)
    except BaseException as error:
        _give_up(run, error)
        raise
    progress = read_progress(requester, workflow_id)
    begun = RunOutcome(
        final_status=progress.run_status,
        elapsed_time=progress.elapsed_seconds,
        total_tasks=progress.total,
        done_count=progress.done,
        failed_count=progress.failed,
        num_previously_complete=progress.done,
        task_final_statuses={},
        done_task_ids=[],
        failed_task_ids=[],
    )
    result = WorkflowRunResult.of_outcome(workflow_id, run.workflow_run_id, begun)
    result.is_detached = True
    result.log = str(log)
    result._requester = requester
    return result


def _give_up(run: WorkflowRun, error: BaseException) -> None:
    """End a run nobody will work on: while it is just created, or after a process took it and died."""
    for event in (WorkflowRunEvent.ABORT, WorkflowRunEvent.FAIL):
        try:
            run.apply(event)
        except UsageError:
            continue  # not from the state it is in
        except JobmonError as second:
            error.add_note(f"The server could not be told that run {run.workflow_run_id} ended: {second}")
        return


def require_no_functions(workflow: Workflow, hooks: TaskHooks) -> None:
    """Refuse to detach a workflow whose tasks need functions of the script.

    Raises:
        UsageError: it has such tasks; the message names one.
    """
    reasons = dict.fromkeys(hooks.compute_resources_callables, "its compute_resources_callable")
    for task_id, scales in hooks.resource_scales.items():
        names = [name for name, scale in scales.items() if callable(scale)]
        if names:
            reasons.setdefault(task_id, f"the function that scales its '{names[0]}'")
    if not reasons:
        return
    task = next(task for task in workflow.tasks.values() if task.task_id in reasons)
    others = f" (and {len(reasons) - 1} more tasks)" if len(reasons) > 1 else ""
    raise UsageError(
        f"Workflow {workflow.workflow_id} cannot be detached: {task}{others} needs {reasons[task.task_id]}, a function "
        "of this script that another process does not have. Give resources and scales as values, or run it "
        "without detach."
    )


def how_to_follow(result: WorkflowRunResult) -> str:
    """What to type to look after a detached run."""
    number = result.workflow_id
    status = WorkflowRunStatus(str(result)).name
    return (
        f"workflow {number}: run {result.workflow_run_id} goes on by itself ({status})\n"
        f"  watch it:     jobmon workflow attach {number}\n"
        f"  wait for it:  jobmon workflow wait {number}\n"
        f"  stop it:      jobmon workflow stop {number}            (--drain lets running tasks finish)\n"
        f"  its log:      {result.log}"
    )
