"""What attempts ask for: callables evaluated when a task becomes ready, more after a resource error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from jobmon.core.cluster import Cluster
from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.constants import TaskResourcesType
from jobmon.core.exceptions import CallableReturnedInvalidObject
from jobmon.core.resources import (
    adjust_resources,
    canonical_resources,
    describe_adjustment,
    memory_for_peak,
    scales_from_json,
)
from jobmon.core.states import TaskStatus
from jobmon.serializers.define import TaskResourcesItem
from jobmon.serializers.swarm import TaskResourcesRow
from jobmon.swarm.state import SwarmState


@dataclass(frozen=True)
class TaskHooks:
    """Callables of the script, by task id; the server cannot know them.

    Attributes:
        compute_resources_callables: called without arguments when the task becomes ready; the dictionary they return is
            merged over the static resources.
        resource_scales: the scales of tasks as the script gave them, where the server has only their names.
    """

    compute_resources_callables: Mapping[int, Callable[[], dict[str, Any]]] = field(default_factory=dict)
    resource_scales: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


class ResourceStore(Protocol):
    """The part of the gateway that is used here."""

    def task_resources(self, items: list[TaskResourcesItem]) -> list[int]:
        """Ids of resources, stored if they are new."""
        ...


class Due(NamedTuple):
    """Tasks whose next attempts have to be decided about.

    Attributes:
        larger: those that are to ask for more than last time.
        ready: those with a callable that became ready.
    """

    larger: list[int]
    ready: list[int]


class ResourceRequests:
    """Knows what each row of resources asks for, and makes new rows.

    Args:
        store: registers rows.
        hooks: callables of the script.
        cluster: gives the cluster of a name.
    """

    def __init__(self, store: ResourceStore, hooks: TaskHooks, cluster: Callable[[str], Cluster]) -> None:
        self._store, self._hooks, self._cluster = store, hooks, cluster
        self.rows: dict[int, TaskResourcesRow] = {}
        self._notes: dict[int, str] = {}
        self._to_increase: set[int] = set()
        self._scales: dict[int, Mapping[str, Any]] = {}

    def load(self, rows: Mapping[int, TaskResourcesRow], state: SwarmState) -> None:
        """Take the rows the workflow has, and have the state tell when tasks with callables become ready."""
        self.rows = dict(rows)
        state.watch(self._hooks.compute_resources_callables)

    def increase(self, task_ids: Iterable[int]) -> None:
        """Have the next attempts of tasks ask for more than the last ones did."""
        self._to_increase.update(task_ids)

    def has_work(self, state: SwarmState) -> bool:
        """Whether tasks are due to be decided about before the next batch."""
        return bool(self._to_increase or state.lacking or state.watched_ready)

    def take_due(self, state: SwarmState) -> Due:
        """The tasks to decide about now; they are not due any more."""
        adjusting = set(state.lacking)
        for task_id in state.lacking:
            position = state.position(task_id)
            if position is None or state.status_of(position) is not TaskStatus.ADJUSTING_RESOURCES:
                adjusting.discard(task_id)  # somebody has set it by hand since
        larger = adjusting | self._to_increase
        ready = set(state.watched_ready) - larger
        state.lacking.clear()
        state.watched_ready.clear()
        self._to_increase.clear()
        return Due(sorted(larger), sorted(ready))

    def take_notes(self, task_ids: Iterable[int]) -> dict[int, str]:
        """Why these tasks ask for something else than last time, in words, once."""
        return {task_id: self._notes.pop(task_id) for task_id in task_ids if task_id in self._notes}

    def decide(self, state: SwarmState, due: Due, peaks: Mapping[int, int] | None = None) -> dict[int, int]:
        """The row of resources that the next attempt of each task asks for. Blocking: runs code of the script.

        A callable is not asked again after a resource error: what it gave is what was not enough. The state is only
        read: what was decided is set by its owner.

        Args:
            state: the tasks.
            due: those to decide about.
            peaks: most memory (bytes) that attempts of a task used which lacked resources, where it was measured.

        Raises:
            CallableReturnedInvalidObject: a callable returned something else than a dictionary.
            ValueError: a scale gave no number.
        """
        asking = [i for i in due.ready if self._row_of(state, i).type != TaskResourcesType.ADJUSTED]
        wanted = {task_id: self._from_callable(state, task_id) for task_id in asking}
        wanted |= {
            task_id: self._adjusted(state, task_id, (peaks or {}).get(task_id, 0)) for task_id in due.larger
        }
        return self._register(wanted)

    def _row_of(self, state: SwarmState, task_id: int) -> TaskResourcesRow:
        position = state.position(task_id)
        assert position is not None
        return self.rows[state.task_resources_ids[position]]

    def _from_callable(self, state: SwarmState, task_id: int) -> _Wanted:
        row = self._row_of(state, task_id)
        with _noting(f"It came of the compute_resources_callable of task {task_id}."):
            given = self._hooks.compute_resources_callables[task_id]()
            if not isinstance(given, dict):
                raise CallableReturnedInvalidObject(
                    f"The compute_resources_callable of task {task_id} returned {given!r}; it must return a dictionary."
                )
            merged = {**row.requested_resources, **given}
            queue = self._cluster(row.cluster_name).get_queue(str(merged.pop("queue", row.queue_name)))
            coerced = queue.coerce_resources(**canonical_resources(merged))
        return _Wanted(row.cluster_name, queue, coerced, TaskResourcesType.VALIDATED)

    def _adjusted(self, state: SwarmState, task_id: int, peak: int) -> _Wanted:
        row = self._row_of(state, task_id)
        scales_text, fallback_queues = state.scaling_of(task_id)
        if task_id not in self._scales:  # iterators go on from attempt to attempt: each task has its own
            given = self._hooks.resource_scales.get(task_id)
            scales = scales_from_json(scales_text, row.requested_resources) if given is None else given
            self._scales[task_id] = {
                name: iter(scale) if hasattr(scale, "__iter__") else scale for name, scale in scales.items()
            }
        cluster = self._cluster(row.cluster_name)
        queues = [cluster.get_queue(name) for name in (row.queue_name, *fallback_queues)]
        with _noting(f"It came of the resource_scales of task {task_id}."):
            resources, queue = adjust_resources(
                row.requested_resources, self._scales[task_id], queues, at_least=memory_for_peak(peak)
            )
        self._notes[task_id] = describe_adjustment(
            row.requested_resources, row.queue_name, resources, queue.queue_name, peak
        )
        return _Wanted(row.cluster_name, queue, resources, TaskResourcesType.ADJUSTED)

    def _register(self, wanted: Mapping[int, _Wanted]) -> dict[int, int]:
        """Register what tasks ask for, all in one request, each different row once; never change a row that is there."""
        places: dict[str, int] = {}
        distinct: list[_Wanted] = []
        place_of: dict[int, int] = {}
        for task_id, each in wanted.items():
            place_of[task_id] = places.setdefault(each.identity, len(distinct))
            if place_of[task_id] == len(distinct):
                distinct.append(each)
        if not distinct:
            return {}
        items = [TaskResourcesItem(each.queue.queue_id, each.kind, each.resources) for each in distinct]
        row_ids = self._store.task_resources(items)
        for row_id, each in zip(row_ids, distinct, strict=True):
            self.rows[row_id] = each.row(row_id)
        return {task_id: row_ids[place] for task_id, place in place_of.items()}


@contextmanager
def _noting(text: str) -> Iterator[None]:
    """Add to the traceback of an error what it came of."""
    try:
        yield
    except BaseException as error:
        error.add_note(text)
        raise


class _Wanted(NamedTuple):
    """What the next attempt of a task is to ask for."""

    cluster_name: str
    queue: ClusterQueue
    resources: dict[str, Any]
    kind: TaskResourcesType

    @property
    def identity(self) -> str:
        """Equal for equal rows."""
        resources = json.dumps(self.resources, sort_keys=True, default=str)
        return f"{self.queue.queue_id} {self.kind} {resources}"

    def row(self, row_id: int) -> TaskResourcesRow:
        """The row it was registered as."""
        return TaskResourcesRow(
            row_id,
            self.kind,
            self.queue.queue_id,
            self.queue.queue_name,
            self.cluster_name,
            dict(self.resources),
        )
