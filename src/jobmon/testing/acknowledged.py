"""What the answer of a server acknowledges: the changes it says it has stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from jobmon.core.instance_event import InstanceEvent
from jobmon.serializers.define import TasksRequest, TasksResponse
from jobmon.serializers.swarm import (
    RunStateResponse,
    SyncRequest,
    SyncResponse,
    WorkflowRunRequest,
    WorkflowRunResponse,
)
from jobmon.serializers.worker import WorkerResponse


class AttemptEvent(msgspec.Struct, tag=True):
    """An event of an attempt was taken; ``status`` is the attempt's letter in the answer, where it had one."""

    event: InstanceEvent
    status: str = ""


class BatchCreated(msgspec.Struct, tag=True):
    """The attempts of a batch were created."""

    workflow_run_id: int
    task_ids: list[int]
    task_instance_ids: list[int]


class TasksTold(msgspec.Struct, tag=True):
    """Tasks were in these states, one letter each."""

    task_ids: list[int]
    statuses: str


class TasksRegistered(msgspec.Struct, tag=True):
    """Tasks were registered."""

    workflow_id: int
    task_ids: list[int]
    commands: list[str]


class WorkflowBound(msgspec.Struct, tag=True):
    """All tasks of a workflow were registered."""

    workflow_id: int


class RunCreated(msgspec.Struct, tag=True):
    """A run was created."""

    workflow_run_id: int
    run_key: str


class RunTold(msgspec.Struct, tag=True):
    """A run was in this state, after events of it were taken."""

    workflow_run_id: int
    status: str


Change = AttemptEvent | BatchCreated | TasksTold | TasksRegistered | WorkflowBound | RunCreated | RunTold
T = TypeVar("T")


# -- what an answer acknowledges ------------------------------------------------------------------------
_ROUTES = (
    ("event", re.compile(r"/worker/task_instance/(\d+)/event$")),
    ("sync", re.compile(r"/swarm/workflow_run/(\d+)/sync$")),
    ("run_events", re.compile(r"/swarm/workflow_run/(\d+)/events$")),
    ("run", re.compile(r"/swarm/workflow/(\d+)/workflow_run$")),
    ("tasks", re.compile(r"/define/workflow/(\d+)/tasks$")),
    ("bound", re.compile(r"/define/workflow/(\d+)/bound$")),
)


def changes_of(method: str, path: str, content: bytes | None, answer: bytes) -> Iterator[Change]:
    """What a request changed according to its answer; nothing for requests that only ask.

    Args:
        method: HTTP method.
        path: path of the request, with or without address and query.
        content: its body.
        answer: the body of the answer, whose status was below 300.
    """
    if method.upper() != "POST":
        return
    path = urlsplit(path).path
    for kind, pattern in _ROUTES:
        if found := pattern.search(path):
            yield from _CHANGES[kind](int(found[1]), content or b"", answer)
            return


def _of_event(_: int, content: bytes, answer: bytes) -> Iterator[Change]:
    yield AttemptEvent(_decode(content, InstanceEvent), _decode(answer, WorkerResponse).status)


def _of_sync(workflow_run_id: int, content: bytes, answer: bytes) -> Iterator[Change]:
    said = _decode(answer, SyncResponse)
    refused = set(said.stop)
    for event in _decode(content, SyncRequest).events:
        if event.task_instance_id not in refused:
            yield AttemptEvent(event)
    if said.tasks.task_ids:
        yield TasksTold(said.tasks.task_ids, said.tasks.statuses)
    for batch in said.batches:
        yield BatchCreated(workflow_run_id, batch.task_ids, batch.task_instance_ids)


def _of_run_events(workflow_run_id: int, _: bytes, answer: bytes) -> Iterator[Change]:
    yield RunTold(workflow_run_id, _decode(answer, RunStateResponse).status)


def _of_run(_: int, content: bytes, answer: bytes) -> Iterator[Change]:
    run_key = _decode(content, WorkflowRunRequest).run_key
    yield RunCreated(_decode(answer, WorkflowRunResponse).workflow_run_id, run_key)


def _of_tasks(workflow_id: int, content: bytes, answer: bytes) -> Iterator[Change]:
    groups = _decode(content, TasksRequest).groups
    for group, task_ids in zip(groups, _decode(answer, TasksResponse).task_ids, strict=True):
        yield TasksRegistered(workflow_id, task_ids, group.commands)


def _of_bound(workflow_id: int, _: bytes, _answer: bytes) -> Iterator[Change]:
    yield WorkflowBound(workflow_id)


_CHANGES = {
    "event": _of_event,
    "sync": _of_sync,
    "run_events": _of_run_events,
    "run": _of_run,
    "tasks": _of_tasks,
    "bound": _of_bound,
}


def _decode(content: bytes, kind: type[T]) -> T:
    return msgspec.json.decode(content, type=kind)
