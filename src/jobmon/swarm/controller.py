"""The controller: runs one workflow, from any host: a script, a thread, a notebook, a process of its own.

Theory of operation
-------------------
The controller has a thread with an asyncio loop. Three things happen there. The *turn* (``_drive``) collects what the
clusters reported and what became ready, and tells and asks the server in one request (``sync``); only after the answer
is a downstream task launched, so nothing runs before its upstreams' success is recorded. The *heartbeat* keeps the run
alive. The *feed* long-polls for what others change: an order to stop, a limit, a task set by hand. A turn is taken at
once while slots stand empty, and a little later while the cluster is busy, so that many small tasks share a request.

All decisions are in :mod:`jobmon.swarm.state`; what is lost here with the process is rebuilt from the server.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from jobmon.core.cluster import Cluster
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ClusterError, JobmonError, WorkflowRunStateError, WorkflowTimeoutError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.local_server import LocalServerFiles
from jobmon.core.requester import Requester, current_user
from jobmon.core.states import (
    WORKFLOW_RUN_TERMINAL,
    Cause,
    TaskInstanceEvent,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
)
from jobmon.distributor.local import LOCAL_ENDS, LocalAttempts
from jobmon.serializers.swarm import (
    BatchRequest,
    BatchResponse,
    FeedResponse,
    SyncRequest,
    SyncResponse,
    TaskChanges,
    TaskResourcesRow,
    WorkflowMetadataResponse,
)
from jobmon.swarm.channel import Channel
from jobmon.swarm.gateway import Gateway
from jobmon.swarm.outcome import Progress, RunOptions, RunOutcome
from jobmon.swarm.resources import ResourceRequests, TaskHooks
from jobmon.swarm.state import Batch, SwarmState

__all__ = ["Controller", "Progress", "RunOptions", "RunOutcome", "TaskHooks"]

FEED_SECONDS = 20.0
FEED_PAUSE_SECONDS = 1.0
RECONCILE_SECONDS = 600.0
WEDGED_SECONDS = 5.0
REFUSED_SECONDS = 0.1
PROGRESS_SECONDS = 0.2
BUSY_SECONDS = 0.1
EVENTS_PER_SYNC = 2000
QUEUED_PER_SYNC = 2500
SHUTDOWN_MARGIN_SECONDS = 10.0
STILL_RUNNING_SHOWN = 10

_ORDERED = frozenset({WorkflowRunStatus.COLD_RESUME, WorkflowRunStatus.HOT_RESUME})
_SETTLING = frozenset({TaskInstanceEvent.ABORT, TaskInstanceEvent.FINISH})


class _Prepared(NamedTuple):
    """What a run needs before its loop begins."""

    metadata: WorkflowMetadataResponse
    state: SwarmState
    resources: dict[int, TaskResourcesRow]


class Controller:
    """Runs one workflow.

    Args:
        requester: the server.
        workflow_id: a workflow that is registered completely.
        options: limits and intervals.
        hooks: callables of the script, which the server cannot know.
        on_progress: called from the controller's thread, a few times a second.
        config: configuration; by default the one that applies to this process.
    """

    def __init__(
        self,
        requester: Requester,
        workflow_id: int,
        options: RunOptions,
        hooks: TaskHooks | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        config: JobmonConfig | None = None,
    ) -> None:
        self.workflow_id = workflow_id
        self._config = config or JobmonConfig()
        self._options = options
        self._on_progress = on_progress
        self._gateway = Gateway(requester, workflow_id)
        self._resources = ResourceRequests(self._gateway, hooks or TaskHooks(), self._cluster)
        self._clusters: dict[str, Cluster] = {}
        self._local: dict[str, LocalAttempts] = {}
        self._reports: list[InstanceEvent] = []
        self._settled: set[int] = set()
        self._reconciled_at = time.monotonic()
        self._task_ids: dict[int, int] = {}  # of the attempts that live here
        self._run_key = uuid.uuid4().hex
        self._run_status = WorkflowRunStatus.REGISTERED
        self._cursor = self._synced_cursor = self._next_batch_num = 0
        self._stop_requested = self._aborted = False
        self._started_at = self._ended_at = 0.0
        self._state: SwarmState | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._error: tuple[BaseException, TracebackType | None] | None = None

    # -- for the host -----------------------------------------------------------------------------------
    @property
    def workflow_run_id(self) -> int:
        """Id of the run; 0 before ``start``."""
        return self._gateway.workflow_run_id

    def start(self) -> None:
        """Create the run, in the calling thread, then work in a thread of its own.

        Raises:
            WorkflowNotResumable: another run of the workflow is alive.
            WorkflowAlreadyComplete: every task is done.
            UnknownClusterError: a cluster has no plugin here.
        """
        self._started_at = time.monotonic()
        created = self._gateway.create_run(self._run_key, current_user(), self._next_report_seconds)
        self._run_status = WorkflowRunStatus(created.status)
        self._cursor, self._next_batch_num = created.cursor, created.next_batch_num
        try:
            prepared = self._prepare()
        except BaseException:
            self._gateway.run_events([WorkflowRunEvent.ABORT])
            raise
        self._thread = threading.Thread(
            target=self._work, args=(prepared,), name=f"jobmon-run-{self.workflow_run_id}", daemon=True
        )
        self._thread.start()

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the end of the run; whether it has ended."""
        return self._ended.wait(timeout_seconds)

    def request_stop(self) -> None:
        """End the run in good order: what runs is ended, then the run is STOPPED."""
        self._stop_requested = True
        self._rouse()

    def abort(self) -> None:
        """End the run now: what runs is killed; the server learns as much as can be said in a moment."""
        self._aborted = self._stop_requested = True
        self._rouse()

    def outcome(self) -> RunOutcome:
        """How the run ended.

        Raises:
            JobmonError: what ended it, where an error did.
        """
        if not self._ended.is_set():
            raise WorkflowRunStateError(f"Workflow run {self.workflow_run_id} has not ended.")
        if self._error is not None:
            error, traceback = self._error
            raise error.with_traceback(traceback)
        state = self._state
        assert state is not None
        return RunOutcome(
            final_status=self._run_status.value,
            elapsed_time=self._ended_at - self._started_at,
            total_tasks=len(state),
            done_count=state.num_done,
            failed_count=state.num_failed,
            num_previously_complete=state.num_previously_done,
            task_final_statuses={
                task_id: chr(byte) for task_id, byte in zip(state.task_ids, state.status, strict=True)
            },
            done_task_ids=state.tasks_in(TaskStatus.DONE),
            failed_task_ids=state.tasks_in(TaskStatus.ERROR_FATAL),
        )

    # -- getting ready ----------------------------------------------------------------------------------
    @property
    def _next_report_seconds(self) -> float:
        return self._options.heartbeat_interval * self._options.report_by_buffer

    def _cluster(self, name: str) -> Cluster:
        if name not in self._clusters:
            self._clusters[name] = Cluster.get_cluster(name, self._gateway.requester)
        return self._clusters[name]

    def _prepare(self) -> _Prepared:
        """Read the workflow, get its clusters ready, begin."""
        gateway = self._gateway
        gateway.reset_tasks(adopt=self._options.adopt)
        metadata = gateway.metadata()
        limits = {each.id: each.max_concurrently_running for each in metadata.arrays}
        state = SwarmState(gateway.tasks(), metadata.max_concurrently_running, limits)
        self._state = state
        for name in {row.cluster_name for row in metadata.task_resources}:
            plugin = self._cluster(name).get_distributor()
            if not plugin.capabilities.runs_commands:
                raise ClusterError(
                    f"Cluster {name} takes jobs of a batch system; this Jobmon cannot drive it yet."
                )
            self._local[name] = LocalAttempts(
                plugin,
                self.workflow_id,
                self.workflow_run_id,
                self._run_key,
                self._log_directory(),
                metadata.working_dir,
            )
        answer = gateway.run_events(
            [
                WorkflowRunEvent.BIND,
                WorkflowRunEvent.INSTANTIATE,
                WorkflowRunEvent.LAUNCH,
                WorkflowRunEvent.START,
            ]
        )
        self._run_status = WorkflowRunStatus(answer.status)
        return _Prepared(metadata, state, {row.id: row for row in metadata.task_resources})

    def _log_directory(self) -> Path:
        configured = str(self._config.get("task", "log_directory"))
        base = (
            Path(configured).expanduser()
            if configured
            else LocalServerFiles.from_config(self._config).task_logs
        )
        return base / f"workflow_{self.workflow_id}"

    # -- the thread -------------------------------------------------------------------------------------
    def _work(self, prepared: _Prepared) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._main(prepared))
        except BaseException as error:  # noqa: BLE001 - outermost: kept for the host, with its traceback
            self._error = (error, error.__traceback__)
        finally:
            self._ended_at = time.monotonic()
            self._ended.set()

    async def _main(self, prepared: _Prepared) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        self._resources.load(prepared.resources, prepared.state)
        channels = [Channel(f"jobmon-{name}") for name in ("sync", "heartbeat", "feed")]
        sync, heartbeat, feed = channels
        beside = [
            asyncio.create_task(self._keep_alive(heartbeat)),
            asyncio.create_task(self._listen(feed)),
            asyncio.create_task(self._show_progress()),
        ]
        try:
            for local in self._local.values():
                local.open(self._take_reports)
            await self._drive(sync, prepared.state)
        except BaseException as error:
            await self._give_up(sync, error)
            raise
        finally:
            for task in beside:
                task.cancel()
            for local in self._local.values():
                local.plugin.stop()
            for channel in channels:
                channel.close()
            self._publish()

    async def _drive(self, channel: Channel, state: SwarmState) -> None:
        """Take turns until the run is over, then say how it ended."""
        deadline = self._started_at + self._options.seconds_until_timeout
        last_sync = 0.0
        assert self._wake is not None
        while not self._should_end(state) and time.monotonic() < deadline:
            self._wake.clear()  # whatever happens from here on ends the sleep below
            if self._reports and not self._is_due():
                await self._gather_until(last_sync + BUSY_SECONDS)
            events = self._take_reported()
            counted_on = self._count_on_success(state, events)
            try:
                batches = await self._decide_batches(channel, state)
            except BaseException:
                self._reports[:0] = events
                raise
            if events or batches:
                await self._sync(channel, state, events, batches, counted_on)
                last_sync = time.monotonic()
            else:
                await self._sleep_until(min(deadline, self._reconcile_at(state)))
                if time.monotonic() >= self._reconcile_at(state):
                    await self._reconcile(channel, state)
        is_timeout = not self._should_end(state)
        await self._finish(channel, state, is_timeout)

    def _reconcile_at(self, state: SwarmState) -> float:
        """When to compare all tasks with the server: now and then, and soon where attempts are said to live that do not."""
        is_odd = (
            state.active_total > 0 and not self._reports and not any(x.live for x in self._local.values())
        )
        return self._reconciled_at + (WEDGED_SECONDS if is_odd else RECONCILE_SECONDS)

    async def _reconcile(self, channel: Channel, state: SwarmState) -> None:
        """Take the states of all tasks from the server; a guard against surprises, not a way of working."""
        self._reconciled_at = time.monotonic()
        pages = await channel.call(lambda: list(self._gateway.tasks()))
        for page in pages:
            state.apply(TaskChanges(page.task_ids, page.statuses, page.num_attempts))

    def _take_reported(self) -> list[InstanceEvent]:
        events, self._reports = self._reports[:EVENTS_PER_SYNC], self._reports[EVENTS_PER_SYNC:]
        return events

    def _count_on_success(self, state: SwarmState, events: Sequence[InstanceEvent]) -> list[int]:
        """Take the successes about to be told for granted, so that what waits for them goes along in the same turn.

        The server creates such a batch only if they are; its answer brings the truth about every task concerned.
        """
        task_ids = [
            self._task_ids[event.task_instance_id]
            for event in events
            if event.event is TaskInstanceEvent.FINISH and event.task_instance_id in self._task_ids
        ]
        if self._run_status in _ORDERED:
            return []
        state.mark(task_ids, TaskStatus.DONE)
        return task_ids

    def _should_end(self, state: SwarmState) -> bool:
        if self._stop_requested or self._run_status in _ORDERED or self._run_status in WORKFLOW_RUN_TERMINAL:
            return True
        if self._reports:
            return False
        if self._options.fail_fast and state.num_failed:
            return True
        return state.is_stuck

    def _is_due(self) -> bool:
        """Whether a turn should be taken at once: slots stand empty and an end was reported, or there is much to tell."""
        if len(self._reports) >= EVENTS_PER_SYNC:
            return True
        is_hungry = any(local.is_hungry for local in self._local.values())
        return is_hungry and any(event.event is not TaskInstanceEvent.START for event in self._reports)

    async def _decide_batches(self, channel: Channel, state: SwarmState) -> list[Batch]:
        """Batches that fit what the clusters want now."""
        if not state.has_ready:
            return []
        if self._resources.has_work(state):
            await channel.call(lambda: self._resources.settle(state))
        room = sum(max(0, local.room()) for local in self._local.values())
        return list(state.take_batches(min(room, QUEUED_PER_SYNC)))

    async def _sync(
        self,
        channel: Channel,
        state: SwarmState,
        events: list[InstanceEvent],
        batches: Sequence[Batch] = (),
        counted_on: Sequence[int] = (),
    ) -> None:
        """Tell and ask; then hand the new attempts to their clusters.

        Args:
            channel: makes the call.
            state: the tasks.
            events: what to tell.
            batches: what to ask for.
            counted_on: tasks whose success is among the events and was taken for granted.
        """
        requests = [self._number(batch) for batch in batches]
        message = SyncRequest(events, requests, list(counted_on) if requests else [])
        try:
            answer = await channel.call(lambda: self._gateway.sync(message))
        except BaseException:
            self._reports[:0] = events  # kept until they are acknowledged
            raise
        for event in events:
            if event.event in LOCAL_ENDS:
                self._task_ids.pop(event.task_instance_id, None)
        state.apply(answer.tasks)
        self._resources.note(answer.tasks)
        self._note_cursor(answer)
        for request, batch in zip(requests, answer.batches, strict=False):
            self._launch(state, request, batch)
        queued = {task_id for batch in answer.batches for task_id in batch.task_ids}
        refused = [i for request in requests for i in request.task_ids if i not in queued]
        if refused:
            # the run was ordered to end, or somebody changed these tasks: the feed tells what they are now
            state.put_back(refused)
            await asyncio.sleep(REFUSED_SECONDS)
        for local in self._local.values():
            local.terminate(answer.stop)
        self._settle_stopped(events, answer.stop)
        self._obey_status(answer.run_status)

    def _number(self, batch: Batch) -> BatchRequest:
        number, self._next_batch_num = self._next_batch_num, self._next_batch_num + 1
        return BatchRequest(batch.array_id, number, batch.task_resources_id, batch.task_ids)

    def _launch(self, state: SwarmState, request: BatchRequest, batch: BatchResponse) -> None:
        row = self._resources.rows[request.task_resources_id]
        state.mark(batch.task_ids, TaskStatus.INSTANTIATING)
        self._task_ids.update(zip(batch.task_instance_ids, batch.task_ids, strict=True))
        self._local[row.cluster_name].run(batch, row.requested_resources)

    def _settle_stopped(self, events: Sequence[InstanceEvent], stopped: Sequence[int]) -> None:
        """Attempts that were ordered to end while they ended by themselves: say, once, that they are gone.

        A success needs no second word: it counts whatever was ordered.
        """
        settled = {event.task_instance_id for event in events if event.event in _SETTLING} | self._settled
        live = {i for local in self._local.values() for i in local.live}
        unsettled = [i for i in stopped if i not in live and i not in settled]
        self._settled.update(unsettled)
        self._reports.extend(
            InstanceEvent(task_instance_id, TaskInstanceEvent.ABORT, cause=Cause.ORDERED)
            for task_instance_id in unsettled
        )

    def _note_cursor(self, answer: SyncResponse) -> None:
        self._synced_cursor = answer.cursor
        if answer.cursor_before == self._cursor:
            self._cursor = answer.cursor

    def _obey_status(self, letter: str) -> None:
        self._run_status = WorkflowRunStatus(letter)

    # -- the end ----------------------------------------------------------------------------------------
    async def _finish(self, channel: Channel, state: SwarmState, is_timeout: bool) -> None:
        """End what still runs, tell the server how the run ended."""
        still_running = self._names_of_running(state) if is_timeout else ""
        await self._end_local(channel, state)
        event = self._final_event(state)
        if event is not None:
            answer = await channel.call(lambda: self._gateway.run_events([event]))
            self._run_status = WorkflowRunStatus(answer.status)
        if is_timeout:
            raise WorkflowTimeoutError(
                f"timeout: workflow {self.workflow_id} did not end within "
                f"{self._options.seconds_until_timeout:g} seconds. {still_running} Resume it with run(resume=True) "
                "and a larger seconds_until_timeout."
            )

    def _names_of_running(self, state: SwarmState) -> str:
        running = [i for s in (TaskStatus.RUNNING, TaskStatus.LAUNCHED) for i in state.tasks_in(s)]
        if not running:
            return "Nothing was running."
        shown = ", ".join(str(task_id) for task_id in running[:STILL_RUNNING_SHOWN])
        more = ", …" if len(running) > STILL_RUNNING_SHOWN else ""
        return f"{len(running)} tasks were still running and were stopped (task ids {shown}{more})."

    def _final_event(self, state: SwarmState) -> WorkflowRunEvent | None:
        if self._run_status in WORKFLOW_RUN_TERMINAL:
            return None
        if self._run_status in _ORDERED:
            return WorkflowRunEvent.TERMINATE
        if state.is_complete:
            return WorkflowRunEvent.FINISH
        return WorkflowRunEvent.STOP if self._stop_requested else WorkflowRunEvent.FAIL

    async def _end_local(self, channel: Channel, state: SwarmState) -> None:
        """End every attempt on this machine and report the ends."""
        for local in self._local.values():
            local.terminate_all()
        grace = self._config.get_float("worker_node", "command_interrupt_timeout") + SHUTDOWN_MARGIN_SECONDS
        deadline = time.monotonic() + grace
        while any(local.live for local in self._local.values()) and time.monotonic() < deadline:
            if self._aborted:
                for local in self._local.values():
                    local.kill_all()
                break
            assert self._wake is not None
            self._wake.clear()
            await self._sleep_until(min(deadline, time.monotonic() + 0.5), wake_on_stop=False)
        while self._reports:
            if self._run_status is WorkflowRunStatus.HOT_RESUME:
                self._reports = [_as_lost(event) for event in self._reports]
            await self._sync(channel, state, self._take_reported())

    async def _give_up(self, channel: Channel, error: BaseException) -> None:
        """After an error of our own: end what runs and tell the server, as far as that still works."""
        for local in self._local.values():
            local.plugin.stop()
        events, self._reports = self._reports, []
        try:
            if events:
                await asyncio.wait_for(channel.call(lambda: self._gateway.sync(SyncRequest(events))), 10)
            if self._run_status not in WORKFLOW_RUN_TERMINAL:
                final = WorkflowRunEvent.TERMINATE if self._run_status in _ORDERED else WorkflowRunEvent.FAIL
                await asyncio.wait_for(channel.call(lambda: self._gateway.run_events([final])), 10)
        except (JobmonError, TimeoutError) as second:
            error.add_note(
                f"The server could not be told that workflow run {self.workflow_run_id} ended: {second}"
            )

    # -- beside the turns -------------------------------------------------------------------------------
    def _take_reports(self, events: Sequence[InstanceEvent]) -> None:
        """Called by clusters, from their threads."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(self._add_reports, events)
            except RuntimeError:
                pass  # the loop closed meanwhile: the run is over

    def _add_reports(self, events: Sequence[InstanceEvent]) -> None:
        self._reports.extend(events)
        now = time.monotonic()
        for local in self._local.values():
            mine = [event for event in events if event.task_instance_id in local.live]
            if mine:
                local.note(mine, now)
        if self._wake is not None:
            self._wake.set()

    def _rouse(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(wake.set)
            except RuntimeError:
                pass  # the loop closed meanwhile: the run is over

    async def _sleep_until(self, when: float, wake_on_stop: bool = True) -> None:
        """Wait for reports, a change of the run, or the time; what happened since ``_wake`` was cleared counts."""
        assert self._wake is not None
        if self._stop_requested and wake_on_stop:
            return
        try:
            await asyncio.wait_for(self._wake.wait(), max(0.0, min(when - time.monotonic(), 60.0)))
        except TimeoutError:
            pass

    async def _gather_until(self, when: float) -> None:
        """Let reports gather until the time, or until a turn is due."""
        assert self._wake is not None
        while not self._is_due() and not self._stop_requested:
            remaining = when - time.monotonic()
            if remaining <= 0:
                return
            if any(event.event is not TaskInstanceEvent.START for event in self._reports):
                await asyncio.sleep(
                    min(remaining, 0.01)
                )  # busy: a look now and then is cheaper than one a report
                continue
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), remaining)
            except TimeoutError:
                return

    async def _keep_alive(self, channel: Channel) -> None:
        while True:
            await asyncio.sleep(self._options.heartbeat_interval)
            try:
                answer = await channel.call(lambda: self._gateway.heartbeat(self._next_report_seconds))
            except JobmonError:
                continue  # the turns meet the same server and say so if it stays away
            if answer.status != self._run_status:
                self._obey_status(answer.status)
                self._rouse()

    async def _listen(self, channel: Channel) -> None:
        """Take what others change, as soon as it is committed."""
        while True:
            cursor, status = self._cursor, self._run_status
            try:
                news = await channel.call(lambda c=cursor, s=status: self._gateway.feed(c, s, FEED_SECONDS))  # type: ignore[misc]
            except JobmonError:
                await asyncio.sleep(FEED_PAUSE_SECONDS)
                continue
            if news.cursor < self._synced_cursor:  # older than what a turn has told since: look again
                self._obey_status(news.run_status)
                self._rouse()
            else:
                self._apply_news(news)

    def _apply_news(self, news: FeedResponse) -> None:
        state = self._state
        assert state is not None
        self._cursor = max(self._cursor, news.cursor)
        state.max_concurrently_running = news.max_concurrently_running
        state.array_limits.update(news.array_limits)
        state.apply(news.tasks)
        for local in self._local.values():
            local.terminate(news.kill)
        self._obey_status(news.run_status)
        self._rouse()

    async def _show_progress(self) -> None:
        while True:
            self._publish()
            await asyncio.sleep(PROGRESS_SECONDS)

    def _publish(self) -> None:
        if self._on_progress is None or self._state is None:
            return
        counts = self._state.counts
        elapsed = time.monotonic() - self._started_at
        self._on_progress(
            Progress(
                counts.total,
                counts.done,
                counts.running,
                counts.failed,
                counts.pending,
                elapsed,
                self._run_status.value,
            )
        )


def _as_lost(event: InstanceEvent) -> InstanceEvent:
    """In a hot resume, attempts that end with their controller are not ended by order: their tasks run again."""
    if event.event is TaskInstanceEvent.ABORT:
        event.event, event.cause = TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE
        event.description = "It ran inside a controller that handed over."
    return event
