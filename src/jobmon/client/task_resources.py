"""What is asked of a queue: put together for a task, brought into the queue's limits, registered."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from jobmon.core.cluster import Cluster
from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.constants import TaskResourcesType
from jobmon.core.exceptions import InvalidMemoryFormat, InvalidMemoryUnit
from jobmon.core.requester import Requester
from jobmon.core.resources import (
    adjust_resources,
    canonical_resources,
    memory_to_whole_gib,
    runtime_to_seconds,
    scale_value,
)
from jobmon.serializers.define import TaskResourcesItem, TaskResourcesRequest, TaskResourcesResponse

if TYPE_CHECKING:
    from jobmon.client.defaults import Cascade
    from jobmon.client.task import Task

logger = logging.getLogger(__name__)


class TaskResources:
    """What is asked of a queue.

    Args:
        requested_resources: resources by name, without the queue.
        queue: the queue.
        requester: how to reach the server.
    """

    def __init__(
        self,
        requested_resources: Mapping[str, Any],
        queue: ClusterQueue,
        requester: Requester | None = None,
    ) -> None:
        self.requested_resources = dict(requested_resources)
        self.queue = queue
        self.requester = requester
        self.task_resources_type = TaskResourcesType.ORIGINAL
        self._id: int | None = None

    # -- the database -------------------------------------------------------------------------------
    @property
    def is_bound(self) -> bool:
        """Whether it was registered."""
        return self._id is not None

    @property
    def id(self) -> int:
        """Id in the database.

        Raises:
            AttributeError: it is not bound.
        """
        if self._id is None:
            raise AttributeError("These task resources are not bound; call bind() first.")
        return self._id

    def bind(self) -> None:
        """Register it; equal ones are stored once."""
        if self._id is None:
            requester = self.requester or Requester.from_defaults()
            message = TaskResourcesRequest([self.to_wire()])
            response = requester.send("POST", "/define/task_resources", message, TaskResourcesResponse)
            self._id = response.task_resources_ids[0]

    async def bind_async(self, session: Any = None) -> None:
        """Register it without blocking the event loop.

        Args:
            session: accepted for scripts; the connections of the requester are used.
        """
        import asyncio

        await asyncio.to_thread(self.bind)

    def to_wire(self) -> TaskResourcesItem:
        """The resources as they are sent to the server."""
        return TaskResourcesItem(self.queue.queue_id, self.task_resources_type, self.requested_resources)

    # -- the queue ----------------------------------------------------------------------------------
    def validate_resources(self, strict: bool = False) -> tuple[bool, str]:
        """Whether the queue takes them, and if not, why; ``strict`` makes any excess invalid."""
        return self.queue.validate_resources(strict=strict, **canonical_resources(self.requested_resources))

    def coerce_resources(self) -> TaskResources:
        """The resources in canonical units, within the queue's limits."""
        within = self.queue.coerce_resources(**canonical_resources(self.requested_resources))
        return self._like(within, self.queue, TaskResourcesType.VALIDATED)

    def adjust_resources(
        self, resource_scales: Mapping[str, Any], fallback_queues: Sequence[ClusterQueue] | None = None
    ) -> TaskResources:
        """The resources after a resource error, in the first queue that takes them.

        Args:
            resource_scales: how they grow.
            fallback_queues: queues to try after the present one.

        Raises:
            ValueError: a scale gave something that is not a number.
        """
        queues = [self.queue, *(fallback_queues or ())]
        adjusted, queue = adjust_resources(self.requested_resources, resource_scales, queues)
        return self._like(adjusted, queue, TaskResourcesType.ADJUSTED)

    def _like(
        self, resources: Mapping[str, Any], queue: ClusterQueue, kind: TaskResourcesType
    ) -> TaskResources:
        new = TaskResources(resources, queue, self.requester)
        new.task_resources_type = kind
        return new

    convert_memory_to_gib = staticmethod(memory_to_whole_gib)
    convert_runtime_to_s = staticmethod(runtime_to_seconds)
    scale_val = staticmethod(scale_value)

    # -- identity -----------------------------------------------------------------------------------
    def _identity(self) -> str:
        resources = json.dumps(self.requested_resources, sort_keys=True, default=str)
        return sha256(f"{self.queue.queue_id}:{resources}".encode()).hexdigest()

    def __hash__(self) -> int:
        return int(self._identity(), 16)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskResources) and self._identity() == other._identity()

    def __repr__(self) -> str:
        return f"TaskResources({self.requested_resources}, queue='{self.queue.queue_name}')"


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """Everything a group of tasks asks for, put together from all levels and checked.

    Attributes:
        cluster_name: where they run.
        resources: what they ask of which queue.
        max_attempts: their limit of attempts.
        resource_scales: how their resources grow.
        fallback_queues: names of queues for resources that outgrew the first one.
        compute_resources_callable: gives more resources when a task is about to be queued.
    """

    cluster_name: str
    resources: TaskResources
    max_attempts: int
    resource_scales: dict[str, Any]
    fallback_queues: tuple[str, ...]
    compute_resources_callable: Callable[[], dict[str, Any]] | None


