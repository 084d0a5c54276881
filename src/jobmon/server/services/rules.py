"""What the reaper may do, as values: the rules with their bounds, and the decision of each. No database, no clock.

Every rule only ever moves towards an end, by an event the state tables allow, and only after a time in which whoever is in
charge could have done it. Applied twice a rule changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from jobmon.core.configuration import JobmonConfig
from jobmon.core.states import (
    TASK_INSTANCE,
    TASK_INSTANCE_NOT_STARTED,
    TASK_TERMINAL,
    WORKFLOW,
    WORKFLOW_BEING_RUN,
    WORKFLOW_EVENT_OF_RUN_STATE,
    WORKFLOW_RUN,
    WORKFLOW_RUN_TERMINAL,
    Cause,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowEvent,
    WorkflowRunEvent,
    WorkflowRunStatus,
    WorkflowStatus,
    target,
)


class Rule(NamedTuple):
    """One thing the reaper puts right.

    Attributes:
        name: kind of the alarm it raises.
        finds: what is wrong.
        does: what becomes of it.
        bound: how long it stays wrong at most, beside one ``reaper.poll_interval_minutes``.
    """

    name: str
    finds: str
    does: str
    bound: str


LOST_RUN = "lost_run"
ORPHAN = "orphan"
STUCK_ORDER = "stuck_order"
SILENT_REMOTE = "silent_remote"
VOID_ATTEMPT = "void_attempt"
ALL_DONE = "all_done"
NO_RUN = "no_run"
DISAGREEMENT = "disagreement"
SILENT = "silent_attempts"

RULES = (
    Rule(
        LOST_RUN,
        "A run whose controller gives no sign of life",
        "The run ends: ABORTED when it was linking, TERMINATED when it was to hand over, else ERROR; DONE if every task is.",
        "heartbeat.workflow_run_interval × heartbeat.report_by_buffer, then reaper.grace_seconds",
    ),
    Rule(
        ORPHAN,
        "An attempt of this machine or another controller's, whose run is over",
        "The attempt ends (ERROR_FATAL); its task waits for the next run. Commands die with their controller.",
        "reaper.orphan_seconds after the end of the run",
    ),
    Rule(
        STUCK_ORDER,
        "An attempt that was ordered to end (KILL_SELF), of a run that is over, and nobody said that it ended",
        "The attempt ends (ERROR_FATAL).",
        "reaper.orphan_seconds; on a batch cluster reaper.ordered_remote_hours",
    ),
    Rule(
        SILENT_REMOTE,
        "An attempt on a batch cluster without a sign of life, whose run is over",
        "The attempt is lost (UNKNOWN_ERROR), which costs its task no attempt of its own.",
        "reaper.silent_remote_hours; by default never: the next run asks the cluster",
    ),
    Rule(
        VOID_ATTEMPT,
        "A live attempt of a task that is DONE or ERROR_FATAL",
        "The attempt ends (ERROR_FATAL); the task stays.",
        "reaper.orphan_seconds",
    ),
    Rule(
        ALL_DONE,
        "A workflow that FAILED, was HALTED or ABORTED, all of whose tasks are DONE",
        "The workflow is DONE.",
        "one pass over all workflows, of which each look makes as much as two seconds allow",
    ),
    Rule(
        NO_RUN,
        "A workflow that counts as being run, and none of its runs is alive",
        "The workflow becomes what its last run says: DONE, FAILED or HALTED.",
        "reaper.orphan_seconds",
    ),
    Rule(
        DISAGREEMENT,
        "A run that is alive, of a workflow that is in another state",
        "It is told of; the end of the run puts it right.",
        "reaper.orphan_seconds",
    ),
)
"""Every rule; the page of the documentation shows this table."""


@dataclass(frozen=True)
class ReaperLimits:
    """How long the reaper waits before it acts, in seconds; 0 for ``silent_remote_seconds`` is never."""

    grace_seconds: float = 60.0
    orphan_seconds: float = 300.0
    ordered_remote_seconds: float = 24 * 3600.0
    silent_remote_seconds: float = 0.0
    tell_silent_seconds: float = 3600.0

    @classmethod
    def from_config(cls, config: JobmonConfig) -> ReaperLimits:
        """As the section ``reaper`` says."""
        return cls(
            config.get_float("reaper", "grace_seconds"),
            config.get_float("reaper", "orphan_seconds"),
            config.get_float("reaper", "ordered_remote_hours") * 3600,
            config.get_float("reaper", "silent_remote_hours") * 3600,
            config.get_float("monitor", "silent_hours") * 3600,
        )


# -- runs -----------------------------------------------------------------------------------------------
_ENDS = (WorkflowRunEvent.ABORT, WorkflowRunEvent.TERMINATE, WorkflowRunEvent.FAIL)


def end_of_lost_run(status: WorkflowRunStatus, *, is_done: bool) -> WorkflowRunEvent:
    """The event by which a run ends whose controller is gone.

    Args:
        status: of the run, which is alive.
        is_done: every task of its workflow is done.
    """
    row = WORKFLOW_RUN[status]
    if is_done and isinstance(row.get(WorkflowRunEvent.FINISH), WorkflowRunStatus):
        return WorkflowRunEvent.FINISH
    return next(event for event in _ENDS if event in row)


# -- attempts -------------------------------------------------------------------------------------------
class AttemptFacts(NamedTuple):
    """What a decision about a live attempt needs; times are those of the database.

    Attributes:
        task_instance_id, workflow_run_id: the attempt and its run.
        status, status_date: state of the attempt, and since when.
        report_by_date: when its next sign of life was due.
        is_remote: it lives on a batch cluster.
        task_status: state of its task.
        run_status, run_status_date: state of its run, and since when.
    """

    task_instance_id: int
    workflow_run_id: int
    status: TaskInstanceStatus
    status_date: datetime
    report_by_date: datetime | None
    is_remote: bool
    task_status: TaskStatus
    run_status: WorkflowRunStatus
    run_status_date: datetime

    @property
    def is_over(self) -> bool:
        """Whether its run is over."""
        return self.run_status in WORKFLOW_RUN_TERMINAL

    @property
    def settled_at(self) -> datetime:
        """When attempt or run changed last."""
        return max(self.status_date, self.run_status_date)

    def silent_since(self) -> datetime:
        """When a sign of life was due, at the earliest when the run was over."""
        return max(self.report_by_date or self.status_date, self.run_status_date)


class AttemptEnd(NamedTuple):
    """How an attempt is to end, and by which rule."""

    rule: str
    event: TaskInstanceEvent
    cause: Cause
    description: str


def end_of_attempt(facts: AttemptFacts, now: datetime, limits: ReaperLimits) -> AttemptEnd | None:
    """The end of an attempt that nobody else will end; ``None``: it is left alone."""
    is_ordered = facts.status is TaskInstanceStatus.KILL_SELF
    if facts.task_status in TASK_TERMINAL and not is_ordered:
        if not _passed(facts.status_date, limits.orphan_seconds, now):
            return None
        return AttemptEnd(
            VOID_ATTEMPT, TaskInstanceEvent.ABORT, Cause.ORDERED, "Its task had come to an end without it."
        )
    if not facts.is_over:
        return None
    if is_ordered:
        since = facts.status_date if facts.is_remote else facts.settled_at
        seconds = limits.ordered_remote_seconds if facts.is_remote else limits.orphan_seconds
        if not _passed(since, seconds, now):
            return None
        words = "Its run is over and nobody reported its end."
        return AttemptEnd(STUCK_ORDER, TaskInstanceEvent.ABORT, Cause.ORDERED, words)
    if facts.is_remote:
        return _end_of_silent_remote(facts, now, limits)
    if not _passed(facts.settled_at, limits.orphan_seconds, now):
        return None
    words = "Its run is over and its controller gone: commands end with their controller."
    return AttemptEnd(ORPHAN, TaskInstanceEvent.ABORT, Cause.INFRASTRUCTURE, words)


def _end_of_silent_remote(facts: AttemptFacts, now: datetime, limits: ReaperLimits) -> AttemptEnd | None:
    """Attempts on batch clusters outlive their run; only where an operator set a limit they count as lost."""
    seconds = limits.silent_remote_seconds
    if seconds <= 0 or not _passed(facts.silent_since(), seconds, now):
        return None
    words = f"Its run is over, and it gave no sign of life for {seconds / 3600:g} hours."
    can_be_lost = TaskInstanceEvent.LOSE in TASK_INSTANCE[facts.status]
    event = TaskInstanceEvent.LOSE if can_be_lost else TaskInstanceEvent.ABORT
    return AttemptEnd(SILENT_REMOTE, event, Cause.INFRASTRUCTURE, words)


def is_told_silent(facts: AttemptFacts, now: datetime, limits: ReaperLimits) -> bool:
    """Whether operators are told of an attempt on a batch cluster that outlived its run and has become silent."""
    return (
        facts.is_remote
        and facts.is_over
        and facts.status not in TASK_INSTANCE_NOT_STARTED
        and limits.tell_silent_seconds > 0
        and _passed(facts.silent_since(), limits.tell_silent_seconds, now)
    )


def _passed(since: datetime, seconds: float, now: datetime) -> bool:
    return since < now - timedelta(seconds=seconds)


# -- workflows ------------------------------------------------------------------------------------------
def event_without_run(
    status: WorkflowStatus, last_run: WorkflowRunStatus | None, *, is_done: bool
) -> WorkflowEvent | None:
    """What becomes of a workflow that counts as being run though no run is alive; ``None``: nothing.

    Args:
        status: of the workflow.
        last_run: state of its last run, ``None`` when it has none.
        is_done: every task is done.
    """
    if status not in WORKFLOW_BEING_RUN:
        return None
    wanted = None if last_run is None else WORKFLOW_EVENT_OF_RUN_STATE.get(last_run)
    if wanted is WorkflowEvent.FINISH and not is_done:
        wanted = WorkflowEvent.FAIL
    if is_done:
        wanted = WorkflowEvent.FINISH
    for event in (wanted, WorkflowEvent.HALT):
        if event is not None and isinstance(target(WORKFLOW, status, event), WorkflowStatus):
            return event
    return None


def disagrees(run: WorkflowRunStatus, workflow: WorkflowStatus) -> bool:
    """Whether a run that is alive and its workflow are in states that do not go together."""
    event = WORKFLOW_EVENT_OF_RUN_STATE.get(run)
    if event is None or run in WORKFLOW_RUN_TERMINAL:
        return False
    states = {row[event] for row in WORKFLOW.values() if isinstance(row.get(event), WorkflowStatus)}
    return workflow not in states
