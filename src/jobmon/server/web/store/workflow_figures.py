"""Figures of a workflow that take long where it is large. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from jobmon.core.states import TASK_ACTIVE, WORKFLOW_RUN_ALIVE, TaskInstanceStatus, TaskStatus
from jobmon.serializers.plan import PlanReason
from jobmon.server.web.models import Task, TaskHistory, TaskInstance, WorkflowRun
from jobmon.server.web.store.explain import USER_ACTOR
from jobmon.server.web.store.plan import tasks_read_plan_page
from jobmon.server.web.store.progress import Progress
from jobmon.server.web.store.sharing import runs_of

ORDERS_SHOWN: Final = 50
PLANNED_TASKS: Final = 20_000
"""Tasks that are looked at one by one to say why a run would run them; of more, the counters tell."""
EXAMPLES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class TemplateFigures:
    """Figures of the tasks of a template: the most attempts of a task, mean run time of those that succeeded."""

    max_attempts: int
    mean_seconds: float | None


def workflow_read_template_figures(connection: Connection, workflow_id: int) -> dict[int, TemplateFigures]:
    """Figures by array; reads every task and attempt once, in the database."""
    attempts = connection.execute(
        select(Task.array_id, func.max(Task.num_attempts))
        .where(Task.workflow_id == workflow_id)
        .group_by(Task.array_id)
    ).all()
    means = connection.execute(
        select(TaskInstance.array_id, func.avg(TaskInstance.wallclock))
        .where(
            TaskInstance.workflow_run_id.in_(runs_of(workflow_id)),
            TaskInstance.status == TaskInstanceStatus.DONE.value,
        )
        .group_by(TaskInstance.array_id)
    )
    mean_of = {row[0]: row[1] for row in means}
    return {
        row[0]: TemplateFigures(row[1] or 0, None if mean_of.get(row[0]) is None else float(mean_of[row[0]]))
        for row in attempts
    }


@dataclass(frozen=True, slots=True)
class OrderRow:
    """What somebody did to tasks by hand, at once: who, what, how many of them and one of these."""

    actor: str
    event: str
    occurred_at: datetime
    num_tasks: int
    task_id: int


def workflow_read_orders(connection: Connection, workflow_id: int) -> list[OrderRow]:
    """What users did to tasks of a workflow, newest first; reads its whole history once, in the database."""
    rows = connection.execute(
        select(
            TaskHistory.actor,
            TaskHistory.event,
            TaskHistory.occurred_at,
            func.count(),
            func.min(TaskHistory.task_id),
        )
        .join(Task, Task.id == TaskHistory.task_id)
        .where(
            Task.workflow_id == workflow_id,
            TaskHistory.task_instance_id.is_(None),
            TaskHistory.actor.like(f"{USER_ACTOR}%"),
        )
        .group_by(TaskHistory.actor, TaskHistory.event, TaskHistory.occurred_at)
        .order_by(TaskHistory.occurred_at.desc())
        .limit(ORDERS_SHOWN)
    )
    return [OrderRow(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Plan:
    """Why a run would run the tasks of a workflow.

    Attributes:
        by_array: number of tasks by reason, by array.
        is_exact: every task was looked at; else tasks that wait are counted as new, whatever became of them before.
        examples: ids of a few tasks by reason; none where not every task was looked at.
    """

    by_array: Mapping[int, Mapping[PlanReason, int]]
    is_exact: bool
    examples: Mapping[PlanReason, Sequence[int]] = field(default_factory=dict)


def workflow_read_plan(connection: Connection, workflow_id: int, arrays: Mapping[int, Progress]) -> Plan:
    """Why a run would run the tasks of a workflow; of a large one from its counters alone."""
    if sum(progress.total for progress in arrays.values()) > PLANNED_TASKS:
        alive = _is_run_alive(connection, workflow_id)
        return Plan(
            {array_id: _by_counters(each, is_run_alive=alive) for array_id, each in arrays.items()}, False
        )
    page = tasks_read_plan_page(connection, workflow_id, 0, PLANNED_TASKS, with_identity=False)
    reason_of = dict(zip(page.task_ids, page.reasons, strict=True))
    found: dict[int, Counter[PlanReason]] = {array_id: Counter() for array_id in arrays}
    examples: dict[PlanReason, list[int]] = {}
    for task_id, array_id in connection.execute(
        select(Task.id, Task.array_id).where(Task.workflow_id == workflow_id).order_by(Task.id)
    ):
        reason = PlanReason(reason_of[task_id])
        found[array_id][reason] += 1
        if len(examples.setdefault(reason, [])) < EXAMPLES_SHOWN:
            examples[reason].append(task_id)
    return Plan(found, True, examples)


def _is_run_alive(connection: Connection, workflow_id: int) -> bool:
    statement = select(WorkflowRun.id).where(
        WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE)
    )
    return connection.scalar(statement.limit(1)) is not None


def _by_counters(progress: Progress, *, is_run_alive: bool) -> dict[PlanReason, int]:
    counts: Counter[PlanReason] = Counter()
    for letter, count in progress.by_status.items():
        status = TaskStatus(letter)
        if status is TaskStatus.DONE:
            reason = PlanReason.DONE
        elif status in TASK_ACTIVE:
            reason = PlanReason.RUNNING if is_run_alive else PlanReason.LOST
        else:
            reason = PlanReason.NEW if status is TaskStatus.REGISTERED else PlanReason.FAILED
        counts[reason] += count
    return dict(counts)
