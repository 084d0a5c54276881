"""What becomes of an attempt and its task when something is told of the attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from jobmon.core import states
from jobmon.core.states import (
    RETRY_POLICIES,
    STALE,
    TASK,
    TASK_EVENT_OF_INSTANCE_STATE,
    TASK_INSTANCE,
    TASK_INSTANCE_STARTED,
    TASK_INSTANCE_TERMINAL,
    TASK_TERMINAL,
    Budget,
    Cause,
    Charge,
    RetryPolicies,
    TaskEvent,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
)


@dataclass(slots=True)
class Attempt:
    """An attempt and its task, as they are in the database, row locked.

    ``max_infrastructure_losses`` is the server's configuration, ``policies`` are those of the task's template,
    ``distributor_id`` is that of the job it is known to run in, ``array_id`` the array of the task. ``num_new_attempts`` and
    ``num_new_losses`` are the part of the task's counts that the database does not know yet.
    """

    task_instance_id: int
    task_id: int
    workflow_run_id: int
    instance_status: TaskInstanceStatus
    task_status: TaskStatus
    num_attempts: int
    max_attempts: int
    num_infrastructure_losses: int
    max_infrastructure_losses: int
    policies: RetryPolicies = field(default_factory=lambda: RETRY_POLICIES, repr=False)
    distributor_id: str = ""
    array_id: int = 0
    num_new_attempts: int = 0
    num_new_losses: int = 0


@dataclass(slots=True, frozen=True)
class Step:
    """One line of history: an event and the states before and after; ``None`` where nothing changed."""

    event: str
    instance_from: TaskInstanceStatus | None = None
    instance_to: TaskInstanceStatus | None = None
    task_from: TaskStatus | None = None
    task_to: TaskStatus | None = None
    note: str | None = None

    @property
    def columns(self) -> tuple[str | None, ...]:
        """Event and states as the history has them."""
        return _columns(self.event, self.instance_from, self.instance_to, self.task_from, self.task_to)


@lru_cache(4096)
def _columns(*values: str | None) -> tuple[str | None, ...]:
    """Plain texts, which drivers take as they are."""
    return tuple(None if value is None else str(value) for value in values)


class Verdict(NamedTuple):
    """The outcome of one event.

    Attributes:
        steps: lines of history; empty when nothing changed.
        is_live: the attempt may go on.
        is_illegal: the table knows nothing of this event in this state.
        moves_task: the status of the task changed.
    """

    steps: tuple[Step, ...] = ()
    is_live: bool = True
    is_illegal: bool = False
    moves_task: bool = False


class _Move(NamedTuple):
    """Where an event leads from two states, and what remains to be decided."""

    instance_status: TaskInstanceStatus
    task_status: TaskStatus
    verdict: Verdict
    begins: bool = False
    fails: bool = False


def decide(
    attempt: Attempt, event: TaskInstanceEvent, cause: Cause | None = None, distributor_id: str = ""
) -> Verdict:
    """Apply one event to ``attempt`` (changed in place) by the tables.

    The attempt of a task that is terminal is void: whatever it says, it ends and the task stays. An attempt that was
    started in one job cannot be started in another: a submission that arrived twice runs once.
    """
    before = attempt.instance_status
    if event is TaskInstanceEvent.START:
        is_other = (
            bool(attempt.distributor_id and distributor_id) and attempt.distributor_id != distributor_id
        )
        if is_other and before in TASK_INSTANCE_STARTED:
            return Verdict(is_illegal=True)
        attempt.distributor_id = distributor_id or attempt.distributor_id
    move = _move(before, attempt.task_status, event)
    attempt.instance_status, attempt.task_status = move.instance_status, move.task_status
    if move.begins:
        attempt.num_attempts += 1
        attempt.num_new_attempts += 1
    if move.fails:
        return move.verdict._replace(steps=(*move.verdict.steps, _decide_failed(attempt, cause)))
    return move.verdict


@lru_cache(4096)
def _move(before: TaskInstanceStatus, task_before: TaskStatus, event: TaskInstanceEvent) -> _Move:
    """What the tables say; there are few cases, and each comes very often."""
    after = states.target(TASK_INSTANCE, before, event)
    if after is None:
        return _Move(
            before, task_before, Verdict(is_live=before not in TASK_INSTANCE_TERMINAL, is_illegal=True)
        )
    if isinstance(after, TaskInstanceStatus) and task_before in TASK_TERMINAL:
        after = TaskInstanceStatus.ERROR_FATAL
    if after is STALE or not isinstance(after, TaskInstanceStatus):
        return _Move(before, task_before, Verdict(is_live=may_go_on(before)))
    task_event = TASK_EVENT_OF_INSTANCE_STATE.get(after)
    task_after = None if task_event is None else states.target(TASK, task_before, task_event)
    if task_before in TASK_TERMINAL or not isinstance(task_after, TaskStatus):
        return _Move(after, task_before, Verdict((Step(event, before, after),), may_go_on(after)))
    return _Move(
        after,
        task_after,
        Verdict((Step(event, before, after, task_before, task_after),), may_go_on(after), moves_task=True),
        begins=after is TaskInstanceStatus.INSTANTIATED,
        fails=task_event is TaskEvent.FAIL,
    )


def may_go_on(status: TaskInstanceStatus) -> bool:
    """Whether a process of an attempt in this state may run."""
    return status not in TASK_INSTANCE_TERMINAL and status is not TaskInstanceStatus.KILL_SELF


def _decide_failed(attempt: Attempt, cause: Cause | None) -> Step:
    """Retry, adjust or give up the task of an attempt that failed."""
    policy = states.policy_after(attempt.instance_status, cause, attempt.policies)
    if policy.charge is Charge.INFRASTRUCTURE:
        attempt.num_infrastructure_losses += 1
        attempt.num_new_losses += 1
    budget = Budget(
        attempt.num_attempts,
        attempt.max_attempts,
        attempt.num_infrastructure_losses,
        attempt.max_infrastructure_losses,
    )
    event = states.after_failure(attempt.instance_status, cause, budget, attempt.policies)
    before = attempt.task_status
    after = states.target(TASK, before, event)
    assert isinstance(after, TaskStatus), f"{before} has no {event}"
    attempt.task_status = after
    return Step(event, None, None, before, after)
