"""Register a workflow piece by piece: workflow, arrays, tasks.

Every piece may be sent again, by the same binder or by another one: what exists is found, what is missing is
added. A workflow counts as registered when ``workflow_mark_bound`` has set its ``created_date``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, exists, func, select, update

from jobmon.core.constants import NAME_CHARACTERS, TASK_NAME_CHARACTERS
from jobmon.core.exceptions import (
    EmptyWorkflowError,
    InvalidUsage,
    NotAllowedError,
    UsageError,
    WorkflowAlreadyExists,
)
from jobmon.core.states import WORKFLOW_RUN_ORDERABLE, TaskStatus, WorkflowStatus
from jobmon.serializers.define import (
    ArrayItem,
    TaskGroup,
    TasksResponse,
    WorkflowBoundResponse,
    WorkflowMatchRequest,
    WorkflowMatchResponse,
    WorkflowRequest,
    WorkflowResponse,
)
from jobmon.server.web import bulk, dialect
from jobmon.server.web.models import (
    Array,
    Dag,
    Task,
    TaskArg,
    TaskTemplateVersion,
    ToolVersion,
    Workflow,
    WorkflowRun,
)
from jobmon.server.web.store.attempts import update_by_id
from jobmon.server.web.store.attributes import (
    require_short_attributes,
    tasks_set_attributes,
    workflow_set_attributes,
)
from jobmon.server.web.store.define import (
    chunks,
    require_row,
    row_get_or_create,
    table_of,
)
from jobmon.server.web.store.graph import dag_read, require_equal_lengths, require_short_args
from jobmon.server.web.store.ownership import OWNER_CHARACTERS, require_owner
from jobmon.server.web.store.progress import Changes, progress_add, progress_begin
from jobmon.server.web.store.runs import workflow_lock

JSON_CHARACTERS = 1000
POLICY_CHARACTERS = 500
DESCRIPTION_CHARACTERS = 10_000


def workflow_match(connection: Connection, message: WorkflowMatchRequest) -> WorkflowMatchResponse:
    """The workflow of these args."""
    row = connection.execute(
        select(Workflow.id, Workflow.status, Dag.hash, Workflow.task_hash)
        .join(Dag, Dag.id == Workflow.dag_id)
        .where(
            Workflow.tool_version_id == message.tool_version_id,
            Workflow.workflow_args_hash == message.workflow_args_hash,
        )
    ).first()
    return WorkflowMatchResponse() if row is None else WorkflowMatchResponse(*row)


def workflow_get_or_create(
    connection: Connection, message: WorkflowRequest, *, now: datetime, user: str
) -> WorkflowResponse:
    """The workflow of these args; an equal one gets name, description, limit and attributes of the script.

    Raises:
        WorkflowAlreadyExists: it has other tasks or dependencies.
    """
    require_row(connection, ToolVersion, message.tool_version_id, "tool version")
    dag_read(connection, message.dag_id)
    key = {"tool_version_id": message.tool_version_id, "workflow_args_hash": message.workflow_args_hash}
    described = {
        "name": message.name[:NAME_CHARACTERS],
        "description": message.description[:DESCRIPTION_CHARACTERS],
        "max_concurrently_running": message.max_concurrently_running,
        "working_dir": message.working_dir,
    }
    workflow_id = row_get_or_create(
        connection,
        Workflow,
        key,
        {
            **described,
            "dag_id": message.dag_id,
            "task_hash": message.task_hash,
            "workflow_args": message.workflow_args,
            "owner": user[:OWNER_CHARACTERS] or None,
            "status": WorkflowStatus.REGISTERING.value,
            "status_date": now,
        },
    )
    workflow_lock(connection, workflow_id)
    table = table_of(Workflow)
    row = connection.execute(select(table).where(table.c.id == workflow_id)).one()
    _require_same_content(row, message)
    if _is_owner(connection, workflow_id, user):
        if any(getattr(row, name) != value for name, value in described.items()):
            connection.execute(update(table).where(table.c.id == workflow_id).values(**described))
        workflow_set_attributes(connection, workflow_id, message.attributes)
    has_run = connection.scalar(select(exists().where(WorkflowRun.workflow_id == workflow_id)))
    return WorkflowResponse(workflow_id, row.status, row.created_date is not None, bool(has_run))


def _require_same_content(row: Any, message: WorkflowRequest) -> None:
    differing = [
        words
        for words, differs in (
            ("other tasks", row.task_hash != message.task_hash),
            ("other dependencies", row.dag_id != message.dag_id),
        )
        if differs
    ]
    if differing:
        state = "" if row.created_date is not None else " (its registration was cut off)"
        raise WorkflowAlreadyExists(
            f"Workflow {row.id}{state} has the same tool version and workflow_args but "
            f"{' and '.join(differing)}. Give the changed workflow other workflow_args, or define the "
            f"same tasks as before to go on with workflow {row.id}."
        )


def _is_owner(connection: Connection, workflow_id: int, user: str) -> bool:
    """Whether what a script says of an existing workflow counts; a stranger's words change nothing of it."""
    try:
        require_owner(connection, workflow_id, user)
    except NotAllowedError:
        return False
    return True


