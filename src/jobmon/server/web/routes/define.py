"""Routes of control scripts: register tools, templates, graphs, workflows and tasks."""

from __future__ import annotations

from sqlalchemy import Connection

from jobmon.serializers.define import (
    ArraysRequest,
    ArraysResponse,
    AttributesRequest,
    AttributesResponse,
    ClusterRequest,
    ClusterResponse,
    ClustersResponse,
    DagRequest,
    DagResponse,
    EdgesRequest,
    NodesRequest,
    NodesResponse,
    TaskResourcesRequest,
    TaskResourcesResponse,
    TasksRequest,
    TasksResponse,
    TaskTemplateRequest,
    TaskTemplateResponse,
    TaskTemplatesResponse,
    TaskTemplateVersionRequest,
    TaskTemplateVersionResponse,
    TaskTemplateVersionsResponse,
    ToolRequest,
    ToolResponse,
    ToolVersionRequest,
    ToolVersionResponse,
    ToolVersionsResponse,
    WorkflowBoundResponse,
    WorkflowMatchRequest,
    WorkflowMatchResponse,
    WorkflowRequest,
    WorkflowResponse,
)
from jobmon.server.web import dialect
from jobmon.server.web.identity import Access
from jobmon.server.web.store import attributes, bind, clusters, define, graph
from jobmon.server.web.wire import RequestContext, WireRouter

router = WireRouter("/define")


@router.route("POST", "/tool", access=Access.USER, request=ToolRequest, response=ToolResponse)
def tool_create(context: RequestContext, message: ToolRequest) -> ToolResponse:
    """Get or create a tool."""
    return context.state.database.retrying_write(
        lambda connection: define.tool_get_or_create(connection, message.name)
    )


@router.route("GET", "/tool/{tool_id}/tool_versions", response=ToolVersionsResponse)
def tool_versions(context: RequestContext, tool_id: int) -> ToolVersionsResponse:
    """Versions of a tool."""
    with context.state.database.read() as connection:
        return ToolVersionsResponse(define.tool_versions_list(connection, tool_id))


@router.route(
    "POST", "/tool_version", access=Access.USER, request=ToolVersionRequest, response=ToolVersionResponse
)
def tool_version_create(context: RequestContext, message: ToolVersionRequest) -> ToolVersionResponse:
    """Create a version of a tool."""
    return context.state.database.retrying_write(
        lambda connection: define.tool_version_get_or_create(connection, message.tool_id, message.version_key)
    )


@router.route("GET", "/tool_version/{tool_version_id}/task_templates", response=TaskTemplatesResponse)
def task_templates(context: RequestContext, tool_version_id: int) -> TaskTemplatesResponse:
    """Templates of a tool version."""
    with context.state.database.read() as connection:
        return TaskTemplatesResponse(define.task_templates_list(connection, tool_version_id))


@router.route(
    "POST", "/task_template", access=Access.USER, request=TaskTemplateRequest, response=TaskTemplateResponse
)
def task_template_create(context: RequestContext, message: TaskTemplateRequest) -> TaskTemplateResponse:
    """Get or create a task template."""
    return context.state.database.retrying_write(
        lambda connection: define.task_template_get_or_create(
            connection, message.tool_version_id, message.name
        )
    )


@router.route("GET", "/task_template/{task_template_id}/versions", response=TaskTemplateVersionsResponse)
def task_template_versions(context: RequestContext, task_template_id: int) -> TaskTemplateVersionsResponse:
    """Versions of a task template."""
    with context.state.database.read() as connection:
        return TaskTemplateVersionsResponse(define.task_template_versions_list(connection, task_template_id))


@router.route(
    "POST",
    "/task_template_version",
    access=Access.USER,
    request=TaskTemplateVersionRequest,
    response=TaskTemplateVersionResponse,
)
def task_template_version_create(
    context: RequestContext, message: TaskTemplateVersionRequest
) -> TaskTemplateVersionResponse:
    """Get or create a version of a task template."""
    return context.state.database.retrying_write(
        lambda connection: define.task_template_version_get_or_create(connection, message)
    )


@router.route("GET", "/cluster/{name}", response=ClusterResponse)
def cluster(context: RequestContext, name: str) -> ClusterResponse:
    """A cluster with its queues."""
    with context.state.database.read() as connection:
        return define.cluster_read(connection, name)


@router.route("POST", "/cluster", access=Access.ADMIN, request=ClusterRequest, response=ClusterResponse)
def cluster_create(context: RequestContext, message: ClusterRequest) -> ClusterResponse:
    """Register a cluster or bring it up to date."""
    return context.state.database.retrying_write(
        lambda connection: clusters.cluster_create_or_update(connection, message)
    )


@router.route("GET", "/clusters", response=ClustersResponse)
def clusters_list(context: RequestContext) -> ClustersResponse:
    """All clusters with their queues."""
    with context.state.database.read() as connection:
        return clusters.clusters_read(connection)


