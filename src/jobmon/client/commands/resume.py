"""Resume a workflow by its id, without its script."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from jobmon.client.commands.run import how_it_ended, require_registered, run_registered
from jobmon.core.exceptions import WorkflowRunStateError
from jobmon.core.requester import Requester
from jobmon.core.states import WorkflowRunStatus

if TYPE_CHECKING:
    from jobmon.client.progress import RunDisplay
    from jobmon.client.result import WorkflowRunResult


def resume_workflow(
    workflow_id: int,
    cluster_name: str = "",
    *,
    reset_running_jobs: bool = False,
    timeout: float = 180,
    seconds_until_timeout: float = 36000,
    increase_resource: bool = True,
    force_cleanup: bool = False,
    detach: bool = False,
    display: RunDisplay | None = None,
    requester: Requester | None = None,
    notify: str | Iterable[str] | None = None,
) -> WorkflowRunResult:
    """Run what is not done of a workflow, without its script; returns when it has ended.

    Args:
        workflow_id: a workflow that is registered completely.
        cluster_name: the cluster its tasks are for; refused when they are for another one. Empty: any.
        reset_running_jobs: end what still runs of an earlier run; false adopts what can be adopted.
        timeout: seconds an earlier run has to hand over, and a detached one to come up.
        seconds_until_timeout: seconds the new run may take.
        increase_resource: tasks whose latest attempt ended for want of resources ask for more at once.
        force_cleanup: after ``timeout`` count attempts that were ordered to end as ended.
        detach: return as soon as the run goes on in a process of its own.
        display: shows progress.
        requester: how to reach the server.
        notify: whom the server is to tell of the end of the run; by default those of ``notify.on_end``.

    Raises:
        UsageError: the server cannot tell somebody.
        WorkflowAlreadyComplete: every task is done.
        WorkflowNotResumable: an earlier run is still alive.
        WorkflowTimeoutError: it took too long.
    """
    from jobmon.client.notify import tellable_targets, wanted_targets
    from jobmon.client.run import RunRequest
    from jobmon.core.configuration import JobmonConfig
    from jobmon.swarm.resume import prepare_resume

    config = JobmonConfig()
    requester = requester or Requester.from_defaults(config)
    told = tellable_targets(requester, wanted_targets(notify, config))
    metadata = require_registered(requester, workflow_id, cluster_name)
    prepare_resume(requester, workflow_id, reset_running_jobs, timeout, force_cleanup)
    request = RunRequest(
        fail_fast=False,
        seconds_until_timeout=seconds_until_timeout,
        resume=True,
        reset_running_jobs=reset_running_jobs,
        resume_timeout=timeout,
        was_being_run=False,
        increase_resources=increase_resource,
        detach=detach,
        startup_timeout=timeout,
        notify=told,
    )
    return run_registered(requester, metadata, request, config, display, "resuming")


def resume_workflow_from_id(
    workflow_id: int,
    cluster_name: str = "",
    reset_if_running: bool = True,
    log: bool = True,
    timeout: float = 180,
    seconds_until_timeout: float = 36000,
    increase_resource: bool = True,
    force_cleanup: bool = False,
    *,
    tell: Callable[[str], None] | None = None,
    requester: Requester | None = None,
) -> None:
    """Run what is not done of a workflow, by its id, from anywhere.

    Args:
        workflow_id: the workflow.
        cluster_name: the cluster its tasks are for; empty: any.
        reset_if_running: end what still runs of an earlier run; false adopts what can be adopted.
        log: show progress.
        timeout: seconds an earlier run has to hand over.
        seconds_until_timeout: seconds the new run may take.
        increase_resource: tasks whose latest attempt ended for want of resources ask for more at once.
        force_cleanup: after ``timeout`` count attempts that were ordered to end as ended.
        tell: takes the last words when every task is done.
        requester: how to reach the server.

    Raises:
        WorkflowRunStateError: not every task is done at the end; the message says what failed and why.
    """
    from jobmon.client.progress import choose_display

    requester = requester or Requester.from_defaults()
    result = resume_workflow(
        workflow_id,
        cluster_name,
        reset_running_jobs=reset_if_running,
        timeout=timeout,
        seconds_until_timeout=seconds_until_timeout,
        increase_resource=increase_resource,
        force_cleanup=force_cleanup,
        display=choose_display(log),
        requester=requester,
    )
    words = how_it_ended(workflow_id, result, requester)
    if result != WorkflowRunStatus.DONE.value:
        raise WorkflowRunStateError(words)
    if tell is not None:
        tell(words)
