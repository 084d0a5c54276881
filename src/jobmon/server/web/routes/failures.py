"""Routes of people who ask what went wrong."""

from __future__ import annotations

from jobmon.serializers.failures import ErrorClustersResponse
from jobmon.server.web.store import failures
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/monitor")


@router.route("GET", "/workflow/{workflow_id}/error_clusters", response=ErrorClustersResponse)
def workflow_error_clusters(
    context: RequestContext, workflow_id: int, limit: int = 10, recent: bool = True
) -> ErrorClustersResponse:
    """What went wrong in a workflow, failures that are alike together, most frequent first."""
    with context.state.database.read() as connection:
        return failures.workflow_read_error_clusters(connection, workflow_id, limit, is_recent=recent)
