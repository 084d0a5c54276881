"""The tasks a run would run as a graph: longest chains, levels, and how long it takes under limits. Pure.

Tasks are positions (0 … n-1) in flat arrays, as in :mod:`jobmon.swarm.state`; time and memory are linear in tasks and
edges, but for a heap of what runs at once.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush


class PlanGraph:
    """Tasks that are not done, and which of them wait for which.

    Args:
        upstreams: for every task the positions of the tasks it waits for; read once.
        is_open: for every task whether a run would run it; the others are left out, with their edges.
    """

    def __init__(self, upstreams: Iterable[Iterable[int]], is_open: Sequence[int]) -> None:
        self.is_open = is_open
        self._upstream_offsets = array("q", [0])
        self._upstream = array("i")
        for position, above in enumerate(upstreams):
            if is_open[position]:
                self._upstream.extend([up for up in above if is_open[up]])
            self._upstream_offsets.append(len(self._upstream))
        self._link()

    def _link(self) -> None:
        size = len(self.is_open)
        offsets = array("q", bytes(8 * (size + 1)))
        for up in self._upstream:
            offsets[up + 1] += 1
        for position in range(size):
            offsets[position + 1] += offsets[position]
        fill = array("q", offsets)
        downstream = array("i", bytes(4 * len(self._upstream)))
        for position in range(size):
            for up in self.upstream(position):
                downstream[fill[up]] = position
                fill[up] += 1
        self._downstream_offsets, self._downstream = offsets, downstream

    def __len__(self) -> int:
        """Number of tasks, those that are left out included."""
        return len(self.is_open)

    def upstream(self, position: int) -> array[int]:
        """Open tasks a task waits for."""
        return self._upstream[self._upstream_offsets[position] : self._upstream_offsets[position + 1]]

    def downstream(self, position: int) -> array[int]:
        """Open tasks that wait for a task."""
        return self._downstream[self._downstream_offsets[position] : self._downstream_offsets[position + 1]]

    def waiting(self) -> array[int]:
        """For every task the number of open tasks it waits for."""
        offsets = self._upstream_offsets
        return array("i", [offsets[p + 1] - offsets[p] for p in range(len(self))])

    def in_order(self) -> list[int]:
        """Open tasks, each after those it waits for; tasks on a circle are absent."""
        waiting = self.waiting()
        ready = [position for position, count in enumerate(waiting) if count == 0 and self.is_open[position]]
        for position in ready:  # grows while it is gone through
            for down in self.downstream(position):
                waiting[down] -= 1
                if waiting[down] == 0:
                    ready.append(down)
        return ready

    def spread(self, marked: Iterable[int]) -> bytearray:
        """For every task whether it is marked or waits, directly or not, for one that is."""
        reached = bytearray(len(self))
        todo = list(marked)
        for position in todo:
            reached[position] = 1
        for position in todo:  # grows while it is gone through
            for down in self.downstream(position):
                if not reached[down]:
                    reached[down] = 1
                    todo.append(down)
        return reached


@dataclass(frozen=True)
class Chains:
    """The longest chains of a graph.

    Attributes:
        longest: positions of the chain with the most tasks.
        slowest: positions of the chain that takes the most time.
        slowest_seconds: its time.
        width: most tasks of one level (number of tasks before them): what could run at once if all took equally long.
    """

    longest: list[int]
    slowest: list[int]
    slowest_seconds: float
    width: int


def find_chains(graph: PlanGraph, seconds: Sequence[float]) -> Chains:
    """The longest chains, by number of tasks and by time.

    Args:
        graph: the tasks.
        seconds: run time of every task.
    """
    size = len(graph)
    depth, by_depth = array("i", bytes(4 * size)), array("i", [-1]) * size
    end, by_time = array("d", bytes(8 * size)), array("i", [-1]) * size
    order = graph.in_order()
    levels: dict[int, int] = {}
    for position in order:
        for up in graph.upstream(position):
            if depth[up] > depth[position]:
                depth[position], by_depth[position] = depth[up], up
            if by_time[position] < 0 or end[up] > end[position]:
                end[position], by_time[position] = end[up], up
        depth[position] += 1
        end[position] += seconds[position]
        levels[depth[position]] = levels.get(depth[position], 0) + 1
    if not order:
        return Chains([], [], 0.0, 0)
    last_by_time = max(order, key=lambda position: (end[position], depth[position]))
    return Chains(
        _walk(max(order, key=depth.__getitem__), by_depth),
        _walk(last_by_time, by_time),
        end[last_by_time],
        max(levels.values()),
    )


def _walk(last: int, before: Sequence[int]) -> list[int]:
    chain = [last]
    while before[chain[-1]] >= 0:
        chain.append(before[chain[-1]])
    chain.reverse()
    return chain


@dataclass(frozen=True)
class Schedule:
    """What a run under limits would be like, if every task took the time that is thought.

    Attributes:
        seconds: until the last task has ended.
        at_once: most tasks that ran at once.
        memory_at_once: most memory asked for at once, GiB.
        num_never: tasks that never start, for a limit is 0.
    """

    seconds: float
    at_once: int
    memory_at_once: float
    num_never: int


def simulate(
    graph: PlanGraph,
    seconds: Sequence[float],
    memory: Sequence[float],
    groups: Sequence[int],
    limit: int,
    group_limits: Sequence[int],
) -> Schedule:
    """Run the tasks in thought: whatever is ready starts as soon as the limits allow.

    Args:
        graph: the tasks.
        seconds: run time of every task.
        memory: what every task asks for, GiB.
        groups: group (template) of every task.
        limit: most tasks at once.
        group_limits: most tasks at once of each group.
    """
    waiting = graph.waiting()
    ready: dict[int, deque[int]] = {}
    for position, count in enumerate(waiting):
        if count == 0 and graph.is_open[position]:
            ready.setdefault(groups[position], deque()).append(position)
    active = [0] * len(group_limits)
    running: list[tuple[float, int]] = []
    now = used = most_used = 0.0
    most = num_started = 0
    while True:
        for group in list(ready):
            queue = ready[group]
            while queue and len(running) < limit and active[group] < group_limits[group]:
                position = queue.popleft()
                active[group] += 1
                used += memory[position]
                heappush(running, (now + seconds[position], position))
                num_started += 1
            if not queue:
                del ready[group]
        most, most_used = max(most, len(running)), max(most_used, used)
        if not running:
            return Schedule(
                now, most, most_used, sum(1 for is_open in graph.is_open if is_open) - num_started
            )
        now = running[0][0]
        while running and running[0][0] == now:
            _, position = heappop(running)
            active[groups[position]] -= 1
            used -= memory[position]
            for down in graph.downstream(position):
                waiting[down] -= 1
                if waiting[down] == 0:
                    ready.setdefault(groups[down], deque()).append(down)
