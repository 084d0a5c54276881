"""All routes, one after the other: wrong requests, unknown ids, requests sent twice."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from sqlalchemy import MetaData, select
from starlette.testclient import TestClient

from jobmon.core.constants import TaskResourcesType
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.requester import ErrorBody
from jobmon.core.states import Cause, TaskInstanceEvent, TaskStatus, WorkflowRunEvent, WorkflowRunStatus
from jobmon.serializers import define, monitor, swarm
from jobmon.serializers import select as select_messages
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Base
from jobmon.server.web.routes import all_routers
from jobmon.server.web.wire import WireRoute
from jobmon.testing.factory import MadeWorkflow, attempts_make, run_make, workflow_make

PREFIX = "/api/v3"
ROUTES = [(router.prefix + route.path, route) for router in all_routers() for route in router.routes]
MUTATING = {f"{route.method} {path}" for path, route in ROUTES if route.method != "GET"}
NO_SUCH_ID = 10**9
USER = {"X-Jobmon-User": "tester"}


def filled(path: str, value: object) -> str:
    return re.sub(r"\{\w+\}", str(value), path)


def example(kind: Any) -> Any:
    """A message of a type, with ids that do not exist."""
    if kind is Any:
        return 1
    if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return kind(**{name: example(hints[name]) for name in kind.__struct_fields__})
    args = typing.get_args(kind)
    if typing.get_origin(kind) is list:
        return [example(args[0])]
    if typing.get_origin(kind) is dict:
        return {example(args[0]): example(args[1])}
    if args:
        return example(args[0])
    if hasattr(kind, "__members__"):
        return next(iter(kind))
    return {int: NO_SUCH_ID, float: 1.0, str: "x", bool: True}[kind]


def assert_error(response: Any, *statuses: int) -> ErrorBody:
    """One shape, whatever went wrong."""
    assert response.status_code in statuses, response.text
    assert set(response.json()) == {"error", "message", "hint", "request_id"}
    body = msgspec.json.decode(response.content, type=ErrorBody)
    assert body.error
    assert body.message
    assert body.request_id == response.headers["X-Request-ID"]
    return body


WITH_BODY = [(path, route) for path, route in ROUTES if route.request_type is not None]
BAD_BODIES = (b"", b"{", b"\xff", b"[]", b'{"x": 1}', b"null")


def describe(path: str, route: WireRoute) -> str:
    return f"{route.method} {path}"


def body_of(route: WireRoute) -> bytes | None:
    return None if route.request_type is None else msgspec.json.encode(example(route.request_type))


@pytest.mark.parametrize("content", BAD_BODIES)
def test_a_body_that_is_not_understood_is_refused(client: TestClient, content: bytes) -> None:
    """With 400, and nothing happens; messages without obligatory fields may be empty objects."""
    for path, route in WITH_BODY:
        assert route.request_type is not None
        required = [field.required for field in msgspec.structs.fields(route.request_type)]
        if content == b'{"x": 1}' and not any(required):
            continue
        response = client.request(route.method, PREFIX + filled(path, 1), content=content, headers=USER)
        assert "not understood" in assert_error(response, 400).message, describe(path, route)


def test_unknown_ids_are_refused(client: TestClient) -> None:
    """Never with 500; or nothing is found."""
    for path, route in ROUTES:
        response = client.request(
            route.method, PREFIX + filled(path, NO_SUCH_ID), content=body_of(route), headers=USER
        )
        if response.status_code != 200:
            assert_error(response, 400, 404, 409)
        else:
            assert msgspec.json.decode(response.content, type=route.response_type), describe(path, route)


def test_ids_that_are_no_numbers_are_refused(client: TestClient) -> None:
    """With 400."""
    for path, route in ROUTES:
        if "_id}" in path:
            response = client.request(
                route.method, PREFIX + filled(path, "five"), content=body_of(route), headers=USER
            )
            assert_error(response, 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/api/v3/nothing", 404), ("DELETE", "/api/v3/define/tool", 405)],
)
def test_routes_that_do_not_exist(client: TestClient, method: str, path: str, status: int) -> None:
    """In the same shape."""
    assert path in assert_error(client.request(method, f"http://testserver{path}"), status).message


def test_the_request_id_is_the_senders(client: TestClient) -> None:
    """Unless it is odd."""
    path = PREFIX + "/health"
    assert client.get(path, headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert client.get(path, headers={"X-Request-ID": "a b"}).headers["X-Request-ID"] != "a b"


# -- twice ----------------------------------------------------------------------------------------------
@dataclass
class Scene:
    """A workflow that runs: task 0 runs, task 1 waits for it, task 2 stands ready."""

    database: Database
    workflow: MadeWorkflow
    run_id: int
    attempt: int
    queue_id: int
    arg_id: int
    tool_id: int
    template_id: int
    resting: MadeWorkflow  # registered, not running
    waiting_run_id: int  # created, nobody works on it


@pytest.fixture
def scene(app: FastAPI) -> Scene:
    return make_scene(app.state.jobmon.database)


def make_scene(database: Database, label: str = "") -> Scene:
    """Make it; a second one of the same database needs a label of its own."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [[], [0], []], now=now, name="running" + label)
        run_id = run_make(connection, workflow.workflow_id, now=now)
        (attempt,) = attempts_make(connection, workflow, run_id, [0], batch_num=1, now=now)
        resting = workflow_make(connection, [[], [0]], now=now, name="resting" + label)
        created = workflow_make(connection, [[]], now=now, name="created" + label)
        waiting = run_make(connection, created.workflow_id, now=now, status=WorkflowRunStatus.LINKING)

        def first(model: str, column: str = "id") -> int:
            table = Base.metadata.tables[model]
            return int(connection.scalar(select(table.c[column]).limit(1)) or 0)

        return Scene(
            database,
            workflow,
            run_id,
            attempt,
            first("queue"),
            first("arg"),
            first("tool"),
            first("task_template"),
            resting,
            waiting,
        )


