"""What became of attempts: which one of its task each was, what it asked for, and what followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, bindparam, select

from jobmon.core.states import Cause, Charge, RetryPolicies, TaskInstanceStatus, policy_after
from jobmon.server.web.models import Array, Cluster, Queue, Task, TaskInstance, TaskResources, Workflow
from jobmon.server.web.store.attempts import policies_decode
from jobmon.server.web.store.define import chunks

_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_TASKS = (
    select(
        Task.id,
        Task.status,
        Task.num_attempts,
        Task.max_attempts,
        Task.num_infrastructure_losses,
        Task.task_resources_id,
        Workflow.id,
        Workflow.status,
        Array.retry_policy,
    )
    .join(Workflow, Workflow.id == Task.workflow_id)
    .join(Array, Array.id == Task.array_id)
    .where(Task.id.in_(_IDS))
)
_ATTEMPTS = (
    select(
        TaskInstance.id,
        TaskInstance.task_id,
        TaskInstance.status,
        TaskInstance.cause,
        TaskInstance.distributor_id,
        TaskInstance.nodename,
        TaskInstance.task_resources_id,
    )
    .where(TaskInstance.task_id.in_(_IDS))
    .order_by(TaskInstance.task_id, TaskInstance.id)
)
_RESOURCES = (
    select(TaskResources.id, Cluster.name, Queue.name, TaskResources.requested_resources)
    .join(Queue, Queue.id == TaskResources.queue_id)
    .join(Cluster, Cluster.id == Queue.cluster_id)
    .where(TaskResources.id.in_(_IDS))
)


@dataclass(frozen=True, slots=True)
class Story:
    """An attempt among the others of its task; the fields are those of ``TaskErrorRow``."""

    workflow_id: int
    workflow_status: str
    task_status: str
    instance_status: str
    cause: str
    attempt_number: int
    max_attempts: int
    num_infrastructure_losses: int
    cluster_name: str
    distributor_id: str
    nodename: str
    requested_resources: dict[str, Any]
    next_task_instance_id: int | None
    next_resources: dict[str, Any]
    is_blameless: bool

    def as_fields(self) -> dict[str, Any]:
        """All of it, by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def tasks_read_stories(connection: Connection, task_ids: Sequence[int]) -> dict[int, Story]:
    """Stories of all attempts of tasks, by the id of the attempt."""
    stories: dict[int, Story] = {}
    for part in chunks(sorted(set(task_ids))):
        tasks = {row[0]: row for row in connection.execute(_TASKS, {"ids": part})}
        attempts: dict[int, list[Any]] = {task_id: [] for task_id in tasks}
        for row in connection.execute(_ATTEMPTS, {"ids": part}):
            attempts[row.task_id].append(row)
        ids = {row.task_resources_id for rows in attempts.values() for row in rows}
        resources = _resources(connection, ids | {row.task_resources_id for row in tasks.values()})
        for task_id, rows in attempts.items():
            stories.update(_stories_of_task(tasks[task_id], rows, resources))
    return stories


def _is_blameless(letter: str, cause: str | None, policies: RetryPolicies) -> bool:
    known = {each.value: each for each in Cause}
    policy = policy_after(TaskInstanceStatus(letter), known.get(cause or ""), policies)
    return bool(cause) and policy.charge is Charge.INFRASTRUCTURE


def _resources(connection: Connection, ids: set[int]) -> dict[int, tuple[str, dict[str, Any]]]:
    """Cluster and request, with the queue in it, by id."""
    found: dict[int, tuple[str, dict[str, Any]]] = {}
    for part in chunks(sorted(ids)):
        for row_id, cluster, queue, requested in connection.execute(_RESOURCES, {"ids": part}):
            found[row_id] = (
                cluster,
                {**msgspec.json.decode(requested or "{}", type=dict[str, Any]), "queue": queue},
            )
    return found


def _stories_of_task(
    task: Any, attempts: Sequence[Any], resources: dict[int, tuple[str, dict[str, Any]]]
) -> dict[int, Story]:
    """The number of an attempt is counted back from the latest: resets begin anew."""
    _, status, num_attempts, max_attempts, num_losses, resources_id, workflow_id, workflow_status, policy = (
        task
    )
    policies = policies_decode(policy)
    stories = {}
    following: Any = None
    number = num_attempts
    for row in reversed(attempts):
        if row.status == TaskInstanceStatus.QUEUED.value:
            number = num_attempts + 1  # it is counted when it is handed to the cluster
        cluster, requested = resources[row.task_resources_id]
        next_id = resources_id if following is None else following.task_resources_id
        stories[row.id] = Story(
            workflow_id=workflow_id,
            workflow_status=workflow_status,
            task_status=status,
            instance_status=row.status,
            cause=row.cause or "",
            attempt_number=max(0, number),
            max_attempts=max_attempts,
            num_infrastructure_losses=num_losses,
            cluster_name=cluster,
            distributor_id=row.distributor_id or "",
            nodename=row.nodename or "",
            requested_resources=requested,
            next_task_instance_id=None if following is None else following.id,
            next_resources=resources[next_id][1],
            is_blameless=_is_blameless(row.status, row.cause, policies),
        )
        following = row
        number -= 1
    return stories
