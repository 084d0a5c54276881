"""The turns of a controller: tell and ask the server, start what may start, until the run is over."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from jobmon.core.exceptions import WorkflowTestError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskStatus
from jobmon.distributor.attempts import ENDS, ClusterAttempts
from jobmon.serializers.swarm import (
    BatchRequest,
    BatchResponse,
    QueueReason,
    SyncRequest,
    SyncResponse,
    TaskChanges,
)
from jobmon.swarm.channel import Channel
from jobmon.swarm.ending import Ending
from jobmon.swarm.gateway import Gateway
from jobmon.swarm.outcome import RunOptions
from jobmon.swarm.resources import ResourceRequests
from jobmon.swarm.situation import ORDERED, Situation
from jobmon.swarm.state import Batch, SwarmState

WEDGED_SECONDS = 5.0
REFUSED_SECONDS = 0.1
BUSY_SECONDS = 0.1
EVENTS_PER_SYNC = 2000
QUEUED_PER_SYNC = 5000

_SETTLING = frozenset({TaskInstanceEvent.ABORT, TaskInstanceEvent.FINISH})


class Turns:
    """The turns of one run.

    Args:
        gateway: the server.
        options: limits and intervals.
        situation: what is known of the run.
        state: the tasks.
        resources: what attempts ask for.
        clusters: the attempts on each cluster.
        array_names: names of the arrays.
        next_batch_num: number of the next batch.
        started_at: when the run began (monotonic).

    Attributes:
        reports: what the clusters reported and the server was not told yet.
    """

    def __init__(
        self,
        gateway: Gateway,
        options: RunOptions,
        situation: Situation,
        state: SwarmState,
        resources: ResourceRequests,
        clusters: Mapping[str, ClusterAttempts],
        array_names: Mapping[int, str],
        next_batch_num: int,
        started_at: float,
    ) -> None:
        self._gateway, self._options, self._situation = gateway, options, situation
        self._state, self._resources, self._clusters = state, resources, clusters
        self._array_names, self._next_batch_num = array_names, next_batch_num
        self._started_at = started_at
        self.reports: list[InstanceEvent] = []
        self._settled: set[int] = set()
        self._is_new_condition = False
        self._queue_reasons: list[QueueReason] = []
        self._reconciled_at = time.monotonic()
        self._ending = Ending(gateway, options, situation, state, clusters, self)

    async def take(self, channel: Channel) -> None:
        """Open the clusters and take turns until the run is over; after an error, end all the same.

        Raises:
            WorkflowTimeoutError, DistributorNotAlive, WorkflowTestError: why it had to end.
        """
        try:
            for cluster in self._clusters.values():
                cluster.open(self._take_reports)
            await self._drive(channel)
        except BaseException as error:
            await self._ending.give_up(channel, error)
            raise

    async def _drive(self, channel: Channel) -> None:
        """Take turns until the run is over, then say how it ended."""
        deadline = self._started_at + self._options.seconds_until_timeout
        last_sync = 0.0
        while not self._should_end() and time.monotonic() < deadline:
            self._situation.wake.clear()  # whatever happens from here on ends the sleep below
            if self.reports and not self._is_due():
                await self._gather_until(last_sync + BUSY_SECONDS)
            events = self._take_reported()
            counted_on = self._count_on_success(events)
            try:
                batches = await self._decide_batches(channel)
            except BaseException:
                self.reports[:0] = events
                raise
            if events or batches or self._collect_news():
                await self._sync(channel, events, batches, counted_on)
                last_sync = time.monotonic()
            else:
                await self._situation.sleep_until(min(deadline, self._reconcile_at(), self._opens_at()))
                if time.monotonic() >= self._reconcile_at():
                    await self._reconcile(channel)
            self._note_test_hook()
        if not self._should_end():
            self._situation.failure = self._ending.timeout()
        await self._ending.finish(channel)

    def _opens_at(self) -> float:
        """When a cluster takes more that takes nothing for a moment, while tasks wait for that."""
        if not self._state.has_ready or self._situation.is_draining:
            return math.inf
        return min((cluster.opens_at for cluster in self._clusters.values()), default=math.inf)

    def _collect_news(self) -> bool:
        """Take what there is to tell of clusters beside events; whether there is something."""
        for name, cluster in self._clusters.items():
            news = cluster.take_news()
            if news is None:
                continue
            self._queue_reasons += news.reasons
            if news.condition != self._situation.conditions.get(name):
                self._is_new_condition = True
                if news.condition is None:
                    del self._situation.conditions[name]
                else:
                    self._situation.conditions[name] = news.condition
        return self._is_new_condition or bool(self._queue_reasons)

    def _note_test_hook(self) -> None:
        limit = self._options.fail_after_n_executions
        finished = self._state.num_done - self._state.num_previously_done + self._state.num_failed
        if limit is not None and finished >= limit:
            self._situation.failure = WorkflowTestError(
                f"{finished} tasks have finished: the run fails on purpose (fail_after_n_executions={limit})."
            )

    def _reconcile_at(self) -> float:
        """When to compare all tasks with the server: now and then, and soon where attempts are said to live that do not."""
        is_odd = (
            self._state.active_total > 0
            and not self.reports
            and not any(x.live for x in self._clusters.values())
        )
        return self._reconciled_at + (WEDGED_SECONDS if is_odd else self._options.reconcile_seconds)

    async def _reconcile(self, channel: Channel) -> None:
        """Take the states of all tasks from the server; a guard against surprises, not a way of working.

        Unless the feed told of others meanwhile: what was read may be older, and the feed tells it once only.
        """
        self._reconciled_at = time.monotonic()
        cursor = self._situation.cursor
        pages = await channel.call(lambda: list(self._gateway.tasks()))
        if self._situation.cursor != cursor:
            return
        for page in pages:
            self._state.apply(TaskChanges(page.task_ids, page.statuses, page.num_attempts))

    async def tell_reports(self, channel: Channel) -> None:
        """Tell the server what the clusters reported, or the first of it."""
        await self._sync(channel, self._take_reported())

    def _take_reported(self) -> list[InstanceEvent]:
        events, self.reports = self.reports[:EVENTS_PER_SYNC], self.reports[EVENTS_PER_SYNC:]
        return events

    def _count_on_success(self, events: Sequence[InstanceEvent]) -> list[int]:
        """Take the successes about to be told for granted, so that what waits for them goes along in the same turn.

        The server creates such a batch only if they are; its answer brings the truth about every task concerned.
        """
        task_ids = [
            self._situation.task_ids[event.task_instance_id]
            for event in events
            if event.event is TaskInstanceEvent.FINISH and event.task_instance_id in self._situation.task_ids
        ]
        if self._situation.status in ORDERED:
            return []
        self._state.mark(task_ids, TaskStatus.DONE)
        return task_ids

    def _should_end(self) -> bool:
        if self._situation.must_end:
            return True
        if self.reports:
            return False
        if self._options.fail_fast and self._state.num_failed:
            return True
        if self._situation.is_draining:
            for cluster in self._clusters.values():
                cluster.drain()
            return self._state.active_total <= sum(x.num_drained for x in self._clusters.values())
        return self._state.is_stuck

    def _is_due(self) -> bool:
        """Whether a turn should be taken at once: slots stand empty and an end was reported, or there is much to tell."""
        if len(self.reports) >= EVENTS_PER_SYNC:
            return True
        is_hungry = any(cluster.is_hungry for cluster in self._clusters.values())
        return is_hungry and any(event.event is not TaskInstanceEvent.START for event in self.reports)

    async def _decide_batches(self, channel: Channel) -> list[Batch]:
        """Batches that fit what the clusters want now."""
        if not self._state.has_ready or self._situation.is_draining:
            return []
        while self._resources.has_work(self._state):
            await self._decide_resources(channel)
        rooms, held = {}, Counter[int]()
        for name, cluster in self._clusters.items():
            room = cluster.room()
            rooms[name] = room._replace(slots=min(room.slots, QUEUED_PER_SYNC))
            held.update(cluster.held())
        rows = self._resources.rows
        return list(self._state.take_batches(rooms, lambda row_id: rows[row_id].cluster_name, held))

    async def _decide_resources(self, channel: Channel) -> None:
        """Decide beside the loop, which may change the state meanwhile; set on the loop what was decided."""
        due = self._resources.take_due(self._state)
        peaks = self._situation.peaks
        rows = await channel.call(lambda: self._resources.decide(self._state, due, peaks))
        for task_id, row_id in rows.items():
            self._state.set_resources(task_id, row_id)

    async def _sync(
        self,
        channel: Channel,
        events: list[InstanceEvent],
        batches: Sequence[Batch] = (),
        counted_on: Sequence[int] = (),
    ) -> None:
        """Tell and ask; then hand the new attempts to their clusters.

        Args:
            channel: makes the call.
            events: what to tell.
            batches: what to ask for.
            counted_on: tasks whose success is among the events and was taken for granted.
        """
        requests = [self._number(batch) for batch in batches]
        reasons, self._queue_reasons = self._queue_reasons, []
        conditions = list(self._situation.conditions.values()) if self._is_new_condition else None
        self._is_new_condition = False
        message = SyncRequest(events, requests, list(counted_on) if requests else [], conditions, reasons)
        try:
            answer = await channel.call(lambda: self._gateway.sync(message))
        except BaseException:
            self.reports[:0] = events  # kept until they are acknowledged
            self._queue_reasons[:0] = reasons
            self._is_new_condition = self._is_new_condition or conditions is not None
            raise
        for event in events:
            if event.event in ENDS:
                self._situation.task_ids.pop(event.task_instance_id, None)
        for cluster in self._clusters.values():
            cluster.note_acknowledged(events)
        self._state.apply(answer.tasks)
        self._note_cursor(answer)
        for request, wanted, batch in zip(requests, batches, answer.batches, strict=False):
            self._launch(request, batch, wanted)
        queued = {task_id for batch in answer.batches for task_id in batch.task_ids}
        refused = [i for request in requests for i in request.task_ids if i not in queued]
        if refused:
            # the run was ordered to end, or somebody changed these tasks: the feed tells what they are now
            self._state.put_back(refused)
            await asyncio.sleep(REFUSED_SECONDS)
        # who was only said to be on the cluster may have told its own end before that
        launched = {event.task_instance_id for event in events if event.event is TaskInstanceEvent.LAUNCH}
        stop = [i for i in answer.stop if i not in launched]
        for cluster in self._clusters.values():
            cluster.terminate(stop)
        self._settle_stopped(events, stop)
        self._situation.obey(answer.run_status, answer.is_draining)

    def _number(self, batch: Batch) -> BatchRequest:
        number, self._next_batch_num = self._next_batch_num, self._next_batch_num + 1
        cluster = self._clusters[self._resources.rows[batch.task_resources_id].cluster_name]
        return BatchRequest(
            batch.array_id,
            number,
            batch.task_resources_id,
            batch.task_ids,
            cluster.job_name(self._array_names.get(batch.array_id, ""), number),
            self._resources.take_notes(batch.task_ids),
        )

    def _launch(self, request: BatchRequest, batch: BatchResponse, wanted: Batch) -> None:
        row = self._resources.rows[request.task_resources_id]
        self._state.mark(batch.task_ids, TaskStatus.INSTANTIATING)
        self._situation.task_ids.update(zip(batch.task_instance_ids, batch.task_ids, strict=True))
        self._clusters[row.cluster_name].run(
            batch,
            {**row.requested_resources, "queue": row.queue_name},
            name=request.name,
            max_running=wanted.max_running,
            repeated=wanted.repeated,
        )

    def _settle_stopped(self, events: Sequence[InstanceEvent], stopped: Sequence[int]) -> None:
        """Attempts that were ordered to end while they ended by themselves: say, once, that they are gone.

        A success needs no second word: it counts whatever was ordered.
        """
        settled = {event.task_instance_id for event in events if event.event in _SETTLING} | self._settled
        live = {i for cluster in self._clusters.values() for i in cluster.live}
        unsettled = [i for i in stopped if i not in live and i not in settled]
        self._settled.update(unsettled)
        self.reports.extend(
            InstanceEvent(task_instance_id, TaskInstanceEvent.ABORT, cause=Cause.ORDERED)
            for task_instance_id in unsettled
        )

    def _note_cursor(self, answer: SyncResponse) -> None:
        self._situation.synced_cursor = answer.cursor
        if answer.cursor_before == self._situation.cursor:
            self._situation.cursor = answer.cursor

    # -- reports of the clusters ------------------------------------------------------------------------
    def _take_reports(self, events: Sequence[InstanceEvent]) -> None:
        """Called by clusters, from their threads."""
        loop = self._situation.loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._add_reports, events)
            except RuntimeError:
                pass  # the loop closed meanwhile: the run is over

    def _add_reports(self, events: Sequence[InstanceEvent]) -> None:
        self.reports.extend(events)
        now = time.monotonic()
        for cluster in self._clusters.values():
            mine = [event for event in events if event.task_instance_id in cluster.live]
            if mine:
                cluster.note(mine, now)
        for event in events:
            if event.event is TaskInstanceEvent.RESOURCE and event.maxrss:
                self._situation.note_peak(event.task_instance_id, event.maxrss)
        self._situation.wake.set()

    async def _gather_until(self, when: float) -> None:
        """Let reports gather until the time, or until a turn is due."""
        while not self._is_due() and not self._situation.is_stop_requested:
            remaining = when - time.monotonic()
            if remaining <= 0:
                return
            if any(event.event is not TaskInstanceEvent.START for event in self.reports):
                await asyncio.sleep(
                    min(remaining, 0.01)
                )  # busy: a look now and then is cheaper than one a report
                continue
            self._situation.wake.clear()
            try:
                await asyncio.wait_for(self._situation.wake.wait(), remaining)
            except TimeoutError:
                return
