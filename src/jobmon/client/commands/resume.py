"""Resume a workflow by its id, without its script."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jobmon.core.exceptions import UsageError, WorkflowNotResumable, WorkflowRunStateError
from jobmon.core.requester import Requester
from jobmon.core.states import WorkflowRunStatus
from jobmon.serializers.swarm import WorkflowMetadataResponse

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
    force_cleanup: bool = False,
    display: RunDisplay | None = None,
    requester: Requester | None = None,
) -> WorkflowRunResult:
    """Run what is not done of a workflow, without its script; returns when it has ended.

    Args:
        workflow_id: a workflow that is registered completely.
        cluster_name: the cluster its tasks are for; refused when they are for another one. Empty: any.
        reset_running_jobs: end what still runs of an earlier run; false adopts what can be adopted.
        timeout: seconds an earlier run has to hand over.
        seconds_until_timeout: seconds the new run may take.
        force_cleanup: after ``timeout`` count attempts that were ordered to end as ended.
        display: shows progress.
        requester: how to reach the server.

    Raises:
        WorkflowAlreadyComplete: every task is done.
        WorkflowNotResumable: an earlier run is still alive.
        WorkflowTimeoutError: it took too long.
    """
    from jobmon.client.progress import SilentDisplay, title
    from jobmon.client.result import WorkflowRunResult
    from jobmon.client.run import wait_for
    from jobmon.core.configuration import JobmonConfig
    from jobmon.swarm.controller import Controller, RunOptions
    from jobmon.swarm.resume import prepare_resume

    config = JobmonConfig()
    requester = requester or Requester.from_defaults(config)
    metadata = _require_resumable(requester, workflow_id, cluster_name)
    prepare_resume(requester, workflow_id, reset_running_jobs, timeout, force_cleanup)
    display = display or SilentDisplay()
    options = RunOptions(
        seconds_until_timeout=seconds_until_timeout,
        heartbeat_interval=config.get_float("heartbeat", "workflow_run_interval"),
        report_by_buffer=config.get_float("heartbeat", "report_by_buffer"),
        adopt=not reset_running_jobs,
    )
    controller = Controller(requester, workflow_id, options, on_progress=display.update, config=config)
    display.start(f"{title(workflow_id, metadata.name)}: resuming")
    try:
        controller.start()
        wait_for(controller, display)
    finally:
        display.stop()
    return WorkflowRunResult.of_outcome(workflow_id, controller.workflow_run_id, controller.outcome())


def _require_resumable(requester: Requester, workflow_id: int, cluster_name: str) -> WorkflowMetadataResponse:
    path = f"/swarm/workflow/{workflow_id}/metadata"
    metadata = requester.send("GET", path, None, WorkflowMetadataResponse)
    if not metadata.is_bound:
        raise WorkflowNotResumable(
            f"Workflow {workflow_id} is not registered completely; run the script that defines it again."
        )
    clusters = sorted({resources.cluster_name for resources in metadata.task_resources})
    if cluster_name and cluster_name not in clusters:
        raise UsageError(
            f"The tasks of workflow {workflow_id} are for cluster {', '.join(clusters)}, not for '{cluster_name}'. "
            "Leave the cluster out, or change it in the script."
        )
    return metadata


def resume_workflow_from_id(
    workflow_id: int,
    cluster_name: str = "",
    reset_if_running: bool = True,
    log: bool = True,
    timeout: float = 180,
    seconds_until_timeout: float = 36000,
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
        force_cleanup: after ``timeout`` count attempts that were ordered to end as ended.
        tell: takes the last words when every task is done.
        requester: how to reach the server.

    Raises:
        WorkflowRunStateError: not every task is done at the end; the message says what failed and why.
    """
    from jobmon.client.progress import choose_display, last_words
    from jobmon.client.result import fetch_errors

    requester = requester or Requester.from_defaults()
    result = resume_workflow(
        workflow_id,
        cluster_name,
        reset_running_jobs=reset_if_running,
        timeout=timeout,
        seconds_until_timeout=seconds_until_timeout,
        force_cleanup=force_cleanup,
        display=choose_display(log),
        requester=requester,
    )
    errors = fetch_errors(requester, workflow_id) if result.failed_task_ids else []
    words = last_words(result, "", errors)
    if result != WorkflowRunStatus.DONE.value:
        raise WorkflowRunStateError(words)
    if tell is not None:
        tell(words)
