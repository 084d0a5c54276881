"""Why a run would run a task, from what became of it before."""

from __future__ import annotations

from jobmon.core.states import BLAMELESS, TASK_ACTIVE, Cause, TaskInstanceStatus, TaskStatus
from jobmon.serializers.plan import PlanReason


def plan_reason(
    status: TaskStatus,
    last_status: TaskInstanceStatus | None,
    last_cause: str,
    *,
    was_reset: bool,
    is_run_alive: bool,
) -> PlanReason:
    """Why a new run would run a task.

    Args:
        status: of the task.
        last_status: of its latest attempt; ``None`` for none.
        last_cause: why that did not succeed.
        was_reset: whether a user reset the task after that.
        is_run_alive: whether a run of the workflow is alive.
    """
    if status is TaskStatus.DONE:
        return PlanReason.DONE
    if status in (TaskStatus.ERROR_FATAL, TaskStatus.ERROR_RECOVERABLE, TaskStatus.ADJUSTING_RESOURCES):
        return PlanReason.FAILED
    if status in TASK_ACTIVE:
        return PlanReason.RUNNING if is_run_alive else PlanReason.LOST
    if was_reset:
        return PlanReason.RESET
    if last_status is None:
        return PlanReason.NEW
    if last_status is TaskInstanceStatus.ERROR_FATAL or last_cause == Cause.ORDERED:
        return PlanReason.INTERRUPTED
    return PlanReason.LOST if last_cause in BLAMELESS else PlanReason.FAILED
