"""Workflows of parallel chains, registered by the messages a control script sends."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from bench.load.client import Client
from jobmon.core.hashing import hash_args, hash_parts
from jobmon.serializers.define import (
    ArrayItem,
    ArraysRequest,
    ArraysResponse,
    ClusterResponse,
    DagRequest,
    DagResponse,
    EdgesRequest,
    NodeGroup,
    NodesRequest,
    NodesResponse,
    TaskGroup,
    TaskResourcesItem,
    TaskResourcesRequest,
    TaskResourcesResponse,
    TasksRequest,
    TasksResponse,
    TaskTemplateRequest,
    TaskTemplateResponse,
    TaskTemplateVersionRequest,
    TaskTemplateVersionResponse,
    ToolRequest,
    ToolResponse,
    ToolVersionRequest,
    ToolVersionResponse,
    WorkflowBoundResponse,
    WorkflowRequest,
    WorkflowResponse,
)

CHUNK = 10_000
CLUSTER = "dummy"


@dataclass(frozen=True)
class Graph:
    """What the workflows of a simulation share: everything but their tasks.

    Attributes:
        tool_version_id, dag_id, template_version_id, task_resources_id: ids in the database.
        node_ids: the nodes, chain by chain.
    """

    tool_version_id: int
    dag_id: int
    template_version_id: int
    task_resources_id: int
    node_ids: list[int]


@dataclass(frozen=True)
class Registered:
    """A workflow that is registered; ``task_ids`` are in the order of the graph's nodes."""

    workflow_id: int
    array_id: int
    task_resources_id: int
    task_ids: list[int]


async def register_graph(client: Client, lanes: int, links: int) -> Graph:
    """Register ``lanes`` chains of ``links`` nodes."""
    tool = await client.send("POST", "/define/tool", ToolRequest("load"), ToolResponse)
    message = ToolVersionRequest(tool.id, f"{lanes} x {links}")
    version = await client.send("POST", "/define/tool_version", message, ToolVersionResponse)
    template = await client.send(
        "POST", "/define/task_template", TaskTemplateRequest(version.id, "link"), TaskTemplateResponse
    )
    template_version = await client.send(
        "POST",
        "/define/task_template_version",
        TaskTemplateVersionRequest(template.id, "true {n}", hash_parts(["n", "", ""]), ["n"], [], []),
        TaskTemplateVersionResponse,
    )
    arg_id = template_version.node_args["n"]
    node_ids: list[int] = []
    values = [str(n) for n in range(lanes * links)]
    for start in range(0, len(values), CHUNK):
        part = values[start : start + CHUNK]
        hashes = [hash_args({"n": value}) for value in part]
        group = NodeGroup(template_version.id, [arg_id], hashes, [[value] for value in part])
        nodes = await client.send("POST", "/define/nodes", NodesRequest([group]), NodesResponse)
        node_ids += nodes.node_ids[0]
    cluster = await client.send("GET", f"/define/cluster/{CLUSTER}", None, ClusterResponse)
    asked = TaskResourcesRequest([TaskResourcesItem(cluster.queues[0].id, "O", {})])
    resources = await client.send("POST", "/define/task_resources", asked, TaskResourcesResponse)
    dag_id = await _register_edges(client, node_ids, lanes, links)
    return Graph(version.id, dag_id, template_version.id, resources.task_resources_ids[0], node_ids)


async def _register_edges(client: Client, node_ids: list[int], lanes: int, links: int) -> int:
    message = DagRequest(hash_parts([str(node_ids[0]), str(lanes), str(links)]))
    dag = await client.send("POST", "/define/dag", message, DagResponse)
    if dag.is_complete:
        return dag.id
    for start in range(0, len(node_ids), CHUNK):
        places = range(start, min(start + CHUNK, len(node_ids)))
        edges = EdgesRequest(
            [node_ids[place] for place in places],
            [[node_ids[place - 1]] if place % links else [] for place in places],
            [[node_ids[place + 1]] if (place + 1) % links else [] for place in places],
            is_last=places.stop == len(node_ids),
        )
        await client.send("POST", f"/define/dag/{dag.id}/edges", edges, DagResponse)
    return dag.id


async def register_workflow(client: Client, graph: Graph, name: str) -> Registered:
    """Register a workflow over the graph."""
    args = uuid.uuid4().hex
    message = WorkflowRequest(
        graph.tool_version_id, graph.dag_id, hash_parts([args]), hash_parts([name, args]), name, "", args
    )
    workflow = await client.send("POST", "/define/workflow", message, WorkflowResponse)
    path = f"/define/workflow/{workflow.id}"
    arrays = ArraysRequest([ArrayItem(graph.template_version_id, "link")])
    array_id = (await client.send("POST", f"{path}/arrays", arrays, ArraysResponse)).array_ids[0]
    task_ids: list[int] = []
    for start in range(0, len(graph.node_ids), CHUNK):
        nodes = graph.node_ids[start : start + CHUNK]
        names = [f"link_n-{start + place}" for place in range(len(nodes))]
        group = TaskGroup(
            array_id,
            graph.task_resources_id,
            3,
            '{"memory":0.5,"runtime":0.5}',
            "[]",
            nodes,
            [hash_parts([])] * len(nodes),
            names,
            [f"true {start + place}" for place in range(len(nodes))],
        )
        answer = await client.send("POST", f"{path}/tasks", TasksRequest([group]), TasksResponse)
        task_ids += answer.task_ids[0]
    await client.send("POST", f"{path}/bound", None, WorkflowBoundResponse)
    return Registered(workflow.id, array_id, graph.task_resources_id, task_ids)
