"""How the attempts that may run at once are shared among the batches a cluster has. Pure.

Each job runs one of its attempts at a time: so many jobs as may run, so many attempts do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

UNLIMITED = -1
UNKNOWN = -2


@dataclass(slots=True)
class SubmittedBatch:
    """A batch on the cluster.

    Attributes:
        name: name of its job.
        array_id: the array its tasks are of.
        live: attempts that live, by the step that runs them.
        max_running: how many of them may run at once; :data:`UNLIMITED`: all; :data:`UNKNOWN`: what an earlier controller
            told the cluster.
        distributor_id: id of one of its steps; empty until it is submitted.
    """

    name: str
    array_id: int
    live: Counter[int]
    max_running: int = UNLIMITED
    distributor_id: str = ""

    @property
    def num_jobs(self) -> int:
        """Jobs of it that have attempts to run."""
        return len(self.live)

    @property
    def is_throttled(self) -> bool:
        """Whether fewer of its jobs may run than there are."""
        return 0 <= self.max_running < self.num_jobs

    @property
    def num_held(self) -> int:
        """Attempts that do not run because their jobs are held back, or run another first."""
        running = self.max_running if self.is_throttled else self.num_jobs
        return self.live.total() - running


def held_by_array(batches: Iterable[SubmittedBatch]) -> dict[int, int]:
    """Attempts that the cluster holds back, by array."""
    held: dict[int, int] = {}
    for batch in batches:
        if batch.num_held:
            held[batch.array_id] = held.get(batch.array_id, 0) + batch.num_held
    return held


def share(
    batches: Iterable[SubmittedBatch], workflow_limit: int, array_limits: Mapping[int, int]
) -> dict[str, int]:
    """How many attempts of each batch may run at once under these limits, older batches first.

    A batch that fits whole is :data:`UNLIMITED`.
    """
    shares: dict[str, int] = {}
    left, left_of_array = max(0, workflow_limit), {a: max(0, n) for a, n in array_limits.items()}
    for batch in batches:
        room = min(left, left_of_array.get(batch.array_id, left))
        granted = min(batch.num_jobs, room)
        shares[batch.name] = UNLIMITED if granted == batch.num_jobs else granted
        left -= granted
        if batch.array_id in left_of_array:
            left_of_array[batch.array_id] -= granted
    return shares


class SubmittedBatches:
    """The batches that a cluster has, or will have in a moment, and what it has to be told of their throttles.

    Args:
        all_started: whether all attempts of a batch have started, by its name.
    """

    def __init__(self, all_started: Callable[[str], bool]) -> None:
        self.by_name: dict[str, SubmittedBatch] = {}
        self._all_started = all_started
        self._place_of: dict[int, tuple[str, int]] = {}
        self._limits: tuple[int, Mapping[int, int]] | None = None
        self._to_tell: dict[str, int] = {}

    def add(self, name: str, array_id: int, steps: Mapping[int, int], max_running: int) -> None:
        """Count attempts of a batch from now on; ``steps`` says which step runs each."""
        batch = self.by_name.setdefault(name, SubmittedBatch(name, array_id, Counter(), max_running))
        for task_instance_id, step in steps.items():
            batch.live[step] += 1
            self._place_of[task_instance_id] = (name, step)

    def spread(self, name: str, steps: Mapping[int, int]) -> None:
        """The attempts of a batch are run by other steps than was thought."""
        batch = self.by_name.get(name)
        if batch is None:
            return
        live = {each: step for each, step in steps.items() if each in self._place_of}
        batch.live = Counter(live.values())
        self._place_of.update({each: (name, step) for each, step in live.items()})

    def note_id(self, name: str, distributor_id: str) -> None:
        """The cluster has a batch; the id is that of any of its steps."""
        if name in self.by_name:
            self.by_name[name].distributor_id = distributor_id

    def remove(self, task_instance_id: int) -> None:
        """An attempt lives no more."""
        place = self._place_of.pop(task_instance_id, None)
        if place is None:
            return
        name, step = place
        batch = self.by_name[name]
        batch.live[step] -= 1
        if not batch.live[step]:
            del batch.live[step]
        if not batch.live:
            del self.by_name[name]
            self._to_tell.pop(name, None)
        is_freed = batch.max_running < 0 or batch.num_jobs < batch.max_running
        if is_freed and any(other.is_throttled for other in self.by_name.values()):
            self._share_anew()

    def set_limits(self, workflow_limit: int, array_limits: Mapping[int, int]) -> None:
        """So many attempts may run at once from now on."""
        limits = (workflow_limit, dict(array_limits))
        if limits != self._limits:
            self._limits = limits
            self._share_anew()

    def _share_anew(self) -> None:
        """Decide how many attempts of each batch may run at once; the cluster is told where that has changed."""
        if self._limits is None:
            return
        for name, granted in share(self.by_name.values(), *self._limits).items():
            batch = self.by_name[name]
            if batch.max_running == UNKNOWN and granted == UNLIMITED and self._all_started(name):
                batch.max_running = UNLIMITED  # whatever was allowed, they run
            elif granted != batch.max_running:
                batch.max_running = self._to_tell[name] = granted

    @property
    def has_to_tell(self) -> bool:
        """Whether there are throttles that the cluster was not told of, submitted or not."""
        return bool(self._to_tell)

    def due(self) -> dict[str, int]:
        """The throttles the cluster has to be told now, by batch."""
        return {name: limit for name, limit in self._to_tell.items() if self.by_name[name].distributor_id}

    def note_told(self, told: Mapping[str, int]) -> None:
        """The cluster was told these."""
        for name, limit in told.items():
            if self._to_tell.get(name) == limit:
                del self._to_tell[name]