def arrays_get_or_create(
    connection: Connection, workflow_id: int, arrays: Sequence[ArrayItem], *, now: datetime, user: str
) -> list[int]:
    """Ids of arrays in the order given; those that exist get the names and limits of the script.

    Raises:
        NotAllowedError: one is new, and the workflow belongs to somebody else.
    """
    workflow_lock(connection, workflow_id)
    rows = connection.execute(
        select(
            Array.task_template_version_id,
            Array.id,
            Array.name,
            Array.max_concurrently_running,
            Array.retry_policy,
        ).where(Array.workflow_id == workflow_id)
    )
    found = {row[0]: row for row in rows}
    is_owner = _is_owner(connection, workflow_id, user)
    ids: list[int] = []
    new: list[int] = []
    for item in arrays:
        version_id = item.task_template_version_id
        row = found.get(version_id)
        said = {
            "name": item.name[:NAME_CHARACTERS],
            "max_concurrently_running": item.max_concurrently_running,
            "retry_policy": _policy_text(item.retry_policy),
        }
        if row is None:
            require_owner(connection, workflow_id, user)
            require_row(connection, TaskTemplateVersion, version_id, "task template version")
            key = {"workflow_id": workflow_id, "task_template_version_id": version_id}
            ids.append(row_get_or_create(connection, Array, key, {**said, "created_date": now}))
            new.append(ids[-1])
            continue
        ids.append(row.id)
        if is_owner and (row.name, row.max_concurrently_running, row.retry_policy) != tuple(said.values()):
            connection.execute(update(Array).where(Array.id == row.id).values(**said))
    progress_begin(connection, workflow_id, new)
    return ids


def _policy_text(words: Mapping[str, str]) -> str:
    text = msgspec.json.encode(words, order="sorted").decode()
    if len(text) > POLICY_CHARACTERS:
        raise InvalidUsage(f"A retry policy has at most {POLICY_CHARACTERS} characters, not {len(text)}.")
    return text


def workflow_mark_bound(
    connection: Connection, workflow_id: int, *, now: datetime, user: str
) -> WorkflowBoundResponse:
    """Note that every task of a workflow is registered; of one of which that is known nothing changes.

    Raises:
        EmptyWorkflowError: it has none.
        NotAllowedError: that is news, and it belongs to somebody else.
    """
    status = workflow_lock(connection, workflow_id)
    if _is_unbound(connection, workflow_id):
        require_owner(connection, workflow_id, user)
    if connection.scalar(select(func.min(Task.id)).where(Task.workflow_id == workflow_id)) is None:
        raise EmptyWorkflowError(f"Workflow {workflow_id} has no tasks; it cannot be registered without any.")
    connection.execute(
        update(Workflow)
        .where(Workflow.id == workflow_id, Workflow.created_date.is_(None))
        .values(created_date=now)
    )
    return WorkflowBoundResponse(workflow_id, status)


