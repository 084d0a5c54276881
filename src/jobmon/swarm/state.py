"""The swarm: which tasks may run now. Pure: events in, decisions out; no clock, no I/O.

The graph is held as compact arrays over task positions (0 … n-1, ascending by task id): a status byte, the number of
upstream tasks that are not done, and the downstream positions as one long array with offsets. Memory and time are linear in
tasks + edges; an edge costs four bytes.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from jobmon.core.states import TASK_ACTIVE, TASK_TERMINAL, TaskStatus
from jobmon.distributor.attempts import Room
from jobmon.serializers.swarm import SerializeSwarmTask, TaskChanges

_DONE, _FATAL = TaskStatus.DONE, TaskStatus.ERROR_FATAL
_QUEUEABLE = frozenset({TaskStatus.REGISTERED, TaskStatus.ADJUSTING_RESOURCES})
_STATUS_OF_BYTE: Mapping[int, TaskStatus] = {ord(status): status for status in TaskStatus}


@dataclass(frozen=True)
class Batch:
    """Tasks of one array that ask for the same resources and are ready.

    ``max_running``: how many of them may run at once; 0: all. ``repeated``: those that were attempted before.
    """

    array_id: int
    task_resources_id: int
    task_ids: list[int]
    max_running: int = 0
    repeated: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Counts:
    """Where the tasks of a run are."""

    total: int
    done: int
    failed: int
    active: int
    running: int

    @property
    def pending(self) -> int:
        """Tasks that wait."""
        return self.total - self.done - self.failed - self.active


class SwarmState:
    """The tasks of one workflow while it runs.

    Args:
        pages: all tasks of the workflow, in pages of ascending ids.
        max_concurrently_running: limit of the workflow.
        array_limits: limit of each array by its id.
    """

    def __init__(
        self,
        pages: Iterable[SerializeSwarmTask],
        max_concurrently_running: int,
        array_limits: Mapping[int, int],
    ) -> None:
        self.task_ids = array("q")
        self.status = bytearray()
        self.array_ids = array("q")
        self.task_resources_ids = array("q")
        self.num_attempts = array("i")
        self._scalings: list[tuple[str, str]] = []  # the few different pairs of scales and fallback queues
        self._scaling_of = array("i")
        self._watched: set[int] = set()
        self.watched_ready: list[int] = []
        self.lacking: set[int] = set()
        self._lacked_at: dict[int, int] = {}  # position: number of attempts when it last lacked resources
        self.max_concurrently_running = max_concurrently_running
        self.array_limits = dict(array_limits)
        self._load(pages)
        self.active_total = 0
        self.active_of_array: dict[int, int] = dict.fromkeys(self.array_limits, 0)
        self.running = 0
        self.num_done = self.num_failed = 0
        self._ready: dict[tuple[int, int], deque[int]] = {}
        self._is_ready = bytearray(len(self.task_ids))
        self.num_previously_done = self.status.count(ord(_DONE))
        self._count_all()

    # -- loading --------------------------------------------------------------------------------------
    def _load(self, pages: Iterable[SerializeSwarmTask]) -> None:
        node_ids, upstream_nodes, upstream_counts = array("q"), array("q"), array("i")
        scalings: dict[tuple[str, str], int] = {}
        for page in pages:
            self.task_ids.extend(page.task_ids)
            self.status.extend(page.statuses.encode("ascii"))
            self.array_ids.extend(page.array_ids)
            self.task_resources_ids.extend(page.task_resources_ids)
            self.num_attempts.extend(page.num_attempts)
            node_ids.extend(page.node_ids)
            for pair in zip(page.resource_scales, page.fallback_queues, strict=True):
                self._scaling_of.append(scalings.setdefault(pair, len(scalings)))
            for upstream in page.upstream_node_ids:
                upstream_counts.append(len(upstream))
                upstream_nodes.extend(upstream)
        self._scalings = list(scalings)
        self._link(node_ids, upstream_nodes, upstream_counts)

    def _link(self, node_ids: array[int], upstream_nodes: array[int], upstream_counts: array[int]) -> None:
        """Turn upstream lists of nodes into downstream lists of positions (counting sort over the edges)."""
        order = sorted(range(len(node_ids)), key=node_ids.__getitem__)
        sorted_nodes = array("q", (node_ids[i] for i in order))
        upstream = array("i", bytes(4 * len(upstream_nodes)))
        for edge, node in enumerate(upstream_nodes):
            upstream[edge] = order[bisect_left(sorted_nodes, node)]
        offsets = array("q", bytes(8 * (len(node_ids) + 1)))
        for position in upstream:
            offsets[position + 1] += 1
        for position in range(len(node_ids)):
            offsets[position + 1] += offsets[position]
        fill = array("q", offsets)
        downstream = array("i", bytes(4 * len(upstream)))
        remaining = array("i", upstream_counts)
        edge = 0
        done = ord(_DONE)
        for position, count in enumerate(upstream_counts):
            for up in upstream[edge : edge + count]:
                downstream[fill[up]] = position
                fill[up] += 1
                if self.status[up] == done:
                    remaining[position] -= 1
            edge += count
        self._offsets, self._downstream, self._remaining = offsets, downstream, remaining

    def _count_all(self) -> None:
        for position, byte in enumerate(self.status):
            status = _STATUS_OF_BYTE[byte]
            self._count(position, status, 1)
            self._offer(position)
            if status is TaskStatus.ADJUSTING_RESOURCES:
                self._note_lack(position, status)

    # -- reading --------------------------------------------------------------------------------------
    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.task_ids)

    def position(self, task_id: int) -> int | None:
        """Position of a task; ``None`` for one that is not of this workflow."""
        position = bisect_left(self.task_ids, task_id)
        if position < len(self.task_ids) and self.task_ids[position] == task_id:
            return position
        return None

    def status_of(self, position: int) -> TaskStatus:
        """Status of the task at a position."""
        return _STATUS_OF_BYTE[self.status[position]]

    def downstream(self, position: int) -> array[int]:
        """Positions of the tasks that wait for the one at ``position``."""
        return self._downstream[self._offsets[position] : self._offsets[position + 1]]

    def tasks_in(self, status: TaskStatus) -> list[int]:
        """Ids of the tasks in a status."""
        byte = ord(status)
        return [task_id for task_id, b in zip(self.task_ids, self.status, strict=True) if b == byte]

    def scaling_of(self, task_id: int) -> tuple[str, list[str]]:
        """Resource scales of a task (JSON text) and the queues to fall back on."""
        position = self.position(task_id)
        assert position is not None
        scales, queues = self._scalings[self._scaling_of[position]]
        return scales, list(json.loads(queues)) if queues else []

    @property
    def counts(self) -> Counts:
        """Where the tasks are."""
        return Counts(len(self), self.num_done, self.num_failed, self.active_total, self.running)

    @property
    def is_complete(self) -> bool:
        """Whether every task is done."""
        return self.num_done == len(self)

    @property
    def has_ready(self) -> bool:
        """Whether any task could be queued if there were room."""
        return bool(self._ready)

    @property
    def is_stuck(self) -> bool:
        """Whether nothing runs and nothing can be queued: the run is over."""
        return self.active_total == 0 and not self._ready

    # -- events in ------------------------------------------------------------------------------------
    def apply(self, changes: TaskChanges) -> None:
        """Take the latest states of tasks; downstream tasks become ready as their last upstream is done.

        Tasks whose attempt lacked resources are in ``lacking`` from then on, whoever told it.
        """
        for task_id, letter, attempts in zip(
            changes.task_ids, changes.statuses, changes.num_attempts, strict=True
        ):
            position = self.position(task_id)
            if position is not None:
                status = TaskStatus(letter)
                self.num_attempts[position] = attempts
                self._change(position, status)
                if status is TaskStatus.ADJUSTING_RESOURCES or not attempts:
                    self._note_lack(position, status)

    def mark(self, task_ids: Iterable[int], status: TaskStatus) -> None:
        """Take one new state of several tasks."""
        for task_id in task_ids:
            position = self.position(task_id)
            if position is not None:
                self._change(position, status)

    def _note_lack(self, position: int, status: TaskStatus) -> None:
        """Count a lack of resources once, however often it is told; none any more where attempts count anew."""
        task_id, attempts = self.task_ids[position], self.num_attempts[position]
        if status is not TaskStatus.ADJUSTING_RESOURCES:
            self._lacked_at.pop(position, None)
            self.lacking.discard(task_id)
        elif self._lacked_at.get(position) != attempts:
            self._lacked_at[position] = attempts
            self.lacking.add(task_id)

    def watch(self, task_ids: Iterable[int]) -> None:
        """Note in ``watched_ready`` whenever one of these tasks becomes ready."""
        for task_id in task_ids:
            position = self.position(task_id)
            if position is not None:
                self._watched.add(position)
                if self._is_ready[position]:
                    self.watched_ready.append(task_id)

    def set_resources(self, task_id: int, task_resources_id: int) -> None:
        """Have the next attempt of a task ask for other resources; its place among the ready tasks moves."""
        position = self.position(task_id)
        if position is None:
            return
        if self._is_ready[position]:
            self._withdraw(position)
        self.task_resources_ids[position] = task_resources_id
        self._offer(position)
        if position in self._watched and self.watched_ready and self.watched_ready[-1] == task_id:
            self.watched_ready.pop()  # it was put back among the ready ones by ourselves

    def _change(self, position: int, after: TaskStatus) -> None:
        before = _STATUS_OF_BYTE[self.status[position]]
        if before is after:
            self._offer(position)
            return
        self.status[position] = ord(after)
        self._count(position, before, -1)
        self._count(position, after, 1)
        if after is _DONE or before is _DONE:
            step = -1 if after is _DONE else 1
            for down in self.downstream(position):
                self._remaining[down] += step
                self._offer(down)
        self._offer(position)

    def _count(self, position: int, status: TaskStatus, step: int) -> None:
        if status in TASK_ACTIVE:
            self.active_total += step
            array_id = self.array_ids[position]
            self.active_of_array[array_id] = self.active_of_array.get(array_id, 0) + step
            if status is TaskStatus.RUNNING:
                self.running += step
        elif status in TASK_TERMINAL:
            if status is _DONE:
                self.num_done += step
            else:
                self.num_failed += step

    def _offer(self, position: int) -> None:
        """Put a task among the ready ones, or take it out, as its state says."""
        may = self._remaining[position] == 0 and _STATUS_OF_BYTE[self.status[position]] in _QUEUEABLE
        if not may:
            if self._is_ready[position]:
                self._withdraw(position)
            return
        if self._is_ready[position]:
            return
        self._is_ready[position] = 1
        if position in self._watched:
            self.watched_ready.append(self.task_ids[position])
        group = self._ready.setdefault((self.array_ids[position], self.task_resources_ids[position]), deque())
        if _STATUS_OF_BYTE[self.status[position]] is TaskStatus.ADJUSTING_RESOURCES:
            group.appendleft(position)
        else:
            group.append(position)

    def _withdraw(self, position: int) -> None:
        key = (self.array_ids[position], self.task_resources_ids[position])
        self._is_ready[position] = 0
        group = self._ready[key]
        group.remove(position)
        if not group:
            del self._ready[key]

    # -- decisions out --------------------------------------------------------------------------------
    def take_batches(
        self,
        rooms: Mapping[str, Room],
        cluster_of: Callable[[int], str],
        held: Mapping[int, int] | None = None,
    ) -> Iterator[Batch]:
        """Batches of ready tasks that fit the limits; taken tasks count as queued from now on.

        A cluster that can hold back a part of a batch is given all that is ready, with the number that may run at once.

        Args:
            rooms: what each cluster takes now.
            cluster_of: name of the cluster that a row of resources is asked of.
            held: attempts that clusters hold back, by array; they use no room of the limits.
        """
        slots = {name: room.slots for name, room in rooms.items()}
        held_of_array = dict(held or {})
        for key in list(self._ready):
            array_id, task_resources_id = key
            name = cluster_of(task_resources_id)
            room = rooms[name]
            while group := self._ready.get(key):
                free = min(
                    self.max_concurrently_running - self.active_total + sum(held_of_array.values()),
                    self.array_limits.get(array_id, len(self))
                    - self.active_of_array.get(array_id, 0)
                    + held_of_array.get(array_id, 0),
                )
                number = min(slots[name], room.max_batch, len(group) if room.throttles else free)
                if min(free, number) <= 0:
                    break
                taken = self._take(key, number)
                slots[name] -= len(taken)
                is_held = len(taken) > free
                if is_held:
                    held_of_array[array_id] = held_of_array.get(array_id, 0) + len(taken) - free
                task_ids = [self.task_ids[position] for position in taken]
                repeated = frozenset(self.task_ids[i] for i in taken if self.num_attempts[i])
                yield Batch(array_id, task_resources_id, task_ids, free if is_held else 0, repeated)

    def _take(self, key: tuple[int, int], number: int) -> list[int]:
        """Queue the first ready tasks of a group."""
        group = self._ready[key]
        taken = [group.popleft() for _ in range(min(number, len(group)))]
        if not group:
            del self._ready[key]
        for position in taken:
            self._is_ready[position] = 0
            self._change(position, TaskStatus.QUEUED)
        return taken

    def put_back(self, task_ids: Iterable[int]) -> None:
        """Undo the taking of tasks the server did not queue, except where the truth about them has arrived meanwhile."""
        for task_id in task_ids:
            position = self.position(task_id)
            if position is not None and self.status_of(position) is TaskStatus.QUEUED:
                self._change(position, TaskStatus.REGISTERED)
