"""Looking after what a cluster has: words that wrappers left, looks, ends, and orders. Called in the cluster's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus
from jobmon.distributor.holding import Holding
from jobmon.distributor.spool import Spool, SpooledWord
from jobmon.distributor.watch import NEVER
from jobmon.serializers.swarm import QueueReason

SPOOL_SECONDS = 1.0


class ServerRecordKeeper(Protocol):
    """Keeps the record of where the compute nodes reach the server."""

    def renew(self) -> None:
        """Write it where the server's address has changed; called now and then."""
        ...

    def is_known(self) -> bool:
        """Whether the nodes can reach the server, as far as is known."""
        ...


class Looks:
    """Finds out what becomes of attempts, and has the cluster obey.

    Args:
        holding: the cluster and its attempts.
        spool: where wrappers leave their words.
        server: keeps the record of where the nodes reach the server.
    """

    def __init__(self, holding: Holding, spool: Spool, server: ServerRecordKeeper) -> None:
        self._holding, self._spool, self._server = holding, spool, server
        self._words: dict[Path, SpooledWord] = {}  # told, and not acknowledged yet
        self._spooled_at = 0.0

    def note_acknowledged(self, events: Sequence[InstanceEvent]) -> None:
        """Remove the words of those that the server has now; called on the controller's loop."""
        told = {id(event) for event in events}
        with self._holding.changed:
            done = [word for word in self._words.values() if id(word.event) in told]
            for word in done:
                del self._words[word.path]
        if done:
            self._spool.forget(done)

    # -- words that were left -----------------------------------------------------------------------------
    def spool_at(self) -> float:
        """When to see next whether words were left: often only where nothing else tells of them."""
        if self._server.is_known():
            return NEVER if self._spooled_at else 0.0
        return self._spooled_at + SPOOL_SECONDS

    def read_spool(self) -> None:
        """Take the words that wrappers left when they could not reach the server; those of the dead are removed."""
        words = self._spool.take()
        events, stale = [], []
        watch = self._holding.watch
        with self._holding.changed:
            self._spooled_at = time.monotonic()
            for word in words:
                if word.path in self._words:
                    continue
                if word.event.task_instance_id not in watch.attempts:
                    stale.append(word)
                    continue
                self._words[word.path] = word
                events.append(word.event)
                is_triage = word.event.event is TaskInstanceEvent.TRIAGE
                status = TaskInstanceStatus.TRIAGING if is_triage else TaskInstanceStatus.RUNNING
                watch.note_state(word.event.task_instance_id, status)
        if stale:
            self._spool.forget(stale)
        self._holding.tell(events)

    # -- looks --------------------------------------------------------------------------------------------
    def look(self) -> None:
        """Ask what is due: the words that were left, the list of jobs, the ends of those that are silent.

        Raises:
            ClusterUnreachable: the cluster did not answer.
        """
        holding, watch = self._holding, self._holding.watch
        self._server.renew()
        self.read_spool()
        with holding.changed:
            asked, now = watch.distributor_ids(), time.monotonic()
            is_due = watch.look_at <= now
            forgotten = watch.take_replaced()
        holding.tell(forgotten)
        if is_due and asked:
            looks = holding.plugin.look(asked)
            with holding.changed:
                told = watch.note_look(looks, asked, time.monotonic())
                holding.reasons += [QueueReason(ids, reason) for reason, ids in told.reasons.items()]
                holding.has_news = holding.has_news or bool(told.reasons)
            holding.rouse()
            if holding.is_draining:
                holding.report([])  # what waits may be all there is
            self._fail_impossible(told.impossible)
        self._ask_ends()

    def _ask_ends(self) -> None:
        watch = self._holding.watch
        with self._holding.changed:
            silent = watch.silent(time.monotonic())
        if not silent:
            return
        ids = dict.fromkeys(attempt.distributor_id for attempt in silent)
        ends = self._holding.plugin.ends(list(ids))
        with self._holding.changed:
            events = watch.note_ends(ends, silent, time.monotonic())
        self._holding.tell(events)

    def _fail_impossible(self, impossible: Mapping[int, str]) -> None:
        """Cancel what would wait for ever; its task is told why."""
        if not impossible:
            return
        with self._holding.changed:
            attempts = self._holding.watch.attempts
            doomed = [attempts[i] for i in impossible if i in attempts]
        self._holding.plugin.cancel({each.distributor_id: each.job_name for each in doomed})
        self._holding.tell(
            [
                InstanceEvent(
                    each.task_instance_id,
                    TaskInstanceEvent.LOSE,
                    # the reason may be the longer time of a job that several share
                    cause=Cause.INFRASTRUCTURE if each.turn else Cause.LAUNCH,
                    description=f"The job can never start and was cancelled: {impossible[each.task_instance_id]}",
                )
                for each in doomed
            ]
        )

    # -- orders -------------------------------------------------------------------------------------------
    def order(self) -> Callable[[], None] | None:
        """What to order the cluster to do, where there is something."""
        if self._holding.watch.to_cancel():
            return self.cancel
        if self._holding.batches.due():
            return self.throttle
        return None

    def cancel(self) -> None:
        """Cancel the jobs that have to end.

        Raises:
            ClusterUnreachable: it cannot be told whether they were.
        """
        with self._holding.changed:
            doomed = self._holding.watch.to_cancel()
        self._holding.plugin.cancel({attempt.distributor_id: attempt.job_name for attempt in doomed})
        with self._holding.changed:
            self._holding.watch.note_cancelled(doomed)

    def throttle(self) -> None:
        """Tell the cluster how many may run at once.

        Raises:
            ClusterUnreachable: it cannot be told whether it knows.
        """
        batches = self._holding.batches
        with self._holding.changed:
            wanted = batches.due()
            limits = {batches.by_name[name].distributor_id: limit for name, limit in wanted.items()}
        self._holding.plugin.throttle(limits)
        with self._holding.changed:
            batches.note_told(wanted)
            if self._holding.is_draining:
                self._holding.watch.forget_waiting()
