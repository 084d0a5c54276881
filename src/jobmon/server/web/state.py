"""What the routes of one server process share. Nothing in it that another process could not rebuild."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from anyio import CapacityLimiter

from jobmon.core.configuration import JobmonConfig
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.feed_poller import FeedPoller
from jobmon.server.web.group_commit import GroupCommit
from jobmon.server.web.roles import Role
from jobmon.server.web.store.feed import RunPosition
from jobmon.server.web.store.ownership import Owners
from jobmon.server.web.ui.computed import Computed
from jobmon.server.web.watching import Watching

if TYPE_CHECKING:
    from jobmon.server.services.host import ServiceHost
    from jobmon.server.web.ui.live import LiveTopics

CONTROLLER = "controller"
"""What controllers are called in the history."""

GATHER_SECONDS = 0.05
"""How long a controller's feed waits for more after an event of a wrapper."""


class FeedNotifier:
    """Wakes the long polls of a run when another than its controller changed something.

    Args:
        database: to be asked what other processes commit; ``None``: there are none.
    """

    def __init__(self, database: Database | None = None) -> None:
        self.poller = None if database is None else FeedPoller(database, CONTROLLER, self._wake)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[int, set[asyncio.Event]] = defaultdict(set)
        self._gathering: set[int] = set()

    @property
    def num_listeners(self) -> int:
        """Long polls that are open."""
        return sum(map(len, self._waiting.values()))

    def notify(self, workflow_run_ids: Iterable[int]) -> None:
        """Wake who waits for these runs; called from any thread, after the commit."""
        loop, ids = self._loop, list(workflow_run_ids)
        if loop is not None and not loop.is_closed() and ids:
            loop.call_soon_threadsafe(self._wake, ids)

    def notify_soon(self, workflow_run_ids: Iterable[int]) -> None:
        """The same, but what changes within a moment is told together: one wrapper's event is rarely the only one."""
        loop, ids = self._loop, list(workflow_run_ids)
        if loop is not None and not loop.is_closed() and ids:
            loop.call_soon_threadsafe(self._wake_soon, loop, ids)

    def _wake_soon(self, loop: asyncio.AbstractEventLoop, workflow_run_ids: list[int]) -> None:
        for run_id in workflow_run_ids:
            if run_id in self._waiting and run_id not in self._gathering:
                self._gathering.add(run_id)
                loop.call_later(GATHER_SECONDS, self._wake_gathered, run_id)

    def _wake_gathered(self, run_id: int) -> None:
        self._gathering.discard(run_id)
        self._wake([run_id])

    def _wake(self, workflow_run_ids: Iterable[int]) -> None:
        for run_id in workflow_run_ids:
            for event in self._waiting.get(run_id, ()):
                event.set()

    def wake_all(self) -> None:
        """End every long poll; called on the loop, when the server closes."""
        self._wake(list(self._waiting))

    async def wait(
        self,
        workflow_run_id: int,
        event: asyncio.Event,
        timeout_seconds: float,
        seen: RunPosition | None = None,
    ) -> None:
        """Wait until the run changes or the time is over.

        Args:
            workflow_run_id: the run.
            event: what ``listen`` has registered.
            timeout_seconds: how long to wait.
            seen: where the run stood after that.
        """
        if self.poller is not None and seen is not None:
            self.poller.watch(workflow_run_id, seen)
        try:
            await asyncio.wait_for(event.wait(), timeout_seconds)
        except TimeoutError:
            pass

    def listen(self, workflow_run_id: int) -> asyncio.Event:
        """Register before looking at the database, so that nothing falls between."""
        self._loop = asyncio.get_running_loop()
        event = asyncio.Event()
        self._waiting[workflow_run_id].add(event)
        return event

    def forget(self, workflow_run_id: int, event: asyncio.Event) -> None:
        """End what ``listen`` began."""
        waiting = self._waiting.get(workflow_run_id, set())
        waiting.discard(event)
        if not waiting:
            self._waiting.pop(workflow_run_id, None)
            if self.poller is not None:
                self.poller.forget(workflow_run_id)


class ServerState:
    """Database, feed and configuration of one server process.

    Args:
        config: the configuration.
        database: where everything is kept.
        role: what it serves.
    """

    def __init__(self, config: JobmonConfig, database: Database, role: Role = Role.ALL) -> None:
        self.config = config
        self.database = database
        self.role = role
        self.is_local = False  # the local server of one user, which may start processes of theirs
        is_alone = dialect.is_sqlite(database.engine) and config.get_int("server", "workers") <= 1
        self.feed = FeedNotifier(None if is_alone else database)
        self.max_infrastructure_losses = config.get_int("task", "max_infrastructure_losses")
        self.bad_node_seconds = config.get_float("task", "bad_node_seconds")
        self.watching = Watching(config, database, role)
        self.owners = Owners()
        self.group_commit = GroupCommit(
            database,
            self.feed.notify_soon,
            self.max_infrastructure_losses,
            self.bad_node_seconds,
            watch=self.watching.committing,
            owners=self.owners,
        )
        self.services: ServiceHost | None = None  # while the server runs, where they are its task
        self.computed = Computed()
        self.live: LiveTopics | None = None  # once the pages are served
        self.last_used = time.monotonic()
        self.is_closing = False
        self._limiter: CapacityLimiter | None = None

    @property
    def limiter(self) -> CapacityLimiter:
        """Bounds the requests worked on at once."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(16)
        return self._limiter

    def close(self) -> None:
        """Answer the long polls and begin no new ones."""
        self.is_closing = self.watching.readiness.is_closing = True
        self.feed.wake_all()
        if self.live is not None:
            self.live.close()

    def stop(self) -> None:
        """Give back what it holds; after the last request."""
        if self.feed.poller is not None:
            self.feed.poller.stop()
        self.computed.stop()
        self.database.dispose()

    def touch(self) -> None:
        """Note that the server is in use."""
        self.last_used = time.monotonic()
