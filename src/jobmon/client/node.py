"""A node: a place in the graph of a workflow, told apart by its task template version and node args."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobmon.client.task_template_version import TaskTemplateVersion, arg_text
from jobmon.core.hashing import hash_args, hash_parts
from jobmon.serializers.define import NodeGroup, NodesRequest, NodesResponse

if TYPE_CHECKING:
    from jobmon.client.task import Task


class Node:
    """A place in the graph of a workflow.

    Args:
        task_template_version: what is run there.
        node_args: a value for every node arg.

    Raises:
        ValueError: an arg is missing or unknown.
    """

    __slots__ = ("_hash", "_node_id", "_task", "task_template_version", "values")

    def __init__(self, task_template_version: TaskTemplateVersion, node_args: Mapping[str, Any]) -> None:
        names = task_template_version.node_arg_names
        if set(names) != set(node_args):
            raise ValueError(
                f"Node args of {task_template_version} are {', '.join(names)}, not {', '.join(node_args)}."
            )
        self._fill(task_template_version, tuple([arg_text(name, node_args[name]) for name in names]))

    @classmethod
    def of_values(cls, task_template_version: TaskTemplateVersion, values: tuple[str, ...]) -> Node:
        """A node from texts in the order of ``node_arg_names``."""
        node = cls.__new__(cls)
        node._fill(task_template_version, values)
        return node

    def _fill(self, task_template_version: TaskTemplateVersion, values: tuple[str, ...]) -> None:
        self.task_template_version = task_template_version
        self.values = values
        self._hash: bytes | None = None
        self._node_id: int | None = None
        self._task: Task | None = None

    @property
    def node_args(self) -> dict[str, str]:
        """Values by name."""
        return dict(zip(self.task_template_version.node_arg_names, self.values, strict=True))

    @property
    def node_args_hash(self) -> str:
        """Hash of the node args."""
        return hash_args(self.node_args)

    @property
    def node_hash(self) -> str:
        """Identity of the node."""
        if self._hash is None:
            text = hash_parts([str(self.task_template_version.id), self.node_args_hash])
            self._hash = bytes.fromhex(text)  # half the memory
            return text
        return self._hash.hex()

    @property
    def node_id(self) -> int:
        """Id in the database."""
        if self._node_id is None:
            raise AttributeError(f"{self} is not bound.")
        return self._node_id

    @node_id.setter
    def node_id(self, value: int) -> None:
        self._node_id = value

    @property
    def is_bound(self) -> bool:
        """Whether it was registered."""
        return self._node_id is not None

    @property
    def upstream_nodes(self) -> set[Node]:
        """Nodes it waits for."""
        return set() if self._task is None else {task.node for task in self._task.upstream_tasks}

    @property
    def downstream_nodes(self) -> set[Node]:
        """Nodes that wait for it."""
        return set() if self._task is None else {task.node for task in self._task.downstream_tasks}

    def bind(self) -> int:
        """Register this one node; its id. A workflow registers all of its nodes at once."""
        if self._node_id is None:
            response = self.task_template_version.task_template.requester.send(
                "POST", "/define/nodes", NodesRequest([node_group([self])]), NodesResponse
            )
            self._node_id = response.node_ids[0][0]
        return self._node_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.node_hash == other.node_hash

    def __lt__(self, other: Node) -> bool:
        return self.node_hash < other.node_hash

    def __hash__(self) -> int:
        return int(self.node_hash, 16)

    def __repr__(self) -> str:
        return f"Node('{self.task_template_version.task_template.template_name}', {self.node_args})"


def node_group(nodes: list[Node]) -> NodeGroup:
    """Nodes of one task template version as they are sent to the server."""
    version = nodes[0].task_template_version
    names = version.node_arg_names
    return NodeGroup(
        version.id,
        version.arg_ids(names),
        [node.node_args_hash for node in nodes],
        [list(node.values) for node in nodes],
    )