@router.route(
    "POST",
    "/task_resources",
    access=Access.USER,
    request=TaskResourcesRequest,
    response=TaskResourcesResponse,
)
def task_resources_create(context: RequestContext, message: TaskResourcesRequest) -> TaskResourcesResponse:
    """Get or create rows of resources."""
    return context.state.database.retrying_write(
        lambda connection: TaskResourcesResponse(
            define.task_resources_get_or_create(connection, message.resources)
        )
    )


@router.route("POST", "/nodes", access=Access.USER, request=NodesRequest, response=NodesResponse)
def nodes_create(context: RequestContext, message: NodesRequest) -> NodesResponse:
    """Get or create nodes."""
    return context.state.database.retrying_write(
        lambda connection: NodesResponse(graph.nodes_get_or_create(connection, message.groups))
    )


@router.route("POST", "/dag", access=Access.USER, request=DagRequest, response=DagResponse)
def dag_create(context: RequestContext, message: DagRequest) -> DagResponse:
    """Get or create a graph."""
    return context.state.database.retrying_write(
        lambda connection: graph.dag_get_or_create(connection, message.dag_hash)
    )


@router.route("POST", "/dag/{dag_id}/edges", access=Access.USER, request=EdgesRequest, response=DagResponse)
def edges_create(context: RequestContext, dag_id: int, message: EdgesRequest) -> DagResponse:
    """Store neighbours of nodes in a graph."""
    return context.state.database.retrying_write(
        lambda connection: graph.edges_add_if_incomplete(
            connection, dag_id, message, dialect.utcnow(connection)
        )
    )


@router.route(
    "POST",
    "/workflow_match",
    access=Access.READ,
    request=WorkflowMatchRequest,
    response=WorkflowMatchResponse,
)
def workflow_match(context: RequestContext, message: WorkflowMatchRequest) -> WorkflowMatchResponse:
    """Find the workflow of these args."""
    with context.state.database.read() as connection:
        return bind.workflow_match(connection, message)


@router.route("POST", "/workflow", access=Access.USER, request=WorkflowRequest, response=WorkflowResponse)
def workflow_create(context: RequestContext, message: WorkflowRequest) -> WorkflowResponse:
    """Get or create a workflow."""
    return context.state.database.retrying_write(
        lambda connection: bind.workflow_get_or_create(
            connection, message, now=dialect.utcnow(connection), user=context.user
        )
    )


@router.route(
    "POST",
    "/workflow/{workflow_id}/arrays",
    access=Access.USER,
    request=ArraysRequest,
    response=ArraysResponse,
)
def arrays_create(context: RequestContext, workflow_id: int, message: ArraysRequest) -> ArraysResponse:
    """Get or create the arrays of a workflow."""
    return context.state.database.retrying_write(
        lambda connection: ArraysResponse(
            bind.arrays_get_or_create(
                connection, workflow_id, message.arrays, now=dialect.utcnow(connection), user=context.user
            )
        )
    )


@router.route(
    "POST", "/workflow/{workflow_id}/tasks", access=Access.USER, request=TasksRequest, response=TasksResponse
)
def tasks_create(context: RequestContext, workflow_id: int, message: TasksRequest) -> TasksResponse:
    """Register tasks of a workflow, or update those it has."""
    return context.state.database.retrying_write(
        lambda connection: bind.tasks_get_or_create(
            connection, workflow_id, message.groups, now=dialect.utcnow(connection), user=context.user
        )
    )


@router.route("POST", "/workflow/{workflow_id}/bound", access=Access.USER, response=WorkflowBoundResponse)
def workflow_bound(context: RequestContext, workflow_id: int) -> WorkflowBoundResponse:
    """Note that every task of a workflow is registered."""
    return context.state.database.retrying_write(
        lambda connection: bind.workflow_mark_bound(
            connection, workflow_id, now=dialect.utcnow(connection), user=context.user
        )
    )


@router.route(
    "PUT",
    "/workflow/{workflow_id}/attributes",
    access=Access.OWNER,
    request=AttributesRequest,
    response=AttributesResponse,
)
def workflow_attributes(
    context: RequestContext, workflow_id: int, message: AttributesRequest
) -> AttributesResponse:
    """Set attributes of a workflow."""

    def work(connection: Connection) -> AttributesResponse:
        return AttributesResponse(
            attributes.workflow_set_attributes(connection, workflow_id, message.attributes)
        )

    return context.state.database.retrying_write(work)


@router.route(
    "PUT",
    "/task/{task_id}/attributes",
    access=Access.OWNER_OR_TASK,
    request=AttributesRequest,
    response=AttributesResponse,
)
def task_attributes(context: RequestContext, task_id: int, message: AttributesRequest) -> AttributesResponse:
    """Set attributes of a task; also from inside the task, whoever it runs as."""
    return context.state.database.retrying_write(
        lambda connection: AttributesResponse(
            attributes.task_set_attributes(connection, task_id, message.attributes)
        )
    )
