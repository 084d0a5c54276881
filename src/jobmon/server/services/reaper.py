"""The reaper: ends runs whose controller died without a word, so that nothing is "running" for ever.

A run is lost when its sign of life is overdue by the database's clock *and* this process has watched it stay so
for a while by a clock that nobody can set. A suspended laptop or a corrected clock therefore loses nothing.

Attempts on batch clusters do not die with their controller: they are left alone, however long they are silent, for the server
cannot ask their cluster. The next run adopts them and asks, or an order ends them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from anyio import to_thread
from sqlalchemy import Connection, select

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    WORKFLOW_RUN,
    WORKFLOW_RUN_ALIVE,
    WORKFLOW_RUN_TERMINAL,
    Cause,
    TaskInstanceEvent,
    TaskInstanceStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
)
from jobmon.server.web import dialect
from jobmon.server.web.models import TaskInstance, WorkflowRun
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.remote import is_remote
from jobmon.server.web.store.resume import controller_lives
from jobmon.server.web.store.runs import run_apply_event

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

logger = logging.getLogger("jobmon.server.reaper")

GRACE_SECONDS = 60.0
REMOTE_GRACE_SECONDS = 24 * 3600.0
"""How long an attempt on a batch cluster is waited for that was ordered to end: its job may wait in a queue, and somebody
who can reach the cluster is to cancel it first. Its wrapper, once started, is told to end and says so."""
ACTOR = "server"

END_OF_LOST_RUN = (WorkflowRunEvent.ABORT, WorkflowRunEvent.TERMINATE, WorkflowRunEvent.FAIL)


@dataclass
class ReaperResult:
    """What one look did: runs ended (with their new state), attempts ended."""

    runs: dict[int, str] = field(default_factory=dict)
    attempts: list[int] = field(default_factory=list)


class Reaper:
    """Looks for lost runs.

    Args:
        max_infrastructure_losses: budget of losses that are not a task's fault.
        grace_seconds: how long a run is watched before it counts as lost.
    """

    def __init__(self, max_infrastructure_losses: int, grace_seconds: float = GRACE_SECONDS) -> None:
        self.losses, self.grace_seconds = max_infrastructure_losses, grace_seconds
        self._overdue_since: dict[int, tuple[datetime, float]] = {}

    def run_once(self, connection: Connection, now: datetime, monotonic: float) -> ReaperResult:
        """End what is lost.

        Args:
            connection: a write transaction.
            now: time of the database.
            monotonic: seconds on a clock that nobody can set.
        """
        result = ReaperResult()
        overdue = connection.execute(
            select(WorkflowRun.id, WorkflowRun.status, WorkflowRun.heartbeat_date, WorkflowRun.controller)
            .where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE), WorkflowRun.heartbeat_date < now)
            .order_by(WorkflowRun.id)
        ).all()
        watched = {}
        for run_id, letter, heartbeat_date, controller in overdue:
            if controller_lives(controller):
                continue
            known = self._overdue_since.get(run_id)
            since = known[1] if known is not None and known[0] == heartbeat_date else monotonic
            watched[run_id] = (heartbeat_date, since)
            if monotonic - since >= self.grace_seconds:
                event = self._end_event(WorkflowRunStatus(letter))
                state = run_apply_event(
                    connection,
                    run_id,
                    event,
                    now=now,
                    actor=ACTOR,
                    max_infrastructure_losses=self.losses,
                )
                result.runs[run_id] = state.status
        self._overdue_since = watched
        result.attempts = self._end_orphans(connection, now)
        return result

    @staticmethod
    def _end_event(status: WorkflowRunStatus) -> WorkflowRunEvent:
        return next(event for event in END_OF_LOST_RUN if event in WORKFLOW_RUN[status])

    def _end_orphans(self, connection: Connection, now: datetime) -> list[int]:
        """Attempts ordered to end whose run is over: after the grace nobody will say that they ended."""
        since = TaskInstance.status_date
        orphans = connection.scalars(
            select(TaskInstance.id)
            .join(WorkflowRun, WorkflowRun.id == TaskInstance.workflow_run_id)
            .where(
                TaskInstance.status == TaskInstanceStatus.KILL_SELF.value,
                WorkflowRun.status.in_(WORKFLOW_RUN_TERMINAL),
                since < now - timedelta(seconds=5 * self.grace_seconds),
                ~is_remote() | (since < now - timedelta(seconds=REMOTE_GRACE_SECONDS)),
            )
        ).all()
        events = [
            InstanceEvent(
                task_instance_id,
                TaskInstanceEvent.ABORT,
                cause=Cause.ORDERED,
                description="Its run is over and nobody reported its end.",
            )
            for task_instance_id in orphans
        ]
        attempts_apply_events(connection, events, now=now, actor=ACTOR, max_infrastructure_losses=self.losses)
        return list(orphans)


async def run_forever(state: ServerState) -> None:
    """Look every ``reaper.poll_interval_minutes``, as long as the server runs."""
    reaper = Reaper(state.max_infrastructure_losses)
    interval = max(1.0, state.config.get_float("reaper", "poll_interval_minutes") * 60)

    def look() -> ReaperResult:
        return state.database.retrying_write(
            lambda connection: reaper.run_once(connection, dialect.utcnow(connection), time.monotonic())
        )

    while True:
        await asyncio.sleep(min(interval, GRACE_SECONDS))
        try:
            result = await to_thread.run_sync(look)
        except Exception:
            logger.exception("the look for lost runs failed")
            continue
        if result.runs or result.attempts:
            logger.warning("ended lost runs %s and attempts %s", result.runs, result.attempts)
