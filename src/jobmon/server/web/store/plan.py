"""What a plan of a run is made from. Reads only, in pages; nothing loads a workflow as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from sqlalchemy import Connection, func, select

from jobmon.core.states import (
    WORKFLOW_RUN_ALIVE,
    TaskEvent,
    TaskInstanceStatus,
    TaskStatus,
)
from jobmon.serializers.plan import PlanTasksResponse, TaskArgsRow, TemplateRuntime
from jobmon.server.web.analysis.plan import plan_reason
from jobmon.server.web.models import (
    Arg,
    Array,
    Node,
    NodeArg,
    Task,
    TaskHistory,
    TaskInstance,
    WorkflowRun,
)
from jobmon.server.web.store.define import chunks
from jobmon.server.web.store.explain import USER_ACTOR
from jobmon.server.web.store.monitor import require_workflow
from jobmon.server.web.store.past import by_task, task_args_read

MAX_PAGE = 100_000
MAX_ARGS = 500
"""Tasks whose args are read at once."""
MEASURED_ARRAYS = 5
"""Latest workflows of a template over which its run time is averaged."""
MEASURED_ATTEMPTS = 50_000
"""At most so many attempts of theirs."""
_RESET = (TaskEvent.REOPEN.value, TaskEvent.RELEASE.value)


def tasks_read_plan_page(
    connection: Connection, workflow_id: int, after_task_id: int, limit: int, *, with_identity: bool
) -> PlanTasksResponse:
    """Why a run would run the tasks with ids above ``after_task_id``.

    Raises:
        NotFoundError: there is no such workflow.
    """
    require_workflow(connection, workflow_id)
    limit = max(1, min(limit, MAX_PAGE))
    columns: list[Any] = [Task.id, Task.status]
    if with_identity:
        columns += [Node.task_template_version_id, Node.node_args_hash, Task.task_args_hash]
    statement = select(*columns).where(Task.workflow_id == workflow_id, Task.id > after_task_id)
    if with_identity:
        statement = statement.join(Node, Node.id == Task.node_id)
    rows = connection.execute(statement.order_by(Task.id).limit(limit)).all()
    registered = [row[0] for row in rows if row[1] == TaskStatus.REGISTERED.value]
    attempts = _last_attempts(connection, registered)
    resets = _resets(connection, registered)
    is_run_alive = _is_run_alive(connection, workflow_id)
    reasons = []
    for row in rows:
        attempt, cause, told = attempts.get(row[0], (None, "", 0))
        reasons.append(
            plan_reason(
                TaskStatus(row[1]),
                attempt,
                cause,
                was_reset=resets.get(row[0], 0) > told,
                is_run_alive=is_run_alive,
            )
        )
    page = PlanTasksResponse(
        [row[0] for row in rows],
        "".join(reasons),
        next_task_id=rows[-1][0] if len(rows) == limit else None,
    )
    if with_identity:
        page.task_template_version_ids = [row[2] for row in rows]
        page.node_args_hashes = [row[3] for row in rows]
        page.task_args_hashes = [row[4] for row in rows]
    return page


def _is_run_alive(connection: Connection, workflow_id: int) -> bool:
    statement = select(WorkflowRun.id).where(
        WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE)
    )
    return connection.scalar(statement.limit(1)) is not None


def _last_attempts(
    connection: Connection, task_ids: Sequence[int]
) -> dict[int, tuple[TaskInstanceStatus | None, str, int]]:
    """Status and cause of the latest attempt of each task that has one, and the last line of history about it."""
    found: dict[int, tuple[TaskInstanceStatus | None, str, int]] = {}
    for part in chunks(task_ids):
        last = (
            select(func.max(TaskInstance.id).label("id"))
            .where(TaskInstance.task_id.in_(part))
            .group_by(TaskInstance.task_id)
            .subquery()
        )
        told = (
            select(TaskHistory.task_id, func.max(TaskHistory.id).label("id"))
            .where(TaskHistory.task_id.in_(part), TaskHistory.task_instance_id.is_not(None))
            .group_by(TaskHistory.task_id)
            .subquery()
        )
        rows = connection.execute(
            select(TaskInstance.task_id, TaskInstance.status, TaskInstance.cause, told.c.id)
            .join(last, last.c.id == TaskInstance.id)
            .outerjoin(told, told.c.task_id == TaskInstance.task_id)
        )
        found.update((row[0], (TaskInstanceStatus(row[1]), row[2] or "", row[3] or 0)) for row in rows)
    return found


def _resets(connection: Connection, task_ids: Sequence[int]) -> dict[int, int]:
    """Last line of history in which a user reset a task, by task."""
    found: dict[int, int] = {}
    for part in chunks(task_ids):
        rows = connection.execute(
            select(TaskHistory.task_id, func.max(TaskHistory.id))
            .where(
                TaskHistory.task_id.in_(part),
                TaskHistory.task_instance_id.is_(None),
                TaskHistory.event.in_(_RESET),
                TaskHistory.actor.like(f"{USER_ACTOR}%"),
            )
            .group_by(TaskHistory.task_id)
        )
        found.update((row[0], row[1]) for row in rows)
    return found


def tasks_read_args(connection: Connection, workflow_id: int, task_ids: Sequence[int]) -> list[TaskArgsRow]:
    """Names and args of the first few hundred of these tasks, as far as they are of the workflow.

    Raises:
        NotFoundError: there is no such workflow.
    """
    require_workflow(connection, workflow_id)
    wanted = sorted(set(task_ids))[:MAX_ARGS]
    rows = connection.execute(
        select(Task.id, Task.name, Task.node_id)
        .where(Task.workflow_id == workflow_id, Task.id.in_(wanted))
        .order_by(Task.id)
    ).all()
    node_args = by_task(
        connection.execute(
            select(NodeArg.node_id, Arg.name, NodeArg.val)
            .join(Arg, Arg.id == NodeArg.arg_id)
            .where(NodeArg.node_id.in_([row.node_id for row in rows]))
        )
    )
    task_args = task_args_read(connection, [row.id for row in rows])
    return [
        TaskArgsRow(row.id, row.name, node_args.get(row.node_id, {}), task_args.get(row.id, {}))
        for row in rows
    ]


_SECONDS = (
    select(TaskInstance.wallclock)
    .where(TaskInstance.status == TaskInstanceStatus.DONE.value, TaskInstance.wallclock.is_not(None))
    .order_by(TaskInstance.array_batch_num.desc(), TaskInstance.array_step_id.desc())  # as the index has them
)


def templates_read_runtimes(connection: Connection, version_ids: Sequence[int]) -> list[TemplateRuntime]:
    """Mean run time of attempts that succeeded, over the latest arrays of each template version; 0 s and more."""
    found = []
    for version_id in sorted(set(version_ids))[:MAX_ARGS]:
        arrays = connection.scalars(
            select(Array.id)
            .where(Array.task_template_version_id == version_id)
            .order_by(Array.id.desc())
            .limit(MEASURED_ARRAYS)
        ).all()
        seconds: list[float] = []
        for array_id in arrays:
            statement = _SECONDS.where(TaskInstance.array_id == array_id)
            seconds += connection.scalars(statement.limit(MEASURED_ATTEMPTS - len(seconds)))
            if len(seconds) == MEASURED_ATTEMPTS:
                break
        if seconds:
            found.append(TemplateRuntime(version_id, len(seconds), fmean(seconds)))
    return found
