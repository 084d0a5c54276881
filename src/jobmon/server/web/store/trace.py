"""Every attempt of a workflow with its times, page by page; and the facts about the workflow itself. Reads only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from jobmon.core.exceptions import UsageError
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.states import TASK_INSTANCE_LIVE, TASK_INSTANCE_TERMINAL, TaskInstanceStatus
from jobmon.serializers.trace import (
    ResourcesFacts,
    RunFacts,
    TemplateFacts,
    TraceResponse,
    WorkflowFactsResponse,
)
from jobmon.server.web.models import (
    Arg,
    Array,
    NodeArg,
    Task,
    TaskHistory,
    TaskInstance,
    TaskTemplate,
    TaskTemplateVersion,
    Tool,
    ToolVersion,
    Workflow,
    WorkflowRun,
)
from jobmon.server.web.store.attributes import workflow_read_attributes
from jobmon.server.web.store.define import chunks
from jobmon.server.web.store.monitor import require_workflow
from jobmon.server.web.store.remote import workflow_read_conditions
from jobmon.server.web.store.usage import requests_read

MAX_PAGE = 10_000
REQUESTS_SHOWN = 10

_ATTEMPT = (
    select(
        TaskInstance.id,
        TaskInstance.task_id,
        TaskInstance.workflow_run_id,
        TaskInstance.array_id,
        TaskInstance.task_resources_id,
        TaskInstance.status,
        TaskInstance.cause,
        TaskInstance.exit_code,
        TaskInstance.nodename,
        TaskInstance.distributor_id,
        TaskInstance.submitted_date,
        TaskInstance.status_date,
        TaskInstance.wallclock,
        TaskInstance.cpu,
        TaskInstance.maxrss,
        TaskInstance.io,
        TaskInstance.energy,
        Task.name.label("task_name"),
        Task.status.label("task_status"),
        Task.node_id,
    )
    .join(Task, Task.id == TaskInstance.task_id)
    .order_by(TaskInstance.array_batch_num, TaskInstance.array_step_id)
)
_BEGIN, _START, _END = range(3)
_MEANING: Mapping[str, int] = {
    TaskInstanceStatus.QUEUED: _BEGIN,
    TaskInstanceStatus.RUNNING: _START,
    **dict.fromkeys(TASK_INSTANCE_TERMINAL, _END),
}
"""Which moment of an attempt it is when it enters a state."""


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="milliseconds")


# -- attempts -----------------------------------------------------------------------------------------
def workflow_read_trace(
    connection: Connection, workflow_id: int, after: int | None, limit: int
) -> TraceResponse:
    """A page of the attempts of a workflow.

    They come in the order of the unique index over array, batch and step, so that a page costs the same wherever it
    stands.

    Args:
        connection: a transaction.
        workflow_id: the workflow.
        after: ``next_after`` of the page before; ``None``: from the start.
        limit: at most so many, 10 000 at most.

    Raises:
        NotFoundError: there is no such workflow.
        UsageError: ``after`` is no attempt of it.
    """
    require_workflow(connection, workflow_id)
    templates = _template_names(connection, workflow_id)
    limit = max(1, min(limit, MAX_PAGE))
    rows = _page(connection, workflow_id, sorted(templates), after, limit + 1)
    has_more = len(rows) > limit
    rows = rows[:limit]
    numbers = _attempt_numbers(connection, sorted({row.task_id for row in rows}))
    moments, notes = _moments(connection, sorted({row.task_id for row in rows}))
    requests = requests_read(connection, {row.task_resources_id for row in rows})
    node_args = _node_args(connection, sorted({row.node_id for row in rows}))
    asked = [requests[row.task_resources_id] for row in rows]
    times = [_times(row, moments.get(row.id, {})) for row in rows]
    return TraceResponse(
        task_instance_id=[row.id for row in rows],
        task_id=[row.task_id for row in rows],
        workflow_run_id=[row.workflow_run_id for row in rows],
        task_name=[row.task_name for row in rows],
        template=[templates[row.array_id] for row in rows],
        node_args=[node_args.get(row.node_id, "{}") for row in rows],
        attempt=[numbers[row.id] for row in rows],
        status=[row.status for row in rows],
        task_status=[row.task_status for row in rows],
        cause=[row.cause or "" for row in rows],
        exit_code=[row.exit_code for row in rows],
        cluster=[request.cluster for request in asked],
        queue=[request.queue for request in asked],
        node=[row.nodename or "" for row in rows],
        distributor_id=[row.distributor_id or "" for row in rows],
        resource_type=[request.type for request in asked],
        requested_cores=[request.number("cores") for request in asked],
        requested_memory_gib=[request.number("memory") for request in asked],
        requested_runtime=[request.number("runtime") for request in asked],
        queued=[_iso(time[_BEGIN]) for time in times],
        started=[_iso(time[_START]) for time in times],
        ended=[_iso(time[_END]) for time in times],
        wallclock=[row.wallclock for row in rows],
        cpu=[row.cpu for row in rows],
        maxrss=[row.maxrss for row in rows],
        io=[row.io for row in rows],
        energy=[row.energy for row in rows],
        note=[notes.get(row.id, "") for row in rows],
        next_after=rows[-1].id if has_more else None,
    )


def _template_names(connection: Connection, workflow_id: int) -> dict[int, str]:
    """Template by array."""
    rows = connection.execute(
        select(Array.id, TaskTemplate.name)
        .join(TaskTemplateVersion, TaskTemplateVersion.id == Array.task_template_version_id)
        .join(TaskTemplate, TaskTemplate.id == TaskTemplateVersion.task_template_id)
        .where(Array.workflow_id == workflow_id)
    )
    return {row[0]: row[1] for row in rows}


def _page(
    connection: Connection, workflow_id: int, array_ids: Sequence[int], after: int | None, limit: int
) -> list[Any]:
    """At most ``limit`` attempts after the one named: the rest of its batch, of its array, of the next arrays."""
    rows: list[Any] = []
    if after is not None:
        last = connection.execute(
            select(TaskInstance.array_id, TaskInstance.array_batch_num, TaskInstance.array_step_id).where(
                TaskInstance.id == after
            )
        ).first()
        if last is None or last.array_id not in array_ids:
            raise UsageError(
                f"`after`: {after} is no attempt of workflow {workflow_id}; begin without `after`."
            )
        of_array = _ATTEMPT.where(TaskInstance.array_id == last.array_id)
        for rest in (
            of_array.where(
                TaskInstance.array_batch_num == last.array_batch_num,
                TaskInstance.array_step_id > last.array_step_id,
            ),
            of_array.where(TaskInstance.array_batch_num > last.array_batch_num),
        ):
            if len(rows) < limit:
                rows += connection.execute(rest.limit(limit - len(rows))).all()
        array_ids = [array_id for array_id in array_ids if array_id > last.array_id]
    for array_id in array_ids:
        if len(rows) >= limit:
            break
        of_array = _ATTEMPT.where(TaskInstance.array_id == array_id)
        rows += connection.execute(of_array.limit(limit - len(rows))).all()
    return rows


def _attempt_numbers(connection: Connection, task_ids: Sequence[int]) -> dict[int, int]:
    """Number within its task, by attempt."""
    numbers: dict[int, int] = {}
    for part in chunks(task_ids):
        counts: Counter[int] = Counter()
        for task_id, task_instance_id in connection.execute(
            select(TaskInstance.task_id, TaskInstance.id)
            .where(TaskInstance.task_id.in_(part))
            .order_by(TaskInstance.task_id, TaskInstance.id)
        ).all():
            counts[task_id] += 1
            numbers[task_instance_id] = counts[task_id]
    return numbers


def _moments(
    connection: Connection, task_ids: Sequence[int]
) -> tuple[dict[int, dict[int, datetime]], dict[int, str]]:
    """When attempts were created, started and over, by attempt, and notes on them; the first word on each counts."""
    moments: dict[int, dict[int, datetime]] = defaultdict(dict)
    notes: dict[int, str] = {}
    for part in chunks(task_ids):
        rows = connection.execute(
            select(
                TaskHistory.task_instance_id,
                TaskHistory.instance_to,
                TaskHistory.occurred_at,
                TaskHistory.note,
            )
            .where(TaskHistory.task_id.in_(part), TaskHistory.instance_to.in_(list(_MEANING)))
            .order_by(TaskHistory.id)
        ).all()
        for task_instance_id, state, occurred_at, note in rows:
            if note is not None and task_instance_id is not None:
                notes[task_instance_id] = note
            if task_instance_id is not None and state is not None:
                moments[task_instance_id].setdefault(_MEANING[state], occurred_at)
    return moments, notes


def _times(row: Any, moments: Mapping[int, datetime]) -> tuple[datetime | None, ...]:
    """When an attempt was created, started and over; of attempts older than the history what their row tells."""
    is_over = row.status not in TASK_INSTANCE_LIVE
    return (
        moments.get(_BEGIN, row.submitted_date),
        moments.get(_START),
        moments.get(_END, row.status_date if is_over else None),
    )


def _node_args(connection: Connection, node_ids: Sequence[int]) -> dict[int, str]:
    """JSON of the node args, by node."""
    values: dict[int, dict[str, str]] = defaultdict(dict)
    for part in chunks(node_ids):
        rows = connection.execute(
            select(NodeArg.node_id, Arg.name, NodeArg.val)
            .join(Arg, Arg.id == NodeArg.arg_id)
            .where(NodeArg.node_id.in_(part))
        ).all()
        for node_id, name, value in rows:
            values[node_id][name] = value
    return {
        node_id: msgspec.json.encode(dict(sorted(args.items()))).decode() for node_id, args in values.items()
    }


# -- facts --------------------------------------------------------------------------------------------
def workflow_read_facts(connection: Connection, workflow_id: int, now: datetime) -> WorkflowFactsResponse:
    """What a workflow is, who ran it and with what.

    Raises:
        NotFoundError: there is no such workflow.
    """
    require_workflow(connection, workflow_id)
    row = connection.execute(
        select(Workflow.__table__, Tool.name.label("tool_name"))
        .join(ToolVersion, ToolVersion.id == Workflow.tool_version_id)
        .join(Tool, Tool.id == ToolVersion.tool_id)
        .where(Workflow.id == workflow_id)
    ).one()
    templates, num_attempts = _template_facts(connection, workflow_id)
    return WorkflowFactsResponse(
        id=row.id,
        name=row.name or "",
        description=row.description or "",
        workflow_args=row.workflow_args,
        tool_name=row.tool_name,
        tool_version_id=row.tool_version_id,
        status=row.status,
        created=_iso(row.created_date),
        changed=_iso(row.status_date),
        now=_iso(now),
        max_concurrently_running=row.max_concurrently_running,
        attributes=workflow_read_attributes(connection, workflow_id),
        runs=_run_facts(connection, workflow_id),
        templates=templates,
        num_attempts=num_attempts,
        conditions=workflow_read_conditions(connection, workflow_id),
    )


def _run_facts(connection: Connection, workflow_id: int) -> list[RunFacts]:
    rows = connection.execute(
        select(WorkflowRun.__table__).where(WorkflowRun.workflow_id == workflow_id).order_by(WorkflowRun.id)
    )
    return [
        RunFacts(
            row.id,
            row.user,
            row.status,
            row.jobmon_version,
            row.jobmon_server_version,
            *controller_place(row.controller),
            _iso(row.created_date),
            _iso(row.status_date),
        )
        for row in rows
    ]


def controller_place(text: str) -> tuple[str, int]:
    """Host and process id of the controller, where they are known."""
    try:
        identity = msgspec.json.decode(text, type=ProcessIdentity)
    except msgspec.DecodeError:
        return "", 0
    return identity.hostname, identity.pid


def _tasks_by(connection: Connection, workflow_id: int, column: Any) -> dict[int, Counter[Any]]:
    """Number of tasks by array and value of a column."""
    found: dict[int, Counter[Any]] = defaultdict(Counter)
    for array_id, value, count in connection.execute(
        select(Task.array_id, column, func.count())
        .where(Task.workflow_id == workflow_id)
        .group_by(Task.array_id, column)
    ):
        found[array_id][value] = count
    return found


def _tasks_by_attempts(connection: Connection, workflow_id: int) -> dict[int, dict[int, int]]:
    """Number of tasks by array and number of attempts."""
    per_task = (
        select(Task.array_id, Task.id, func.count(TaskInstance.id).label("attempts"))
        .outerjoin(TaskInstance, TaskInstance.task_id == Task.id)
        .where(Task.workflow_id == workflow_id)
        .group_by(Task.array_id, Task.id)
        .subquery()
    )
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for array_id, attempts, tasks in connection.execute(
        select(per_task.c.array_id, per_task.c.attempts, func.count()).group_by(
            per_task.c.array_id, per_task.c.attempts
        )
    ):
        found[array_id][attempts] = tasks
    return found


def _template_facts(connection: Connection, workflow_id: int) -> tuple[list[TemplateFacts], int]:
    """Facts by template; number of attempts in all."""
    statuses = _tasks_by(connection, workflow_id, Task.status)
    asked = _tasks_by(connection, workflow_id, Task.task_resources_id)
    attempts = _tasks_by_attempts(connection, workflow_id)
    shown = {array_id: counter.most_common(REQUESTS_SHOWN) for array_id, counter in asked.items()}
    requests = requests_read(connection, {key for pairs in shown.values() for key, _ in pairs})
    arrays = connection.execute(
        select(
            Array.id,
            Array.max_concurrently_running,
            TaskTemplate.name,
            TaskTemplateVersion.id.label("version_id"),
            TaskTemplateVersion.command_template,
        )
        .join(TaskTemplateVersion, TaskTemplateVersion.id == Array.task_template_version_id)
        .join(TaskTemplate, TaskTemplate.id == TaskTemplateVersion.task_template_id)
        .where(Array.workflow_id == workflow_id)
        .order_by(Array.id)
    )
    facts = [
        TemplateFacts(
            row.name,
            row.version_id,
            row.command_template,
            row.max_concurrently_running,
            dict(statuses[row.id]),
            attempts[row.id],
            [
                ResourcesFacts(requests[key].cluster, requests[key].queue, requests[key].text, count)
                for key, count in shown.get(row.id, [])
            ],
        )
        for row in arrays
    ]
    return facts, sum(count * tasks for by_count in attempts.values() for count, tasks in by_count.items())
