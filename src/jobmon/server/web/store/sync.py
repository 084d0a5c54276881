"""A controller's turn: events of attempts, then new batches, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import TaskStatus, WorkflowRunStatus
from jobmon.serializers.swarm import SyncRequest, SyncResponse, TaskChanges
from jobmon.server.web import dialect
from jobmon.server.web.models import WorkflowRun
from jobmon.server.web.store.attempts import Applied, attempts_apply_events, runs_advance_cursor
from jobmon.server.web.store.bad_nodes import bad_nodes_note
from jobmon.server.web.store.batches import batch_queue_if_ready
from jobmon.server.web.store.remote import conditions_store, queue_reasons_store

_RUN = select(
    WorkflowRun.workflow_id,
    WorkflowRun.status,
    WorkflowRun.last_cursor,
    WorkflowRun.is_draining,
).where(WorkflowRun.id == bindparam("run_id"))
MAY_QUEUE = frozenset({WorkflowRunStatus.LAUNCHED, WorkflowRunStatus.RUNNING})


def run_sync(
    connection: Connection,
    workflow_run_id: int,
    message: SyncRequest,
    *,
    now: datetime,
    actor: str,
    max_infrastructure_losses: int,
    bad_node_seconds: float = 0,
    note: Callable[[Applied], object] = lambda _: None,
) -> SyncResponse:
    """Apply events, note what is the matter with clusters and create batches; a run that may not go on queues nothing.

    ``bad_node_seconds`` is how long a node that events blame is remembered; 0: not at all. ``note`` is told what events did.

    Raises:
        NotFoundError: there is no such run.
    """
    run = connection.execute(dialect.lock_rows(connection, _RUN), {"run_id": workflow_run_id}).first()
    if run is None:
        raise NotFoundError(f"There is no workflow run {workflow_run_id}.")
    applied = Applied()
    if message.events:
        applied = attempts_apply_events(
            connection,
            message.events,
            now=now,
            actor=actor,
            max_infrastructure_losses=max_infrastructure_losses,
            locked={workflow_run_id: run.last_cursor},
        )
        bad_nodes_note(connection, applied.blaming, now=now, seconds=bad_node_seconds)
        note(applied)
    queue_reasons_store(connection, workflow_run_id, message.queue_reasons)
    if message.conditions is not None:
        conditions_store(connection, workflow_run_id, message.conditions)
    cursor = applied.cursors.get(workflow_run_id, run.last_cursor)
    batches = []
    may_queue = (
        WorkflowRunStatus(run.status) in MAY_QUEUE
        and not run.is_draining
        and _are_done(applied, message.requires_done)
    )
    if message.batches and may_queue:
        if cursor == run.last_cursor:
            cursor = runs_advance_cursor(connection, [workflow_run_id], {workflow_run_id: cursor})[
                workflow_run_id
            ]
        batches = [
            batch_queue_if_ready(
                connection, workflow_run_id, run.workflow_id, batch, cursor=cursor, now=now, actor=actor
            )
            for batch in message.batches
        ]
    return SyncResponse(
        run.status,
        run.last_cursor,
        cursor,
        _changes(applied),
        batches,
        sorted({*applied.stop, *applied.unknown}),
        run.is_draining,
    )


def _are_done(applied: Applied, task_ids: Sequence[int]) -> bool:
    done = {a.task_id for a in applied.attempts.values() if a.task_status is TaskStatus.DONE}
    return done.issuperset(task_ids)


def _changes(applied: Applied) -> TaskChanges:
    """Also of tasks that did not change: an answer that got lost is asked for again, and told in full."""
    named = {attempt.task_id: attempt for attempt in applied.attempts.values()}
    attempts = {**named, **applied.changed_tasks}.values()
    return TaskChanges(
        [attempt.task_id for attempt in attempts],
        "".join(attempt.task_status for attempt in attempts),
        [attempt.num_attempts for attempt in attempts],
    )
