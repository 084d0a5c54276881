"""Routes with which a controller reads a workflow, and the route that changes its limits."""

from __future__ import annotations

from sqlalchemy import Connection

from jobmon.serializers.swarm import (
    LimitRequest,
    LimitResponse,
    SerializeSwarmTask,
    WorkflowMetadataResponse,
)
from jobmon.server.web import dialect
from jobmon.server.web.identity import Access
from jobmon.server.web.store import swarm_read
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/swarm")


@router.route("GET", "/workflow/{workflow_id}/tasks", response=SerializeSwarmTask)
def workflow_tasks(
    context: RequestContext, workflow_id: int, after_task_id: int = 0, limit: int = 50_000
) -> SerializeSwarmTask:
    """One page of the tasks of a workflow."""
    with context.state.database.read() as connection:
        return swarm_read.tasks_read_page(connection, workflow_id, after_task_id, limit)


@router.route("GET", "/workflow/{workflow_id}/metadata", response=WorkflowMetadataResponse)
def workflow_metadata(context: RequestContext, workflow_id: int) -> WorkflowMetadataResponse:
    """A workflow without its tasks."""
    with context.state.database.read() as connection:
        return swarm_read.workflow_metadata_read(connection, workflow_id)


@router.route(
    "PUT", "/workflow/{workflow_id}/limit", access=Access.OWNER, request=LimitRequest, response=LimitResponse
)
def workflow_limit(context: RequestContext, workflow_id: int, message: LimitRequest) -> LimitResponse:
    """Set how many tasks of a workflow, or of one of its templates, may run at once."""

    def work(connection: Connection) -> list[int]:
        return swarm_read.workflow_set_limit(
            connection, workflow_id, message, now=dialect.utcnow(connection), actor=f"user:{context.user}"
        )

    runs = context.state.database.retrying_write(work)
    context.state.feed.notify(runs)
    return LimitResponse(message.max_tasks)
