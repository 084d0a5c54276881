"""One run of a workflow as its controller tells of it, and what is told of its attempts."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec

from bench.load.client import Client
from bench.load.definition import Registered
from jobmon.core import __version__
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import this_process
from jobmon.core.requester import current_user
from jobmon.core.states import TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.swarm import (
    BatchRequest,
    BatchResponse,
    ResetTasksRequest,
    ResetTasksResponse,
    RunEventsRequest,
    RunStateResponse,
    SyncRequest,
    SyncResponse,
    WorkflowRunRequest,
    WorkflowRunResponse,
)

LEASE_SECONDS = 3600.0
BATCH = 500
BEGINNING = (
    WorkflowRunEvent.BIND,
    WorkflowRunEvent.INSTANTIATE,
    WorkflowRunEvent.LAUNCH,
    WorkflowRunEvent.START,
)


class Run:
    """A run, as its controller drives it.

    Args:
        client: sends the requests.
        workflow: is registered.
    """

    def __init__(self, client: Client, workflow: Registered) -> None:
        self.client, self.workflow = client, workflow
        self.path = ""
        self.cursor = 0
        self._batch_num = 1

    async def begin(self) -> None:
        """Create it and say that it runs."""
        workflow = f"/swarm/workflow/{self.workflow.workflow_id}"
        message = WorkflowRunRequest(
            uuid.uuid4().hex, current_user(), __version__, this_process(), LEASE_SECONDS
        )
        run = await self.client.send("POST", f"{workflow}/workflow_run", message, WorkflowRunResponse)
        self.path = f"/swarm/workflow_run/{run.workflow_run_id}"
        self._batch_num, self.cursor = run.next_batch_num, run.cursor
        reset = ResetTasksRequest()
        await self.client.send("POST", f"{self.path}/reset_tasks", reset, ResetTasksResponse)
        await self.tell(BEGINNING)

    async def tell(self, events: Sequence[WorkflowRunEvent]) -> None:
        """Tell what happened to it."""
        message = RunEventsRequest(list(events))
        await self.client.send("POST", f"{self.path}/events", message, RunStateResponse)

    async def create(self, task_ids: Sequence[int]) -> BatchResponse:
        """Have a batch of attempts created."""
        workflow = self.workflow
        batch = BatchRequest(workflow.array_id, self._batch_num, workflow.task_resources_id, list(task_ids))
        self._batch_num += 1
        return (await self.sync(SyncRequest(batches=[batch]))).batches[0]

    async def launched(self, task_instance_ids: Sequence[int]) -> None:
        """Say that the cluster took attempts."""
        await self.sync(SyncRequest([event_of_launch(each) for each in task_instance_ids]))

    async def sync(self, message: SyncRequest) -> SyncResponse:
        """Tell events, ask for batches."""
        answer = await self.client.send("POST", f"{self.path}/sync", message, SyncResponse)
        if answer.cursor_before == self.cursor:
            self.cursor = answer.cursor
        return answer


def event_of_start(task_instance_id: int) -> InstanceEvent:
    """A command began."""
    return InstanceEvent(
        task_instance_id,
        TaskInstanceEvent.START,
        nodename="node-0123.cluster.example.org",
        process_group_id=4711,
        next_report_increment=LEASE_SECONDS,
    )


def event_of_heartbeat(task_instance_id: int) -> InstanceEvent:
    """A command still runs."""
    return InstanceEvent(task_instance_id, TaskInstanceEvent.HEARTBEAT, next_report_increment=LEASE_SECONDS)


def event_of_end(task_instance_id: int) -> InstanceEvent:
    """A command has done its work."""
    return InstanceEvent(
        task_instance_id,
        TaskInstanceEvent.FINISH,
        stdout_log="fitted 1 000 rows\n" * 10,
        stderr_log="",
        exit_code=0,
        wallclock=12.5,
        maxrss=123_456_789,
        cpu=11.25,
        io=1_000_000,
    )


def event_of_launch(task_instance_id: int) -> InstanceEvent:
    """The cluster took it."""
    return InstanceEvent(task_instance_id, TaskInstanceEvent.LAUNCH, distributor_id=f"{task_instance_id}_1")


def encoded(events: Sequence[InstanceEvent]) -> bytes:
    """A controller's message that brings these events."""
    return msgspec.json.encode(SyncRequest(list(events)))
