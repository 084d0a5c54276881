"""Workflows and runs straight into a database, in a legal state, without a client or a server."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from jobmon.core import __version__
from jobmon.core.constants import TaskResourcesType
from jobmon.core.hashing import hash_args, hash_parts
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.states import WorkflowRunEvent, WorkflowRunStatus
from jobmon.serializers.define import (
    ArrayItem,
    EdgesRequest,
    NodeGroup,
    TaskGroup,
    TaskResourcesItem,
    TaskTemplateVersionRequest,
    WorkflowRequest,
)
from jobmon.serializers.swarm import BatchRequest, SyncRequest, WorkflowRunRequest
from jobmon.server.web.store import bind, define, graph, runs
from jobmon.server.web.store.resume import run_take_tasks
from jobmon.server.web.store.sync import run_sync

MAX_INFRASTRUCTURE_LOSSES = 10
NOWHERE = ProcessIdentity("nowhere.example", "", 1, 0)
"""A controller nobody can look up from here."""


@dataclass(frozen=True)
class MadeWorkflow:
    """Ids of a workflow that was made.

    Attributes:
        workflow_id: its id.
        task_ids: its tasks, in the order of their positions.
        array_id: their array.
        task_resources_id: what they ask for.
        tool_version_id, task_template_version_id, dag_id: what they belong to.
    """

    workflow_id: int
    task_ids: list[int]
    array_id: int
    task_resources_id: int
    tool_version_id: int
    task_template_version_id: int
    dag_id: int


def workflow_make(
    connection: Connection,
    upstream: Sequence[Sequence[int]] = ((),),
    *,
    now: datetime,
    user: str = "tester",
    name: str = "",
    max_attempts: int = 3,
    cluster_name: str = "dummy",
) -> MadeWorkflow:
    """A registered workflow.

    Args:
        connection: a write transaction.
        upstream: for each task the positions of the tasks it waits for.
        now: time of the database.
        user: owner.
        name: name and args of the workflow; empty: a random one.
        max_attempts: limit of each task.
        cluster_name: cluster of all tasks.
    """
    name = name or uuid.uuid4().hex
    tool = define.tool_get_or_create(connection, "tool of tests")
    tool_version_id = define.tool_version_get_or_create(connection, tool.id, name[-60:]).id
    template = define.task_template_get_or_create(connection, tool_version_id, "step")
    version = define.task_template_version_get_or_create(
        connection, TaskTemplateVersionRequest(template.id, "true # {which}", "args", ["which"], [], [])
    )
    values = [[str(position)] for position in range(len(upstream))]
    hashes = [hash_args({"which": value}) for (value,) in values]
    group = NodeGroup(version.id, [version.node_args["which"]], hashes, values)
    (node_ids,) = graph.nodes_get_or_create(connection, [group])
    dag_id = _graph_make(connection, node_ids, upstream, name, now)
    request = WorkflowRequest(
        tool_version_id, dag_id, hash_parts([name]), hash_parts(hashes), name, workflow_args=name
    )
    workflow_id = bind.workflow_get_or_create(connection, request, now=now, user=user).id
    (array_id,) = bind.arrays_get_or_create(
        connection, workflow_id, [ArrayItem(version.id, "step")], now=now, user=user
    )
    queue_id = define.cluster_read(connection, cluster_name).queues[0].id
    (resources_id,) = define.task_resources_get_or_create(
        connection, [TaskResourcesItem(queue_id, TaskResourcesType.VALIDATED, {"memory": 1})]
    )
    tasks = TaskGroup(
        array_id,
        resources_id,
        max_attempts,
        "",
        "",
        node_ids,
        hashes,
        [f"step_{position}" for position in range(len(upstream))],
        [f"true # {position}" for position in range(len(upstream))],
    )
    (task_ids,) = bind.tasks_get_or_create(connection, workflow_id, [tasks], now=now, user=user).task_ids
    bind.workflow_mark_bound(connection, workflow_id, now=now, user=user)
    return MadeWorkflow(workflow_id, task_ids, array_id, resources_id, tool_version_id, version.id, dag_id)


def _graph_make(
    connection: Connection,
    node_ids: Sequence[int],
    upstream: Sequence[Sequence[int]],
    name: str,
    now: datetime,
) -> int:
    downstream: list[list[int]] = [[] for _ in upstream]
    for position, waits_for in enumerate(upstream):
        for other in waits_for:
            downstream[other].append(node_ids[position])
    dag_id = graph.dag_get_or_create(connection, hash_parts([name])).id
    edges = EdgesRequest(
        list(node_ids), [[node_ids[i] for i in waits_for] for waits_for in upstream], downstream, is_last=True
    )
    graph.edges_add_if_incomplete(connection, dag_id, edges, now)
    return dag_id


_WAY_UP = (
    WorkflowRunEvent.BIND,
    WorkflowRunEvent.INSTANTIATE,
    WorkflowRunEvent.LAUNCH,
    WorkflowRunEvent.START,
)


def run_make(
    connection: Connection,
    workflow_id: int,
    *,
    now: datetime,
    user: str = "tester",
    status: WorkflowRunStatus = WorkflowRunStatus.RUNNING,
    controller: ProcessIdentity = NOWHERE,
    next_report_increment: float = 90,
) -> int:
    """A run of a workflow, brought up to ``status``; its id.

    Args:
        connection: a write transaction.
        workflow_id: a workflow without a run that is alive.
        now: time of the database.
        user: who runs it.
        status: ``LINKING``, ``BOUND``, ``INSTANTIATED``, ``LAUNCHED`` or ``RUNNING``.
        controller: the process that hosts it.
        next_report_increment: seconds until its next sign of life is due.
    """
    message = WorkflowRunRequest(uuid.uuid4().hex, user, __version__, controller, next_report_increment)
    made = runs.run_create_if_none_alive(connection, workflow_id, message, now)
    reached = made.status
    run_take_tasks(connection, made.workflow_run_id, adopt=False, now=now, actor="controller")
    for event in _WAY_UP:
        if reached == status:
            break
        state = runs.run_apply_event(connection, made.workflow_run_id, event, now=now, actor="controller")
        reached = state.status
    return made.workflow_run_id


def attempts_make(
    connection: Connection,
    workflow: MadeWorkflow,
    workflow_run_id: int,
    positions: Sequence[int],
    *,
    batch_num: int,
    now: datetime,
) -> list[int]:
    """Attempts of the tasks at some positions, handed to the cluster; ids of those that could be queued.

    Args:
        connection: a write transaction.
        workflow: the workflow.
        workflow_run_id: a run of it that runs.
        positions: which tasks.
        batch_num: number of the batch within the array, not used before.
        now: time of the database.
    """
    task_ids = [workflow.task_ids[position] for position in positions]
    batch = BatchRequest(workflow.array_id, batch_num, workflow.task_resources_id, task_ids)
    answer = run_sync(
        connection,
        workflow_run_id,
        SyncRequest([], [batch]),
        now=now,
        actor="controller",
        max_infrastructure_losses=MAX_INFRASTRUCTURE_LOSSES,
    )
    return [i for batch_answer in answer.batches for i in batch_answer.task_instance_ids]
