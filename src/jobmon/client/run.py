"""Running a workflow from a script: the controller at work, Ctrl-C, and what is told at the end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jobmon.client.pages import tell_page, workflow_page
from jobmon.client.progress import RunDisplay, choose_display, how_to_go_on, last_words, say, title
from jobmon.client.result import WorkflowRunResult, errors_by_task, fetch_errors
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import (
    DistributorInterruptedError,
    DistributorNotAlive,
    JobmonError,
    ServerError,
    WorkflowTestError,
    WorkflowTimeoutError,
)
from jobmon.core.resources import ScaleSequence
from jobmon.core.states import WORKFLOW_RUN_TERMINAL, TaskStatus, WorkflowRunStatus

if TYPE_CHECKING:
    from jobmon.client.workflow import Workflow
    from jobmon.serializers.monitor import TaskErrorRow
    from jobmon.swarm.controller import Controller, RunOptions, RunOutcome, TaskHooks
    from jobmon.swarm.job import JobOptions

logger = logging.getLogger(__name__)

ERRORS_READ = 1000
"""Errors read from the server at the end of a run."""

ABORT_SECONDS = 10.0
"""How long a controller that was told to abort is waited for."""

RAISED = (
    DistributorInterruptedError,
    DistributorNotAlive,
    ServerError,
    WorkflowTestError,
    WorkflowTimeoutError,
)
"""Errors that ``run()`` raises when they ended a run; after any other it returns the letter E."""

QUESTION = "Are you sure you want to exit (y/n): "


@dataclass(frozen=True, slots=True)
class RunRequest:
    """How a workflow is to be run; see :meth:`Workflow.run`."""

    fail_fast: bool
    seconds_until_timeout: float
    resume: bool
    reset_running_jobs: bool
    resume_timeout: float
    was_being_run: bool
    increase_resources: bool = False
    detach: bool = False
    startup_timeout: float = 180
    job: JobOptions | None = None
    notify: tuple[str, ...] = ()


def run_workflow(workflow: Workflow, request: RunRequest, config: JobmonConfig) -> WorkflowRunResult:
    """Run a bound workflow to its end, or hand it to a process of its own.

    Raises:
        WorkflowNotResumable: another run of it is alive.
        WorkflowTimeoutError: it took too long.
        KeyboardInterrupt: it was stopped by Ctrl-C.
    """
    from jobmon.swarm.resume import prepare_resume

    hooks = hooks_of(workflow)
    if request.detach:
        from jobmon.client.detached import require_no_functions

        require_no_functions(workflow, hooks)
    if request.resume:
        prepare_resume(
            workflow.requester, workflow.workflow_id, request.reset_running_jobs, request.resume_timeout
        )
        if request.was_being_run:
            workflow.update_tasks()
    is_shown = config.get_boolean("progress", "enabled") and sys.stderr is not None
    logger.info(
        "workflow %d: %s", workflow.workflow_id, workflow_page(workflow.requester, workflow.workflow_id)
    )
    if request.detach:
        return _detach(workflow, request, config, is_shown)
    return _run_here(workflow, request, config, hooks, is_shown)


def _run_here(
    workflow: Workflow, request: RunRequest, config: JobmonConfig, hooks: TaskHooks, is_shown: bool
) -> WorkflowRunResult:
    """Run a workflow in this process; what became of the tasks is stored in them however it ends."""
    from jobmon.swarm.controller import Controller

    display = choose_display(is_shown)
    options = options_for(request, config, workflow)
    controller = Controller(
        workflow.requester, workflow.workflow_id, options, hooks=hooks, on_progress=display.update
    )
    statuses = (task._final_status or task._initial_status for task in workflow.tasks.values())
    done_before = sum(status == TaskStatus.DONE for status in statuses)
    name = title(workflow.workflow_id, workflow.name)
    if is_shown:
        tell_page(workflow.requester, workflow.workflow_id, sys.stderr)
    display.start(f"{name}: {len(workflow.tasks)} tasks, {done_before} done before")
    try:
        controller.start()
        workflow.last_workflow_run_id = controller.workflow_run_id
        wait_for(controller, display)
        outcome = _outcome_of(controller)
    except BaseException as error:
        display.stop()
        _take_what_is_known(workflow, controller, error)
        if is_shown and isinstance(error, KeyboardInterrupt):
            say(sys.stderr, f"{name}: stopped\n{how_to_go_on(workflow.workflow_id)}")
        raise
    finally:
        display.stop()
    result = WorkflowRunResult.of_outcome(workflow.workflow_id, controller.workflow_run_id, outcome)
    result.error = controller.error
    if result.error is not None:
        logger.error("%s: an error ended the run", name, exc_info=result.error)
    errors = take_result(workflow, result)
    if is_shown:
        say(sys.stderr, last_words(result, workflow.name, errors))
    return result


def _outcome_of(controller: Controller) -> RunOutcome:
    """How a run ended. An error that ended it is raised where the caller can act on it, else told by the letter E.

    Raises:
        WorkflowTimeoutError, DistributorNotAlive, DistributorInterruptedError, WorkflowTestError, ServerError: it
            ended the run.
    """
    outcome, error = controller.last_known(), controller.error
    if outcome is None or not isinstance(error, Exception) or isinstance(error, RAISED):
        return controller.outcome()
    if outcome.final_status in WORKFLOW_RUN_TERMINAL:
        return outcome
    return replace(outcome, final_status=WorkflowRunStatus.ERROR.value)  # the server could not be told


def _take_what_is_known(workflow: Workflow, controller: Controller, error: BaseException) -> None:
    """After an error or Ctrl-C: what became of the tasks until then."""
    outcome = controller.last_known()
    if outcome is not None:
        result = WorkflowRunResult.of_outcome(workflow.workflow_id, controller.workflow_run_id, outcome)
        has_ended = controller.join(0)
        take_result(workflow, result, read_errors=has_ended and not isinstance(error, ServerError))


def _detach(
    workflow: Workflow, request: RunRequest, config: JobmonConfig, is_shown: bool
) -> WorkflowRunResult:
    from jobmon.client.detached import how_to_follow, run_detached

    options = options_for(request, config, workflow)
    result = run_detached(
        workflow.requester, workflow.workflow_id, options, config, request.startup_timeout, request.job
    )
    workflow.last_workflow_run_id = result.workflow_run_id

    def take(final: WorkflowRunResult) -> None:
        take_result(workflow, final)

    result._take = take
    if is_shown:
        say(sys.stderr, how_to_follow(result, sys.stderr))
    return result


def options_for(request: RunRequest, config: JobmonConfig, workflow: Workflow | None = None) -> RunOptions:
    """Limits and intervals of a run."""
    from jobmon.swarm.controller import RunOptions

    return RunOptions(
        fail_fast=request.fail_fast,
        seconds_until_timeout=request.seconds_until_timeout,
        heartbeat_interval=config.get_float("heartbeat", "workflow_run_interval"),
        report_by_buffer=config.get_float("heartbeat", "report_by_buffer"),
        adopt=request.resume and not request.reset_running_jobs,
        increase_resources=request.increase_resources,
        fail_after_n_executions=None if workflow is None else workflow._fail_after_n_executions,
        notify=request.notify,
    )


def hooks_of(workflow: Workflow) -> TaskHooks:
    """What the controller cannot learn from the database: functions and iterators of the script."""
    from jobmon.swarm.controller import TaskHooks

    callables: dict[int, Callable[[], dict[str, Any]]] = {}
    scales: dict[int, dict[str, Any]] = {}
    requests = {
        key: request
        for key, request in workflow._requests.items()
        if request.compute_resources_callable is not None
        or any(not isinstance(scale, int | float) for scale in request.resource_scales.values())
    }
    if requests:
        for task in workflow.tasks.values():
            request = requests.get((id(task._array), id(task._settings)))
            if request is None:
                continue
            if request.compute_resources_callable is not None:
                callables[task.task_id] = request.compute_resources_callable
            scales[task.task_id] = {
                name: iter(scale) if isinstance(scale, ScaleSequence) else scale
                for name, scale in request.resource_scales.items()
            }
    return TaskHooks(compute_resources_callables=callables, resource_scales=scales)


def wait_for(controller: Controller, display: RunDisplay, ask: Callable[[], bool] | None = None) -> None:
    """Wait until a controller has ended.

    The first Ctrl-C stops the run in good order (after a question where there is a terminal to ask at), the
    second one at once.

    Raises:
        KeyboardInterrupt: the run was stopped.
    """
    while True:
        try:
            if controller.join(None):
                return
        except KeyboardInterrupt:
            display.pause()
            try:
                if not (ask or confirm_exit)():
                    display.proceed()
                    continue
                controller.request_stop()
                controller.join(None)
            except KeyboardInterrupt as second:
                controller.abort()
                controller.join(ABORT_SECONDS)
                raise second from None
            raise


def confirm_exit() -> bool:
    """Whether the user wants to stop the run; without a terminal nobody can be asked, and Ctrl-C is meant."""
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
        return True
    while True:
        sys.stderr.write(QUESTION)
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer or answer.strip().lower() in ("y", "yes"):
            return True
        if answer.strip().lower() in ("n", "no"):
            return False


def _is_terminal(stream: Any) -> bool:
    return stream is not None and not stream.closed and bool(stream.isatty())


def take_result(
    workflow: Workflow, result: WorkflowRunResult, read_errors: bool = True
) -> list[TaskErrorRow]:
    """Store what became of a run in the workflow and its tasks; the errors of the tasks that failed for good."""
    for task in workflow.tasks.values():
        task._final_status = result.task_final_statuses.get(task.task_id, task._final_status)
    workflow._num_previously_completed = result.num_previously_complete
    workflow._num_newly_completed = result.num_newly_completed
    workflow._last_result = result
    return _errors_of(workflow, result) if read_errors else []


def _errors_of(workflow: Workflow, result: WorkflowRunResult) -> list[TaskErrorRow]:
    """Errors of the tasks that failed for good; they become ``workflow.task_errors``."""
    workflow.task_errors = {}
    if not result.failed_task_ids:
        return []
    try:
        rows = fetch_errors(workflow.requester, workflow.workflow_id, ERRORS_READ)
    except JobmonError as error:
        # the run is over and its outcome known; that its errors cannot be read now must not hide it
        say(sys.stderr, f"The errors of the tasks cannot be read now: {error}")
        return []
    by_task = errors_by_task(rows)
    for task in workflow.tasks.values():
        if task.task_id in result.failed_task_ids:
            workflow.task_errors[task.name] = by_task.get(task.task_id, {})
    return rows
