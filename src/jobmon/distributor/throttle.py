"""How the attempts that may run at once are shared among the batches a cluster has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

UNLIMITED = -1
UNKNOWN = -2


@dataclass(slots=True)
class SubmittedBatch:
    """A batch on the cluster.

    Attributes:
        name: name of its job.
        array_id: the array its tasks are of.
        num_live: attempts of it that live.
        max_running: how many of them may run at once; :data:`UNLIMITED`: all; :data:`UNKNOWN`: what an earlier controller
            told the cluster.
        distributor_id: id of one of its steps; empty until it is submitted.
    """

    name: str
    array_id: int
    num_live: int
    max_running: int = UNLIMITED
    distributor_id: str = ""

    @property
    def num_held(self) -> int:
        """Attempts that the cluster holds back."""
        return 0 if self.max_running < 0 else max(0, self.num_live - self.max_running)


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
        granted = min(batch.num_live, room)
        shares[batch.name] = UNLIMITED if granted == batch.num_live else granted
        left -= granted
        if batch.array_id in left_of_array:
            left_of_array[batch.array_id] -= granted
    return shares
