"""Tells the long polls of one server process what other processes have committed.

What this process commits wakes its own long polls at once. For the rest it asks the database, ten times a second while anybody
listens, where the runs stand that somebody listens to: one statement for all of them, by their primary keys. Only of runs that
moved it asks who moved them, for a controller needs no news of itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import SQLAlchemyError

from jobmon.server.web.database import Database
from jobmon.server.web.store import feed
from jobmon.server.web.store.feed import RunPosition

logger = logging.getLogger("jobmon.server")

POLL_SECONDS = 0.1
PAUSE_SECONDS = 1.0
"""After a look that failed: the database may be away."""

Positions = Mapping[int, RunPosition]


class FeedPoller:
    """Watches the runs that long polls of this process wait for; to be used on its loop.

    Args:
        database: where everything is kept.
        own_actor: whose changes are no news.
        wake: called with the runs that others changed.
    """

    def __init__(self, database: Database, own_actor: str, wake: Callable[[Iterable[int]], None]) -> None:
        self._database, self._own_actor, self._wake = database, own_actor, wake
        self._seen: dict[int, RunPosition] = {}
        self._polling: asyncio.Task[None] | None = None
        self._limiter: CapacityLimiter | None = None

    def watch(self, workflow_run_id: int, position: RunPosition) -> None:
        """Watch a run from where a long poll has just seen it, unless it is watched already."""
        self._seen.setdefault(workflow_run_id, position)
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())

    def forget(self, workflow_run_id: int) -> None:
        """Watch a run no longer: nobody waits for it."""
        self._seen.pop(workflow_run_id, None)

    def stop(self) -> None:
        """Watch nothing any more."""
        self._seen.clear()
        if self._polling is not None:
            self._polling.cancel()

    async def _poll(self) -> None:
        """Look until nobody waits."""
        self._limiter = CapacityLimiter(1)  # of its own: it must not wait behind requests
        try:
            while True:
                await asyncio.sleep(POLL_SECONDS)
                if not self._seen:
                    return
                await self._look()
        finally:
            self._polling = None

    async def _look(self) -> None:
        try:
            positions, changed = await to_thread.run_sync(self._read, dict(self._seen), limiter=self._limiter)
        except SQLAlchemyError as error:
            logger.debug("the feeds could not be looked at: %s", error)
            await asyncio.sleep(PAUSE_SECONDS)
            return
        for run_id, position in positions.items():
            if run_id in self._seen:
                self._seen[run_id] = position
        self._wake(changed)

    def _read(self, seen: Positions) -> tuple[Positions, set[int]]:
        with self._database.read() as connection:
            now = feed.runs_positions(connection, list(seen))
            changed = {run_id for run_id, at in now.items() if at.status != seen[run_id].status}
            moved = {
                run_id: seen[run_id].cursor for run_id, at in now.items() if at.cursor > seen[run_id].cursor
            }
            return now, changed | feed.runs_changed_by_others(connection, moved, self._own_actor)
