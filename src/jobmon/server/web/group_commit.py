"""Group commit: events of single attempts that arrive within a few milliseconds share one transaction.

A wrapper gets its answer after the commit that holds its event, so what is acknowledged is durable; and the cost of
the commit is shared by all that were waiting for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial

from anyio import to_thread
from sqlalchemy import Connection

from jobmon.core.exceptions import InvalidStateTransition, NotAllowedError, NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.serializers.worker import WorkerResponse
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.failure_dialect import is_fault_of_values
from jobmon.server.web.fsm.task import Attempt, may_go_on
from jobmon.server.web.identity import Identity, may_report, may_report_all
from jobmon.server.web.store.attempts import Applied, attempts_apply_events
from jobmon.server.web.store.bad_nodes import bad_nodes_note
from jobmon.server.web.store.outside import workflow_finish_if_done
from jobmon.server.web.store.ownership import Owners, owner_read

WORKER = "worker"
MAX_EVENTS = 2000
CROWD = 50
"""Events that are committed at once, however short ago the last commit was."""
SPACING_SECONDS = 0.025
"""Between two commits of fewer: a commit costs as much as some ten events, and a wrapper that waits uses no CPU time."""


_Waiting = tuple[InstanceEvent, asyncio.Future[WorkerResponse], Identity | None]
Watch = Callable[[int], AbstractContextManager[Callable[[Applied], None]]]


class GroupCommit:
    """The intake of single events.

    Args:
        database: where they are stored.
        notify: called with the runs that were touched, after the commit.
        max_infrastructure_losses: budget of losses that are not a task's fault.
        bad_node_seconds: how long a node that events blame is remembered.
        watch: what sees each transaction: called with the number of events, told what they did.
        owners: remembers whose workflows are.
    """

    def __init__(
        self,
        database: Database,
        notify: Callable[[Iterable[int]], None],
        max_infrastructure_losses: int,
        bad_node_seconds: float = 0,
        watch: Watch | None = None,
        owners: Owners | None = None,
    ) -> None:
        self._database, self._notify, self._losses = database, notify, max_infrastructure_losses
        self._bad_node_seconds = bad_node_seconds
        self._watch, self._owners = watch, owners or Owners()
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        self._crowded: asyncio.Future[None] | None = None  # waited for by a commit that is put off
        self._last_two = (float("-inf"), float("-inf"))  # when the last two commits began (monotonic)

    @property
    def num_waiting(self) -> int:
        """Events that wait for their transaction."""
        return len(self._waiting)

    async def submit(self, event: InstanceEvent, identity: Identity | None = None) -> WorkerResponse:
        """Store one event; returns after the commit.

        Args:
            event: the event.
            identity: who tells it; ``None``: somebody who may speak for every attempt.

        Raises:
            NotFoundError: there is no such attempt.
            NotAllowedError: its sender may not speak for it.
            InvalidStateTransition: the event is illegal in the attempt's state.
        """
        future: asyncio.Future[WorkerResponse] = asyncio.get_running_loop().create_future()
        sender = None if identity is None or may_report_all(identity) else identity
        self._waiting.append((event, future, sender))
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
                await self._commit(group)
        finally:
            self._committing = self._crowded = None

    async def _commit(self, group: list[_Waiting]) -> None:
        """Commit events and answer those who wait for it."""
        events = [event for event, _, _ in group]
        senders = {id(event): sender for event, _, sender in group if sender is not None}
        try:
            applied = await to_thread.run_sync(self._store_watched, events, senders)
        except Exception as error:  # noqa: BLE001 - every waiter gets the error as its answer
            if len(group) > 1 and is_fault_of_values(error):  # of one of them: it must not harm the others
                for half in (group[: len(group) // 2], group[len(group) // 2 :]):
                    await self._commit(half)
                return
            for _, future, _ in group:
                if not future.done():
                    future.set_exception(error)
            return
        illegal, refused = ({id(e) for e in some} for some in (applied.illegal, applied.refused))
        for event, future, _ in group:
            if future.done():
                continue
            if id(event) in refused:
                future.set_exception(_refusal(event))
            else:
                _answer(event, future, applied, id(event) in illegal)

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

    def _store_watched(self, events: list[InstanceEvent], senders: Mapping[int, Identity]) -> Applied:
        if self._watch is None:
            return self._store(events, senders)
        with self._watch(len(events)) as tell:
            applied = self._store(events, senders)
            tell(applied)
            return applied

    def _store(self, events: list[InstanceEvent], senders: Mapping[int, Identity]) -> Applied:
        """Apply events in one transaction; ``senders``: by the events' identities, where it matters who told them."""

        def work(connection: Connection) -> Applied:
            now = dialect.utcnow(connection)
            look = partial(owner_read, connection)

            def is_refused(event: InstanceEvent, attempt: Attempt) -> bool:
                sender = senders.get(id(event))
                return sender is not None and not may_report(
                    sender, self._owners.owner("workflow_run_id", attempt.workflow_run_id, look)
                )

            applied = attempts_apply_events(
                connection,
                events,
                now=now,
                actor=WORKER,
                max_infrastructure_losses=self._losses,
                is_refused=is_refused if senders else None,
            )
            bad_nodes_note(connection, applied.blaming, now=now, seconds=self._bad_node_seconds)
            return applied

        applied = self._database.retrying_write(work)
        for run_id in sorted(applied.outlived_runs):
            self._database.retrying_write(partial(_finish, run_id))
        self._notify(applied.cursors)
        return applied


def _finish(workflow_run_id: int, connection: Connection) -> None:
    """In a transaction of its own: workflows are locked before their runs."""
    workflow_finish_if_done(connection, workflow_run_id, now=dialect.utcnow(connection), actor=WORKER)


def _refusal(event: InstanceEvent) -> NotAllowedError:
    return NotAllowedError(
        f"Task instance {event.task_instance_id} is of another workflow than this token speaks for."
    )


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
