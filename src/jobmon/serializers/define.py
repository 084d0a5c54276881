"""Messages with which a control script registers what it defined."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from jobmon.core.cluster import ClusterRequest, ClusterResponse, QueueRequest, QueueResponse

__all__ = ["ClusterRequest", "ClusterResponse", "QueueRequest", "QueueResponse"]


class ClustersResponse(Struct):
    """All clusters of a server."""

    clusters: list[ClusterResponse]


class ToolRequest(Struct):
    """Get or create a tool by name."""

    name: str


class ToolResponse(Struct):
    """A tool."""

    id: int
    name: str


class ToolVersionRequest(Struct):
    """Create a new version of a tool; the same ``version_key``, chosen by the sender, is the same version."""

    tool_id: int
    version_key: str


class ToolVersionResponse(Struct):
    """A version of a tool."""

    id: int
    tool_id: int


class ToolVersionsResponse(Struct):
    """All versions of a tool, oldest first."""

    tool_versions: list[ToolVersionResponse]


class TaskTemplateRequest(Struct):
    """Get or create a task template of a tool version."""

    tool_version_id: int
    name: str


class TaskTemplateResponse(Struct):
    """A task template."""

    id: int
    tool_version_id: int
    name: str


class TaskTemplatesResponse(Struct):
    """All templates of a tool version."""

    task_templates: list[TaskTemplateResponse]


class TaskTemplateVersionRequest(Struct):
    """Get or create a version of a task template; identity is (template, command_template, arg_mapping_hash)."""

    task_template_id: int
    command_template: str
    arg_mapping_hash: str
    node_args: list[str]
    task_args: list[str]
    op_args: list[str]


class TaskTemplateVersionResponse(Struct):
    """A version of a task template; the three mappings go from the name of an arg to its id."""

    id: int
    task_template_id: int
    command_template: str
    arg_mapping_hash: str
    node_args: dict[str, int]
    task_args: dict[str, int]
    op_args: dict[str, int]


class TaskTemplateVersionsResponse(Struct):
    """All versions of a task template, oldest first."""

    task_template_versions: list[TaskTemplateVersionResponse]


class NodeGroup(Struct):
    """Nodes of one task template version: ``values[i]`` holds the node args of node i, in the order of ``arg_ids``."""

    task_template_version_id: int
    arg_ids: list[int]
    node_args_hashes: list[str]
    values: list[list[str]]


class NodesRequest(Struct):
    """Get or create nodes."""

    groups: list[NodeGroup]


class NodesResponse(Struct):
    """Ids of the nodes, group by group, in the order of the request."""

    node_ids: list[list[int]]


class DagRequest(Struct):
    """Get or create a graph by the hash of its nodes and edges."""

    dag_hash: str


class DagResponse(Struct):
    """A graph; ``is_complete`` when all of its edges are stored."""

    id: int
    is_complete: bool


class EdgesRequest(Struct):
    """Store neighbours of nodes in a graph; ``is_last`` completes the graph."""

    node_ids: list[int]
    upstream_node_ids: list[list[int]]
    downstream_node_ids: list[list[int]]
    is_last: bool = False


class WorkflowRequest(Struct):
    """Get or create a workflow; identity is (tool_version_id, workflow_args_hash).

    ``working_dir`` is where its commands run when their resources do not say.
    """

    tool_version_id: int
    dag_id: int
    workflow_args_hash: str
    task_hash: str
    name: str = ""
    description: str = ""
    workflow_args: str = ""
    max_concurrently_running: int = 2147483647
    attributes: dict[str, str | None] = {}
    working_dir: str = ""


class WorkflowResponse(Struct):
    """A workflow.

    Attributes:
        id: its id.
        status: its status letter.
        is_bound: all of its tasks are registered.
        has_run: a run of it was created at some time.
    """

    id: int
    status: str
    is_bound: bool
    has_run: bool


class WorkflowMatchRequest(Struct):
    """Ask whether a workflow of these args exists, before anything is registered."""

    tool_version_id: int
    workflow_args_hash: str


class WorkflowMatchResponse(Struct):
    """The workflow of these args; ``workflow_id`` is null when there is none."""

    workflow_id: int | None = None
    status: str = ""
    dag_hash: str = ""
    task_hash: str = ""


class ArrayItem(Struct):
    """One array: the tasks of one task template version in a workflow."""

    task_template_version_id: int
    name: str
    max_concurrently_running: int = 2147483647
    retry_policy: dict[str, str] = {}


class ArraysRequest(Struct):
    """Get or create the arrays of a workflow."""

    arrays: list[ArrayItem]


class ArraysResponse(Struct):
    """Ids of the arrays in the order of the request."""

    array_ids: list[int]


class TaskResourcesItem(Struct):
    """What is asked of a queue; ``type`` is O, V or A (``TaskResourcesType``)."""

    queue_id: int
    type: str
    requested_resources: dict[str, Any]


class TaskResourcesRequest(Struct):
    """Get or create rows of task resources; equal ones are stored once."""

    resources: list[TaskResourcesItem]


class TaskResourcesResponse(Struct):
    """Ids in the order of the request."""

    task_resources_ids: list[int]


class TaskGroup(Struct):
    """Tasks of one array that share resources and limits; one entry a task in every list.

    Attributes:
        array_id: their array.
        task_resources_id: what they ask for.
        max_attempts: their limit.
        resource_scales: JSON text of their scales.
        fallback_queues: JSON list of queue names.
        node_ids: node of each task.
        task_args_hashes: hash of the task args of each.
        names: name of each.
        commands: command of each.
        task_arg_ids: ids of the task args.
        task_arg_values: values of the task args of each, in the order of ``task_arg_ids``.
        attributes: attributes of each; empty when none has any.
    """

    array_id: int
    task_resources_id: int
    max_attempts: int
    resource_scales: str
    fallback_queues: str
    node_ids: list[int]
    task_args_hashes: list[str]
    names: list[str]
    commands: list[str]
    task_arg_ids: list[int] = []
    task_arg_values: list[list[str]] = []
    attributes: list[dict[str, str | None]] = []


class TasksRequest(Struct):
    """Register tasks of a workflow, or update name, command, limits and resources of those it has."""

    groups: list[TaskGroup]


class TasksResponse(Struct):
    """Ids and status letters (one character a task), group by group."""

    task_ids: list[list[int]]
    statuses: list[str]


class WorkflowBoundResponse(Struct):
    """Answer to the word that every task of a workflow was sent."""

    id: int
    status: str


class AttributesRequest(Struct):
    """Set attributes of a workflow or a task."""

    attributes: dict[str, str | None]


class AttributesResponse(Struct):
    """How many attributes were set."""

    count: int
