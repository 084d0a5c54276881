"""Binding: everything a workflow consists of is checked, then registered in a handful of large requests.

Rules
-----
1. Nothing is sent before everything is checked: an error leaves no trace in the database.
2. Every request may be sent twice; a bind that was cut off is completed by the next one.
3. Nothing is built for all tasks at once that can be built for a chunk of them.

Order: graph and resources checked → is there another workflow of these args? → nodes → graph and edges →
workflow → arrays → resources → tasks → the word that this was all of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from jobmon.client.dag import CHUNK_SIZE, Dag
from jobmon.client.task_resources import TaskRequest, check_request
from jobmon.core.exceptions import EmptyWorkflowError, WorkflowAlreadyExists
from jobmon.core.resources import scales_to_json
from jobmon.serializers.define import (
    ArraysRequest,
    ArraysResponse,
    TaskGroup,
    TaskResourcesItem,
    TaskResourcesRequest,
    TaskResourcesResponse,
    TasksRequest,
    TasksResponse,
    WorkflowBoundResponse,
    WorkflowMatchRequest,
    WorkflowMatchResponse,
    WorkflowRequest,
    WorkflowResponse,
)

if TYPE_CHECKING:
    from jobmon.client.array import Array
    from jobmon.client.task import Task
    from jobmon.client.workflow import Workflow

CHUNK_CHARACTERS = 8_000_000
"""A request for tasks is cut when their commands are longer than this in all."""

Requests = dict[tuple[int, int], TaskRequest]
"""What tasks ask for, by the identities of their array and of their settings."""


class GroupHeader(NamedTuple):
    """What the tasks of a group have in common, besides their array."""

    task_resources_id: int
    max_attempts: int
    resource_scales: str
    fallback_queues: str


Advance = Callable[[str, int], None]
"""Told of progress: what is being registered, and how many were since the last call."""


def hash_of_tasks(task_hashes: Iterable[str]) -> str:
    """Identity of a set of tasks: a hash over their sorted hashes (which have one length)."""
    ordered = sorted(task_hashes)
    digest = sha256()
    for start in range(0, len(ordered), CHUNK_SIZE):
        digest.update("".join(ordered[start : start + CHUNK_SIZE]).encode())
    return digest.hexdigest()


def check_workflow(
    workflow: Workflow, strict: bool = False, raise_on_error: bool = False
) -> tuple[Dag, Requests]:
    """Check everything that can be checked before anything is registered.

    Args:
        workflow: the workflow.
        strict: resources beyond the limits of their queue are invalid.
        raise_on_error: raise for invalid resources instead of changing them.

    Raises:
        EmptyWorkflowError: it has no tasks.
        NodeDependencyNotExistError, CyclicGraphError: its graph is not one that can be run.
        UnknownClusterError, UnknownQueueError, ValueError: resources that cannot be had.
        RuntimeError: its tasks are to run on several clusters.
    """
    if not workflow.tasks:
        raise EmptyWorkflowError()
    dag = Dag.of_tasks(workflow.tasks.values(), workflow.requester)
    dag.validate()
    requests: Requests = {}
    first_of_cluster: dict[str, Task] = {}
    for task in workflow.tasks.values():
        key = (id(task._array), id(task._settings))
        if key not in requests:
            requests[key] = check_request(
                task, workflow.get_cluster_by_name, workflow.requester, strict, raise_on_error
            )
            first_of_cluster.setdefault(requests[key].cluster_name, task)
    if len(first_of_cluster) > 1:
        found = ", ".join(f"{task} on {name}" for name, task in first_of_cluster.items())
        raise RuntimeError(f"All tasks of a workflow must run on one cluster, but there are {found}.")
    return dag, requests


def check_identity(workflow: Workflow, dag_hash: str, task_hash: str) -> None:
    """Ask the server whether another workflow has these workflow_args.

    Raises:
        WorkflowAlreadyExists: there is one with other tasks or dependencies.
    """
    message = WorkflowMatchRequest(workflow.tool_version.id, workflow.workflow_args_hash)
    match = workflow.requester.send("POST", "/define/workflow_match", message, WorkflowMatchResponse)
    if match.workflow_id is not None and (match.dag_hash, match.task_hash) != (dag_hash, task_hash):
        differ = "dependencies" if match.task_hash == task_hash else "tasks"
        raise WorkflowAlreadyExists(
            f"Workflow {match.workflow_id} has the same workflow_args ('{workflow.workflow_args}') but "
            f"other {differ}. "
            "Use other workflow_args for a new workflow; to resume that one, define it as it was."
        )


class Bound(NamedTuple):
    """A workflow that was registered.

    Attributes:
        response: the workflow on the server.
        dag_id: its graph.
        requests: what its tasks ask for.
    """

    response: WorkflowResponse
    dag_id: int
    requests: Requests


def bind_workflow(workflow: Workflow, advance: Advance) -> Bound:
    """Register a workflow with all of its tasks; the ids are stored in its objects.

    Raises:
        WorkflowAlreadyExists: another workflow has these workflow_args.
        JobmonError, RuntimeError, ValueError: see :func:`check_workflow`.
    """
    dag, requests = check_workflow(workflow)
    dag_hash, task_hash = dag.dag_hash, workflow.task_hash
    check_identity(workflow, dag_hash, task_hash)
    dag_id = dag.bind(dag_hash=dag_hash, advance=lambda count: advance("nodes", count))
    response = send_workflow(workflow, dag_id, task_hash)
    _bind_arrays(workflow, response.id)
    send_tasks(workflow, response.id, requests, advance)
    bound = workflow.requester.send(
        "POST", f"/define/workflow/{response.id}/bound", None, WorkflowBoundResponse
    )
    return Bound(WorkflowResponse(response.id, bound.status, True, response.has_run), dag_id, requests)


def send_tasks(workflow: Workflow, workflow_id: int, requests: Requests, advance: Advance) -> None:
    """Register tasks, or give those that are registered the commands, limits and resources of the script.

    While a run of the workflow is alive the server leaves registered tasks as they are.
    """
    headers = _bind_resources(workflow, requests)
    path = f"/define/workflow/{workflow_id}/tasks"
    for chunk in _chunks(workflow.tasks.values()):
        _send_tasks(workflow, path, chunk, headers)
        advance("tasks", len(chunk))


def send_workflow(workflow: Workflow, dag_id: int, task_hash: str) -> WorkflowResponse:
    """Register the workflow itself, or ask for the state of the one that is registered."""
    message = WorkflowRequest(
        workflow.tool_version.id,
        dag_id,
        workflow.workflow_args_hash,
        task_hash,
        workflow.name,
        workflow.description,
        workflow.workflow_args,
        workflow.max_concurrently_running,
        workflow.workflow_attributes,
        os.getcwd(),
    )
    return workflow.requester.send("POST", "/define/workflow", message, WorkflowResponse)


def _bind_arrays(workflow: Workflow, workflow_id: int) -> None:
    arrays = list(workflow.arrays.values())
    message = ArraysRequest([array.to_wire() for array in arrays])
    path = f"/define/workflow/{workflow_id}/arrays"
    response = workflow.requester.send("POST", path, message, ArraysResponse)
    for array, array_id in zip(arrays, response.array_ids, strict=True):
        array.array_id = array_id


def _bind_resources(workflow: Workflow, requests: Requests) -> dict[tuple[int, int], GroupHeader]:
    """Register what tasks ask for (equal rows once); what the groups of tasks have in common."""
    items: list[TaskResourcesItem] = []
    places: dict[tuple[int, str], int] = {}
    place_of: dict[tuple[int, int], int] = {}
    for key, request in requests.items():
        item = request.resources.to_wire()
        content = json.dumps(item.requested_resources, sort_keys=True)
        place = places.setdefault((item.queue_id, content), len(items))
        if place == len(items):
            items.append(item)
        place_of[key] = place
    ids: list[int] = []
    for start in range(0, len(items), CHUNK_SIZE):
        message = TaskResourcesRequest(items[start : start + CHUNK_SIZE])
        response = workflow.requester.send("POST", "/define/task_resources", message, TaskResourcesResponse)
        ids += response.task_resources_ids
    return {
        key: GroupHeader(
            ids[place_of[key]],
            request.max_attempts,
            scales_to_json(request.resource_scales, request.max_attempts),
            json.dumps(list(request.fallback_queues)),
        )
        for key, request in requests.items()
    }


def _chunks(tasks: Iterable[Task]) -> Iterator[list[tuple[Task, str]]]:
    """Tasks with their commands, few enough for one request."""
    chunk: list[tuple[Task, str]] = []
    num_characters = 0
    for task in tasks:
        command = task.command
        num_characters += len(command)
        chunk.append((task, command))
        if len(chunk) == CHUNK_SIZE or num_characters > CHUNK_CHARACTERS:
            yield chunk
            chunk, num_characters = [], 0
    if chunk:
        yield chunk


def _send_tasks(
    workflow: Workflow,
    path: str,
    chunk: list[tuple[Task, str]],
    headers: dict[tuple[int, int], GroupHeader],
) -> None:
    groups: dict[tuple[int, GroupHeader], TaskGroup] = {}
    members: dict[tuple[int, GroupHeader], list[Task]] = {}
    for task, command in chunk:
        array = task.array
        header = headers[id(task._array), id(task._settings)]
        key = (id(array), header)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _group_of(array, header)
            members[key] = []
        group.node_ids.append(task.node.node_id)
        group.task_args_hashes.append(task.task_args_hash)
        group.names.append(task.name)
        group.commands.append(command)
        if task._task_values:
            group.task_arg_values.append(list(task._task_values))
        if task._attributes or group.attributes:
            group.attributes += [{} for _ in range(len(members[key]) - len(group.attributes))]
            group.attributes.append(task._attributes or {})
        members[key].append(task)
    response = workflow.requester.send("POST", path, TasksRequest(list(groups.values())), TasksResponse)
    for tasks, ids, statuses in zip(members.values(), response.task_ids, response.statuses, strict=True):
        for task, task_id, status in zip(tasks, ids, statuses, strict=True):
            task._task_id = task_id
            task._initial_status = status


def _group_of(array: Array, header: GroupHeader) -> TaskGroup:
    version = array.task_template_version
    return TaskGroup(
        array_id=array.array_id,
        task_resources_id=header.task_resources_id,
        max_attempts=header.max_attempts,
        resource_scales=header.resource_scales,
        fallback_queues=header.fallback_queues,
        node_ids=[],
        task_args_hashes=[],
        names=[],
        commands=[],
        task_arg_ids=version.arg_ids(version.task_arg_names),
    )
