"""What attempts used: of a task template version, and of a workflow or task by template and cluster. Reads only."""

from __future__ import annotations

from array import array as numbers
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, case, func, select

from jobmon.core.constants import ArgType
from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.core.states import TaskInstanceStatus
from jobmon.serializers.usage import ClusterUsageRow, TemplateUsageResponse
from jobmon.server.web.analysis.usage_statistics import Gathering, spread_of
from jobmon.server.web.models import (
    Arg,
    Array,
    Cluster,
    Node,
    NodeArg,
    Queue,
    Task,
    TaskInstance,
    TaskResources,
    TaskTemplate,
    TaskTemplateVersion,
    TemplateArgMap,
)
from jobmon.server.web.store.define import chunks
from jobmon.server.web.store.monitor import require_tasks, require_workflow

COUNTED = (
    TaskInstanceStatus.DONE,
    TaskInstanceStatus.RESOURCE_ERROR,
    TaskInstanceStatus.NO_HEARTBEAT,
    TaskInstanceStatus.UNKNOWN_ERROR,
    TaskInstanceStatus.ERROR_FATAL,
    TaskInstanceStatus.ERROR,
)
"""States of attempts that count in statistics: those that ended after they were started."""


def template_version_read_usage(
    connection: Connection,
    task_template_version_id: int,
    workflow_ids: Sequence[int],
    node_args: Mapping[str, Sequence[str]],
    confidence: float | None,
) -> TemplateUsageResponse:
    """What attempts of a template version used.

    Args:
        connection: a transaction.
        task_template_version_id: the template version.
        workflow_ids: only in these workflows; empty: in all.
        node_args: only tasks whose node args have one of these values.
        confidence: level of the confidence intervals, as a fraction; ``None``: no intervals.

    Raises:
        NotFoundError: there is no such template version or workflow.
        UsageError: the template has no such node arg; the message names those it has.
    """
    known = select(TaskTemplateVersion.id).where(TaskTemplateVersion.id == task_template_version_id)
    if connection.scalar(known) is None:
        raise NotFoundError(f"There is no task template version {task_template_version_id}.")
    for workflow_id in workflow_ids:
        require_workflow(connection, workflow_id)
    arg_ids = _node_arg_ids(connection, task_template_version_id, node_args)
    arrays = select(Array.id).where(Array.task_template_version_id == task_template_version_id)
    if workflow_ids:
        arrays = arrays.where(Array.workflow_id.in_(sorted(set(workflow_ids))))
    array_ids = connection.scalars(arrays).all()
    tasks: set[int] = set()
    memory, runtime = numbers("d"), numbers("d")
    for part in chunks(array_ids):
        statement = select(TaskInstance.task_id, TaskInstance.maxrss, TaskInstance.wallclock).where(
            TaskInstance.array_id.in_(part), TaskInstance.status.in_(COUNTED)
        )
        if node_args:
            statement = statement.join(Task, Task.id == TaskInstance.task_id)
            statement = statement.join(Node, Node.id == Task.node_id)
            statement = statement.where(*(_has_value(arg_ids[name], node_args[name]) for name in node_args))
        for task_id, maxrss, wallclock in connection.execute(statement):
            tasks.add(task_id)
            memory.append(maxrss or 0)
            runtime.append(wallclock or 0.0)
    return TemplateUsageResponse(
        len(tasks), len(memory), spread_of(memory, confidence), spread_of(runtime, confidence)
    )


