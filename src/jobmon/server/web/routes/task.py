"""Routes of people who look at tasks and set them by hand."""

from __future__ import annotations

from sqlalchemy import Connection

from jobmon.serializers.monitor import (
    TaskDependenciesResponse,
    TaskStatusRequest,
    TaskStatusResponse,
    TasksWorkflowsRequest,
    TasksWorkflowsResponse,
    UpdateTasksRequest,
    UpdateTasksResponse,
)
from jobmon.server.web import dialect
from jobmon.server.web.identity import Access
from jobmon.server.web.store import monitor, orders
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/monitor")


@router.route(
    "POST", "/task_status", access=Access.READ, request=TaskStatusRequest, response=TaskStatusResponse
)
def task_status(context: RequestContext, message: TaskStatusRequest) -> TaskStatusResponse:
    """Tasks with their attempts."""
    with context.state.database.read() as connection:
        return TaskStatusResponse(monitor.tasks_read_status(connection, message))


@router.route(
    "POST",
    "/task_workflows",
    access=Access.READ,
    request=TasksWorkflowsRequest,
    response=TasksWorkflowsResponse,
)
def task_workflows(context: RequestContext, message: TasksWorkflowsRequest) -> TasksWorkflowsResponse:
    """To which workflows tasks belong."""
    with context.state.database.read() as connection:
        return TasksWorkflowsResponse(monitor.tasks_read_workflows(connection, message.task_ids))


@router.route("GET", "/task/{task_id}/dependencies", response=TaskDependenciesResponse)
def task_dependencies(context: RequestContext, task_id: int) -> TaskDependenciesResponse:
    """What a task waits for and what waits for it."""
    with context.state.database.read() as connection:
        return monitor.task_read_dependencies(connection, task_id)


@router.route(
    "PUT",
    "/workflow/{workflow_id}/task_statuses",
    access=Access.OWNER,
    request=UpdateTasksRequest,
    response=UpdateTasksResponse,
)
def task_statuses_update(
    context: RequestContext, workflow_id: int, message: UpdateTasksRequest
) -> UpdateTasksResponse:
    """Set the status of tasks by hand."""

    def work(connection: Connection) -> tuple[UpdateTasksResponse, list[int]]:
        return orders.tasks_update_by_hand(
            connection,
            workflow_id,
            message,
            user=context.user,
            now=dialect.utcnow(connection),
            max_infrastructure_losses=context.state.max_infrastructure_losses,
        )

    response, runs = context.state.database.retrying_write(work)
    context.state.feed.notify(runs)
    return response
