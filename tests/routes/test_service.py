"""The service itself: health, tokens, OpenAPI, single events in groups, the feed, two runs at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from starlette.testclient import TestClient

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import (
    InvalidUsage,
    NotAllowedError,
    WorkflowNotResumable,
    WorkflowRunStateError,
)
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.requester import Requester
from jobmon.core.states import (
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
)
from jobmon.serializers.monitor import HealthResponse, UpdateTasksRequest, UpdateTasksResponse
from jobmon.serializers.swarm import (
    FeedResponse,
    HeartbeatRequest,
    LimitRequest,
    LimitResponse,
    ResetTasksRequest,
    ResetTasksResponse,
    ResumableResponse,
    RunEventsRequest,
    RunProgressResponse,
    RunStateResponse,
    SetResumeRequest,
    SyncRequest,
    SyncResponse,
    TakeRunRequest,
    WorkflowRunRequest,
    WorkflowRunResponse,
)
from jobmon.serializers.worker import WorkerResponse
from jobmon.server.web import dialect
from jobmon.server.web.api import get_app
from jobmon.server.web.database import Database
from jobmon.server.web.models import TaskInstance, WorkflowRun
from jobmon.server.web.routes import all_routers
from jobmon.testing.factory import MadeWorkflow, attempts_make, run_make, workflow_make

PREFIX = "/api/v3"
WIDTH = 100


@dataclass
class Scene:
    """A workflow of many tasks that runs, each with an attempt."""

    database: Database
    workflow: MadeWorkflow
    run_id: int
    attempts: list[int]


@pytest.fixture
def scene(app: FastAPI) -> Scene:
    database: Database = app.state.jobmon.database
    with database.write() as connection:
        now = dialect.utcnow(connection)
        user = _me()
        workflow = workflow_make(connection, [[]] * WIDTH, now=now, user=user)
        run_id = run_make(connection, workflow.workflow_id, now=now, user=user)
        attempts = attempts_make(connection, workflow, run_id, range(WIDTH), batch_num=1, now=now)
        return Scene(database, workflow, run_id, attempts)


def _me() -> str:
    import getpass

    return getpass.getuser()


# -- health, tokens, OpenAPI ------------------------------------------------------------------------------
@pytest.fixture
def guarded(config: JobmonConfig) -> Iterator[TestClient]:
    """A server that wants to see a token."""
    with TestClient(get_app(config, token="sesame"), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "sésame".encode()}]
)
def test_without_the_token_nothing_is_said(guarded: TestClient, header: dict[str, Any]) -> None:
    """On no route but health; also not which routes there are."""
    for path in (PREFIX + "/monitor/workflow_status", "/api/openapi.json", "/nothing"):
        response = guarded.get(path, headers=header)
        assert response.status_code == 401
        assert response.json()["error"] == "NotAllowedError"


def test_with_the_token_all_is_open(guarded: TestClient) -> None:
    """As without one."""
    header = {"Authorization": "Bearer sesame"}
    assert guarded.get(PREFIX + "/monitor/workflow_status", headers=header).status_code == 200


def test_health_is_open(guarded: TestClient) -> None:
    """With and without the prefix."""
    for path in ("/health", PREFIX + "/health"):
        assert guarded.get(path).json()["status"] == "ok"


def test_health_is_typed(requester: Requester) -> None:
    """Version and kind of database."""
    answer = requester.send("GET", "/health", None, HealthResponse)
    assert answer.status == "ok"


def test_openapi_lists_every_route_with_its_messages(client: TestClient) -> None:
    """Made from the same types the wire uses."""
    document = client.get("/api/openapi.json").json()
    for router in all_routers():
        for route in router.routes:
            operation = document["paths"][PREFIX + router.prefix + route.path][route.method.lower()]
            assert operation["summary"]
            assert "200" in operation["responses"]
            assert ("requestBody" in operation) == (route.request_type is not None)
            if route.request_type is not None:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                assert schema["$ref"].rpartition("/")[2] in document["components"]["schemas"]


# -- group commit -----------------------------------------------------------------------------------------
def test_single_events_that_come_together_are_all_committed(app: FastAPI, scene: Scene) -> None:
    """Each is answered after the commit that holds it; an error reaches only its sender."""

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver" + PREFIX) as client:

            async def send(attempt: int, event: TaskInstanceEvent) -> httpx.Response:
                response = await client.post(
                    f"/worker/task_instance/{attempt}/event",
                    json={"task_instance_id": attempt, "event": event.value},
                )
                if response.status_code == 200:  # what is answered is there for everybody
                    with scene.database.read() as connection:
                        status = connection.scalar(
                            select(TaskInstance.status).where(TaskInstance.id == attempt)
                        )
                    assert status == response.json()["status"]
                return response

            start, finish = TaskInstanceEvent.START, TaskInstanceEvent.FINISH
            good = [send(attempt, start) for attempt in scene.attempts[2:]]
            return await asyncio.gather(
                send(10**9, start), send(scene.attempts[0], finish), send(scene.attempts[1], start), *good
            )

    unknown, illegal, *good = asyncio.run(main())
    assert (unknown.status_code, unknown.json()["error"]) == (404, "NotFoundError")
    assert (illegal.status_code, illegal.json()["error"]) == (409, "InvalidStateTransition")
    assert {response.status_code for response in good} == {200}
    assert {(r.json()["status"], r.json()["is_live"]) for r in good} == {(TaskInstanceStatus.RUNNING, True)}
    with scene.database.read() as connection:
        cursor = connection.scalar(select(WorkflowRun.last_cursor).where(WorkflowRun.id == scene.run_id))
    assert cursor is not None
    assert cursor < WIDTH / 2, "the events did not share their commits"


def tell(requester: Requester, attempt: int, event: TaskInstanceEvent, **more: Any) -> WorkerResponse:
    path = f"/worker/task_instance/{attempt}/event"
    return requester.send("POST", path, InstanceEvent(attempt, event, **more), WorkerResponse)


def test_an_attempt_that_is_over_is_told_to_stop(requester: Requester, scene: Scene) -> None:
    """Politely, with its state."""
    attempt = scene.attempts[0]
    tell(requester, attempt, TaskInstanceEvent.START)
    answer = tell(requester, attempt, TaskInstanceEvent.FINISH)
    again = tell(requester, attempt, TaskInstanceEvent.HEARTBEAT)
    assert (again.status, again.is_live) == (answer.status, False) == (TaskInstanceStatus.DONE, False)


def test_path_and_message_must_name_the_same_attempt(requester: Requester, scene: Scene) -> None:
    """Or the sender is confused."""
    with pytest.raises(InvalidUsage, match="the path names 5"):
        requester.send(
            "POST",
            "/worker/task_instance/5/event",
            InstanceEvent(scene.attempts[0] + 10**6, TaskInstanceEvent.START),
            WorkerResponse,
        )


# -- the feed ---------------------------------------------------------------------------------------------
def feed(requester: Requester, scene: Scene, after: int, wait: float = 0, known: str = "R") -> FeedResponse:
    return requester.send(
        "GET",
        f"/swarm/workflow_run/{scene.run_id}/feed",
        None,
        FeedResponse,
        params={"after": after, "wait_seconds": wait, "known_status": known},
    )


def sync(requester: Requester, scene: Scene, *events: InstanceEvent) -> SyncResponse:
    path = f"/swarm/workflow_run/{scene.run_id}/sync"
    return requester.send("POST", path, SyncRequest(list(events), []), SyncResponse)


def test_the_feed_brings_what_others_changed_since(requester: Requester, scene: Scene) -> None:
    """Not what the controller told itself; and each change once."""
    start = feed(requester, scene, 0)
    sync(requester, scene, InstanceEvent(scene.attempts[0], TaskInstanceEvent.START))
    tell(requester, scene.attempts[1], TaskInstanceEvent.START)
    news = feed(requester, scene, start.cursor)
    assert news.tasks.task_ids == [scene.workflow.task_ids[1]]
    assert news.tasks.statuses == TaskStatus.RUNNING
    assert news.cursor == start.cursor + 2
    assert feed(requester, scene, news.cursor).tasks.task_ids == []


def test_a_long_poll_ends_with_the_first_order(requester: Requester, scene: Scene) -> None:
    """Not with the controller's own events."""
    cursor = feed(requester, scene, 0).cursor
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(feed, requester, scene, cursor, 30.0)
        time.sleep(0.2)  # until it waits; were it late, it would find the news at once
        sync(requester, scene, InstanceEvent(scene.attempts[0], TaskInstanceEvent.START))
        time.sleep(0.2)
        assert not waiting.done()
        path = f"/swarm/workflow/{scene.workflow.workflow_id}/limit"
        requester.send("PUT", path, LimitRequest(7), LimitResponse)
        answer = waiting.result(10)
        assert time.monotonic() - began < 10
    assert answer.max_concurrently_running == 7


