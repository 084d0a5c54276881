"""What a controller asks of the attempts on a cluster, of whichever kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from jobmon.core.cluster_protocol import ClusterDistributor, Report
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.serializers.swarm import (
    BatchResponse,
    ClusterCondition,
    InstanceChanges,
    LiveInstance,
    QueueReason,
)

ENDS = frozenset(
    set(TaskInstanceEvent)
    - {
        TaskInstanceEvent.INSTANTIATE,
        TaskInstanceEvent.LAUNCH,
        TaskInstanceEvent.START,
        TaskInstanceEvent.HEARTBEAT,
        TaskInstanceEvent.TRIAGE,
        TaskInstanceEvent.KILL,
    }
)
"""Events after which an attempt lives no more."""


class Room(NamedTuple):
    """What a cluster takes now.

    Attributes:
        slots: how many more attempts.
        max_batch: most attempts of one batch.
        throttles: it can itself hold back those of a batch that may not run yet.
    """

    slots: int
    max_batch: int
    throttles: bool = False


class News(NamedTuple):
    """What there is to tell of a cluster beside events.

    Attributes:
        condition: what is the matter with it now; ``None`` where nothing is.
        reasons: attempts whose reason to wait has changed.
    """

    condition: ClusterCondition | None
    reasons: list[QueueReason]


class ClusterAttempts(Protocol):
    """The attempts one cluster holds for a controller; called on the controller's loop, never blocking for long."""

    plugin: ClusterDistributor

    @property
    def live(self) -> Collection[int]:
        """Attempts that live there."""
        ...

    @property
    def outlives_controller(self) -> bool:
        """Whether they go on when the controller ends."""
        ...

    @property
    def end_seconds(self) -> float:
        """How long they may take to end after they were ordered to."""
        ...

    @property
    def is_hungry(self) -> bool:
        """Whether a turn should be taken at once, for slots stand empty."""
        ...

    @property
    def is_submitting(self) -> bool:
        """Whether attempts are on their way to it."""
        ...

    @property
    def opens_at(self) -> float:
        """When there will be room again that is closed now (monotonic); infinite where an event will tell."""
        ...

    def open(self, report: Report) -> None:
        """Get ready; every event of the attempts goes to ``report``."""
        ...

    def close(self) -> None:
        """Let go of the cluster; what does not outlive the controller ends."""
        ...

    def room(self) -> Room:
        """What the cluster takes now."""
        ...

    def held(self) -> Mapping[int, int]:
        """Attempts that the cluster holds back by a throttle, by array."""
        ...

    def job_name(self, array_name: str, batch_num: int) -> str:
        """Name of the job of a batch; empty where there are no jobs."""
        ...

    def run(
        self,
        batch: BatchResponse,
        requested_resources: Mapping[str, Any],
        *,
        name: str,
        max_running: int,
        repeated: Collection[int] = (),
    ) -> None:
        """Hand over the attempts of a batch; ``repeated`` are tasks that were attempted before."""
        ...

    def adopt(self, attempts: Sequence[LiveInstance]) -> None:
        """Take over attempts of an earlier controller; before ``open``."""
        ...

    def note(self, events: Sequence[InstanceEvent], now: float) -> None:
        """Take note of events reported from here, at ``now`` (monotonic)."""
        ...

    def note_acknowledged(self, events: Sequence[InstanceEvent]) -> None:
        """The server has stored these events."""
        ...

    def note_changes(self, changes: InstanceChanges) -> None:
        """Take note of what others told the server."""
        ...

    def note_limits(self, workflow_limit: int, array_limits: Mapping[int, int]) -> None:
        """Take note of how many attempts may run at once."""
        ...

    def drain(self) -> None:
        """Have nothing more start; what runs goes on."""
        ...

    @property
    def num_drained(self) -> int:
        """Attempts that surely do not start any more after :meth:`drain`."""
        ...

    def take_news(self) -> News | None:
        """What there is to tell of the cluster, once; ``None``: nothing has changed."""
        ...

    def terminate(self, task_instance_ids: Sequence[int]) -> None:
        """End attempts, those that are live here."""
        ...

    def terminate_all(self) -> None:
        """End all attempts."""
        ...

    def kill_all(self) -> None:
        """End all attempts at once, without asking them first."""
        ...

    def leave_all(self) -> None:
        """Start nothing more and leave alone what goes on; what was not handed to the cluster yet is given back."""
        ...
