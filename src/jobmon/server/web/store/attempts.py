"""Events of attempts: the one path by which task instances and tasks change while a workflow runs."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, update

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    RETRY_POLICIES,
    TASK_INSTANCE_LIVE,
    WORKFLOW_RUN_TERMINAL,
    RetryPolicies,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    retry_policies,
)
from jobmon.server.web import bulk, dialect
from jobmon.server.web.fsm.task import Attempt, Step, Verdict, decide
from jobmon.server.web.models import (
    Array,
    Task,
    TaskHistory,
    TaskInstance,
    TaskInstanceErrorLog,
    WorkflowRun,
)
from jobmon.server.web.store.progress import Changes, progress_add

logger = logging.getLogger("jobmon.server")

CHUNK = 1000
DESCRIPTION_CHARACTERS = 20_000
NO_POLICY = "{}"

_instance: Any = TaskInstance.__table__
_task: Any = Task.__table__

_NOT_DETAILS = ("description", "next_report_increment", "blames_node")
"""What an event may say beside the columns of its attempt."""
_INSTANCE_STATUS = {status.value: status for status in TaskInstanceStatus}
_TASK_STATUS = {status.value: status for status in TaskStatus}
# Statements are built once: building one takes longer than running it.
_LOCK_RUNS = (
    select(WorkflowRun.id, WorkflowRun.last_cursor)
    .where(dialect.among(WorkflowRun.id, "ids"))
    .order_by(WorkflowRun.id)
)
_LOCK_RUNS_OF = (
    select(WorkflowRun.id, WorkflowRun.last_cursor, WorkflowRun.status)
    .where(
        WorkflowRun.id.in_(select(TaskInstance.workflow_run_id).where(dialect.among(TaskInstance.id, "ids")))
    )
    .order_by(WorkflowRun.id)
)
_ADVANCE_CURSOR = (
    update(WorkflowRun)
    .where(dialect.among(WorkflowRun.id, "ids"))
    .values(last_cursor=WorkflowRun.last_cursor + 1)
)
_LOAD = dialect.in_this_order(
    select(
        TaskInstance.id,
        TaskInstance.task_id,
        TaskInstance.workflow_run_id,
        TaskInstance.status,
        Task.status,
        Task.num_attempts,
        Task.max_attempts,
        Task.num_infrastructure_losses,
        Array.retry_policy,
        TaskInstance.distributor_id,
        TaskInstance.array_id,
    )
    .join(Task, Task.id == TaskInstance.task_id)
    .join(Array, Array.id == TaskInstance.array_id)
    .where(dialect.among(TaskInstance.id, "ids"))
    .order_by(TaskInstance.id)
)
_history: Any = TaskHistory.__table__
HISTORY_COLUMNS = (
    "workflow_run_id",
    "cursor",
    "task_id",
    "task_instance_id",
    "event",
    "instance_from",
    "instance_to",
    "task_from",
    "task_to",
    "occurred_at",
    "actor",
    "note",
)
_APPEND_ERRORS = insert(TaskInstanceErrorLog)


@dataclass
class Applied:
    """What a batch of events did.

    Attributes:
        attempts: every attempt named, as it is now.
        changed_tasks: those whose task changed.
        stop: attempts that may not go on, though what they said changed nothing.
        illegal: events the tables know nothing of.
        refused: events of attempts that their sender may not speak for.
        unknown: attempts that do not exist.
        blaming: events that changed something and blame a node.
        outlived_runs: runs that are over and of which a task is done now all the same.
        cursors: new cursor of each run of which something changed; a sign of life changes nothing.
        num_changed: events that changed something.
    """

    attempts: dict[int, Attempt] = field(default_factory=dict)
    changed_tasks: dict[int, Attempt] = field(default_factory=dict)
    stop: set[int] = field(default_factory=set)
    illegal: list[InstanceEvent] = field(default_factory=list)
    refused: list[InstanceEvent] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    blaming: list[InstanceEvent] = field(default_factory=list)
    outlived_runs: set[int] = field(default_factory=set)
    cursors: dict[int, int] = field(default_factory=dict)
    num_changed: int = 0


def runs_lock(connection: Connection, workflow_run_ids: Iterable[int]) -> dict[int, int]:
    """Lock runs in the order of their ids; the cursor of each."""
    ids = sorted(set(workflow_run_ids))
    rows = connection.execute(dialect.lock_rows(connection, _LOCK_RUNS), {"ids": ids})
    return {row.id: row.last_cursor for row in rows}


def runs_advance_cursor(
    connection: Connection, workflow_run_ids: Iterable[int], locked: Mapping[int, int] | None = None
) -> dict[int, int]:
    """Raise the cursor of runs, inside the transaction that changes them; the new cursors.

    Args:
        connection: a write transaction.
        workflow_run_ids: the runs.
        locked: cursors of runs this transaction has locked already.
    """
    ids = sorted(set(workflow_run_ids))
    if not ids:
        return {}
    cursors = runs_lock(connection, ids) if locked is None else locked
    connection.execute(_ADVANCE_CURSOR, {"ids": ids})
    return {run_id: cursors[run_id] + 1 for run_id in ids}


def attempts_load(
    connection: Connection, task_instance_ids: Iterable[int], max_infrastructure_losses: int
) -> dict[int, Attempt]:
    """Attempts with their tasks, locked."""
    loaded: dict[int, Attempt] = {}
    ids = sorted(set(task_instance_ids))
    for start in range(0, len(ids), CHUNK):
        statement = dialect.lock_rows(connection, _LOAD)
        for row in dialect.rows_of(connection, statement, {"ids": ids[start : start + CHUNK]}):
            loaded[row[0]] = Attempt(
                row[0],
                row[1],
                row[2],
                _INSTANCE_STATUS[row[3]],
                _TASK_STATUS[row[4]],
                row[5],
                row[6],
                row[7],
                max_infrastructure_losses,
                RETRY_POLICIES if row[8] == NO_POLICY else policies_decode(row[8]),
                row[9] or "",
                row[10],
            )
    return loaded


@lru_cache(256)
def policies_decode(text: str) -> RetryPolicies:
    """What follows failures, as an array has it in the database."""
    return retry_policies(msgspec.json.decode(text or NO_POLICY, type=dict[str, str]))


def attempts_apply_events(
    connection: Connection,
    events: Sequence[InstanceEvent],
    *,
    now: datetime,
    actor: str,
    max_infrastructure_losses: int,
    locked: Mapping[int, int] | None = None,
    is_refused: Callable[[InstanceEvent, Attempt], bool] | None = None,
) -> Applied:
    """Apply events to attempts and their tasks; late ones change nothing, and every event may come twice.

    Args:
        connection: a write transaction.
        events: in the order in which they happened.
        now: time of the database.
        actor: who told.
        max_infrastructure_losses: budget of losses that are not a task's fault.
        locked: cursors of runs this transaction has locked already; attempts of other runs are unknown then.
        is_refused: whether the sender of an event may not speak for that attempt; such events change nothing.
    """
    applied = Applied()
    ids = {event.task_instance_id for event in events}
    cursors, over = _runs_lock_of(connection, ids) if locked is None else (locked, frozenset())
    loaded = attempts_load(connection, ids, max_infrastructure_losses)
    strangers = {i for i, attempt in loaded.items() if attempt.workflow_run_id not in cursors}
    if strangers and locked is None:  # another run adopted them while we waited for the lock of theirs
        adopting, over_too = _runs_lock_of(connection, strangers)
        cursors, over, strangers = {**cursors, **adopting}, over | over_too, set()
    applied.attempts = {i: attempt for i, attempt in loaded.items() if i not in strangers}
    writer = _Writer(connection, now, actor, cursors)
    for event in events:
        attempt = applied.attempts.get(event.task_instance_id)
        if attempt is None:
            applied.unknown.append(event.task_instance_id)
            continue
        if is_refused is not None and is_refused(event, attempt):
            applied.refused.append(event)
            continue
        verdict = decide(attempt, event.event, event.cause, event.distributor_id)
        if verdict.is_illegal:
            applied.illegal.append(event)
            logger.warning(
                "task instance %d is %s: event %s is illegal there and was ignored",
                event.task_instance_id,
                attempt.instance_status.name,
                event.event,
            )
        if not verdict.is_live and not verdict.steps:
            applied.stop.add(event.task_instance_id)
        if verdict.steps:
            applied.num_changed += 1
            if event.blames_node:
                applied.blaming.append(event)
            writer.note(attempt, event, verdict)
            if verdict.moves_task:
                applied.changed_tasks[attempt.task_id] = attempt
                if attempt.workflow_run_id in over and attempt.task_status is TaskStatus.DONE:
                    applied.outlived_runs.add(attempt.workflow_run_id)
        elif verdict.is_live and event.next_report_increment:
            writer.note_alive(event)
    applied.cursors = writer.flush()
    return applied


def _runs_lock_of(
    connection: Connection, task_instance_ids: Iterable[int]
) -> tuple[dict[int, int], frozenset[int]]:
    """Lock the runs of attempts in the order of their ids; the cursor of each, and those that are over."""
    ids = sorted(task_instance_ids)
    found: dict[int, tuple[int, str]] = {}
    for start in range(0, len(ids), CHUNK):
        statement = _LOCK_RUNS_OF if len(ids) > CHUNK else dialect.lock_rows(connection, _LOCK_RUNS_OF)
        rows = connection.execute(statement, {"ids": ids[start : start + CHUNK]})
        found.update((row[0], (row[1], row[2])) for row in rows)
    over = frozenset(run_id for run_id, row in found.items() if row[1] in WORKFLOW_RUN_TERMINAL)
    if len(ids) > CHUNK:
        return runs_lock(connection, found), over
    return {run_id: row[0] for run_id, row in found.items()}, over


class _Writer:
    """Collects the changes of a batch and writes them with a handful of statements."""

    def __init__(self, connection: Connection, now: datetime, actor: str, locked: Mapping[int, int]) -> None:
        self.connection, self.now, self.actor, self.locked = connection, now, actor, locked
        self._reports_by: dict[float, datetime] = {}
        self.instances: dict[int, dict[str, Any]] = {}
        self.attempts: dict[int, Attempt] = {}
        self.moved_tasks: dict[int, Attempt] = {}
        self.history: list[tuple[Attempt, Step]] = []
        self.errors: list[dict[str, Any]] = []

    def note(self, attempt: Attempt, event: InstanceEvent, verdict: Verdict) -> None:
        values = self.instances.setdefault(attempt.task_instance_id, {})
        values["status"] = str(attempt.instance_status)
        values["status_date"] = self.now
        if event.event is TaskInstanceEvent.LAUNCH:
            values["submitted_date"] = self.now
        details = msgspec.to_builtins(event)  # without those that say nothing
        del details["task_instance_id"], details["event"]
        for name in _NOT_DETAILS:
            if name in details:
                del details[name]
        values.update(details)
        if event.next_report_increment:
            values["report_by_date"] = self._report_by(event.next_report_increment)
        self.attempts[attempt.task_instance_id] = attempt
        self.history += [(attempt, step) for step in verdict.steps]
        if verdict.moves_task:
            self.moved_tasks[attempt.task_instance_id] = attempt
        if event.description:
            self.errors.append(
                {
                    "task_instance_id": attempt.task_instance_id,
                    "error_time": self.now,
                    "description": event.description[-DESCRIPTION_CHARACTERS:],
                }
            )

    def note_alive(self, event: InstanceEvent) -> None:
        values = self.instances.setdefault(event.task_instance_id, {})
        values["report_by_date"] = self._report_by(event.next_report_increment)

    def _report_by(self, seconds: float) -> datetime:
        found = self._reports_by.get(seconds)
        if found is None:
            found = self._reports_by[seconds] = self.now + timedelta(seconds=seconds)
        return found

    def flush(self) -> dict[int, int]:
        cursors = runs_advance_cursor(
            self.connection, {attempt.workflow_run_id for attempt, _ in self.history}, self.locked
        )
        update_by_id(self.connection, _instance, self.instances)
        self._update_tasks([self.moved_tasks[i] for i in sorted(self.moved_tasks)])
        history_append(self.connection, self.history, cursors, self.now, self.actor)
        if self.errors:
            self.connection.execute(_APPEND_ERRORS, self.errors)
        self._count()
        return cursors

    def _count(self) -> None:
        """Keep the counters of tasks by status."""
        changes = Changes()
        moved = Counter((attempt.array_id, step.task_from, step.task_to) for attempt, step in self.history)
        for (array_id, before, after), count in moved.items():
            if before is not None and after is not None:
                changes.move(array_id, before, after, count)
        for attempt in self.attempts.values():
            if attempt.num_new_attempts:
                num_before = attempt.num_attempts - attempt.num_new_attempts
                changes.retry(attempt.array_id, max(0, attempt.num_attempts - 1) - max(0, num_before - 1))
        progress_add(self.connection, changes)

    def _update_tasks(self, attempts: Sequence[Attempt]) -> None:
        """One statement for all tasks that go the same way; those whose counts changed row by row."""
        together: dict[TaskStatus, list[tuple[Any, ...]]] = defaultdict(list)
        singly = {}
        for attempt in attempts:
            status = attempt.task_status
            if not (attempt.num_new_attempts or attempt.num_new_losses):
                together[status].append((str(status), self.now, attempt.task_id))
            else:
                singly[attempt.task_id] = {
                    "status": str(status),
                    "status_date": self.now,
                    "num_attempts": attempt.num_attempts,
                    "num_infrastructure_losses": attempt.num_infrastructure_losses,
                }
        for rows in together.values():
            bulk.update_rows(self.connection, _task, ("status", "status_date"), rows)
        update_by_id(self.connection, _task, singly)


def update_by_id(connection: Connection, table: Any, values_by_id: Mapping[int, Mapping[str, Any]]) -> None:
    """Update rows by id, one statement for all rows that set the same columns in the same order."""
    groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for row_id in sorted(values_by_id):
        values = values_by_id[row_id]
        groups[tuple(values)].append((*values.values(), row_id))
    for columns, rows in groups.items():
        bulk.update_rows(connection, table, columns, rows)


def history_append(
    connection: Connection,
    lines: Sequence[tuple[Attempt, Step]],
    cursors: Mapping[int, int],
    now: datetime,
    actor: str,
) -> None:
    """Append lines of history."""
    if not lines:
        return
    rows = [
        (
            attempt.workflow_run_id,
            cursors.get(attempt.workflow_run_id, 0),
            attempt.task_id,
            attempt.task_instance_id,
            *step.columns,
            now,
            actor,
            step.note,
        )
        for attempt, step in lines
    ]
    bulk.insert_rows(connection, _history, HISTORY_COLUMNS, rows)


def attempts_extend_reports(
    connection: Connection, workflow_run_id: int, now: datetime, seconds: float
) -> None:
    """Note a sign of life for all live attempts of a run: those a local cluster runs inside its controller."""
    connection.execute(
        update(TaskInstance)
        .where(TaskInstance.workflow_run_id == workflow_run_id, TaskInstance.status.in_(TASK_INSTANCE_LIVE))
        .values(report_by_date=now + timedelta(seconds=seconds))
    )