def snapshot(database: Database) -> dict[str, list[Any]]:
    """Everything in the database but the time of day."""
    metadata = MetaData()
    with database.read() as connection:
        metadata.reflect(connection)
        return {
            table.name: sorted(
                (
                    {c: v for c, v in row._mapping.items() if not c.endswith(("_date", "_time"))}
                    for row in connection.execute(select(table))
                ),
                key=str,
            )
            for table in metadata.sorted_tables
        }


CONTROLLER = ProcessIdentity("h", "", 1, 1)


def _task_group(s: Scene) -> define.TaskGroup:
    w = s.resting
    return define.TaskGroup(w.array_id, w.task_resources_id, 3, "", "", [], [], [], [], [], [], [])


CASES: dict[str, Callable[[Scene], tuple[object, msgspec.Struct | None]]] = {
    "POST /define/tool": lambda s: ("", define.ToolRequest("new")),
    "POST /define/tool_version": lambda s: ("", define.ToolVersionRequest(s.tool_id, "a key")),
    "POST /define/task_template": lambda s: (
        "",
        define.TaskTemplateRequest(s.workflow.tool_version_id, "new"),
    ),
    "POST /define/task_template_version": lambda s: (
        "",
        define.TaskTemplateVersionRequest(s.template_id, "{a} {b} {c}", "h", ["a"], ["b"], ["c"]),
    ),
    "POST /define/cluster": lambda s: (
        "",
        define.ClusterRequest(
            "hpc", "slurm", {"bin": "/usr/bin"}, [define.QueueRequest("q", {"cores": [1, 4]})]
        ),
    ),
    "POST /define/task_resources": lambda s: (
        "",
        define.TaskResourcesRequest(
            [define.TaskResourcesItem(s.queue_id, TaskResourcesType.VALIDATED, {"memory": 5})]
        ),
    ),
    "POST /define/nodes": lambda s: (
        "",
        define.NodesRequest(
            [define.NodeGroup(s.workflow.task_template_version_id, [s.arg_id], ["h1", "h2"], [["1"], ["2"]])]
        ),
    ),
    "POST /define/dag": lambda s: ("", define.DagRequest("new")),
    "POST /define/dag/{dag_id}/edges": lambda s: (
        s.workflow.dag_id,
        define.EdgesRequest([1], [[]], [[]], True),
    ),
    "POST /define/workflow_match": lambda s: (
        "",
        define.WorkflowMatchRequest(s.workflow.tool_version_id, "none"),
    ),
    "POST /define/workflow": lambda s: (
        "",
        define.WorkflowRequest(
            s.workflow.tool_version_id, s.workflow.dag_id, "h", "t", "n", attributes={"a": "1"}
        ),
    ),
    "POST /define/workflow/{workflow_id}/arrays": lambda s: (
        s.resting.workflow_id,
        define.ArraysRequest([define.ArrayItem(s.resting.task_template_version_id, "step", 5)]),
    ),
    "POST /define/workflow/{workflow_id}/tasks": lambda s: (
        s.resting.workflow_id,
        define.TasksRequest([_task_group(s)]),
    ),
    "POST /define/workflow/{workflow_id}/bound": lambda s: (s.resting.workflow_id, None),
    "PUT /define/workflow/{workflow_id}/attributes": lambda s: (
        s.workflow.workflow_id,
        define.AttributesRequest({"a": "1", "b": None}),
    ),
    "PUT /define/task/{task_id}/attributes": lambda s: (
        s.workflow.task_ids[0],
        define.AttributesRequest({"a": "1"}),
    ),
    "POST /swarm/workflow/{workflow_id}/workflow_run": lambda s: (
        s.resting.workflow_id,
        swarm.WorkflowRunRequest("one key", "tester", "4", CONTROLLER, 90),
    ),
    "POST /swarm/workflow_run/{workflow_run_id}/take": lambda s: (
        s.waiting_run_id,
        swarm.TakeRunRequest("its own key", CONTROLLER, 90),
    ),
    "POST /swarm/workflow_run/{workflow_run_id}/worker_token": lambda s: (
        s.run_id,
        swarm.WorkerTokenRequest("5e" * 32),
    ),
    "POST /swarm/workflow/{workflow_id}/drain": lambda s: (s.workflow.workflow_id, None),
    "POST /swarm/workflow_run/{workflow_run_id}/events": lambda s: (
        s.run_id,
        swarm.RunEventsRequest([WorkflowRunEvent.STOP]),
    ),
    "POST /swarm/workflow_run/{workflow_run_id}/heartbeat": lambda s: (
        s.run_id,
        swarm.HeartbeatRequest(90, True),
    ),
    "POST /swarm/workflow_run/{workflow_run_id}/sync": lambda s: (
        s.run_id,
        swarm.SyncRequest(
            [
                InstanceEvent(s.attempt, TaskInstanceEvent.START),
                InstanceEvent(s.attempt, TaskInstanceEvent.FAIL, cause=Cause.CODE, description="broken"),
            ],
            [
                swarm.BatchRequest(
                    s.workflow.array_id, 2, s.workflow.task_resources_id, s.workflow.task_ids[2:]
                )
            ],
        ),
    ),
    "POST /swarm/workflow/{workflow_id}/set_resume": lambda s: (
        s.workflow.workflow_id,
        swarm.SetResumeRequest(True, [s.run_id]),
    ),
    "POST /swarm/workflow/{workflow_id}/stop": lambda s: (
        s.workflow.workflow_id,
        swarm.SetResumeRequest(True),
    ),
    "POST /swarm/workflow/{workflow_id}/task_instance_events": lambda s: (
        s.workflow.workflow_id,
        swarm.InstanceEventsRequest([InstanceEvent(s.attempt, TaskInstanceEvent.ABORT, description="gone")]),
    ),
    "POST /swarm/workflow_run/{workflow_run_id}/reset_tasks": lambda s: (
        s.run_id,
        swarm.ResetTasksRequest(True, increase_resources=True),
    ),
    "POST /swarm/cluster/{cluster_name}/forgive_node": lambda s: ("dummy", swarm.ForgiveNodeRequest("n1")),
    "PUT /swarm/workflow/{workflow_id}/limit": lambda s: (s.workflow.workflow_id, swarm.LimitRequest(3)),
    "POST /worker/task_instance/{task_instance_id}/event": lambda s: (
        s.attempt,
        InstanceEvent(s.attempt, TaskInstanceEvent.START, nodename="n"),
    ),
    "POST /monitor/task_status": lambda s: ("", monitor.TaskStatusRequest(s.workflow.task_ids)),
    "POST /monitor/task_workflows": lambda s: ("", monitor.TasksWorkflowsRequest(s.workflow.task_ids)),
    "PUT /monitor/workflow/{workflow_id}/task_statuses": lambda s: (
        s.workflow.workflow_id,
        monitor.UpdateTasksRequest(s.workflow.task_ids[2:], TaskStatus.DONE.value),
    ),
    "POST /monitor/workflow/{workflow_id}/select": lambda s: (
        s.workflow.workflow_id,
        select_messages.SelectRequest(["step"], node_args={"which": ["1"]}, is_detailed=True),
    ),
    "POST /monitor/task_subtree": lambda s: ("", select_messages.SubtreeRequest(s.workflow.task_ids)),
    "PUT /monitor/workflow/{workflow_id}/reset": lambda s: (
        s.resting.workflow_id,
        monitor.ResetWorkflowRequest(False),
    ),
}
# What they count is what they changed: the second time, nothing. A limit set again is noted again.
COUNTING = {
    "POST /swarm/workflow/{workflow_id}/task_instance_events",
    "PUT /monitor/workflow/{workflow_id}/task_statuses",
    "POST /swarm/workflow_run/{workflow_run_id}/reset_tasks",
    "POST /swarm/workflow_run/{workflow_run_id}/sync",
    "POST /worker/task_instance/{task_instance_id}/event",
}
TIMED = {"lost_in_seconds", "elapsed_seconds"}
# The run's cursor moves all the same: who reads by it looks once in vain.
NOTED_AGAIN = {
    "PUT /swarm/workflow/{workflow_id}/limit",
    "PUT /monitor/workflow/{workflow_id}/task_statuses",
    "POST /swarm/workflow_run/{workflow_run_id}/sync",
}


def test_every_route_that_changes_something_has_a_case() -> None:
    """Whoever adds a route shows here that it may be sent twice."""
    assert set(CASES) == MUTATING


@pytest.mark.parametrize("name", sorted(MUTATING))
def test_a_request_sent_twice_is_done_once(client: TestClient, scene: Scene, name: str) -> None:
    """The reply was lost: the same request comes again, changes nothing more, and is answered the same."""
    method, path = name.split(" ")
    value, message = CASES[name](scene)
    content = None if message is None else msgspec.json.encode(message)

    def send() -> Any:
        response = client.request(method, PREFIX + filled(path, value), content=content, headers=USER)
        assert response.status_code == 200, response.text
        return {key: value for key, value in response.json().items() if key not in TIMED}

    first = send()
    once = snapshot(scene.database)
    second = send()
    twice = snapshot(scene.database)
    if name in NOTED_AGAIN:
        for table in ("workflow_history", "workflow_run"):
            once.pop(table)
            twice.pop(table)
    assert twice == once
    if name not in COUNTING:
        assert second == first
    else:
        assert second.keys() == first.keys()
