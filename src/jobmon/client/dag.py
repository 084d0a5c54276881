"""The graph of a workflow: checked, identified by a hash, registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from jobmon.client.node import Node, node_group
from jobmon.core.exceptions import CyclicGraphError, DuplicateNodeArgsError, NodeDependencyNotExistError
from jobmon.core.requester import Requester
from jobmon.serializers.define import (
    DagRequest,
    DagResponse,
    EdgesRequest,
    NodesRequest,
    NodesResponse,
)

if TYPE_CHECKING:
    from jobmon.client.task import Neighbours, Task

CHUNK_SIZE = 10_000
"""Nodes or tasks sent in one request."""

CHUNK_EDGES = 200_000
"""Edges sent in one request."""

SHARED = 8
"""Tuples of neighbours longer than this are shared by tasks, so that work on them is worth remembering."""

Advance = Callable[[int], None]
"""Told how many nodes were dealt with since the last call."""


class Dag:
    """Nodes and the edges between them.

    Args:
        requester: how to reach the server.
    """

    def __init__(self, requester: Requester | None = None) -> None:
        self._requester = requester
        self._nodes: list[Node] = []
        self._places: set[tuple[int, tuple[str, ...]]] = set()
        self._dag_id: int | None = None

    @classmethod
    def of_tasks(cls, tasks: Iterable[Task], requester: Requester) -> Dag:
        """The graph of tasks whose node args are known to differ."""
        dag = cls(requester)
        dag._nodes = [task.node for task in tasks]
        return dag

    @property
    def nodes(self) -> list[Node]:
        """Its nodes in the order they came."""
        return self._nodes

    def add_node(self, node: Node) -> None:
        """Add a node.

        Raises:
            DuplicateNodeArgsError: there is one with the same template version and node args.
        """
        place = (id(node.task_template_version), node.values)
        if place in self._places:
            raise DuplicateNodeArgsError(f"There is a node with these args already: {node}.")
        self._places.add(place)
        self._nodes.append(node)

    # -- checks -------------------------------------------------------------------------------------
    def validate(self) -> None:
        """Check that every neighbour was added and that the edges form no circle, in linear time.

        Raises:
            NodeDependencyNotExistError: a task depends on one that was not added.
            CyclicGraphError: the message names the tasks of one circle.
        """
        tasks = [node._task for node in self._nodes if node._task is not None]
        positions = {id(task): position for position, task in enumerate(tasks)}
        highest_of: dict[int, int] = {}
        in_order = True
        for position, task in enumerate(tasks):
            if task._upstreams:
                highest = highest_of.get(id(task._upstreams))
                if highest is None:
                    highest = _highest(positions, task._upstreams, task, "depends on")
                    if len(task._upstreams) > SHARED:
                        highest_of[id(task._upstreams)] = highest
                in_order = in_order and highest < position
            if task._downstreams and id(task._downstreams) not in highest_of:
                highest = _highest(positions, task._downstreams, task, "is upstream of")
                if len(task._downstreams) > SHARED:
                    highest_of[id(task._downstreams)] = highest
        if not in_order:  # tasks that come after their upstreams cannot form a circle
            _check_acyclic(tasks, positions)

    # -- identity -----------------------------------------------------------------------------------
    @property
    def dag_hash(self) -> str:
        """Hash over the sorted nodes, each followed by number and sorted hashes of its downstreams."""
        for node in self._nodes:
            if node._hash is None:
                _ = node.node_hash
        digest = sha256()
        remembered: dict[int, bytes] = {}
        nothing = (0).to_bytes(8)
        for node in sorted(self._nodes, key=attrgetter("_hash")):
            assert node._hash is not None
            downstreams = node._task._downstreams if node._task is not None else ()
            if not downstreams:
                digest.update(node._hash + nothing)
                continue
            text = remembered.get(id(downstreams))
            if text is None:
                hashes = sorted([bytes.fromhex(task.node.node_hash) for task in downstreams])
                text = len(hashes).to_bytes(8) + b"".join(hashes)
                if len(hashes) > SHARED:
                    remembered[id(downstreams)] = text
            digest.update(node._hash + text)
        return digest.hexdigest()

    # -- the database -------------------------------------------------------------------------------
    @property
    def dag_id(self) -> int:
        """Id in the database.

        Raises:
            AttributeError: it is not bound.
        """
        if self._dag_id is None:
            raise AttributeError("The graph is not bound; bind its workflow.")
        return self._dag_id

    def bind(
        self,
        chunk_size: int = CHUNK_SIZE,
        dag_hash: str = "",
        advance: Advance | None = None,
    ) -> int:
        """Register nodes and edges; its id. What is registered already is left alone.

        Args:
            chunk_size: nodes in one request.
            dag_hash: its hash where it is known already.
            advance: told of progress: every node counts once.
        """
        requester = self._requester or Requester.from_defaults()
        self._bind_nodes(requester, chunk_size, advance)
        message = DagRequest(dag_hash or self.dag_hash)
        response = requester.send("POST", "/define/dag", message, DagResponse)
        if not response.is_complete:
            path = f"/define/dag/{response.id}/edges"
            for edges in self._edge_chunks(chunk_size):
                requester.send("POST", path, edges, DagResponse)
        self._dag_id = response.id
        return response.id

    def _bind_nodes(self, requester: Requester, chunk_size: int, advance: Advance | None) -> None:
        for chunk in chunked((node for node in self._nodes if node._node_id is None), chunk_size):
            by_version: dict[int, list[Node]] = {}
            for node in chunk:
                by_version.setdefault(id(node.task_template_version), []).append(node)
            groups = list(by_version.values())
            message = NodesRequest([node_group(group) for group in groups])
            response = requester.send("POST", "/define/nodes", message, NodesResponse)
            for group, ids in zip(groups, response.node_ids, strict=True):
                for node, node_id in zip(group, ids, strict=True):
                    node._node_id = node_id
            if advance is not None:
                advance(len(chunk))

    def _edge_chunks(self, chunk_size: int) -> Iterator[EdgesRequest]:
        chunk = EdgesRequest([], [], [])
        num_edges = 0
        for node in self._nodes:
            if len(chunk.node_ids) >= chunk_size or num_edges >= CHUNK_EDGES:
                yield chunk
                chunk, num_edges = EdgesRequest([], [], []), 0
            task = node._task
            upstreams = [u.node.node_id for u in task._upstreams] if task is not None else []
            downstreams = [d.node.node_id for d in task._downstreams] if task is not None else []
            chunk.node_ids.append(node.node_id)
            chunk.upstream_node_ids.append(upstreams)
            chunk.downstream_node_ids.append(downstreams)
            num_edges += len(upstreams) + len(downstreams)
        chunk.is_last = True
        yield chunk


def chunked(nodes: Iterable[Node], size: int) -> Iterator[list[Node]]:
    """Lists of at most ``size`` nodes."""
    iterator = iter(nodes)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _highest(positions: dict[int, int], neighbours: Neighbours, task: Task, relation: str) -> int:
    highest = -1
    for neighbour in neighbours:
        position = positions.get(id(neighbour))
        if position is None:
            raise NodeDependencyNotExistError(
                f"{task} {relation} {neighbour}, which was not added to the workflow; add it with "
                "workflow.add_task()."
            )
        highest = max(highest, position)
    return highest


def _check_acyclic(tasks: Sequence[Task], positions: dict[int, int]) -> None:
    waiting = [len(task._upstreams) for task in tasks]
    ready = [position for position, count in enumerate(waiting) if count == 0]
    for position in ready:  # grows while it is gone through
        for downstream in tasks[position]._downstreams:
            other = positions[id(downstream)]
            waiting[other] -= 1
            if waiting[other] == 0:
                ready.append(other)
    if len(ready) == len(tasks):
        return
    start = next(position for position, count in enumerate(waiting) if count)
    raise CyclicGraphError(_describe_cycle(tasks, positions, waiting, start))


def _describe_cycle(
    tasks: Sequence[Task], positions: dict[int, int], waiting: Sequence[int], start: int
) -> str:
    """Walk against the edges through tasks that can never be ready; who is met twice is on a circle."""
    path: list[int] = []
    met: dict[int, int] = {}
    position = start
    while position not in met:
        met[position] = len(path)
        path.append(position)
        position = next(p for u in tasks[position]._upstreams if waiting[p := positions[id(u)]])
    circle = [tasks[p].name for p in reversed(path[met[position] :])]
    shown = [*circle, circle[0]] if len(circle) <= 20 else [*circle[:19], "…", circle[-1], circle[0]]
    return f"The dependencies of {len(circle)} tasks form a circle: {' -> '.join(shown)}."
