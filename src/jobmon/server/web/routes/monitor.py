"""Routes for people: looking at workflows and tasks, and changing by hand what is theirs."""

from __future__ import annotations

from jobmon.serializers.monitor import (
    ResetWorkflowRequest,
    ResetWorkflowResponse,
    WorkflowErrorsResponse,
    WorkflowLogsResponse,
    WorkflowOverviewResponse,
    WorkflowOwnerResponse,
    WorkflowStatusResponse,
    WorkflowTasksResponse,
)
from jobmon.server.web import dialect
from jobmon.server.web.identity import Access
from jobmon.server.web.store import monitor, orders, overview
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/monitor")


@router.route("GET", "/workflow_status", response=WorkflowStatusResponse)
def workflow_status(
    context: RequestContext,
    workflow_id: list[int] = [],  # noqa: B006 - the wire reads the default, nobody changes it
    user: list[str] = [],  # noqa: B006
    limit: int = 5,
) -> WorkflowStatusResponse:
    """How far workflows are: those named, or the latest of the users named, or of who asks."""
    users = user or ([] if workflow_id else [context.user])
    with context.state.database.read() as connection:
        now = dialect.utcnow(connection)
        return WorkflowStatusResponse(
            monitor.workflows_read_status(connection, workflow_id, users, limit, now)
        )


@router.route("GET", "/workflow/{workflow_id}/overview", response=WorkflowOverviewResponse)
def workflow_overview(
    context: RequestContext, workflow_id: int, failures: int = 5, running: int = 5
) -> WorkflowOverviewResponse:
    """A workflow at a glance: its templates, the time it may need, what failed last, what runs longest."""
    with context.state.database.read() as connection:
        return overview.workflow_read_overview(
            connection,
            workflow_id,
            num_failures=failures,
            num_running=running,
            now=dialect.utcnow(connection),
        )


@router.route("GET", "/workflow/{workflow_id}/tasks", response=WorkflowTasksResponse)
def workflow_tasks(
    context: RequestContext,
    workflow_id: int,
    status: list[str] = [],  # noqa: B006
    limit: int | None = None,
) -> WorkflowTasksResponse:
    """Tasks of a workflow."""
    with context.state.database.read() as connection:
        return WorkflowTasksResponse(monitor.workflow_read_tasks(connection, workflow_id, status, limit))


@router.route("GET", "/workflow/{workflow_id}/logs", response=WorkflowLogsResponse)
def workflow_logs(
    context: RequestContext,
    workflow_id: int,
    array_name: str = "",
    task_name: str = "",
    limit: int | None = None,
) -> WorkflowLogsResponse:
    """Log files of a workflow."""
    with context.state.database.read() as connection:
        return WorkflowLogsResponse(
            monitor.workflow_read_logs(connection, workflow_id, array_name, task_name, limit)
        )


@router.route("GET", "/workflow/{workflow_id}/errors", response=WorkflowErrorsResponse)
def workflow_errors(
    context: RequestContext, workflow_id: int, task_id: int | None = None, limit: int = 1000
) -> WorkflowErrorsResponse:
    """Errors of the attempts of a workflow, newest first."""
    with context.state.database.read() as connection:
        return WorkflowErrorsResponse(monitor.workflow_read_errors(connection, workflow_id, task_id, limit))


@router.route("GET", "/workflow/{workflow_id}/owner", response=WorkflowOwnerResponse)
def workflow_owner(context: RequestContext, workflow_id: int) -> WorkflowOwnerResponse:
    """Whose a workflow is."""
    with context.state.database.read() as connection:
        return WorkflowOwnerResponse(monitor.workflow_read_owner(connection, workflow_id))


@router.route(
    "PUT",
    "/workflow/{workflow_id}/reset",
    access=Access.OWNER,
    request=ResetWorkflowRequest,
    response=ResetWorkflowResponse,
)
def workflow_reset(
    context: RequestContext, workflow_id: int, message: ResetWorkflowRequest
) -> ResetWorkflowResponse:
    """Make a workflow ready to run from the beginning."""
    return context.state.database.retrying_write(
        lambda connection: orders.workflow_reset_if_quiet(
            connection,
            workflow_id,
            is_partial=message.is_partial,
            user=context.user,
            now=dialect.utcnow(connection),
        )
    )
