"""Delete old workflows, a chunk of rows in each transaction; and what only they used.

Rules
-----
1. A workflow that is being deleted is set aside first: nobody finds, resumes or completes it any more.
2. What workflows share goes in a second step: see :mod:`jobmon.server.web.store.candidates`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, func, or_, select, update

from jobmon.core.states import WORKFLOW_RUN_ALIVE, WorkflowStatus
from jobmon.server.web.models import (
    AccessToken,
    Array,
    ArrayProgress,
    Batch,
    Dag,
    Edge,
    Node,
    NodeArg,
    Subscription,
    Task,
    TaskArg,
    TaskAttribute,
    TaskHistory,
    TaskInstance,
    TaskInstanceErrorLog,
    TaskResources,
    Workflow,
    WorkflowAttribute,
    WorkflowHistory,
    WorkflowRun,
)
from jobmon.server.web.store.candidates import candidates_done, candidates_note
from jobmon.server.web.store.define import chunks, table_of
from jobmon.server.web.store.runs import workflow_lock

ENDED: frozenset[WorkflowStatus] = frozenset(
    {WorkflowStatus.DONE, WorkflowStatus.FAILED, WorkflowStatus.HALTED, WorkflowStatus.ABORTED}
)
SET_ASIDE = "pruned "
"""What hashes of workflows and graphs begin with that are being deleted: nobody asks for such a hash."""

Freed = Counter[str]
"""Numbers of rows deleted, by table."""


# -- workflows ---------------------------------------------------------------------------------------------------------


def workflows_to_prune(
    connection: Connection,
    before: datetime,
    statuses: Collection[WorkflowStatus],
    *,
    after_id: int,
    limit: int,
) -> list[int]:
    """Ids of workflows that ended before a time and have no run that is alive, and of those half deleted already."""
    statement = (
        select(Workflow.id)
        .where(Workflow.id > after_id, _is_old(before, statuses))
        .order_by(Workflow.id)
        .limit(limit)
    )
    return list(connection.scalars(statement))


def _is_old(before: datetime, statuses: Collection[WorkflowStatus]) -> Any:
    alive = exists().where(
        WorkflowRun.workflow_id == Workflow.id, WorkflowRun.status.in_(sorted(WORKFLOW_RUN_ALIVE))
    )
    return or_(
        Workflow.workflow_args_hash.startswith(SET_ASIDE),
        Workflow.status.in_(sorted(statuses)) & (Workflow.status_date < before) & ~alive,
    )


def workflow_set_aside(
    connection: Connection, workflow_id: int, before: datetime, statuses: Collection[WorkflowStatus]
) -> bool:
    """Withdraw a workflow from use before its rows are deleted; whether it is to be deleted still."""
    table = table_of(Workflow)
    if not connection.scalar(select(exists().where(Workflow.id == workflow_id))):
        return False
    workflow_lock(connection, workflow_id)
    done = connection.execute(
        update(table)
        .where(table.c.id == workflow_id, _is_old(before, statuses))
        .values(workflow_args_hash=f"{SET_ASIDE}{workflow_id}", created_date=None)
    )
    return done.rowcount > 0


def workflow_count_rows(connection: Connection, workflow_id: int) -> Freed:
    """How many rows of a workflow there are in the larger tables."""
    tasks = select(Task.id).where(Task.workflow_id == workflow_id)
    runs = select(WorkflowRun.id).where(WorkflowRun.workflow_id == workflow_id)
    counted: dict[Table, Any] = {
        table_of(Workflow): Workflow.id == workflow_id,
        table_of(WorkflowRun): WorkflowRun.workflow_id == workflow_id,
        table_of(Task): Task.workflow_id == workflow_id,
        table_of(TaskArg): TaskArg.task_id.in_(tasks),
        table_of(TaskInstance): TaskInstance.workflow_run_id.in_(runs),
        table_of(TaskHistory): TaskHistory.workflow_run_id.in_(runs),
    }
    return Freed(
        {
            table.name: connection.scalar(select(func.count()).select_from(table).where(condition)) or 0
            for table, condition in counted.items()
        }
    )


def tasks_delete(connection: Connection, workflow_id: int, limit: int, now: datetime) -> Freed:
    """Delete up to ``limit`` tasks of a workflow that was set aside, with all that belongs to them."""
    freed = Freed()
    rows = connection.execute(
        select(Task.id, Task.task_resources_id)
        .where(Task.workflow_id == workflow_id)
        .order_by(Task.id)
        .limit(limit)
    ).all()
    task_ids = sorted(row.id for row in rows)
    instances = _select_in(
        connection, select(TaskInstance.id, TaskInstance.task_resources_id), TaskInstance.task_id, task_ids
    )
    instance_ids = [row.id for row in instances]
    resources = {row.task_resources_id for row in (*rows, *instances)}
    candidates_note(connection, table_of(TaskResources), resources, now)
    _delete_in(connection, TaskInstanceErrorLog.task_instance_id, instance_ids, freed)
    for column in (
        TaskHistory.task_id,
        TaskInstance.task_id,
        TaskArg.task_id,
        TaskAttribute.task_id,
        Task.id,
    ):
        _delete_in(connection, column, task_ids, freed)
    return freed


def workflow_delete(connection: Connection, workflow_id: int, now: datetime) -> Freed:
    """Delete a workflow that was set aside and whose tasks are deleted."""
    freed = Freed()
    dag_id = connection.scalar(select(Workflow.dag_id).where(Workflow.id == workflow_id))
    if dag_id is None:
        return freed
    candidates_note(connection, table_of(Dag), [dag_id], now)
    runs = list(connection.scalars(select(WorkflowRun.id).where(WorkflowRun.workflow_id == workflow_id)))
    arrays = list(connection.scalars(select(Array.id).where(Array.workflow_id == workflow_id)))
    _delete_in(connection, Batch.array_id, arrays, freed)
    for column in (AccessToken.workflow_run_id, Subscription.workflow_run_id, TaskHistory.workflow_run_id):
        _delete_in(connection, column, runs, freed)
    for column in (
        WorkflowHistory.workflow_id,
        WorkflowAttribute.workflow_id,
        ArrayProgress.workflow_id,
        Array.workflow_id,
        WorkflowRun.workflow_id,
        Workflow.id,
    ):
        _delete_in(connection, column, [workflow_id], freed)
    return freed


# -- what workflows share ----------------------------------------------------------------------------------------------


def dag_set_aside(connection: Connection, dag_id: int) -> bool:
    """Withdraw a graph that no workflow has; whether it is to be deleted. Its candidate must be locked."""
    if connection.scalar(select(exists().where(Workflow.dag_id == dag_id))):
        candidates_done(connection, table_of(Dag), [dag_id])
        return False
    values = {"hash": f"{SET_ASIDE}{dag_id}", "created_date": None}
    connection.execute(update(table_of(Dag)).where(table_of(Dag).c.id == dag_id).values(values))
    return True


def edges_delete(connection: Connection, dag_id: int, limit: int, now: datetime) -> Freed:
    """Delete up to ``limit`` edges of a graph that was set aside; at the end the graph itself."""
    freed = Freed()
    nodes = list(connection.scalars(select(Edge.node_id).where(Edge.dag_id == dag_id).limit(limit)))
    candidates_note(connection, table_of(Node), nodes, now)
    for part in chunks(sorted(nodes)):
        done = connection.execute(delete(Edge).where(Edge.dag_id == dag_id, Edge.node_id.in_(part)))
        freed["edge"] += done.rowcount
    if not nodes:
        _delete_in(connection, Dag.id, [dag_id], freed)
        candidates_done(connection, table_of(Dag), [dag_id])
    return freed


def nodes_delete(connection: Connection, ids: Sequence[int]) -> Freed:
    """Delete those of some nodes that stand in no graph; their candidates must be locked."""
    freed = Freed()
    unused = _unused(connection, table_of(Node), ids, (Edge.node_id, Task.node_id))
    _delete_in(connection, NodeArg.node_id, unused, freed)
    _delete_in(connection, Node.id, unused, freed)
    candidates_done(connection, table_of(Node), ids)
    return freed


def task_resources_delete(connection: Connection, ids: Sequence[int]) -> Freed:
    """Delete those of some requests for resources that no task has; their candidates must be locked."""
    freed = Freed()
    columns = (Task.task_resources_id, TaskInstance.task_resources_id)
    unused = _unused(connection, table_of(TaskResources), ids, columns)
    _delete_in(connection, TaskResources.id, unused, freed)
    candidates_done(connection, table_of(TaskResources), ids)
    return freed


SHARED: tuple[tuple[Table, Callable[[Connection, Sequence[int]], Freed]], ...] = (
    (table_of(Node), nodes_delete),
    (table_of(TaskResources), task_resources_delete),
)
"""Tables whose candidates go a chunk at a time, and how; graphs, which may be large, go one by one before them."""


def _unused(connection: Connection, table: Table, ids: Sequence[int], columns: Sequence[Any]) -> list[int]:
    """Those of some ids of a table that none of these columns has; they have indexes."""
    is_unused = [~exists().where(column == table.c.id) for column in columns]
    found: list[int] = []
    for part in chunks(ids):
        found += connection.scalars(select(table.c.id).where(table.c.id.in_(part), *is_unused))
    return found


def _select_in(connection: Connection, statement: Any, column: Any, ids: Sequence[int]) -> list[Any]:
    return [row for part in chunks(ids) for row in connection.execute(statement.where(column.in_(part)))]


def _delete_in(connection: Connection, column: Any, ids: Sequence[int], freed: Freed) -> None:
    table: Table = column.class_.__table__
    for part in chunks(ids):
        freed[table.name] += connection.execute(delete(table).where(column.in_(part))).rowcount
