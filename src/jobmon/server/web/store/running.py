"""What runs now, on which cluster and whose it is; what clusters there are. Reads only, bounded by what lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import TASK_INSTANCE_LIVE, TASK_INSTANCE_STARTED, WORKFLOW_RUN_ALIVE
from jobmon.serializers.swarm import ClusterCondition
from jobmon.server.web.models import (
    BadNode,
    Cluster,
    ClusterType,
    Queue,
    TaskInstance,
    TaskResources,
    Workflow,
    WorkflowRun,
)

MOST_CONDITIONS = 500
"""Runs whose complaints about clusters are read."""
MOST_BAD_NODES = 500


@dataclass(frozen=True)
class QueueFacts:
    """A queue and what its cluster said of it."""

    id: int
    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ClusterFacts:
    """A cluster.

    Attributes:
        id, name, kind: of the cluster; ``kind`` is the name of the plugin that drives it.
        queues: by name.
    """

    id: int
    name: str
    kind: str
    queues: Sequence[QueueFacts] = ()


@dataclass(frozen=True)
class LiveAttempts:
    """Attempts of one run in one queue that have not ended.

    Attributes:
        queue_id: the queue.
        workflow_id, workflow_name, user: whose they are.
        num_running: those whose command runs.
        num_waiting: the others.
    """

    queue_id: int
    workflow_id: int
    workflow_name: str
    user: str
    num_running: int
    num_waiting: int


@dataclass(frozen=True)
class AvoidedNode:
    """A node that failed; jobs avoid it for a while."""

    cluster_id: int
    nodename: str
    reason: str
    seen_at: datetime
    expires_at: datetime


@dataclass
class Complaint:
    """What controllers say of a cluster.

    Attributes:
        text: a sentence.
        since: when it began, seconds since 1970.
        workflow_ids: workflows that suffer from it.
    """

    text: str
    since: float
    workflow_ids: list[int] = field(default_factory=list)


def clusters_read_facts(connection: Connection, name: str = "") -> list[ClusterFacts]:
    """All clusters with their queues, or the one of a name; two statements.

    Raises:
        NotFoundError: there is none of this name.
    """
    wanted = (
        select(Cluster.id, Cluster.name, ClusterType.name)
        .join(ClusterType, ClusterType.id == Cluster.cluster_type_id)
        .order_by(Cluster.id)
    )
    rows = connection.execute(wanted.where(Cluster.name == name) if name else wanted).all()
    if name and not rows:
        raise NotFoundError(f"There is no cluster '{name}'.")
    queues: dict[int, list[QueueFacts]] = {row[0]: [] for row in rows}
    found = select(Queue.cluster_id, Queue.id, Queue.name, Queue.parameters).order_by(Queue.name)
    for cluster_id, queue_id, queue_name, text in connection.execute(
        found.where(Queue.cluster_id == rows[0][0]) if name else found
    ):
        if cluster_id in queues:
            queues[cluster_id].append(QueueFacts(queue_id, queue_name, msgspec.json.decode(text)))
    return [ClusterFacts(row[0], row[1], row[2], queues[row[0]]) for row in rows]


def live_attempts_count(connection: Connection) -> list[LiveAttempts]:
    """Live attempts of runs that are alive, by queue and workflow; the more there are, the longer it takes."""
    started = [status.value for status in TASK_INSTANCE_STARTED]
    counted = (
        select(
            TaskResources.queue_id,
            WorkflowRun.workflow_id,
            WorkflowRun.user,
            TaskInstance.status,
            func.count(),
        )
        .join(TaskInstance, TaskInstance.workflow_run_id == WorkflowRun.id)
        .join(TaskResources, TaskResources.id == TaskInstance.task_resources_id)
        .where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE), TaskInstance.status.in_(TASK_INSTANCE_LIVE))
        .group_by(TaskResources.queue_id, WorkflowRun.workflow_id, WorkflowRun.user, TaskInstance.status)
    )
    totals: dict[tuple[int, int, str], list[int]] = {}
    for queue_id, workflow_id, user, status, count in connection.execute(counted):
        pair = totals.setdefault((queue_id, workflow_id, user), [0, 0])
        pair[status not in started] += count
    names = _names(connection, sorted({key[1] for key in totals}))
    return [
        LiveAttempts(key[0], key[1], names.get(key[1], ""), key[2], pair[0], pair[1])
        for key, pair in sorted(totals.items())
    ]


def _names(connection: Connection, workflow_ids: Sequence[int]) -> dict[int, str]:
    names: dict[int, str] = {}
    for start in range(0, len(workflow_ids), 500):
        part = workflow_ids[start : start + 500]
        rows = connection.execute(select(Workflow.id, Workflow.name).where(Workflow.id.in_(part)))
        names.update({row[0]: row[1] or "" for row in rows})
    return names


def avoided_nodes_read(
    connection: Connection, now: datetime, cluster_id: int | None = None
) -> list[AvoidedNode]:
    """Nodes that jobs avoid now, the latest first; of all clusters or one."""
    statement = (
        select(BadNode.cluster_id, BadNode.nodename, BadNode.reason, BadNode.seen_at, BadNode.expires_at)
        .where(BadNode.expires_at > now)
        .order_by(BadNode.seen_at.desc(), BadNode.nodename)
        .limit(MOST_BAD_NODES)
    )
    if cluster_id is not None:
        statement = statement.where(BadNode.cluster_id == cluster_id)
    return [AvoidedNode(*row) for row in connection.execute(statement)]


def complaints_read(connection: Connection) -> dict[str, list[Complaint]]:
    """What is the matter with clusters, by their name, as controllers that are alive say; the longest-lasting first."""
    rows = connection.execute(
        select(WorkflowRun.workflow_id, WorkflowRun.cluster_conditions)
        .where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE), WorkflowRun.cluster_conditions.is_not(None))
        .order_by(WorkflowRun.id.desc())
        .limit(MOST_CONDITIONS)
    )
    found: dict[str, dict[str, Complaint]] = {}
    for workflow_id, text in rows:
        for each in msgspec.json.decode(text or "[]", type=list[ClusterCondition]):
            same = found.setdefault(each.cluster_name, {})
            complaint = same.setdefault(each.text, Complaint(each.text, each.since))
            complaint.since = min(complaint.since, each.since)
            complaint.workflow_ids.append(workflow_id)
    return {name: sorted(same.values(), key=lambda each: each.since) for name, same in found.items()}
