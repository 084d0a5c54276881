"""What a controller is told, what it tells while it works, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class RunOptions:
    """Limits and intervals of one run.

    Attributes:
        fail_fast: end the run with the first task that fails for good.
        seconds_until_timeout: end the run after so long.
        heartbeat_interval: seconds between two signs of life.
        report_by_buffer: intervals without a sign of life after which the run counts as lost.
        adopt: take over attempts that are alive (hot resume).
        increase_resources: tasks whose latest attempt ended for want of resources ask for more from the first attempt
            on, as if that attempt had been one of this run.
        reconcile_seconds: seconds between two comparisons of all tasks with the server, a guard against surprises.
        fail_after_n_executions: fail on purpose when so many tasks have finished in the run; a hook for tests.
        notify: whom the server is to tell of the end of the run; see :mod:`jobmon.core.notify_target`.
    """

    fail_fast: bool = False
    seconds_until_timeout: float = 36000
    heartbeat_interval: float = 30
    report_by_buffer: float = 3.1
    adopt: bool = False
    increase_resources: bool = False
    reconcile_seconds: float = 600
    fail_after_n_executions: int | None = None
    notify: tuple[str, ...] = ()


class Progress(NamedTuple):
    """Where a run stands.

    Attributes:
        total: tasks of the workflow.
        done: tasks that are done, before or in this run.
        running: tasks whose command runs now.
        failed: tasks that failed for good.
        pending: tasks that wait.
        elapsed_seconds: since the run began.
        status: status letter of the run.
        notice: what is the matter with clusters; empty where nothing is.
    """

    total: int
    done: int
    running: int
    failed: int
    pending: int
    elapsed_seconds: float
    status: str
    notice: str = ""


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        final_status: status letter of the run.
        elapsed_time: seconds.
        total_tasks, done_count, failed_count: numbers of tasks.
        num_previously_complete: tasks that were done before this run.
        task_final_statuses: status letter by task id.
        done_task_ids, failed_task_ids: the tasks themselves.
    """

    final_status: str
    elapsed_time: float
    total_tasks: int
    done_count: int
    failed_count: int
    num_previously_complete: int
    task_final_statuses: dict[int, str]
    done_task_ids: list[int]
    failed_task_ids: list[int]
