"""Routes of the wrappers on compute nodes: one event of one attempt, committed together with its neighbours'."""

from __future__ import annotations

from jobmon.core.exceptions import InvalidUsage
from jobmon.core.instance_event import InstanceEvent
from jobmon.serializers.worker import WorkerResponse
from jobmon.server.web.identity import Access
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/worker")


EVENT_PATH = "/task_instance/{task_instance_id}/event"
"""Nearly all requests go there; see :mod:`jobmon.server.web.event_intake`."""


@router.route("POST", EVENT_PATH, access=Access.WORKER, request=InstanceEvent, response=WorkerResponse)
async def task_instance_event(
    context: RequestContext, task_instance_id: int, message: InstanceEvent
) -> WorkerResponse:
    """Take one event of one attempt; an attempt that is not live any more is told to stop."""
    if message.task_instance_id != task_instance_id:
        raise InvalidUsage(
            f"The event is of task instance {message.task_instance_id}, the path names {task_instance_id}."
        )
    return await context.state.group_commit.submit(message, context.identity)