def test_a_long_poll_ends_with_its_time(requester: Requester, scene: Scene) -> None:
    """With the state of things."""
    cursor = feed(requester, scene, 0).cursor
    answer = feed(requester, scene, cursor, 0.1)
    assert (answer.cursor, answer.run_status) == (cursor, WorkflowRunStatus.RUNNING)


def test_an_order_to_hand_over_is_news(requester: Requester, scene: Scene) -> None:
    """Also for who knew an older state; the attempts to be ended are named."""
    tell(requester, scene.attempts[0], TaskInstanceEvent.START)
    cursor = feed(requester, scene, 0).cursor
    path = f"/swarm/workflow/{scene.workflow.workflow_id}/set_resume"
    requester.send("POST", path, SetResumeRequest(True), ResumableResponse)
    answer = feed(requester, scene, cursor, 5)
    assert answer.run_status == WorkflowRunStatus.COLD_RESUME
    assert answer.kill == [scene.attempts[0]]  # the others had not started: they have ended


def test_a_task_set_by_hand_is_news(requester: Requester, scene: Scene) -> None:
    """The controller hears of it."""
    cursor = feed(requester, scene, 0).cursor
    task_id = scene.workflow.task_ids[5]
    message = UpdateTasksRequest([task_id], TaskStatus.DONE.value)
    path = f"/monitor/workflow/{scene.workflow.workflow_id}/task_statuses"
    requester.send("PUT", path, message, UpdateTasksResponse)
    answer = feed(requester, scene, cursor)
    assert (answer.tasks.task_ids, answer.tasks.statuses) == ([task_id], TaskStatus.DONE)


