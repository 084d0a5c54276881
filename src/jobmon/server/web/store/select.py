"""Choosing tasks of a workflow by what they are: template, status, node args, attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, select

from jobmon.core.constants import ArgType
from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.serializers.monitor import TaskRow
from jobmon.serializers.select import SelectRequest, SelectResponse, SubtreeRequest, SubtreeResponse
from jobmon.server.web.models import (
    Arg,
    Array,
    NodeArg,
    Task,
    TaskAttribute,
    TaskAttributeType,
    TaskTemplate,
    TaskTemplateVersion,
    TemplateArgMap,
)
from jobmon.server.web.store.downstream import tasks_with_downstream
from jobmon.server.web.store.monitor import require_tasks, require_workflow

PAGE = 50_000
"""Tasks in one answer."""
MAX_VALUES = 10_000
"""Values that can be compared with at once: databases limit the parameters of a statement."""


def tasks_select(connection: Connection, workflow_id: int, message: SelectRequest) -> SelectResponse:
    """The tasks of a workflow for which every condition holds, page by page in the order of their ids.

    Raises:
        NotFoundError: there is no such workflow or task.
        UsageError: a task is of another workflow, the workflow has no such template or node arg, or too many values
            are given.
    """
    require_workflow(connection, workflow_id)
    _require_few_values(message)
    if message.task_ids:
        require_tasks_of(connection, workflow_id, message.task_ids)
    page = min(PAGE, max(1, message.limit or PAGE))
    statement = (
        select(*_columns(message.is_detailed))
        .where(*_conditions(connection, workflow_id, message))
        .order_by(Task.id)
        .limit(page)
    )
    rows = connection.execute(statement).all()
    tasks = [TaskRow(row[0], row[1], row[2], max(0, row[3] - 1)) for row in rows if message.is_detailed]
    return SelectResponse([row[0] for row in rows], tasks, rows[-1][0] if len(rows) == page else None)


def _columns(is_detailed: bool) -> tuple[Any, ...]:
    return (Task.id, Task.name, Task.status, Task.num_attempts) if is_detailed else (Task.id,)


def _conditions(
    connection: Connection, workflow_id: int, message: SelectRequest
) -> list[ColumnElement[bool]]:
    conditions = [Task.workflow_id == workflow_id]
    if message.after_task_id:  # the first page would begin at the first task of the database
        conditions.append(Task.id > message.after_task_id)
    arrays = None
    if message.templates or message.node_args:
        arrays = _arrays(connection, workflow_id, message.templates)
    if message.templates:
        conditions.append(Task.array_id.in_(list(arrays or ())))
    if message.statuses:
        conditions.append(Task.status.in_(message.statuses))
    if message.task_ids:
        conditions.append(Task.id.in_(sorted(set(message.task_ids))))
    if message.node_args:
        ids = _node_arg_ids(connection, workflow_id, arrays or {}, message.node_args)
        for name, values in message.node_args.items():
            conditions.append(
                exists().where(
                    NodeArg.node_id == Task.node_id, NodeArg.arg_id == ids[name], NodeArg.val.in_(values)
                )
            )
    conditions += _attribute_conditions(connection, message.attributes)
    return conditions


def _arrays(connection: Connection, workflow_id: int, templates: Sequence[str]) -> dict[int, int]:
    """Template version by array id, for the arrays of some templates of a workflow (or of all)."""
    rows = connection.execute(
        select(Array.id, Array.task_template_version_id, TaskTemplate.name)
        .join(TaskTemplateVersion, TaskTemplateVersion.id == Array.task_template_version_id)
        .join(TaskTemplate, TaskTemplate.id == TaskTemplateVersion.task_template_id)
        .where(Array.workflow_id == workflow_id)
    ).all()
    known = {row.name for row in rows}
    if unknown := sorted(set(templates) - known):
        raise UsageError(
            f"Workflow {workflow_id} has no tasks of the template '{', '.join(unknown)}'. Its templates: "
            f"{', '.join(sorted(known)) or 'none'}."
        )
    return {
        row.id: row.task_template_version_id for row in rows if not templates or row.name in set(templates)
    }


def _node_arg_ids(
    connection: Connection, workflow_id: int, arrays: Mapping[int, int], names: Mapping[str, Any]
) -> dict[str, int]:
    rows = connection.execute(
        select(Arg.name, Arg.id)
        .join(TemplateArgMap, TemplateArgMap.arg_id == Arg.id)
        .where(
            TemplateArgMap.task_template_version_id.in_(sorted(set(arrays.values()))),
            TemplateArgMap.arg_type_id == int(ArgType.NODE_ARG),
        )
        .distinct()
    )
    ids = {row.name: row.id for row in rows}
    if unknown := sorted(set(names) - set(ids)):
        raise UsageError(
            f"{', '.join(unknown)}: no node arg of these tasks of workflow {workflow_id}. Their node args: "
            f"{', '.join(sorted(ids)) or 'none'}."
        )
    return ids


def _attribute_conditions(
    connection: Connection, attributes: Mapping[str, Sequence[str]]
) -> list[ColumnElement[bool]]:
    if not attributes:
        return []
    rows = connection.execute(
        select(TaskAttributeType.name, TaskAttributeType.id).where(TaskAttributeType.name.in_(attributes))
    )
    ids = {row.name: row.id for row in rows}
    conditions: list[ColumnElement[bool]] = []
    for name, values in attributes.items():
        found = [TaskAttribute.task_id == Task.id, TaskAttribute.type_id == ids.get(name, 0)]
        if values:
            found.append(TaskAttribute.value.in_(values))
        conditions.append(exists().where(*found))
    return conditions


def _require_few_values(message: SelectRequest) -> None:
    by_name = (*message.node_args.values(), *message.attributes.values())
    count = len(message.task_ids) + len(message.templates) + sum(map(len, by_name))
    if count > MAX_VALUES:
        raise UsageError(
            f"{count} values are given to choose tasks by; at most {MAX_VALUES} can be looked for at once. "
            "Choose in several steps."
        )


def require_tasks_of(connection: Connection, workflow_id: int, task_ids: Sequence[int]) -> None:
    """Refuse tasks that do not exist or are of another workflow.

    Raises:
        NotFoundError: a task does not exist; the message names it.
        UsageError: a task is of another workflow; the message names it.
    """
    workflows = require_tasks(connection, task_ids)
    strangers = [str(task_id) for task_id in dict.fromkeys(task_ids) if workflows[task_id] != workflow_id]
    if strangers:
        more = f" and {len(strangers) - 10} more" if len(strangers) > 10 else ""
        raise UsageError(
            f"These tasks are not of workflow {workflow_id}: {', '.join(strangers[:10])}{more}. Name tasks of "
            "one workflow at a time."
        )


def tasks_read_subtree(connection: Connection, message: SubtreeRequest) -> SubtreeResponse:
    """Tasks and all that wait for them, directly or not.

    Raises:
        NotFoundError: a task does not exist, or none is named.
        UsageError: they are of several workflows.
    """
    workflows = sorted(set(require_tasks(connection, message.task_ids).values()))
    if not workflows:
        raise NotFoundError("No task is named.")
    require_tasks_of(connection, workflows[0], message.task_ids)
    found = tasks_with_downstream(connection, workflows[0], message.task_ids, is_bounded=False)
    wanted = set(message.statuses)
    return SubtreeResponse(
        workflows[0], {row.id: row.status for row in found if not wanted or row.status in wanted}
    )
