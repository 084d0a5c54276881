"""What is known of a batch cluster and of the attempts on it, shared by those who look after it.

All of it is read and changed under ``changed``, by the controller's loop and by the cluster's thread; methods say where the
lock has to be held already.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from jobmon.core.cluster_protocol import ClusterDistributor, Report
from jobmon.core.exceptions import ClusterBusy, ClusterUnreachable
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.distributor.attempts import News
from jobmon.distributor.submission import Steps
from jobmon.distributor.throttle import SubmittedBatches
from jobmon.distributor.verdicts import ordered_end
from jobmon.distributor.watch import Watch
from jobmon.serializers.swarm import ClusterCondition, QueueReason

logger = logging.getLogger("jobmon.distributor")


@dataclass
class Trouble:
    """What is the matter with a cluster.

    Attributes:
        since: when it began, in seconds since 1970.
        text: a sentence.
        kind: of the error that told of it.
    """

    since: float
    text: str
    kind: type[Exception]


class Holding:
    """A batch cluster and the attempts on it.

    Args:
        plugin: drives the cluster.
        watch: the attempts, and when to look.

    Attributes:
        changed: the lock, and who waits for a change.
        batches: the batches it has.
        trouble: what is the matter with it; ``None``: nothing.
        reasons: why attempts wait, where that has changed.
        is_leaving: nothing more is submitted.
        is_draining: nothing more starts.
    """

    def __init__(self, plugin: ClusterDistributor, watch: Watch) -> None:
        self.plugin, self.watch = plugin, watch
        self.changed = threading.Condition()
        self.batches = SubmittedBatches(watch.all_started)
        self.trouble: Trouble | None = None
        self.reasons: list[QueueReason] = []
        self.is_leaving = self.is_draining = False
        self.has_news = False
        self.report: Report = lambda events: None

    # -- telling; without the lock ---------------------------------------------------------------------
    def tell(self, events: Sequence[InstanceEvent]) -> None:
        """Report events, if there are any."""
        if events:
            self.report(events)

    def rouse(self) -> None:
        """Have the controller take a turn, for there is news without an event."""
        if self.has_news:
            self.report([])

    # -- the attempts; the lock is held -------------------------------------------------------------------
    def forget(self, task_instance_id: int) -> None:
        """An attempt lives no more."""
        self.watch.remove(task_instance_id)
        self.batches.remove(task_instance_id)

    def note_ids(
        self, name: str, steps: Steps, ids: Mapping[int, str], text: str, cause: Cause
    ) -> list[InstanceEvent]:
        """Take the ids the cluster gave the steps of a batch; those it gave none are refused, for the reason given."""
        now, events = time.monotonic(), []
        for step, attempts in enumerate(steps):
            if step not in ids:
                events += self.refusals(attempts, text, cause)
                continue
            for task_instance_id in attempts:
                if task_instance_id in self.watch.attempts:
                    self.watch.note_submitted(task_instance_id, ids[step], now)
                    events.append(_launched(task_instance_id, ids[step]))
        if ids:
            self.batches.note_id(name, next(iter(ids.values())))
        return events

    def refusals(self, task_instance_ids: Sequence[int], text: str, cause: Cause) -> list[InstanceEvent]:
        """The ends of attempts that the cluster does not get."""
        return [
            ordered_end(i)
            if self.watch.attempts[i].is_ordered
            else InstanceEvent(i, TaskInstanceEvent.REFUSE, cause=cause, description=text)
            for i in task_instance_ids
            if i in self.watch.attempts
        ]

    # -- what is the matter with it; the lock is held --------------------------------------------------------
    @property
    def is_away(self) -> bool:
        """Whether it did not answer when it was asked last."""
        return self.trouble is not None and self.trouble.kind is ClusterUnreachable

    def begin_trouble(self, error: ClusterUnreachable | ClusterBusy) -> Trouble:
        """Say from now on what is the matter with the cluster."""
        now = time.time()
        text = _describe_trouble(self.plugin.cluster_name, now, error)
        self.trouble, self.has_news = Trouble(now, text, type(error)), True
        return self.trouble

    def end_trouble(self, kind: type[Exception]) -> bool:
        """That is over, if it was; whether it was."""
        if self.trouble is None or self.trouble.kind is not kind:
            return False
        self.trouble, self.has_news = None, True
        return True

    def take_news(self) -> News | None:
        """The condition of the cluster and reasons to wait, where they have changed."""
        if not self.has_news:
            return None
        self.has_news = False
        reasons, self.reasons = self.reasons, []
        condition = None
        if self.trouble is not None:
            condition = ClusterCondition(self.plugin.cluster_name, self.trouble.since, self.trouble.text)
        return News(condition, reasons)


def _launched(task_instance_id: int, distributor_id: str) -> InstanceEvent:
    return InstanceEvent(task_instance_id, TaskInstanceEvent.LAUNCH, distributor_id=distributor_id)


def _describe_trouble(cluster_name: str, since: float, error: Exception) -> str:
    when = datetime.fromtimestamp(since).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(error, ClusterBusy):
        return f"Cluster {cluster_name} takes no more jobs since {when}: {error}"
    return f"Cluster {cluster_name} is unreachable since {when}: {error}"
