"""Failed attempts of a workflow, and what those that are alike have in common. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    func,
    literal,
    select,
)

from jobmon.core.states import TASK_EVENT_OF_INSTANCE_STATE, TaskEvent, TaskStatus
from jobmon.serializers.failures import ErrorClusterRow, ErrorClustersResponse, SharedTrait
from jobmon.serializers.monitor import TaskErrorRow
from jobmon.server.web.analysis.error_clusters import (
    ErrorCluster,
    FailedAttempt,
    all_together,
    cluster_errors,
)
from jobmon.server.web.models import (
    Array,
    Task,
    TaskInstance,
    TaskInstanceErrorLog,
)
from jobmon.server.web.store.define import chunks
from jobmon.server.web.store.monitor import attempts_read_errors, require_workflow
from jobmon.server.web.store.remote import workflow_read_conditions
from jobmon.server.web.store.sharing import Sharing, runs_of

MAX_ATTEMPTS = 200_000
"""Only so many of the latest failed attempts are looked at."""

ARRAY_ATTEMPTS = 20_000
"""The same for one template, as a page shows it."""
LISTED_TASKS = 500
"""Only so many tasks of a kind of failure are listed."""

NOTED_CHARACTERS = 300
TEXT_CHARACTERS = 1500
EXAMPLE_LINES = 12
SHOWN_NODES = 10
_FAILED = tuple(s for s, event in TASK_EVENT_OF_INSTANCE_STATE.items() if event is TaskEvent.FAIL)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)


def _end_of(column: Any, characters: int) -> ColumnElement[str]:
    length = func.char_length(column)
    start = case((length > characters, length - characters + 1), else_=literal(1))
    return func.substr(column, start, characters)


_ATTEMPTS = select(
    TaskInstance.id,
    TaskInstance.task_id,
    TaskInstance.array_id,
    TaskInstance.status_date,
    TaskInstance.nodename,
    TaskInstance.cause,
    TaskInstance.exit_code,
    TaskInstance.stderr,
).where(TaskInstance.id.in_(_IDS))
_STDERR = select(TaskInstance.id, _end_of(TaskInstance.stderr_log, TEXT_CHARACTERS)).where(
    TaskInstance.id.in_(_IDS)
)
_NOTES = (
    select(
        TaskInstanceErrorLog.task_instance_id,
        TaskInstanceErrorLog.error_time,
        func.substr(TaskInstanceErrorLog.description, 1, NOTED_CHARACTERS),
        _end_of(TaskInstanceErrorLog.description, TEXT_CHARACTERS),
    )
    .where(TaskInstanceErrorLog.task_instance_id.in_(_IDS))
    .order_by(TaskInstanceErrorLog.id)
)


def workflow_read_latest_failures(connection: Connection, workflow_id: int, limit: int) -> list[TaskErrorRow]:
    """Errors of the attempts that failed last, one of each, newest first."""
    statement = (
        select(TaskInstance.id)
        .where(TaskInstance.workflow_run_id.in_(runs_of(workflow_id)), TaskInstance.status.in_(_FAILED))
        .order_by(TaskInstance.id.desc())
        .limit(limit)
    )
    rows = attempts_read_errors(connection, list(connection.scalars(statement)))
    return list({row.task_instance_id: row for row in reversed(rows)}.values())[::-1]


# -- clusters -------------------------------------------------------------------------------------------
def workflow_read_error_clusters(
    connection: Connection, workflow_id: int, limit: int, *, is_recent: bool
) -> ErrorClustersResponse:
    """Failures of a workflow that are alike, most frequent first.

    Args:
        connection: a transaction.
        workflow_id: the workflow.
        limit: at most so many kinds.
        is_recent: only the latest failure of each task that is not done; false: all failed attempts.

    Raises:
        NotFoundError: there is no such workflow.
    """
    require_workflow(connection, workflow_id)
    failed, is_complete = _failed_attempts(connection, workflow_id, is_recent)
    clusters = cluster_errors(_read_attempts(connection, sorted(failed)))
    shown = clusters[: max(0, limit)]
    names = _task_names(connection, [cluster.example.task_id for cluster in shown])
    arrays = _array_names(connection, workflow_id)
    together = [all_together(clusters)] if len(clusters) > 1 else []
    shared = Sharing(connection, workflow_id, arrays).of([*shown, *together])
    rows = [_row(cluster, names, arrays, traits) for cluster, traits in zip(shown, shared, strict=False)]
    said = {_subject(trait) for row in rows for trait in row.shared}
    return ErrorClustersResponse(
        rows,
        len(clusters),
        len(failed),
        len(set(failed.values())),
        is_complete,
        [trait for traits in shared[len(shown) :] for trait in traits if _subject(trait) not in said],
        not failed and connection.scalar(_failed_ones(workflow_id).limit(1)) is not None,
        workflow_read_conditions(connection, workflow_id),
    )


@dataclass(frozen=True)
class ArrayErrors:
    """What went wrong with the tasks of one template of a workflow.

    Attributes:
        clusters: failures that are alike, and the ids of (some of) their tasks, in their order.
        num_clusters: kinds of failures there are.
        num_errors: attempts that were looked at.
        is_complete: false: there are more failed attempts; only the latest were looked at.
    """

    clusters: list[tuple[ErrorClusterRow, list[int]]]
    num_clusters: int
    num_errors: int
    is_complete: bool


def array_read_errors(
    connection: Connection, workflow_id: int, array_id: int, limit: int, *, is_recent: bool
) -> ArrayErrors:
    """Failures of one template of a workflow that are alike, most frequent first.

    Args:
        connection: a transaction.
        workflow_id, array_id: the template's tasks.
        limit: at most so many kinds.
        is_recent: only the latest failure of each task that is not done; false: all failed attempts.
    """
    failed, is_complete = _failed_attempts(connection, workflow_id, is_recent, array_id, ARRAY_ATTEMPTS)
    clusters = cluster_errors(_read_attempts(connection, sorted(failed)))
    shown = clusters[:limit]
    names = _task_names(connection, [cluster.example.task_id for cluster in shown])
    arrays = _array_names(connection, workflow_id)
    shared = Sharing(connection, workflow_id, arrays).of(shown)
    rows = [
        (_row(cluster, names, arrays, traits), sorted(cluster.tasks[array_id])[:LISTED_TASKS])
        for cluster, traits in zip(shown, shared, strict=True)
    ]
    return ArrayErrors(rows, len(clusters), len(failed), is_complete)


def _subject(trait: SharedTrait) -> tuple[str, str, str, str]:
    return trait.template, trait.kind, trait.name, trait.value


def _failed_ones(workflow_id: int) -> Select[int, int]:
    return select(TaskInstance.id, TaskInstance.task_id).where(
        TaskInstance.workflow_run_id.in_(runs_of(workflow_id)), TaskInstance.status.in_(_FAILED)
    )


def _failed_attempts(
    connection: Connection,
    workflow_id: int,
    is_recent: bool,
    array_id: int | None = None,
    limit: int = MAX_ATTEMPTS,
) -> tuple[dict[int, int], bool]:
    """Task by attempt; whether these are all."""
    statement = _failed_ones(workflow_id).order_by(TaskInstance.id.desc()).limit(limit + 1)
    if array_id is not None:
        statement = statement.where(TaskInstance.array_id == array_id)
    if is_recent:
        statement = statement.join(Task, Task.id == TaskInstance.task_id).where(
            Task.status != TaskStatus.DONE.value
        )
    rows = connection.execute(statement).all()
    is_complete = len(rows) <= limit
    pairs = [(row[0], row[1]) for row in rows[:limit]]
    if is_recent:
        latest: dict[int, int] = {}
        for task_instance_id, task_id in pairs:
            latest.setdefault(task_id, task_instance_id)
        pairs = [(task_instance_id, task_id) for task_id, task_instance_id in latest.items()]
    return dict(pairs), is_complete


def _read_attempts(connection: Connection, ids: Sequence[int]) -> Iterator[FailedAttempt]:
    """Attempts with their texts, some at a time: all texts together may be large.

    What was noted of an attempt has the last lines of its stderr already, as a rule; only else they are read.
    """
    for part in chunks(ids):
        notes = {row[0]: row[1:] for row in connection.execute(_NOTES, {"ids": part})}
        short = [i for i in part if i not in notes or "\n" not in notes[i][2].strip()]
        stderr = {row[0]: row[1] for row in connection.execute(_STDERR, {"ids": short})} if short else {}
        for row in connection.execute(_ATTEMPTS, {"ids": part}):
            failed_at, noted, end = notes.get(row[0], (row[3], "", ""))
            yield FailedAttempt(
                row[0],
                row[1],
                row[2],
                failed_at,
                row[4] or "",
                row[5] or "",
                row[6],
                noted,
                (stderr.get(row[0]) or "").strip() or end,
                row[7] or "",
            )


def _task_names(connection: Connection, task_ids: Sequence[int]) -> dict[int, str]:
    names: dict[int, str] = {}
    for part in chunks(sorted(set(task_ids))):
        rows = connection.execute(select(Task.id, Task.name).where(Task.id.in_(part)))
        names.update((row[0], row[1]) for row in rows)
    return names


def _array_names(connection: Connection, workflow_id: int) -> dict[int, str]:
    rows = connection.execute(select(Array.id, Array.name).where(Array.workflow_id == workflow_id))
    return {row[0]: row[1] for row in rows}


def _row(
    cluster: ErrorCluster, names: Mapping[int, str], arrays: Mapping[int, str], shared: list[SharedTrait]
) -> ErrorClusterRow:
    example = cluster.example
    templates: Counter[str] = Counter()
    nodes: Counter[str] = Counter()
    for array_id, task_ids in cluster.tasks.items():
        templates[arrays[array_id]] += len(task_ids)
    for found in cluster.nodes.values():
        nodes += found
    return ErrorClusterRow(
        pattern=cluster.title or "no text",
        where=cluster.where,
        cause=cluster.cause,
        num_attempts=cluster.num_attempts,
        num_tasks=cluster.num_tasks,
        example="\n".join((example.text or example.noted).rstrip().splitlines()[-EXAMPLE_LINES:]),
        example_task_id=example.task_id,
        example_task_name=names[example.task_id],
        example_task_instance_id=example.task_instance_id,
        example_stderr=example.stderr,
        first_seen=cluster.first_at.isoformat(timespec="milliseconds"),
        last_seen=cluster.last_at.isoformat(timespec="milliseconds"),
        templates=dict(sorted(templates.items(), key=lambda item: (-item[1], item[0]))),
        nodes=dict(sorted(nodes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_NODES]),
        shared=shared,
    )