_TASK_COLUMNS = (
    "id",
    "node_id",
    "task_args_hash",
    "name",
    "command",
    "workflow_id",
    "array_id",
    "task_resources_id",
    "num_attempts",
    "max_attempts",
    "num_infrastructure_losses",
    "resource_scales",
    "fallback_queues",
    "status",
    "status_date",
)
_TASK_ARG_COLUMNS = ("task_id", "arg_id", "val")
_UPDATABLE = ("name", "command", "max_attempts", "task_resources_id", "resource_scales", "fallback_queues")


_TASKS_OF_NODES = select(
    *(table_of(Task).c[name] for name in ("node_id", "id", "status", *_UPDATABLE))
).where(Task.workflow_id == bindparam("of_workflow"), dialect.among(Task.node_id, "node_ids"))


def tasks_get_or_create(
    connection: Connection, workflow_id: int, groups: Sequence[TaskGroup], *, now: datetime, user: str
) -> TasksResponse:
    """Ids and states of tasks, group by group; those that exist get what the script says now.

    While a run is alive, and for anybody but the owner, existing tasks stay as they are.

    Raises:
        UsageError: a value is too long; nothing was stored.
        NotAllowedError: a task is new, and the workflow belongs to somebody else.
    """
    workflow_lock(connection, workflow_id)
    _require_sound(connection, workflow_id, groups)
    node_ids = [node_id for group in groups for node_id in group.node_ids]
    found = _tasks_by_node(connection, workflow_id, node_ids)
    if len(found) < len(set(node_ids)):
        _require_unbound(connection, workflow_id)
        require_owner(connection, workflow_id, user)
    may_update = _may_update(connection, workflow_id, user) if found else False
    answer = TasksResponse([], [])
    for group in groups:
        new = _tasks_insert(connection, workflow_id, group, found, now)
        if may_update:
            _tasks_update(connection, group, found)
        _attributes_of_group(connection, group, {**found, **new} if may_update else new)
        ids = {node_id: row[0] for node_id, row in found.items()} | {n: row[0] for n, row in new.items()}
        statuses = {node_id: row[1] for node_id, row in found.items()}
        answer.task_ids.append([ids[node_id] for node_id in group.node_ids])
        registered = TaskStatus.REGISTERED.value
        answer.statuses.append("".join([statuses.get(node_id, registered) for node_id in group.node_ids]))
    return answer


def _require_sound(connection: Connection, workflow_id: int, groups: Sequence[TaskGroup]) -> None:
    arrays = set(connection.scalars(select(Array.id).where(Array.workflow_id == workflow_id)))
    for group in groups:
        if group.array_id not in arrays:
            raise InvalidUsage(f"Array {group.array_id} is not one of workflow {workflow_id}.")
        columns: list[Sequence[Any]] = [group.node_ids, group.task_args_hashes, group.names, group.commands]
        columns += [column for column in (group.task_arg_values, group.attributes) if column]
        require_equal_lengths("tasks", *columns)
        require_short_args(connection, "task", group.task_arg_ids, group.task_arg_values)
        for what, text in (
            ("resource_scales", group.resource_scales),
            ("fallback_queues", group.fallback_queues),
        ):
            if len(text) > JSON_CHARACTERS:
                raise UsageError(
                    f"{what} of tasks like '{group.names[0]}' take {len(text)} characters as JSON, at most "
                    f"{JSON_CHARACTERS} fit."
                )
        for attributes in group.attributes:
            require_short_attributes(attributes)


def _tasks_by_node(
    connection: Connection, workflow_id: int, node_ids: Sequence[int]
) -> dict[int, tuple[Any, ...]]:
    """Existing tasks by node: id, status and what may be updated."""
    found: dict[int, tuple[Any, ...]] = {}
    for part in chunks(node_ids):
        values = {"of_workflow": workflow_id, "node_ids": part}
        for node_id, *rest in connection.execute(_TASKS_OF_NODES, values):
            found[node_id] = tuple(rest)
    return found


