"""Routes for people: what attempts used."""

from __future__ import annotations

import msgspec

from jobmon.core.exceptions import UsageError
from jobmon.serializers.usage import ClusterUsageResponse, TemplateUsageResponse
from jobmon.server.web.analysis.usage_statistics import parse_confidence
from jobmon.server.web.store import usage
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/monitor")


@router.route(
    "GET", "/task_template_version/{task_template_version_id}/usage", response=TemplateUsageResponse
)
def template_version_usage(
    context: RequestContext,
    task_template_version_id: int,
    workflow_id: list[int] = [],  # noqa: B006 - the wire reads the default, nobody changes it
    node_args: str = "",
    ci: str = "",
) -> TemplateUsageResponse:
    """What attempts of a task template version used; ``node_args``: JSON object of the values to look at."""
    wanted = _node_args(node_args)
    confidence = parse_confidence(ci) if ci else None
    with context.state.database.read() as connection:
        return usage.template_version_read_usage(
            connection, task_template_version_id, workflow_id, wanted, confidence
        )


def _node_args(text: str) -> dict[str, list[str]]:
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, list[str]])
    except msgspec.DecodeError as error:
        raise UsageError(
            f'`node_args` must be a JSON object such as {{"location": ["7"]}}: {error}.'
        ) from error


@router.route("GET", "/workflow/{workflow_id}/usage", response=ClusterUsageResponse)
def workflow_usage(context: RequestContext, workflow_id: int) -> ClusterUsageResponse:
    """What the tasks of a workflow used, by template and cluster."""
    with context.state.database.read() as connection:
        return ClusterUsageResponse(usage.workflow_read_usage(connection, workflow_id))


@router.route("GET", "/task/{task_id}/usage", response=ClusterUsageResponse)
def task_usage(context: RequestContext, task_id: int) -> ClusterUsageResponse:
    """What one task used, by cluster."""
    with context.state.database.read() as connection:
        return ClusterUsageResponse(usage.task_read_usage(connection, task_id))
