"""Routes of people who choose tasks by what they are."""

from __future__ import annotations

from jobmon.serializers.select import SelectRequest, SelectResponse, SubtreeRequest, SubtreeResponse
from jobmon.server.web.identity import Access
from jobmon.server.web.store import select
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/monitor")


@router.route(
    "POST",
    "/workflow/{workflow_id}/select",
    access=Access.READ,
    request=SelectRequest,
    response=SelectResponse,
)
def workflow_select(context: RequestContext, workflow_id: int, message: SelectRequest) -> SelectResponse:
    """Tasks of a workflow for which every condition holds."""
    with context.state.database.read() as connection:
        return select.tasks_select(connection, workflow_id, message)


@router.route("POST", "/task_subtree", access=Access.READ, request=SubtreeRequest, response=SubtreeResponse)
def task_subtree(context: RequestContext, message: SubtreeRequest) -> SubtreeResponse:
    """Tasks and all that wait for them."""
    with context.state.database.read() as connection:
        return select.tasks_read_subtree(connection, message)
