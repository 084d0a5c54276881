"""Runs by the id of their workflow, from anywhere: begin, follow, wait, stop."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jobmon.client.following import follow, has_ended, is_controller_gone, read_progress, result_of
from jobmon.core.exceptions import UsageError, WorkflowAlreadyComplete, WorkflowNotResumable
from jobmon.core.process_identity import is_alive
from jobmon.core.requester import Requester
from jobmon.core.states import WorkflowRunStatus, WorkflowStatus
from jobmon.serializers.swarm import (
    ResumableResponse,
    RunProgressResponse,
    SetResumeRequest,
    WorkflowMetadataResponse,
)

if TYPE_CHECKING:
    from jobmon.client.progress import RunDisplay
    from jobmon.client.result import WorkflowRunResult
    from jobmon.client.run import RunRequest
    from jobmon.core.configuration import JobmonConfig
    from jobmon.swarm.job import JobOptions

STOP_SECONDS = 60.0
POLL_SECONDS = 0.2


# -- begin --------------------------------------------------------------------------------------------
def run_workflow_by_id(
    workflow_id: int,
    *,
    fail_fast: bool = False,
    seconds_until_timeout: float = 36000,
    detach: bool = False,
    startup_timeout: float = 180,
    job: JobOptions | None = None,
    display: RunDisplay | None = None,
    requester: Requester | None = None,
    notify: str | Iterable[str] | None = None,
) -> WorkflowRunResult:
    """Run a workflow that is registered, without its script: one that was never run, or what is not done of it.

    Args:
        workflow_id: a workflow that is registered completely and that is not being run.
        fail_fast: end at the first task that fails for good.
        seconds_until_timeout: seconds the run may take.
        detach: return as soon as the run goes on in a process of its own.
        startup_timeout: seconds that process has to come up.
        job: the job of a batch cluster which that process is to be; by default it is on this machine.
        display: shows progress.
        requester: how to reach the server.
        notify: whom the server is to tell of the end of the run; by default those of ``notify.on_end``.

    Raises:
        UsageError: the server cannot tell somebody.
        WorkflowAlreadyComplete: every task is done.
        WorkflowNotResumable: it is being run, or it is not registered completely.
        WorkflowTimeoutError: it took too long.
    """
    from jobmon.client.notify import tellable_targets, wanted_targets
    from jobmon.client.run import RunRequest
    from jobmon.core.configuration import JobmonConfig
    from jobmon.swarm.resume import prepare_resume

    config = JobmonConfig()
    requester = requester or Requester.from_defaults(config)
    told = tellable_targets(requester, wanted_targets(notify, config))
    metadata = require_registered(requester, workflow_id)
    progress = read_progress(requester, workflow_id)
    if not has_ended(progress) and not is_controller_gone(progress):
        raise WorkflowNotResumable(
            f"Workflow {workflow_id} is being run: its run {progress.workflow_run_id} of user {progress.run_user} is "
            f"{WorkflowRunStatus(progress.run_status).name}. To see it: jobmon workflow attach {workflow_id}. "
            f"To take it over: jobmon workflow resume {workflow_id}"
        )
    if progress.workflow_run_id is not None:
        prepare_resume(requester, workflow_id)
    request = RunRequest(
        fail_fast=fail_fast,
        seconds_until_timeout=seconds_until_timeout,
        resume=progress.workflow_run_id is not None,
        reset_running_jobs=True,
        resume_timeout=0,
        was_being_run=False,
        detach=detach,
        startup_timeout=startup_timeout,
        job=job,
        notify=told,
    )
    return run_registered(requester, metadata, request, config, display, "running")


def require_registered(
    requester: Requester, workflow_id: int, cluster_name: str = ""
) -> WorkflowMetadataResponse:
    """A workflow that can be run by its id.

    Raises:
        WorkflowAlreadyComplete: every task is done.
        WorkflowNotResumable: it is not registered completely.
        UsageError: its tasks are for another cluster than the one named.
    """
    path = f"/swarm/workflow/{workflow_id}/metadata"
    metadata = requester.send("GET", path, None, WorkflowMetadataResponse)
    if not metadata.is_bound:
        raise WorkflowNotResumable(
            f"Workflow {workflow_id} is not registered completely; run the script that defines it again."
        )
    if metadata.status == WorkflowStatus.DONE:
        raise WorkflowAlreadyComplete(
            f"Every task of workflow {workflow_id} is done already. To run them again: "
            f"jobmon workflow reset {workflow_id}"
        )
    clusters = sorted({resources.cluster_name for resources in metadata.task_resources})
    if cluster_name and cluster_name not in clusters:
        raise UsageError(
            f"The tasks of workflow {workflow_id} are for cluster {', '.join(clusters)}, not for '{cluster_name}'. "
            "Leave the cluster out, or change it in the script."
        )
    return metadata


def run_registered(
    requester: Requester,
    metadata: WorkflowMetadataResponse,
    request: RunRequest,
    config: JobmonConfig,
    display: RunDisplay | None,
    verb: str,
) -> WorkflowRunResult:
    """Run what is not done of a workflow nobody runs, here or in a process of its own."""
    from jobmon.client.pages import tell_page
    from jobmon.client.progress import SilentDisplay, title
    from jobmon.client.result import WorkflowRunResult
    from jobmon.client.run import options_for, wait_for
    from jobmon.swarm.controller import Controller

    options = options_for(request, config)
    if request.detach:
        from jobmon.client.detached import run_detached

        return run_detached(requester, metadata.id, options, config, request.startup_timeout, request.job)
    display = display or SilentDisplay()
    controller = Controller(requester, metadata.id, options, on_progress=display.update, config=config)
    if not isinstance(display, SilentDisplay):
        tell_page(requester, metadata.id, sys.stderr)
    display.start(f"{title(metadata.id, metadata.name)}: {verb}")
    try:
        controller.start()
        wait_for(controller, display)
    finally:
        display.stop()
    return WorkflowRunResult.of_outcome(metadata.id, controller.workflow_run_id, controller.outcome())


# -- follow -------------------------------------------------------------------------------------------
def wait_workflow(
    workflow_id: int,
    timeout: float | None = None,
    *,
    display: RunDisplay | None = None,
    requester: Requester | None = None,
) -> WorkflowRunResult:
    """Wait until the run of a workflow has ended, wherever it goes on; what became of it.

    Args:
        workflow_id: the workflow.
        timeout: seconds to wait at most; ``None``: as long as it takes.
        display: shows progress meanwhile.
        requester: how to reach the server.

    Raises:
        WorkflowTimeoutError: it goes on after that time.
        WorkflowRunStateError: it was never run.
        DistributorNotAlive: the process that hosts the run is gone.
    """
    from jobmon.client.progress import title

    requester = requester or Requester.from_defaults()
    if display is None:
        return result_of(requester, follow(requester, workflow_id, timeout))
    before = read_progress(requester, workflow_id)
    display.start(f"{title(workflow_id, before.workflow_name)}: {before.done} of {before.total} tasks done")
    try:
        ended = follow(requester, workflow_id, timeout, display.update)
    finally:
        display.stop()
    return result_of(requester, ended)


def how_it_ended(workflow_id: int, result: WorkflowRunResult, requester: Requester | None = None) -> str:
    """The last words about a run; where tasks failed, with their errors."""
    from jobmon.client.progress import last_words
    from jobmon.client.result import fetch_errors

    requester = requester or Requester.from_defaults()
    errors = fetch_errors(requester, workflow_id) if result.failed_task_ids else []
    return last_words(result, read_progress(requester, workflow_id).workflow_name, errors)


# -- stop ---------------------------------------------------------------------------------------------
def stop_workflow(
    workflow_id: int,
    timeout: float | None = None,
    requester: Requester | None = None,
    drain: bool = False,
    wait: bool = True,
) -> str:
    """End the run of a workflow; what was done, in words.

    Args:
        workflow_id: the workflow.
        timeout: seconds to wait for the end; by default 60, and as long as it takes when draining.
        requester: how to reach the server.
        drain: let running tasks finish and start no more; by default they are killed.
        wait: when draining, wait for the end.

    Raises:
        NotAllowedError: it belongs to somebody else.
        WorkflowNotResumable: something is still alive after that time.
        WorkflowTimeoutError: (when draining) it goes on after that time.
    """
    requester = requester or Requester.from_defaults()
    if drain:
        return _drain(requester, workflow_id, timeout, wait)
    return _kill(requester, workflow_id, STOP_SECONDS if timeout is None else timeout)


def _drain(requester: Requester, workflow_id: int, timeout: float | None, wait: bool) -> str:
    from jobmon.swarm.job import waiting_job

    progress = requester.send("POST", f"/swarm/workflow/{workflow_id}/drain", None, RunProgressResponse)
    if has_ended(progress):
        status = WorkflowStatus(progress.workflow_status).name
        return f"Workflow {workflow_id} was not running; its status is {status}."
    if is_controller_gone(progress) or waiting_job(progress.controller) is not None:
        return _kill(requester, workflow_id, STOP_SECONDS)  # what is left of it can only be cleaned up
    if not wait:
        return (
            f"Workflow {workflow_id} starts no more tasks and ends when {progress.active} have ended. "
            f"To wait for that: jobmon workflow wait {workflow_id}"
        )
    ended = follow(requester, workflow_id, timeout)
    if ended.workflow_status == WorkflowStatus.DONE:
        return f"Workflow {workflow_id} has ended: all of its {ended.total} tasks are done."
    return (
        f"Workflow {workflow_id} has ended, {ended.done} of {ended.total} tasks are done; its status is "
        f"{WorkflowStatus(ended.workflow_status).name}. To go on with it: jobmon workflow resume {workflow_id}"
    )


def _kill(requester: Requester, workflow_id: int, timeout: float) -> str:
    from jobmon.swarm.job import withdraw
    from jobmon.swarm.resume import prepare_resume

    before = _is_resumable(requester, workflow_id)
    deadline = time.monotonic() + timeout
    unbegun = before.alive_workflow_run_id if withdraw(requester, before.controller) else None
    answer = _order_stop(requester, workflow_id, [] if unbegun is None else [unbegun])
    run_id = answer.alive_workflow_run_id
    while run_id is not None and answer.alive_workflow_run_id == run_id and not _is_dead(answer):
        if time.monotonic() > deadline:
            raise WorkflowNotResumable(_not_stopped(workflow_id, answer, timeout))
        time.sleep(POLL_SECONDS)
        # again: a run that was being created obeys a little later
        answer = _order_stop(requester, workflow_id)
    if not answer.is_resumable:
        prepare_resume(requester, workflow_id, True, max(1.0, deadline - time.monotonic()))
        answer = _is_resumable(requester, workflow_id)
    status = WorkflowStatus(answer.workflow_status).name
    if before.is_resumable:
        return f"Workflow {workflow_id} was not running; its status is {status}."
    return (
        f"Workflow {workflow_id} was stopped; its status is {status}. "
        f"To go on with it: jobmon workflow resume -w {workflow_id}"
    )


def _order_stop(
    requester: Requester, workflow_id: int, dead_run_ids: Sequence[int] = ()
) -> ResumableResponse:
    path = f"/swarm/workflow/{workflow_id}/stop"
    order = SetResumeRequest(dead_workflow_run_ids=list(dead_run_ids))
    return requester.send("POST", path, order, ResumableResponse)


def _not_stopped(workflow_id: int, answer: ResumableResponse, timeout: float) -> str:
    return (
        f"Workflow {workflow_id} was ordered to stop, but its run {answer.alive_workflow_run_id} is "
        f"{WorkflowRunStatus(answer.alive_run_status).name} after {timeout:.0f} s; it counts as lost in "
        f"{max(0.0, answer.lost_in_seconds):.0f} s. Look again: jobmon workflow status -w {workflow_id}"
    )


def _is_resumable(requester: Requester, workflow_id: int) -> ResumableResponse:
    path = f"/swarm/workflow/{workflow_id}/is_resumable"
    return requester.send("GET", path, None, ResumableResponse, params={"cold": "true"})


def _is_dead(answer: ResumableResponse) -> bool:
    return answer.controller is not None and is_alive(answer.controller) is False
