"""What one event does to an attempt and its task, to a run and its workflow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobmon.core.exceptions import InvalidStateTransition
from jobmon.core.states import (
    TASK_INSTANCE,
    TASK_INSTANCE_TERMINAL,
    TASK_TERMINAL,
    Cause,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.server.web.fsm import workflow_run
from jobmon.server.web.fsm.task import Attempt, decide

RUNNING = Attempt(1, 2, 3, TaskInstanceStatus.RUNNING, TaskStatus.RUNNING, 1, 3, 0, 10)


def test_a_success_ends_attempt_and_task() -> None:
    """One step, one line of history."""
    attempt = replace(RUNNING)
    verdict = decide(attempt, TaskInstanceEvent.FINISH)
    assert (attempt.instance_status, attempt.task_status) == (TaskInstanceStatus.DONE, TaskStatus.DONE)
    assert [(step.task_from, step.task_to) for step in verdict.steps] == [
        (TaskStatus.RUNNING, TaskStatus.DONE)
    ]
    assert not verdict.is_live


def test_the_first_failures_are_retried() -> None:
    """The task passes through ERROR_RECOVERABLE and is ready again."""
    attempt = replace(RUNNING)
    verdict = decide(attempt, TaskInstanceEvent.FAIL, Cause.CODE)
    assert [step.event for step in verdict.steps] == ["fail", "retry"]
    assert attempt.task_status is TaskStatus.REGISTERED


def test_the_last_failure_is_final() -> None:
    """``max_attempts`` attempts, not one more."""
    attempt = replace(RUNNING, num_attempts=3)
    decide(attempt, TaskInstanceEvent.FAIL, Cause.CODE)
    assert attempt.task_status is TaskStatus.ERROR_FATAL


def test_a_resource_error_asks_for_other_resources() -> None:
    """Before the attempts are used up."""
    attempt = replace(RUNNING)
    decide(attempt, TaskInstanceEvent.RESOURCE, Cause.RESOURCE)
    assert attempt.task_status is TaskStatus.ADJUSTING_RESOURCES


def test_losses_have_a_budget_of_their_own() -> None:
    """They cost no attempt, until there were too many."""
    attempt = replace(RUNNING, max_attempts=1, max_infrastructure_losses=2)
    for losses in (1, 2):
        decide(attempt, TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE)
        assert (attempt.task_status, attempt.num_infrastructure_losses) == (TaskStatus.REGISTERED, losses)
        attempt.instance_status, attempt.task_status = TaskInstanceStatus.RUNNING, TaskStatus.RUNNING
        attempt.num_attempts += 1
    decide(attempt, TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE)
    assert attempt.task_status is TaskStatus.ERROR_FATAL


def test_an_attempt_is_counted_when_it_is_instantiated() -> None:
    """Once."""
    attempt = replace(
        RUNNING, instance_status=TaskInstanceStatus.QUEUED, task_status=TaskStatus.QUEUED, num_attempts=0
    )
    for _ in range(2):
        decide(attempt, TaskInstanceEvent.INSTANTIATE)
        assert attempt.num_attempts == 1


@pytest.mark.parametrize("task_status", sorted(TASK_TERMINAL))
@pytest.mark.parametrize("event", list(TaskInstanceEvent))
@pytest.mark.parametrize("instance_status", list(TaskInstanceStatus))
def test_the_attempt_of_a_terminal_task_is_void(
    instance_status: TaskInstanceStatus, event: TaskInstanceEvent, task_status: TaskStatus
) -> None:
    """Whatever it says, the task stays; and what moves the attempt, ends it."""
    attempt = replace(RUNNING, instance_status=instance_status, task_status=task_status)
    verdict = decide(attempt, event, Cause.CODE)
    assert attempt.task_status is task_status
    assert attempt.instance_status in (instance_status, TaskInstanceStatus.ERROR_FATAL)
    assert all(step.task_to is None for step in verdict.steps)


@pytest.mark.parametrize("instance_status", sorted(TASK_INSTANCE_TERMINAL))
@pytest.mark.parametrize("event", list(TaskInstanceEvent))
def test_an_attempt_that_ended_is_told_to_stop(
    instance_status: TaskInstanceStatus, event: TaskInstanceEvent
) -> None:
    """And nothing happens."""
    attempt = replace(RUNNING, instance_status=instance_status)
    verdict = decide(attempt, event)
    assert (verdict.steps, verdict.is_live, verdict.is_illegal) == ((), False, False)
    assert attempt == replace(RUNNING, instance_status=instance_status)


@pytest.mark.parametrize("instance_status", list(TaskInstanceStatus))
@pytest.mark.parametrize("event", list(TaskInstanceEvent))
def test_illegal_events_change_nothing(instance_status: TaskInstanceStatus, event: TaskInstanceEvent) -> None:
    """They are reported as illegal, and only they."""
    attempt = replace(RUNNING, instance_status=instance_status)
    verdict = decide(attempt, event)
    assert verdict.is_illegal == (event not in TASK_INSTANCE[instance_status])
    if verdict.is_illegal:
        assert verdict.steps == ()
        assert attempt == replace(RUNNING, instance_status=instance_status)


def test_an_attempt_ordered_to_end_may_not_go_on() -> None:
    """Though it is live until its end was seen."""
    attempt = replace(RUNNING)
    assert not decide(attempt, TaskInstanceEvent.KILL).is_live
    assert not decide(attempt, TaskInstanceEvent.HEARTBEAT).is_live
    decide(attempt, TaskInstanceEvent.ABORT)
    assert (attempt.instance_status, attempt.task_status) == (
        TaskInstanceStatus.ERROR_FATAL,
        TaskStatus.REGISTERED,
    )


@pytest.mark.parametrize("task_status", [TaskStatus.LAUNCHED, TaskStatus.INSTANTIATING, TaskStatus.RUNNING])
def test_success_crosses_the_order_to_end(task_status: TaskStatus) -> None:
    """It succeeded before it was ended; its task is done, whatever was recorded of its start."""
    attempt = replace(RUNNING, instance_status=TaskInstanceStatus.KILL_SELF, task_status=task_status)
    decide(attempt, TaskInstanceEvent.FINISH)
    assert attempt.task_status is TaskStatus.DONE


# -- runs -----------------------------------------------------------------------------------------------
def test_a_run_takes_its_workflow_along() -> None:
    """One step of both."""
    step = workflow_run.decide(1, WorkflowRunStatus.RUNNING, WorkflowStatus.RUNNING, WorkflowRunEvent.FINISH)
    assert step is not None
    assert (step.run_to, step.workflow_to) == (WorkflowRunStatus.DONE, WorkflowStatus.DONE)


def test_what_comes_twice_is_no_step() -> None:
    """Also after the end."""
    for run, event in (
        (WorkflowRunStatus.RUNNING, WorkflowRunEvent.START),
        (WorkflowRunStatus.RUNNING, WorkflowRunEvent.BIND),
        (WorkflowRunStatus.DONE, WorkflowRunEvent.FAIL),
    ):
        assert workflow_run.decide(1, run, WorkflowStatus.RUNNING, event) is None


def test_an_order_to_hand_over_leaves_the_workflow_running() -> None:
    """Until the run has ended."""
    step = workflow_run.decide(
        1, WorkflowRunStatus.RUNNING, WorkflowStatus.RUNNING, WorkflowRunEvent.COLD_RESUME
    )
    assert step is not None
    assert (step.run_to, step.workflow_to) == (WorkflowRunStatus.COLD_RESUME, WorkflowStatus.RUNNING)


@pytest.mark.parametrize(
    ("run", "workflow", "event", "words"),
    [
        (
            WorkflowRunStatus.LINKING,
            WorkflowStatus.REGISTERING,
            WorkflowRunEvent.FINISH,
            "Workflow run 7 is LINKING",
        ),
        (
            WorkflowRunStatus.LINKING,
            WorkflowStatus.RUNNING,
            WorkflowRunEvent.BIND,
            "Workflow of run 7 is RUNNING",
        ),
    ],
)
def test_the_error_says_who_was_where_and_what_was_asked(
    run: WorkflowRunStatus, workflow: WorkflowStatus, event: WorkflowRunEvent, words: str
) -> None:
    """For the run and for its workflow."""
    with pytest.raises(InvalidStateTransition, match=words):
        workflow_run.decide(7, run, workflow, event)
