"""Detached runs: the controller works in a process of its own, and the terminal may close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jobmon.client.following import read_progress
from jobmon.client.pages import workflow_page
from jobmon.client.result import WorkflowRunResult
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError, UsageError
from jobmon.core.requester import Requester
from jobmon.core.states import WorkflowRunEvent, WorkflowRunStatus

if TYPE_CHECKING:
    from jobmon.client.workflow import Workflow
    from jobmon.client.workflow_run import WorkflowRun
    from jobmon.swarm.controller import RunOptions, TaskHooks
    from jobmon.swarm.job import JobOptions


def run_detached(
    requester: Requester,
    workflow_id: int,
    options: RunOptions,
    config: JobmonConfig,
    startup_timeout: float,
    job: JobOptions | None = None,
) -> WorkflowRunResult:
    """Create a run and hand it to a process of its own, or to a job of a batch cluster; returns as soon as that works.

    A job that still waits in the queue when ``startup_timeout`` is over is left there.

    Raises:
        WorkflowNotResumable: another run of the workflow is alive.
        WorkflowAlreadyComplete: every task is done.
        DistributorStartupTimeout, DistributorUnexpected: the process did not come up.
        ClusterError, UsageError: the cluster does not take the job.
    """
    if job is None:
        run_id, log = _start_process(requester, workflow_id, options, config, startup_timeout)
        return _begun(requester, workflow_id, run_id, log)
    from jobmon.swarm.job import start_job

    started = start_job(requester, workflow_id, options, job, config, startup_timeout)
    result = _begun(requester, workflow_id, started.workflow_run_id, started.log)
    result.place, result.waits_for = started.place, started.waits_for
    return result


def _start_process(
    requester: Requester, workflow_id: int, options: RunOptions, config: JobmonConfig, startup_timeout: float
) -> tuple[int, Path]:
    """Create a run and start the process that hosts it; the run and the log."""
    from jobmon.client.workflow_run import WorkflowRun
    from jobmon.swarm.host import start_host

    run = WorkflowRun(
        workflow_id, requester, options.heartbeat_interval, options.report_by_buffer, options.notify
    )
    run.bind()
    try:
        log = start_host(requester, workflow_id, run.workflow_run_id, options, config, startup_timeout)
    except BaseException as error:
        _give_up(run, error)
        raise
    return run.workflow_run_id, log


def _begun(requester: Requester, workflow_id: int, workflow_run_id: int, log: Path) -> WorkflowRunResult:
    """The result of a run that goes on elsewhere, as it stands now."""
    from jobmon.swarm.outcome import RunOutcome

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
    result = WorkflowRunResult.of_outcome(workflow_id, workflow_run_id, begun)
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


def job_options(detach: bool, on: str, resources: Mapping[str, Any] | None) -> JobOptions | None:
    """What the job asks for that is to host a run; ``None`` where the run needs none.

    Raises:
        UsageError: the arguments do not go together.
    """
    if not on:
        if resources:
            raise UsageError(
                "on_resources are those of the job that hosts the run; name its cluster with on=."
            )
        return None
    if not detach:
        raise UsageError(f"A run in a job of cluster '{on}' goes on by itself: say detach=True as well.")
    from jobmon.swarm.job import JobOptions

    known = {each.name for each in fields(JobOptions)} - {"cluster_name"}
    unknown = sorted(set(resources or {}) - known)
    if unknown:
        raise UsageError(f"on_resources: {unknown[0]} is not one of {', '.join(sorted(known))}.")
    return JobOptions(on, **{name: str(value) for name, value in (resources or {}).items()})


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


def how_to_follow(result: WorkflowRunResult, stream: TextIO | None = None) -> str:
    """What to type to look after a detached run.

    Args:
        result: of the run.
        stream: where this will be written, which decides whether the link to its page lets in who reads it.
    """
    number = result.workflow_id
    status = WorkflowRunStatus(str(result)).name
    if result.waits_for:
        how = f"begins when {result.place} starts, which waits for: {result.waits_for}"
    else:
        how = f"goes on by itself{f', in {result.place}' if result.place else ''} ({status})"
    page = "" if result._requester is None else workflow_page(result._requester, number, stream)
    see = f"  see it:       {page}\n" if page else ""
    return (
        f"workflow {number}: run {result.workflow_run_id} {how}\n{see}"
        f"  watch it:     jobmon workflow attach {number}\n"
        f"  wait for it:  jobmon workflow wait {number}\n"
        f"  stop it:      jobmon workflow stop {number}            (--drain lets running tasks finish)\n"
        f"  its log:      {result.log}"
    )
