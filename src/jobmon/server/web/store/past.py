"""A task against the same one in an earlier workflow of its tool. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from jobmon.core.constants import ArgType
from jobmon.core.words import changed_resources
from jobmon.serializers.explain import Difference, Past, PastComparison
from jobmon.server.web.analysis.past import command_difference
from jobmon.server.web.models import (
    Arg,
    Task,
    TaskArg,
    TaskResources,
    TemplateArgMap,
    ToolVersion,
    Workflow,
)

EARLIER_WORKFLOWS = 200
"""Earlier workflows of a tool that are looked at, the latest ones."""


def task_read_past(connection: Connection, row: Any) -> PastComparison:
    """A task against the latest earlier one with the same template version and node args.

    Args:
        connection: a transaction.
        row: the task, from ``explain.task_read_row``.
    """
    workflow_ids = _earlier_workflows(connection, row.tool_version_id, row.workflow_id)
    if not workflow_ids:
        return PastComparison(Past.FIRST)
    earlier = connection.execute(
        select(
            Task.id,
            Task.workflow_id,
            Task.status,
            Task.task_args_hash,
            Task.command,
            TaskResources.requested_resources,
        )
        .join(TaskResources, TaskResources.id == Task.task_resources_id)
        .where(Task.workflow_id.in_(workflow_ids), Task.node_id == row.node_id)
        .order_by(Task.workflow_id.desc())
        .limit(1)
    ).first()
    if earlier is None:
        return PastComparison(Past.NEW)
    differences = _differences(connection, row, earlier)
    past = Past.CHANGED if differences else Past.UNCHANGED
    return PastComparison(past, earlier.workflow_id, earlier.id, earlier.status, differences)


def _earlier_workflows(connection: Connection, tool_version_id: int, workflow_id: int) -> list[int]:
    tool_id = select(ToolVersion.tool_id).where(ToolVersion.id == tool_version_id).scalar_subquery()
    versions = select(ToolVersion.id).where(ToolVersion.tool_id == tool_id)
    return list(
        connection.scalars(
            select(Workflow.id)
            .where(Workflow.tool_version_id.in_(versions), Workflow.id < workflow_id)
            .order_by(Workflow.id.desc())
            .limit(EARLIER_WORKFLOWS)
        )
    )


def _differences(connection: Connection, row: Any, earlier: Any) -> list[Difference]:
    found: list[Difference] = []
    if earlier.task_args_hash != row.task_args_hash:
        before, after = (task_args_read(connection, [task.id]).get(task.id, {}) for task in (earlier, row))
        found += [
            Difference("task arg", name, before.get(name, ""), after.get(name, ""))
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]
    elif earlier.command != row.command:
        names = _op_args(connection, row.task_template_version_id)
        found.append(command_difference(earlier.command, row.command, names))
    if earlier.requested_resources != row.requested_resources:
        resources = [msgspec.json.decode(task.requested_resources) for task in (earlier, row)]
        if changes := changed_resources(*resources):
            found.append(Difference("resources", "", "", ", ".join(changes)))
    return found


def task_args_read(connection: Connection, task_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Values of the task args of a few tasks, by name."""
    rows = connection.execute(
        select(TaskArg.task_id, Arg.name, TaskArg.val)
        .join(Arg, Arg.id == TaskArg.arg_id)
        .where(TaskArg.task_id.in_(task_ids))
    )
    return by_task(rows)


def by_task(rows: Iterable[Any]) -> dict[int, dict[str, str]]:
    """Names and values by the id in front of them."""
    found: dict[int, dict[str, str]] = {}
    for owner, name, value in rows:
        found.setdefault(owner, {})[name] = value
    return found


def _op_args(connection: Connection, task_template_version_id: int) -> list[str]:
    return list(
        connection.scalars(
            select(Arg.name)
            .join(TemplateArgMap, TemplateArgMap.arg_id == Arg.id)
            .where(
                TemplateArgMap.task_template_version_id == task_template_version_id,
                TemplateArgMap.arg_type_id == ArgType.OP_ARG.value,
            )
            .order_by(Arg.name)
        )
    )
