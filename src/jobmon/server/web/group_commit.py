"""Group commit: events of single attempts that arrive within a few milliseconds share one transaction.

A wrapper gets its answer after the commit that holds its event, so what is acknowledged is durable; and the cost of
the commit is shared by all that were waiting for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from anyio import to_thread
from sqlalchemy import Connection

from jobmon.core.exceptions import InvalidStateTransition, NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.serializers.worker import WorkerResponse
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.fsm.task import may_go_on
from jobmon.server.web.store.attempts import Applied, attempts_apply_events

MAX_EVENTS = 2000


class GroupCommit:
    """The intake of single events.

    Args:
        database: where they are stored.
        notify: called with the runs that were touched, after the commit.
        max_infrastructure_losses: budget of losses that are not a task's fault.
    """

    def __init__(
        self, database: Database, notify: Callable[[Iterable[int]], None], max_infrastructure_losses: int
    ) -> None:
        self._database, self._notify, self._losses = database, notify, max_infrastructure_losses
        self._waiting: list[tuple[InstanceEvent, asyncio.Future[WorkerResponse]]] = []
        self._committing: asyncio.Task[None] | None = None

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
        return await future

    async def _commit_all(self) -> None:
        """Commit what waits until nothing waits; what arrives during a commit shares the next one."""
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MAX_EVENTS], self._waiting[MAX_EVENTS:]
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
            self._committing = None

    def _store(self, events: list[InstanceEvent]) -> Applied:
        def work(connection: Connection) -> Applied:
            return attempts_apply_events(
                connection,
                events,
                now=dialect.utcnow(connection),
                actor="worker",
                max_infrastructure_losses=self._losses,
            )

        applied = self._database.retrying_write(work)
        if applied.num_changed:
            self._notify(applied.cursors)
        return applied


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
