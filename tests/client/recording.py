"""A server that only answers: for tests of what the client sends."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from jobmon.core.requester import Requester
from jobmon.serializers import define
from jobmon.serializers.swarm import LimitRequest, LimitResponse


class RecordingRequester(Requester):
    """Encodes every message as a real one would, numbers things, stores nothing but counts."""

    def __init__(self) -> None:
        super().__init__("http://nowhere")
        self.sent: Counter[str] = Counter()
        self.num_bytes = 0
        self.messages: list[tuple[str, Any]] = []
        self.keep = True
        self._next_id = 0
        self.match = define.WorkflowMatchResponse()
        self.clusters = {
            name: define.ClusterResponse(1, name, name, {}, [define.QueueResponse(1, "null.q", 1, {})])
            for name in ("dummy", "sequential", "multiprocess")
        }

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id

    def send(self, method: str, path: str, message: Any, response_type: Any, **_: Any) -> Any:
        if message is not None:
            self.num_bytes += len(msgspec.json.encode(message))
        kind = type(message).__name__ if message is not None else f"{method} {path}"
        self.sent[kind] += 1
        if self.keep:
            self.messages.append((f"{method} {path}", message))
        return self._answer(path, message, response_type)

    def _answer(self, path: str, message: Any, response_type: Any) -> Any:
        if message is not None:
            return getattr(self, f"_{type(message).__name__}")(message)
        if path.startswith("/define/cluster/"):
            return self.clusters[path.rpartition("/")[2]]
        if path.endswith("/tool_versions"):
            return define.ToolVersionsResponse([])
        if path.endswith("/task_templates"):
            return define.TaskTemplatesResponse([])
        return define.WorkflowBoundResponse(7, "G")

    def _ids(self, things: list[Any]) -> list[int]:
        return [self._id() for _ in things]

    def _ToolRequest(self, message: define.ToolRequest) -> Any:  # noqa: N802
        return define.ToolResponse(self._id(), message.name)

    def _ToolVersionRequest(self, message: define.ToolVersionRequest) -> Any:  # noqa: N802
        return define.ToolVersionResponse(self._id(), message.tool_id)

    def _TaskTemplateRequest(self, message: define.TaskTemplateRequest) -> Any:  # noqa: N802
        return define.TaskTemplateResponse(self._id(), message.tool_version_id, message.name)

    def _TaskTemplateVersionRequest(self, message: define.TaskTemplateVersionRequest) -> Any:  # noqa: N802
        kinds = (message.node_args, message.task_args, message.op_args)
        return define.TaskTemplateVersionResponse(
            self._id(),
            message.task_template_id,
            message.command_template,
            message.arg_mapping_hash,
            *({name: self._id() for name in names} for names in kinds),
        )

    def _NodesRequest(self, message: define.NodesRequest) -> Any:  # noqa: N802
        return define.NodesResponse([self._ids(group.values) for group in message.groups])

    def _DagRequest(self, message: define.DagRequest) -> Any:  # noqa: N802
        return define.DagResponse(self._id(), False)

    def _EdgesRequest(self, message: define.EdgesRequest) -> Any:  # noqa: N802
        return define.DagResponse(1, message.is_last)

    def _WorkflowMatchRequest(self, message: define.WorkflowMatchRequest) -> Any:  # noqa: N802
        return self.match

    def _WorkflowRequest(self, message: define.WorkflowRequest) -> Any:  # noqa: N802
        return define.WorkflowResponse(7, "G", False, False)

    def _ArraysRequest(self, message: define.ArraysRequest) -> Any:  # noqa: N802
        return define.ArraysResponse(self._ids(message.arrays))

    def _TaskResourcesRequest(self, message: define.TaskResourcesRequest) -> Any:  # noqa: N802
        return define.TaskResourcesResponse(self._ids(message.resources))

    def _TasksRequest(self, message: define.TasksRequest) -> Any:  # noqa: N802
        return define.TasksResponse(
            [self._ids(group.node_ids) for group in message.groups],
            ["G" * len(group.node_ids) for group in message.groups],
        )

    def _LimitRequest(self, message: LimitRequest) -> Any:  # noqa: N802
        return LimitResponse(message.max_tasks)