def _node_arg_ids(
    connection: Connection, task_template_version_id: int, node_args: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    if not node_args:
        return {}
    rows = connection.execute(
        select(Arg.name, Arg.id)
        .join(TemplateArgMap, TemplateArgMap.arg_id == Arg.id)
        .where(
            TemplateArgMap.task_template_version_id == task_template_version_id,
            TemplateArgMap.arg_type_id == ArgType.NODE_ARG.value,
        )
    )
    known = {row[0]: row[1] for row in rows}
    unknown = [name for name in node_args if name not in known]
    if unknown:
        raise UsageError(
            f"Task template version {task_template_version_id} has no node arg {', '.join(sorted(unknown))}; "
            f"it has {', '.join(sorted(known)) or 'none'}."
        )
    return known


def _has_value(arg_id: int, values: Sequence[str]) -> ColumnElement[bool]:
    return (
        select(NodeArg.node_id)
        .where(NodeArg.node_id == Node.id, NodeArg.arg_id == arg_id, NodeArg.val.in_(list(values)))
        .exists()
    )


@dataclass
class _Group:
    """What is gathered of one template on one cluster."""

    num_attempts: int = 0
    cores: Gathering = field(default_factory=Gathering)
    memory: Gathering = field(default_factory=Gathering)
    runtime: Gathering = field(default_factory=Gathering)
    queues: Counter[str] = field(default_factory=Counter)


def workflow_read_usage(connection: Connection, workflow_id: int) -> list[ClusterUsageRow]:
    """What the tasks of a workflow used, by template and cluster, in the order of names.

    Raises:
        NotFoundError: there is no such workflow.
    """
    require_workflow(connection, workflow_id)
    return _usage_of(connection, Array.workflow_id == workflow_id)


def task_read_usage(connection: Connection, task_id: int) -> list[ClusterUsageRow]:
    """What one task used, by cluster.

    Raises:
        NotFoundError: there is no such task.
    """
    require_tasks(connection, [task_id])
    return _usage_of(connection, TaskInstance.task_id == task_id)


def _usage_of(connection: Connection, condition: ColumnElement[bool]) -> list[ClusterUsageRow]:
    """Sums by template and request are made in the database; there are few of those, however many the attempts."""
    memory = case((TaskInstance.maxrss > 0, TaskInstance.maxrss))
    runtime = case((TaskInstance.wallclock > 0, TaskInstance.wallclock))
    rows = connection.execute(
        select(
            TaskTemplate.name,
            TaskInstance.task_resources_id,
            TaskInstance.status,
            func.count(),
            *(
                function(value)
                for value in (memory, runtime)
                for function in (func.count, func.sum, func.min, func.max)
            ),
        )
        .select_from(TaskInstance)
        .join(Array, Array.id == TaskInstance.array_id)
        .join(TaskTemplateVersion, TaskTemplateVersion.id == Array.task_template_version_id)
        .join(TaskTemplate, TaskTemplate.id == TaskTemplateVersion.task_template_id)
        .where(condition, TaskInstance.status.in_(COUNTED))
        .group_by(TaskTemplate.name, TaskInstance.task_resources_id, TaskInstance.status)
    ).all()
    requests = requests_read(connection, {row[1] for row in rows})
    successful = {row[0] for row in rows if row[2] == TaskInstanceStatus.DONE}
    groups: dict[tuple[str, str], _Group] = defaultdict(_Group)
    for name, resources_id, status, count, *sums in rows:
        if name in successful and status != TaskInstanceStatus.DONE:
            continue
        request = requests[resources_id]
        group = groups[name, request.cluster]
        group.num_attempts += count
        group.queues[request.queue] += count
        group.memory.add(sums[0], *(float(value or 0) for value in sums[1:4]))
        group.runtime.add(sums[4], *(float(value or 0) for value in sums[5:8]))
        cores = request.number("cores")
        if cores is not None:
            group.cores.add(count, count * cores, cores, cores)
    return [_row(*key, groups[key]) for key in sorted(groups)]


def _row(template: str, cluster: str, group: _Group) -> ClusterUsageRow:
    queue = min(group.queues, key=lambda name: (-group.queues[name], name))
    extents = (group.cores.extent(), group.memory.extent(), group.runtime.extent())
    return ClusterUsageRow(template, cluster, queue, group.num_attempts, *extents)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, and of whom.

    Attributes:
        cluster, queue: names.
        type: letter of :class:`~jobmon.core.constants.TaskResourcesType`.
        text: JSON object of the resources.
        resources: the same, decoded.
    """

    cluster: str
    queue: str
    type: str
    text: str
    resources: Mapping[str, Any]

    def number(self, name: str) -> float | None:
        """A resource that is a number; ``None`` when it is not there, or something else."""
        value = self.resources.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def requests_read(connection: Connection, task_resources_ids: set[int]) -> dict[int, Request]:
    """Requests by their ids."""
    found: dict[int, Request] = {}
    for part in chunks(sorted(task_resources_ids)):
        rows = connection.execute(
            select(
                TaskResources.id,
                Cluster.name,
                Queue.name,
                TaskResources.type,
                TaskResources.requested_resources,
            )
            .join(Queue, Queue.id == TaskResources.queue_id)
            .join(Cluster, Cluster.id == Queue.cluster_id)
            .where(TaskResources.id.in_(part))
        )
        for resources_id, cluster, queue, kind, text in rows:
            resources = msgspec.json.decode(text, type=dict[str, Any])
            found[resources_id] = Request(cluster, queue, kind, text, resources)
    return found
