"""What goes on beside the turns of a controller: signs of life, the feed, the host, the progress shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from jobmon.core.exceptions import DistributorNotAlive, JobmonError
from jobmon.distributor.attempts import ClusterAttempts
from jobmon.serializers.swarm import FeedResponse
from jobmon.swarm.channel import Channel
from jobmon.swarm.gateway import Gateway
from jobmon.swarm.outcome import Progress, RunOptions
from jobmon.swarm.situation import Situation
from jobmon.swarm.state import Counts, SwarmState

FEED_SECONDS = 20.0
FEED_PAUSE_SECONDS = 1.0
FEED_GATHER_SECONDS, LONGEST_GATHER_SECONDS = 0.05, 0.5
GATHER_SECONDS_PER_ATTEMPT = 0.0001
"""The more attempts live, the more often there is news, and the less depends on that of one."""
GATHER_SECONDS_PER_LAST_ATTEMPT = 0.0005
"""The same when no task waits any more."""
PROGRESS_SECONDS = 0.2
HOST_SECONDS = 1.0


class Beside:
    """Keeps a run alive and up to date while its turns are taken.

    Args:
        gateway: the server.
        options: limits and intervals.
        situation: what is known of the run.
        state: the tasks.
        clusters: the attempts on each cluster.
        started_at: when the run began (monotonic).
        on_progress: called a few times a second.
        is_host_alive: asked now and then; when it says no, the run ends.
    """

    def __init__(
        self,
        gateway: Gateway,
        options: RunOptions,
        situation: Situation,
        state: SwarmState,
        clusters: Mapping[str, ClusterAttempts],
        started_at: float,
        on_progress: Callable[[Progress], None] | None,
        is_host_alive: Callable[[], bool] | None,
    ) -> None:
        self._gateway, self._options = gateway, options
        self._situation, self._state, self._clusters = situation, state, clusters
        self._started_at = started_at
        self._on_progress, self._is_host_alive = on_progress, is_host_alive

    def begin(self) -> tuple[list[asyncio.Task[None]], list[Channel]]:
        """Start all of it; the tasks to cancel and the channels to close at the end."""
        channels: list[Channel] = []

        def start(name: str, work: Callable[[Channel], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
            channels.append(Channel(f"jobmon-{name}"))
            return asyncio.create_task(work(channels[-1]))

        tasks = [start("heartbeat", self._keep_alive), start("feed", self._listen)]
        if self._is_host_alive is not None:
            tasks.append(start("host", self._watch_host))
            tasks[-1].add_done_callback(self._note_host)
        tasks.append(asyncio.create_task(self._show_progress()))
        return tasks, channels

    async def _keep_alive(self, channel: Channel) -> None:
        seconds = self._options.heartbeat_interval * self._options.report_by_buffer
        while True:
            await asyncio.sleep(self._options.heartbeat_interval)
            try:
                answer = await channel.call(lambda: self._gateway.heartbeat(seconds))
            except JobmonError:
                continue  # the turns meet the same server and say so if it stays away
            if answer.status != self._situation.status or answer.is_draining:
                self._situation.obey(answer.status, answer.is_draining)
                self._situation.rouse()

    async def _watch_host(self, channel: Channel) -> None:
        assert self._is_host_alive is not None
        while await channel.call(self._is_host_alive):
            await asyncio.sleep(HOST_SECONDS)

    def _note_host(self, task: asyncio.Task[None]) -> None:
        """The host is not alive any more, or asking it raised an error, which says the same."""
        if task.cancelled():
            return
        error = task.exception()
        self._situation.failure = DistributorNotAlive(
            f"The distributor of workflow run {self._gateway.workflow_run_id} is not alive any more; the run ends."
            + (f" ({type(error).__name__}: {error})" if error is not None else "")
        )
        self._situation.rouse()

    async def _listen(self, channel: Channel) -> None:
        """Take what others change, as soon as it is committed."""
        situation = self._situation
        asked_at = 0.0
        while True:
            # one answer may tell of many: a burst of news is not asked for one by one
            await asyncio.sleep(max(0.0, asked_at + gather_seconds(self._state.counts) - time.monotonic()))
            asked_at = time.monotonic()
            cursor, status = situation.cursor, situation.status
            try:
                news = await channel.call(lambda c=cursor, s=status: self._gateway.feed(c, s, FEED_SECONDS))  # type: ignore[misc]
            except JobmonError:
                await asyncio.sleep(FEED_PAUSE_SECONDS)
                continue
            if news.cursor < situation.synced_cursor:  # older than what a turn has told since: look again
                situation.obey(news.run_status, news.is_draining)
                situation.rouse()
            else:
                self._apply(news)

    def _apply(self, news: FeedResponse) -> None:
        self._situation.cursor = max(self._situation.cursor, news.cursor)
        self._state.max_concurrently_running = news.max_concurrently_running
        self._state.array_limits.update(news.array_limits)
        self._state.apply(news.tasks)
        for task_instance_id, maxrss in news.instances.maxrss.items():
            self._situation.note_peak(task_instance_id, maxrss)
        for cluster in self._clusters.values():
            cluster.terminate(news.kill)
            cluster.note_changes(news.instances)
            cluster.note_limits(news.max_concurrently_running, news.array_limits)
        self._situation.obey(news.run_status, news.is_draining)
        self._situation.rouse()

    async def _show_progress(self) -> None:
        while True:
            self.publish()
            await asyncio.sleep(PROGRESS_SECONDS)

    def publish(self) -> None:
        """Show where the run stands."""
        if self._on_progress is None:
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
                self._situation.status.value,
                " ".join(condition.text for condition in self._situation.conditions.values()),
            )
        )


def gather_seconds(counts: Counts) -> float:
    """How long news gathers before it is asked for once more: short where few attempts live, as at the end of a run."""
    each = GATHER_SECONDS_PER_ATTEMPT if counts.pending else GATHER_SECONDS_PER_LAST_ATTEMPT
    return min(LONGEST_GATHER_SECONDS, FEED_GATHER_SECONDS + each * counts.active)