def queue_of(task: Task) -> ClusterQueue:
    """The queue a task goes to.

    Raises:
        UnknownClusterError, UnknownQueueError: there is no such cluster or queue.
    """
    array = task._array
    if array is not None and array._workflow is not None:
        cluster = array._workflow.get_cluster_by_name(task.cluster_name)
    else:
        cluster = Cluster.get_cluster(task.cluster_name, task._requester)
    return cluster.get_queue(str(task.compute_resources.get("queue") or ""))


def check_request(
    task: Task,
    get_cluster: Callable[[str], Cluster],
    requester: Requester,
    strict: bool = False,
    raise_on_error: bool = False,
) -> TaskRequest:
    """What a task asks for, brought into the limits of its queue (with a warning where they are exceeded).

    Args:
        task: stands for all tasks of its array with its settings.
        get_cluster: finds a cluster by name.
        requester: how to reach the server.
        strict: any excess over the limits is invalid.
        raise_on_error: raise for what is invalid instead of changing it.

    Raises:
        UnknownClusterError, UnknownQueueError: there is no such cluster or queue.
        ValueError: the resources cannot be understood, are invalid, or one that is needed is missing.
    """
    cascade = task.cascade
    cluster_name = cascade.cluster_name
    cluster = get_cluster(cluster_name)
    asked = {name: _plain(value) for name, value in cascade.compute_resources.items()}
    queue = cluster.get_queue(str(asked.pop("queue", None) or ""))
    for name in cascade.fallback_queues:
        cluster.get_queue(name)
    try:
        wanted = TaskResources(canonical_resources(asked), queue, requester)
        msgspec.json.encode(wanted.requested_resources)
    except (ValueError, TypeError, InvalidMemoryFormat, InvalidMemoryUnit) as error:
        raise ValueError(f"The resources of {task}: {error}") from error
    fits, why = wanted.validate_resources(strict=strict or not raise_on_error)
    if not fits:
        if raise_on_error:
            raise ValueError(
                f"The resources of {task} do not fit queue '{queue.queue_name}' of {cluster_name}: {why}"
            )
        logger.warning(
            "Resources of %s are brought into the limits of queue '%s': %s", task, queue.queue_name, why
        )
    coerced = wanted.coerce_resources()
    resources = wanted if coerced.requested_resources == wanted.requested_resources else coerced
    _check_required(task, cascade, resources)
    return TaskRequest(
        cluster_name,
        resources,
        cascade.max_attempts,
        cascade.resource_scales,
        cascade.fallback_queues,
        cascade.compute_resources_callable,
    )


def _check_required(task: Task, cascade: Cascade, resources: TaskResources) -> None:
    if cascade.compute_resources_callable is not None:
        return  # it may give them yet
    queue = resources.queue
    missing = [name for name in queue.required_resources if resources.requested_resources.get(name) is None]
    if missing:
        raise ValueError(
            f"{task} must say in compute_resources how much of this it needs: {', '.join(missing)} "
            f"(queue '{queue.queue_name}' of {cascade.cluster_name})."
        )


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value
