"""Routes for people: every attempt of a workflow, and the facts about it."""

from __future__ import annotations

from jobmon.serializers.trace import TraceResponse, WorkflowFactsResponse
from jobmon.server.web import dialect
from jobmon.server.web.store import trace
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/monitor")


@router.route("GET", "/workflow/{workflow_id}/trace", response=TraceResponse)
def workflow_trace(
    context: RequestContext, workflow_id: int, after: int | None = None, limit: int = 2000
) -> TraceResponse:
    """A page of the attempts of a workflow; ``after``: ``next_after`` of the page before."""
    with context.state.database.read() as connection:
        return trace.workflow_read_trace(connection, workflow_id, after, limit)


@router.route("GET", "/workflow/{workflow_id}/facts", response=WorkflowFactsResponse)
def workflow_facts(context: RequestContext, workflow_id: int) -> WorkflowFactsResponse:
    """What a workflow is, who ran it and with what, template by template."""
    with context.state.database.read() as connection:
        return trace.workflow_read_facts(connection, workflow_id, dialect.utcnow(connection))
