"""Following a run that another process works on: waiting for its end, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from jobmon.client.result import WorkflowRunResult
from jobmon.core.exceptions import DistributorNotAlive, WorkflowRunStateError, WorkflowTimeoutError
from jobmon.core.process_identity import is_alive
from jobmon.core.requester import Requester
from jobmon.core.states import WORKFLOW_RUN_TERMINAL, TaskStatus, WorkflowRunStatus, WorkflowStatus
from jobmon.serializers.swarm import RunProgressResponse

if TYPE_CHECKING:
    from jobmon.swarm.outcome import Progress

FIRST_POLL_SECONDS = 0.1
POLL_SECONDS = 1.0
LOST_SECONDS = 60.0
"""A run whose sign of life is overdue for so long is given up by who waits for it."""


def read_progress(requester: Requester, workflow_id: int) -> RunProgressResponse:
    """Where a workflow and its latest run stand.

    Raises:
        NotFoundError: there is no such workflow.
    """
    return requester.send("GET", f"/swarm/workflow/{workflow_id}/progress", None, RunProgressResponse)


def has_ended(progress: RunProgressResponse) -> bool:
    """Whether no run of the workflow is alive."""
    return progress.workflow_run_id is None or progress.run_status in WORKFLOW_RUN_TERMINAL


def is_controller_gone(progress: RunProgressResponse) -> bool:
    """Whether the process that hosts the run is seen to be dead, or gave no sign of life for long."""
    alive = None if progress.controller is None else is_alive(progress.controller)
    return alive is False or (alive is None and progress.lost_in_seconds < -LOST_SECONDS)


def follow(
    requester: Requester,
    workflow_id: int,
    timeout: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> RunProgressResponse:
    """Wait until no run of a workflow is alive; how it stands then.

    Args:
        requester: how to reach the server.
        workflow_id: the workflow.
        timeout: seconds to wait at most; ``None``: as long as it takes.
        on_progress: called whenever it was looked at.

    Raises:
        WorkflowTimeoutError: it still goes on after that time.
        WorkflowRunStateError: it was never run.
        DistributorNotAlive: the process that hosts the run is gone, without having ended it.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = FIRST_POLL_SECONDS
    was_gone = False
    while True:
        begun = time.monotonic()
        progress = read_progress(requester, workflow_id)
        if on_progress is not None:
            on_progress(shown(progress))
        if has_ended(progress):
            return _require_run(progress)
        is_gone = is_controller_gone(progress)
        if is_gone and was_gone:  # looked at twice: it may have ended the run between answer and look
            raise DistributorNotAlive(_gone(progress))
        was_gone = is_gone
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            raise WorkflowTimeoutError(
                f"timeout: workflow {workflow_id} goes on after {timeout:g} s: {progress.done} of {progress.total} tasks are "
                f"done, {progress.running} running. Wait longer: jobmon workflow wait {workflow_id}"
            )
        # A large workflow, which takes longer to count, is counted less often.
        pause = max(min(POLL_SECONDS, pause * 1.5), 5 * (now - begun))
        time.sleep(pause if deadline is None else max(0.0, min(pause, deadline - now)))


def _require_run(progress: RunProgressResponse) -> RunProgressResponse:
    if progress.workflow_run_id is None:
        raise WorkflowRunStateError(
            f"Workflow {progress.workflow_id} was never run. To run it: jobmon workflow run {progress.workflow_id}"
        )
    return progress


def _gone(progress: RunProgressResponse) -> str:
    controller = progress.controller
    where = f" (process {controller.pid} on {controller.hostname})" if controller is not None else ""
    return (
        f"The controller of run {progress.workflow_run_id} of workflow {progress.workflow_id}{where} is gone; "
        f"{progress.done} of {progress.total} tasks are done. To go on: jobmon workflow resume {progress.workflow_id}"
    )


def shown(progress: RunProgressResponse) -> Progress:
    """What a display needs of it."""
    from jobmon.swarm.outcome import Progress

    return Progress(
        progress.total,
        progress.done,
        progress.running,
        progress.failed,
        progress.total - progress.done - progress.failed - progress.active,
        progress.elapsed_seconds,
        progress.run_status,
        " ".join(progress.conditions),
    )


def result_of(requester: Requester, progress: RunProgressResponse) -> WorkflowRunResult:
    """What became of a run that has ended, with the state of every task."""
    from jobmon.swarm.gateway import Gateway
    from jobmon.swarm.outcome import RunOutcome

    statuses: dict[int, str] = {}
    for page in Gateway(requester, progress.workflow_id).tasks():
        statuses.update(zip(page.task_ids, page.statuses, strict=True))
    done = [task_id for task_id, letter in statuses.items() if letter == TaskStatus.DONE]
    failed = [task_id for task_id, letter in statuses.items() if letter == TaskStatus.ERROR_FATAL]
    final_status = WorkflowRunStatus(progress.run_status)
    if progress.workflow_status == WorkflowStatus.DONE:  # also by what it left on a cluster
        final_status = WorkflowRunStatus.DONE
    outcome = RunOutcome(
        final_status=final_status.value,
        elapsed_time=progress.elapsed_seconds,
        total_tasks=len(statuses),
        done_count=len(done),
        failed_count=len(failed),
        num_previously_complete=max(0, len(done) - progress.num_newly_done),
        task_final_statuses=statuses,
        done_task_ids=done,
        failed_task_ids=failed,
    )
    return WorkflowRunResult.of_outcome(progress.workflow_id, progress.workflow_run_id or 0, outcome)