def _is_unbound(connection: Connection, workflow_id: int) -> bool:
    return connection.scalar(select(Workflow.created_date).where(Workflow.id == workflow_id)) is None


def _require_unbound(connection: Connection, workflow_id: int) -> None:
    if not _is_unbound(connection, workflow_id):
        raise WorkflowAlreadyExists(
            f"Workflow {workflow_id} is registered completely; no task can be added to it. "
            "Use other workflow_args for a new one."
        )


def _may_update(connection: Connection, workflow_id: int, user: str) -> bool:
    is_run = connection.scalar(
        select(
            exists().where(
                WorkflowRun.workflow_id == workflow_id, WorkflowRun.status.in_(WORKFLOW_RUN_ORDERABLE)
            )
        )
    )
    return not is_run and _is_owner(connection, workflow_id, user)


def _tasks_insert(
    connection: Connection,
    workflow_id: int,
    group: TaskGroup,
    found: Mapping[int, tuple[Any, ...]],
    now: datetime,
) -> dict[int, tuple[Any, ...]]:
    """Insert the missing tasks of a group and their args; nobody else does: the workflow is locked."""
    places = {node_id: place for place, node_id in enumerate(group.node_ids) if node_id not in found}
    if not places:
        return {}
    ids = dialect.allocate_ids(connection, table_of(Task), len(places))
    shared = (
        workflow_id,
        group.array_id,
        group.task_resources_id,
        0,
        group.max_attempts,
        0,
        group.resource_scales,
        group.fallback_queues,
        TaskStatus.REGISTERED.value,
        now,
    )
    rows = [
        (
            task_id,
            node_id,
            group.task_args_hashes[place],
            group.names[place][:TASK_NAME_CHARACTERS],
            group.commands[place],
            *shared,
        )
        for task_id, (node_id, place) in zip(ids, places.items(), strict=True)
    ]
    bulk.insert_rows(connection, table_of(Task), _TASK_COLUMNS, rows)
    changes = Changes()
    changes.move(group.array_id, None, TaskStatus.REGISTERED, len(rows))
    progress_add(connection, changes)
    if group.task_arg_ids and group.task_arg_values:
        args = [
            (task_id, arg_id, value)
            for task_id, place in zip(ids, places.values(), strict=True)
            for arg_id, value in zip(group.task_arg_ids, group.task_arg_values[place], strict=True)
        ]
        bulk.insert_rows(connection, table_of(TaskArg), _TASK_ARG_COLUMNS, args)
    return {node_id: (task_id,) for node_id, task_id in zip(places, ids, strict=True)}


def _tasks_update(connection: Connection, group: TaskGroup, found: Mapping[int, tuple[Any, ...]]) -> None:
    """Give existing tasks what the script says now, where it differs; their states stay."""
    shared = (group.max_attempts, group.task_resources_id, group.resource_scales, group.fallback_queues)
    changes: dict[int, dict[str, Any]] = {}
    for node_id, name, command in zip(group.node_ids, group.names, group.commands, strict=True):
        row = found.get(node_id)
        if row is None:
            continue
        wanted = (name[:TASK_NAME_CHARACTERS], command, *shared)
        if row[2:] != wanted:
            changes[row[0]] = dict(zip(_UPDATABLE, wanted, strict=True))
    update_by_id(connection, table_of(Task), changes)


def _attributes_of_group(
    connection: Connection, group: TaskGroup, tasks: Mapping[int, tuple[Any, ...]]
) -> None:
    wanted = {
        tasks[node_id][0]: attributes
        for node_id, attributes in zip(group.node_ids, group.attributes, strict=False)
        if attributes and node_id in tasks
    }
    tasks_set_attributes(connection, wanted)