# -- runs ---------------------------------------------------------------------------------------------------
def create(requester: Requester, workflow_id: int, key: str) -> WorkflowRunResponse:
    message = WorkflowRunRequest(key, _me(), "4", ProcessIdentity("h", "", 1, 1), 90)
    path = f"/swarm/workflow/{workflow_id}/workflow_run"
    return requester.send("POST", path, message, WorkflowRunResponse)


def test_of_runs_that_begin_together_one_is_created(requester: Requester, scene: Scene) -> None:
    """The others are refused, with who runs it."""
    with scene.database.write() as connection:
        resting = workflow_make(connection, [[]], now=dialect.utcnow(connection), user=_me())
    barrier = threading.Barrier(8)

    def attempt(number: int) -> int | WorkflowNotResumable:
        barrier.wait(10)
        try:
            return create(requester, resting.workflow_id, f"key {number}").workflow_run_id
        except WorkflowNotResumable as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(8)))
    refused = [outcome for outcome in outcomes if isinstance(outcome, WorkflowNotResumable)]
    assert len(refused) == 7
    assert all("is being run already" in str(error) and _me() in str(error) for error in refused)
    with scene.database.read() as connection:
        runs = select(func.count()).where(WorkflowRun.workflow_id == resting.workflow_id)
        assert connection.scalar(runs) == 1


def take(requester: Requester, run_id: int, key: str) -> WorkflowRunResponse:
    message = TakeRunRequest(key, ProcessIdentity("h", "", 1, 1), 90)
    return requester.send("POST", f"/swarm/workflow_run/{run_id}/take", message, WorkflowRunResponse)


def test_of_processes_that_take_a_run_together_one_gets_it(requester: Requester, scene: Scene) -> None:
    """The others are refused; who has it may ask again."""
    with scene.database.write() as connection:
        resting = workflow_make(connection, [[]], now=dialect.utcnow(connection), user=_me())
    run_id = create(requester, resting.workflow_id, "made").workflow_run_id
    barrier = threading.Barrier(8)

    def attempt(number: int) -> str | None:
        barrier.wait(10)
        try:
            take(requester, run_id, f"key {number}")
        except WorkflowRunStateError:
            return None
        return f"key {number}"

    with ThreadPoolExecutor(8) as pool:
        (winner,) = filter(None, pool.map(attempt, range(8)))
    assert take(requester, run_id, winner).status == WorkflowRunStatus.INSTANTIATED


def test_a_strangers_workflow_is_not_touched(requester: Requester, scene: Scene) -> None:
    """Only who ran it last may stop, resume, limit or change it."""
    with scene.database.write() as connection:
        now = dialect.utcnow(connection)
        other = workflow_make(connection, [[]], now=now, user="ada")
        run_id = run_make(connection, other.workflow_id, now=now, user="ada")
    base = f"/swarm/workflow/{other.workflow_id}"
    with pytest.raises(NotAllowedError, match="belongs to user ada"):
        requester.send("POST", f"{base}/stop", SetResumeRequest(True), ResumableResponse)
    with pytest.raises(NotAllowedError):
        requester.send("PUT", f"{base}/limit", LimitRequest(0), LimitResponse)
    with pytest.raises(NotAllowedError):
        create(requester, other.workflow_id, "mine")
    with pytest.raises(NotAllowedError):
        requester.send("POST", f"{base}/drain", None, RunProgressResponse)
    with pytest.raises(NotAllowedError):
        take(requester, run_id, "mine")
    run, events = f"/swarm/workflow_run/{run_id}", RunEventsRequest([WorkflowRunEvent.FAIL])
    with pytest.raises(NotAllowedError):
        requester.send("POST", f"{run}/events", events, RunStateResponse)
    with pytest.raises(NotAllowedError):
        requester.send("POST", f"{run}/reset_tasks", ResetTasksRequest(True), ResetTasksResponse)
    with pytest.raises(NotAllowedError):
        requester.send("POST", f"{run}/heartbeat", HeartbeatRequest(1e6), RunStateResponse)
    with pytest.raises(NotAllowedError):
        requester.send("POST", f"{run}/sync", SyncRequest([]), SyncResponse)
