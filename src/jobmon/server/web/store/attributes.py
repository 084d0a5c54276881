"""Attributes of workflows and tasks: names and short texts of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from sqlalchemy import Connection, select

from jobmon.core.exceptions import UsageError
from jobmon.server.web import dialect
from jobmon.server.web.models import (
    Task,
    TaskAttribute,
    TaskAttributeType,
    WorkflowAttribute,
    WorkflowAttributeType,
)
from jobmon.server.web.store.define import names_get_or_create, require_row, table_of

ATTRIBUTE_CHARACTERS = 255


def workflow_read_attributes(connection: Connection, workflow_id: int) -> dict[str, str | None]:
    """Attributes of a workflow, by name."""
    rows = connection.execute(
        select(WorkflowAttributeType.name, WorkflowAttribute.value)
        .join(WorkflowAttributeType, WorkflowAttributeType.id == WorkflowAttribute.type_id)
        .where(WorkflowAttribute.workflow_id == workflow_id)
        .order_by(WorkflowAttributeType.name)
    )
    return {row[0]: row[1] for row in rows}


def tasks_set_attributes(
    connection: Connection, attributes_by_task: Mapping[int, Mapping[str, str | None]]
) -> int:
    """Set attributes of tasks; how many were set."""
    if not attributes_by_task:
        return 0
    names = set(chain.from_iterable(attributes_by_task.values()))
    types = names_get_or_create(connection, TaskAttributeType, names)
    rows = [
        {"task_id": task_id, "type_id": types[name], "value": value}
        for task_id, attributes in attributes_by_task.items()
        for name, value in attributes.items()
    ]
    dialect.upsert(connection, table_of(TaskAttribute), rows, ["value"])
    return len(rows)


def task_set_attributes(connection: Connection, task_id: int, attributes: Mapping[str, str | None]) -> int:
    """Set attributes of one task; how many were set."""
    require_row(connection, Task, task_id, "task")
    require_short_attributes(attributes)
    return tasks_set_attributes(connection, {task_id: attributes} if attributes else {})


def workflow_set_attributes(
    connection: Connection, workflow_id: int, attributes: Mapping[str, str | None]
) -> int:
    """Set attributes of a workflow; how many were set."""
    if not attributes:
        return 0
    require_short_attributes(attributes)
    types = names_get_or_create(connection, WorkflowAttributeType, attributes.keys())
    rows = [
        {"workflow_id": workflow_id, "type_id": types[name], "value": value}
        for name, value in attributes.items()
    ]
    dialect.upsert(connection, table_of(WorkflowAttribute), rows, ["value"])
    return len(rows)


def require_short_attributes(attributes: Mapping[str, str | None]) -> None:
    """Refuse values that do not fit their column."""
    for name, value in attributes.items():
        if value is not None and len(value) > ATTRIBUTE_CHARACTERS:
            raise UsageError(
                f"The value of attribute '{name}' has {len(value)} characters; at most "
                f"{ATTRIBUTE_CHARACTERS} fit."
            )
