"""A database and a small workflow to put into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

import databases
from jobmon.core.hashing import hash_args
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import this_process
from jobmon.core.states import TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.define import (
    ArrayItem,
    EdgesRequest,
    NodeGroup,
    TaskGroup,
    TaskResourcesItem,
    TasksResponse,
    TaskTemplateVersionRequest,
    WorkflowRequest,
    WorkflowResponse,
)
from jobmon.serializers.swarm import BatchRequest, SyncRequest, WorkflowRunRequest
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.store import bind, define, graph, runs, sync

T = TypeVar("T")


@dataclass
class Scene:
    """A database and the pieces of one workflow: a chain of tasks ``n=0, 1, 2 …``.

    ``is_out_of_order``: the test brings tasks into states that no run would, for instance before those they wait for.
    """

    database: Database
    num_tasks: int = 4
    user: str = "ada"
    ids: dict[str, Any] = field(default_factory=dict)
    task_ids: list[int] = field(default_factory=list)
    is_out_of_order: bool = False

    def write(self, work: Callable[[Connection], T]) -> T:
        return self.database.retrying_write(work)

    def read(self, work: Callable[[Connection], T]) -> T:
        with self.database.read() as connection:
            return work(connection)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.read(lambda connection: [tuple(row) for row in databases.sql(connection, sql)])

    # -- registering ------------------------------------------------------------------------------
    def define(self) -> None:
        tool = self.write(lambda c: define.tool_get_or_create(c, "life"))
        version = self.read(lambda c: define.tool_versions_list(c, tool.id))[-1]
        template = self.write(lambda c: define.task_template_get_or_create(c, version.id, "fit"))
        message = TaskTemplateVersionRequest(template.id, "fit {n} {data}", "h", ["n"], ["data"], [])
        self.ids["template"] = self.write(lambda c: define.task_template_version_get_or_create(c, message))
        self.ids["tool_version"] = version.id
        queue_id = self.read(lambda c: define.cluster_read(c, "dummy")).queues[0].id
        resources = [TaskResourcesItem(queue_id, "O", {"cores": 1})]
        self.ids["resources"] = self.write(lambda c: define.task_resources_get_or_create(c, resources))[0]

    def node_group(self, values: Sequence[str] | None = None) -> NodeGroup:
        values = values if values is not None else [str(n) for n in range(self.num_tasks)]
        version = self.ids["template"]
        return NodeGroup(
            version.id, [version.node_args["n"]], [hash_args({"n": v}) for v in values], [[v] for v in values]
        )

    def add_graph(self, dag_hash: str = "dag") -> None:
        nodes = self.write(lambda c: graph.nodes_get_or_create(c, [self.node_group()]))[0]
        self.ids["nodes"] = nodes
        dag = self.write(lambda c: graph.dag_get_or_create(c, dag_hash))
        up = [nodes[max(0, i - 1) : i] for i in range(len(nodes))]
        down = [nodes[i + 1 : i + 2] for i in range(len(nodes))]
        edges = EdgesRequest(nodes, up, down, is_last=True)
        self.write(lambda c: graph.edges_add_if_incomplete(c, dag.id, edges, dialect.utcnow(c)))
        self.ids["dag"] = dag.id

    def add_workflow(self, user: str | None = None, **changes: Any) -> WorkflowResponse:
        message = WorkflowRequest(
            **{
                "tool_version_id": self.ids["tool_version"],
                "dag_id": self.ids["dag"],
                "workflow_args_hash": "args",
                "task_hash": "tasks",
                "name": "chain",
                **changes,
            }
        )
        answer = self.write(
            lambda c: bind.workflow_get_or_create(c, message, now=dialect.utcnow(c), user=user or self.user)
        )
        self.ids["workflow"] = answer.id
        items = [ArrayItem(self.ids["template"].id, "fit")]
        self.ids["array"] = self.write(
            lambda c: bind.arrays_get_or_create(
                c, answer.id, items, now=dialect.utcnow(c), user=user or self.user
            )
        )[0]
        return answer

    def task_group(self, **changes: Any) -> TaskGroup:
        count = len(self.ids["nodes"])
        values: dict[str, Any] = {
            "array_id": self.ids["array"],
            "task_resources_id": self.ids["resources"],
            "max_attempts": 3,
            "resource_scales": "{}",
            "fallback_queues": "[]",
            "node_ids": self.ids["nodes"],
            "task_args_hashes": ["h"] * count,
            "names": [f"fit_{n}" for n in range(count)],
            "commands": [f"fit {n} data" for n in range(count)],
            "task_arg_ids": [self.ids["template"].task_args["data"]],
            "task_arg_values": [["data"]] * count,
        }
        return TaskGroup(**{**values, **changes})

    def add_tasks(self, user: str | None = None, **changes: Any) -> TasksResponse:
        group = self.task_group(**changes)
        answer = self.write(
            lambda c: bind.tasks_get_or_create(
                c, self.workflow_id, [group], now=dialect.utcnow(c), user=user or self.user
            )
        )
        self.task_ids = answer.task_ids[0]
        return answer

    def mark_bound(self) -> None:
        self.write(
            lambda c: bind.workflow_mark_bound(c, self.workflow_id, now=dialect.utcnow(c), user=self.user)
        )

    def bind(self) -> None:
        self.define()
        self.add_graph()
        self.add_workflow()
        self.add_tasks()
        self.mark_bound()

    @property
    def workflow_id(self) -> int:
        return int(self.ids["workflow"])

    # -- running ----------------------------------------------------------------------------------
    def start_run(self) -> int:
        message = WorkflowRunRequest(
            f"key{self.rows('SELECT count(*) FROM workflow_run')}", self.user, "4", this_process(), 90
        )
        run = self.write(
            lambda c: runs.run_create_if_none_alive(c, self.workflow_id, message, dialect.utcnow(c))
        )
        self.ids["run"], self.ids["batch"] = run.workflow_run_id, run.next_batch_num
        self.run_events(
            WorkflowRunEvent.BIND,
            WorkflowRunEvent.INSTANTIATE,
            WorkflowRunEvent.LAUNCH,
            WorkflowRunEvent.START,
        )
        return run.workflow_run_id

    def run_events(self, *events: WorkflowRunEvent) -> None:
        self.write(
            lambda c: runs.run_apply_events(
                c, self.ids["run"], events, now=dialect.utcnow(c), actor="controller"
            )
        )

    def attempt(self, position: int, *events: TaskInstanceEvent, **details: Any) -> int:
        """One attempt of the task at a position, and what is told of it; ``details`` go with the last event."""
        batch = BatchRequest(
            self.ids["array"], self.ids["batch"], self.ids["resources"], [self.task_ids[position]]
        )
        self.ids["batch"] += 1
        answer = self.sync(SyncRequest([], [batch]))
        (task_instance_id,) = answer.batches[0].task_instance_ids
        *before, last = events or (None,)
        told = [InstanceEvent(task_instance_id, event) for event in before if event is not None]
        if last is not None:
            told.append(InstanceEvent(task_instance_id, last, **details))
        self.sync(SyncRequest(told, []))
        return int(task_instance_id)

    def sync(self, message: SyncRequest) -> Any:
        return self.write(
            lambda c: sync.run_sync(
                c,
                self.ids["run"],
                message,
                now=dialect.utcnow(c),
                actor="controller",
                max_infrastructure_losses=10,
            )
        )

    def statuses(self) -> str:
        return "".join(row[0] for row in self.rows("SELECT status FROM task ORDER BY id"))

    def workflow_status(self) -> str:
        return str(self.rows(f"SELECT status FROM workflow WHERE id = {self.workflow_id}")[0][0])


LAUNCH_AND_START = (TaskInstanceEvent.LAUNCH, TaskInstanceEvent.START)
