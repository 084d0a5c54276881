"""Get or create what scripts define before they have a workflow: tools, templates, clusters, resources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Table, select

from jobmon.core.constants import NAME_CHARACTERS, ArgType
from jobmon.core.exceptions import InvalidUsage, NotFoundError, UnknownClusterError, UnknownQueueError
from jobmon.core.hashing import hash_parts
from jobmon.serializers.define import (
    ClusterResponse,
    QueueResponse,
    TaskResourcesItem,
    TaskTemplateResponse,
    TaskTemplateVersionRequest,
    TaskTemplateVersionResponse,
    ToolResponse,
    ToolVersionResponse,
)
from jobmon.server.web import dialect
from jobmon.server.web.models import (
    Arg,
    Cluster,
    ClusterType,
    Queue,
    TaskResources,
    TaskTemplate,
    TaskTemplateVersion,
    TemplateArgMap,
    Tool,
    ToolVersion,
)
from jobmon.server.web.store.candidates import candidates_take_off

CHUNK = 5000
"""Values in one IN list."""
VERSION_KEY_CHARACTERS = 64

T = TypeVar("T")


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Pieces of a sequence, short enough for an IN list."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def table_of(model: Any) -> Table:
    """The table of a model."""
    table: Table = model.__table__
    return table


def row_get_or_create(
    connection: Connection, model: Any, key: Mapping[str, Any], values: Mapping[str, Any] | None = None
) -> int:
    """Id of the row of a unique key; whoever of two comes second finds the row of the first."""
    table = table_of(model)
    statement = select(table.c.id).where(*(table.c[name] == value for name, value in key.items()))
    found: int | None = connection.scalar(statement)
    if found is None:
        dialect.insert_ignore(
            connection, table, [{**key, **(values or {}), **dialect.lasting_id(connection, table)}]
        )
        # A locking read sees what another transaction committed meanwhile, whatever our snapshot is.
        found = connection.scalar(dialect.lock_rows(connection, statement))
    assert found is not None, f"{table.name} {dict(key)} was inserted"
    return found


def names_get_or_create(connection: Connection, model: Any, names: Collection[str]) -> dict[str, int]:
    """Ids of the rows of a table of unique names."""
    table = table_of(model)
    wanted = sorted(set(names))
    for name in wanted:
        require_name(name, f"a name in {table.name}")
    found = _ids_by_name(connection, table, wanted, lock=False)
    missing = [name for name in wanted if name not in found]
    if missing:
        dialect.insert_ignore(connection, table, [{"name": name} for name in missing])
        found |= _ids_by_name(connection, table, missing, lock=True)
    return found


def _ids_by_name(connection: Connection, table: Table, names: Sequence[str], *, lock: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in chunks(names):
        statement = select(table.c.name, table.c.id).where(table.c.name.in_(part))
        rows = connection.execute(dialect.lock_rows(connection, statement) if lock else statement)
        found.update((row[0], row[1]) for row in rows)
    return found


def require_name(name: str, what: str) -> str:
    """Refuse a name that is empty or does not fit its column."""
    if not name or len(name) > NAME_CHARACTERS:
        problem = "is empty" if not name else f"has {len(name)} characters: '{name[:60]}…'"
        raise InvalidUsage(f"The name of {what} {problem}; give 1 to {NAME_CHARACTERS} characters.")
    return name


def require_row(connection: Connection, model: Any, row_id: int, what: str) -> None:
    """Refuse an id that does not exist."""
    table = table_of(model)
    if connection.scalar(select(table.c.id).where(table.c.id == row_id)) is None:
        raise NotFoundError(f"There is no {what} {row_id}.")


# -- tools --------------------------------------------------------------------------------------------
def tool_get_or_create(connection: Connection, name: str) -> ToolResponse:
    """The tool of that name, with a version: scripts that start together share the first one."""
    require_name(name, "a tool")
    tool_id = row_get_or_create(connection, Tool, {"name": name})
    if not tool_versions_list(connection, tool_id):
        connection.scalar(dialect.lock_rows(connection, select(Tool.id).where(Tool.id == tool_id)))
        statement = select(ToolVersion.id).where(ToolVersion.tool_id == tool_id)
        if connection.scalar(dialect.lock_rows(connection, statement)) is None:
            tool_version_get_or_create(connection, tool_id, f"first of {tool_id}")
    return ToolResponse(tool_id, name)


def tool_versions_list(connection: Connection, tool_id: int) -> list[ToolVersionResponse]:
    """Versions of a tool, oldest first."""
    require_row(connection, Tool, tool_id, "tool")
    ids = connection.scalars(
        select(ToolVersion.id).where(ToolVersion.tool_id == tool_id).order_by(ToolVersion.id)
    )
    return [ToolVersionResponse(version_id, tool_id) for version_id in ids]


def tool_version_get_or_create(connection: Connection, tool_id: int, version_key: str) -> ToolVersionResponse:
    """The version of a tool of that key."""
    require_row(connection, Tool, tool_id, "tool")
    require_name(version_key, "the key of a tool version")
    key = {"tool_id": tool_id, "version_key": version_key[:VERSION_KEY_CHARACTERS]}
    return ToolVersionResponse(row_get_or_create(connection, ToolVersion, key), tool_id)


# -- templates ----------------------------------------------------------------------------------------
def task_templates_list(connection: Connection, tool_version_id: int) -> list[TaskTemplateResponse]:
    """Templates of a tool version, oldest first."""
    require_row(connection, ToolVersion, tool_version_id, "tool version")
    rows = connection.execute(
        select(TaskTemplate.id, TaskTemplate.name)
        .where(TaskTemplate.tool_version_id == tool_version_id)
        .order_by(TaskTemplate.id)
    )
    return [TaskTemplateResponse(row.id, tool_version_id, row.name) for row in rows]


def task_template_get_or_create(
    connection: Connection, tool_version_id: int, name: str
) -> TaskTemplateResponse:
    """The template of that name."""
    require_row(connection, ToolVersion, tool_version_id, "tool version")
    require_name(name, "a task template")
    key = {"tool_version_id": tool_version_id, "name": name}
    return TaskTemplateResponse(row_get_or_create(connection, TaskTemplate, key), tool_version_id, name)


def task_template_versions_list(
    connection: Connection, task_template_id: int
) -> list[TaskTemplateVersionResponse]:
    """Versions of a template with their args, oldest first."""
    require_row(connection, TaskTemplate, task_template_id, "task template")
    return _template_versions(connection, TaskTemplateVersion.task_template_id == task_template_id)


def task_template_version_get_or_create(
    connection: Connection, message: TaskTemplateVersionRequest
) -> TaskTemplateVersionResponse:
    """The version with that command template and that division of args."""
    require_row(connection, TaskTemplate, message.task_template_id, "task template")
    key = {
        "task_template_id": message.task_template_id,
        "version_hash": hash_parts([message.command_template, message.arg_mapping_hash]),
    }
    values = {"command_template": message.command_template, "arg_mapping_hash": message.arg_mapping_hash}
    version_id = row_get_or_create(connection, TaskTemplateVersion, key, values)
    (version,) = _template_versions(connection, TaskTemplateVersion.id == version_id)
    names = {
        ArgType.NODE_ARG: message.node_args,
        ArgType.TASK_ARG: message.task_args,
        ArgType.OP_ARG: message.op_args,
    }
    if any(names.values()) and not (version.node_args or version.task_args or version.op_args):
        ids = names_get_or_create(connection, Arg, [name for group in names.values() for name in group])
        rows = [
            {"task_template_version_id": version_id, "arg_id": ids[name], "arg_type_id": kind.value}
            for kind, group in names.items()
            for name in group
        ]
        dialect.insert_ignore(connection, table_of(TemplateArgMap), rows)
        version.node_args, version.task_args, version.op_args = (
            {name: ids[name] for name in group} for group in names.values()
        )
    return version


def _template_versions(connection: Connection, where: Any) -> list[TaskTemplateVersionResponse]:
    rows = connection.execute(
        select(
            TaskTemplateVersion.id,
            TaskTemplateVersion.task_template_id,
            TaskTemplateVersion.command_template,
            TaskTemplateVersion.arg_mapping_hash,
        )
        .where(where)
        .order_by(TaskTemplateVersion.id)
    ).all()
    args: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    mapped = connection.execute(
        select(
            TemplateArgMap.task_template_version_id,
            TemplateArgMap.arg_type_id,
            Arg.name,
            TemplateArgMap.arg_id,
        )
        .join(Arg, Arg.id == TemplateArgMap.arg_id)
        .join(TaskTemplateVersion, TaskTemplateVersion.id == TemplateArgMap.task_template_version_id)
        .where(where)
    )
    for version_id, kind, name, arg_id in mapped:
        args[version_id, kind][name] = arg_id
    return [
        TaskTemplateVersionResponse(
            row.id,
            row.task_template_id,
            row.command_template,
            row.arg_mapping_hash,
            *(args[row.id, kind.value] for kind in (ArgType.NODE_ARG, ArgType.TASK_ARG, ArgType.OP_ARG)),
        )
        for row in rows
    ]


# -- clusters and resources ---------------------------------------------------------------------------
def cluster_read(connection: Connection, name: str) -> ClusterResponse:
    """A cluster with its queues.

    Raises:
        UnknownClusterError: there is none of that name; the message lists those there are.
    """
    row = connection.execute(
        select(Cluster.id, Cluster.connection_parameters, ClusterType.name.label("cluster_type"))
        .join(ClusterType, ClusterType.id == Cluster.cluster_type_id)
        .where(Cluster.name == name)
    ).first()
    if row is None:
        known = connection.scalars(select(Cluster.name).order_by(Cluster.name)).all()
        raise UnknownClusterError(
            f"There is no cluster named '{name}'. Clusters of this server: {', '.join(known) or 'none'}."
        )
    queues = connection.execute(
        select(Queue.id, Queue.name, Queue.parameters).where(Queue.cluster_id == row.id).order_by(Queue.id)
    )
    return ClusterResponse(
        row.id,
        name,
        row.cluster_type,
        msgspec.json.decode(row.connection_parameters),
        [
            QueueResponse(queue.id, queue.name, row.id, msgspec.json.decode(queue.parameters))
            for queue in queues
        ],
    )


def task_resources_get_or_create(connection: Connection, resources: Sequence[TaskResourcesItem]) -> list[int]:
    """Ids of rows of resources in the order given; equal ones are one row."""
    _require_queues(connection, {item.queue_id for item in resources})
    rows: dict[str, dict[str, Any]] = {}
    hashes = []
    for item in resources:
        text = msgspec.json.encode(item.requested_resources, order="sorted").decode()
        resources_hash = hash_parts([str(item.queue_id), item.type, text])
        hashes.append(resources_hash)
        rows[resources_hash] = {
            "queue_id": item.queue_id,
            "type": item.type,
            "requested_resources": text,
            "resources_hash": resources_hash,
        }
    found = _resources_by_hash(connection, list(rows), lock=False)
    if candidates_take_off(connection, table_of(TaskResources), found.values()):
        found = _resources_by_hash(connection, list(rows), lock=False)
    missing = sorted(rows.keys() - found.keys())
    if missing:
        dialect.insert_ignore(connection, table_of(TaskResources), [rows[each] for each in missing])
        found |= _resources_by_hash(connection, missing, lock=True)
    return [found[each] for each in hashes]


def _resources_by_hash(connection: Connection, hashes: Sequence[str], *, lock: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in chunks(hashes):
        statement: Any = select(TaskResources.resources_hash, TaskResources.id).where(
            TaskResources.resources_hash.in_(part)
        )
        rows = connection.execute(dialect.lock_rows(connection, statement) if lock else statement)
        found.update((row[0], row[1]) for row in rows)
    return found


def _require_queues(connection: Connection, queue_ids: set[int]) -> None:
    known = set(connection.scalars(select(Queue.id).where(Queue.id.in_(sorted(queue_ids)))))
    if queue_ids - known:
        raise UnknownQueueError(f"There is no queue with id {min(queue_ids - known)}.")
