"""Group commit: events of single attempts that arrive within a few milliseconds share one transaction.

A wrapper gets its answer after the commit that holds its event, so what is acknowledged is durable; and the cost of
the commit is shared by all that were waiting for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial

from anyio import to_thread
from sqlalchemy import Connection

from jobmon.core.exceptions import InvalidStateTransition, NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.serializers.worker import WorkerResponse
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.fsm.task import may_go_on
from jobmon.server.web.store.attempts import Applied, attempts_apply_events
from jobmon.server.web.store.bad_nodes import bad_nodes_note
from jobmon.server.web.store.outside import workflow_finish_if_done

WORKER = "worker"
MAX_EVENTS = 2000
CROWD = 50
"""Events that are committed at once, however short ago the last commit was."""
SPACING_SECONDS = 0.025
"""Between two commits of fewer: a commit costs as much as some ten events, and a wrapper that waits uses no CPU time."""


class GroupCommit:
    """The intake of single events.

    Args:
        database: where they are stored.
        notify: called with the runs that were touched, after the commit.
        max_infrastructure_losses: budget of losses that are not a task's fault.
        bad_node_seconds: how long a node that events blame is remembered.
    """

    def __init__(
        self,
        database: Database,
        notify: Callable[[Iterable[int]], None],
        max_infrastructure_losses: int,
        bad_node_seconds: float = 0,
    ) -> None:
        self._database, self._notify, self._losses = database, notify, max_infrastructure_losses
        self._bad_node_seconds = bad_node_seconds
        self._waiting: list[tuple[InstanceEvent, asyncio.Future[WorkerResponse]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._crowded: asyncio.Future[None] | None = None  # waited for by a commit that is put off
        self._last_two = (float("-inf"), float("-inf"))  # when the last two commits began (monotonic)

    async def submit(self, event: InstanceEvent) -> WorkerResponse:
        """Store one event; returns after the commit.

        Raises:
            NotFoundError: there is no such attempt.
            InvalidStateTransition: the event is illegal in the attempt's state.
        """
        future: asyncio.Future[WorkerResponse] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        elif self._crowded is not None and len(self._waiting) == CROWD:
            self._crowded.set_result(None)
        return await future

    async def _commit_all(self) -> None:
        """Commit what waits until nothing waits; what arrives during a commit, and a moment after, shares the next one."""
        try:
            while self._waiting:
                await self._gather()
                group, self._waiting = self._waiting[:MAX_EVENTS], self._waiting[MAX_EVENTS:]
                self._last_two = (self._last_two[1], time.monotonic())
                try:
                    applied = await to_thread.run_sync(self._store, [event for event, _ in group])
                except Exception as error:  # noqa: BLE001 - every waiter gets the error as its answer
                    for _, future in group:
                        if not future.done():
                            future.set_exception(error)
                    continue
                illegal = {id(event) for event in applied.illegal}
                for event, future in group:
                    if not future.done():
                        _answer(event, future, applied, id(event) in illegal)
        finally:
            self._committing = self._crowded = None

    async def _gather(self) -> None:
        """Wait for others when two commits were a moment ago: the first two events after a pause wait for none."""
        first, second = self._last_two
        now = time.monotonic()
        remaining = second + SPACING_SECONDS - now if now < first + 2 * SPACING_SECONDS else 0.0
        if remaining <= 0 or len(self._waiting) >= CROWD:
            return
        self._crowded = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._crowded], timeout=remaining)
        self._crowded = None

    def _store(self, events: list[InstanceEvent]) -> Applied:
        def work(connection: Connection) -> Applied:
            now = dialect.utcnow(connection)
            applied = attempts_apply_events(
                connection, events, now=now, actor=WORKER, max_infrastructure_losses=self._losses
            )
            bad_nodes_note(connection, applied.blaming, now=now, seconds=self._bad_node_seconds)
            return applied

        applied = self._database.retrying_write(work)
        for run_id in sorted(applied.outlived_runs):
            self._database.retrying_write(partial(_finish, run_id))
        if applied.num_changed:
            self._notify(applied.cursors)
        return applied


def _finish(workflow_run_id: int, connection: Connection) -> None:
    """In a transaction of its own: workflows are locked before their runs."""
    workflow_finish_if_done(connection, workflow_run_id, now=dialect.utcnow(connection), actor=WORKER)


def _answer(
    event: InstanceEvent, future: asyncio.Future[WorkerResponse], applied: Applied, is_illegal: bool
) -> None:
    attempt = applied.attempts.get(event.task_instance_id)
    if attempt is None:
        future.set_exception(NotFoundError(f"There is no task instance {event.task_instance_id}."))
    elif is_illegal:
        future.set_exception(
            InvalidStateTransition(
                "Task instance", event.task_instance_id, attempt.instance_status.name, event.event
            )
        )
    else:
        future.set_result(WorkerResponse(attempt.instance_status, may_go_on(attempt.instance_status)))
