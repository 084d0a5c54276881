"""What controllers of batch clusters tell of them: which attempts live there, why they wait, what is the matter.

An attempt is *remote* when it belongs to a batch that was submitted to a batch cluster. It does not live in its controller:
it goes on when the run ends that submitted it, and reports by itself; a later run adopts it, or an order ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, bindparam, exists, select, update

from jobmon.core.states import TASK_INSTANCE_LIVE, WORKFLOW_RUN_ALIVE, TaskInstanceStatus
from jobmon.serializers.swarm import ClusterCondition, QueueReason
from jobmon.server.web.models import Batch, TaskInstance, WorkflowRun
from jobmon.server.web.store.attempts import CHUNK

QUEUE_REASON_CHARACTERS = 500
NOTE_CHARACTERS = 500


def of_its_batch() -> Any:
    """Joins an attempt with its batch on a batch cluster."""
    return and_(Batch.array_id == TaskInstance.array_id, Batch.batch_num == TaskInstance.array_batch_num)


def is_remote() -> Any:
    """Whether an attempt lives on a batch cluster."""
    return exists().where(of_its_batch())


_LIVE = (
    select(TaskInstance.id, TaskInstance.status, Batch.id)
    .outerjoin(Batch, of_its_batch())
    .where(
        TaskInstance.workflow_run_id == bindparam("run_id"),
        TaskInstance.status.in_(TASK_INSTANCE_LIVE),
    )
    .order_by(TaskInstance.id)
)


def attempts_live(
    connection: Connection, workflow_run_id: int
) -> Iterator[tuple[int, TaskInstanceStatus, bool]]:
    """Live attempts of a run with their states, and whether they are remote."""
    for row in connection.execute(_LIVE, {"run_id": workflow_run_id}).all():
        yield row[0], TaskInstanceStatus(row[1]), row[2] is not None


_SET_QUEUE_REASON = (
    update(TaskInstance)
    .where(
        TaskInstance.id.in_(bindparam("ids", expanding=True)),
        TaskInstance.workflow_run_id == bindparam("run_id"),
    )
    .values(queue_reason=bindparam("reason"))
)


def queue_reasons_store(connection: Connection, workflow_run_id: int, reasons: Sequence[QueueReason]) -> None:
    """Store why attempts of a run wait; no state changes by it."""
    for reason in reasons:
        text = reason.text[:QUEUE_REASON_CHARACTERS] or None
        for start in range(0, len(reason.task_instance_ids), CHUNK):
            ids = reason.task_instance_ids[start : start + CHUNK]
            connection.execute(_SET_QUEUE_REASON, {"ids": ids, "run_id": workflow_run_id, "reason": text})


def conditions_store(
    connection: Connection, workflow_run_id: int, conditions: Sequence[ClusterCondition]
) -> None:
    """Store what a controller has to say of clusters, in place of what it said before."""
    text = msgspec.json.encode(conditions).decode() if conditions else None
    connection.execute(
        update(WorkflowRun).where(WorkflowRun.id == workflow_run_id).values(cluster_conditions=text)
    )


def workflows_read_conditions(connection: Connection, workflow_ids: Sequence[int]) -> dict[int, list[str]]:
    """What is the matter with the clusters that workflows run on now, in sentences; only where there is anything."""
    rows = connection.execute(
        select(WorkflowRun.workflow_id, WorkflowRun.cluster_conditions).where(
            WorkflowRun.workflow_id.in_(list(workflow_ids)),
            WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE),
            WorkflowRun.cluster_conditions.is_not(None),
        )
    )
    return {row[0]: conditions_words(row[1]) for row in rows if row[1]}


def workflow_read_conditions(connection: Connection, workflow_id: int) -> list[str]:
    """The same for one workflow."""
    return workflows_read_conditions(connection, [workflow_id]).get(workflow_id, [])


def conditions_words(text: str) -> list[str]:
    """The sentences of conditions as the database keeps them."""
    conditions = msgspec.json.decode(text, type=list[ClusterCondition])
    return [condition.text for condition in conditions]
