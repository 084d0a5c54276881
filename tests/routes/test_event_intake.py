"""Events of single attempts: the short way answers as the route does for which it stands."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from jobmon.core.configuration import JobmonConfig
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent, TaskInstanceStatus
from jobmon.serializers.worker import WorkerResponse
from jobmon.server.web import dialect
from jobmon.server.web.api import get_app
from jobmon.server.web.event_intake import EventIntake
from jobmon.server.web.models import BadNode, TaskInstance
from jobmon.testing.factory import attempts_make, run_make, workflow_make

PREFIX = "/api/v3"
WAYS = ("short", "long")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The long way: nothing is taken for an event."""
    if request.param == "long":
        monkeypatch.setattr(EventIntake, "_attempt_of", lambda self, scope: None)
    return str(request.param)


@pytest.fixture
def app(config: JobmonConfig) -> Iterator[FastAPI]:
    app = get_app(config, ["v3", "v4"], token="sesame")
    yield app
    app.state.jobmon.database.dispose()


@pytest.fixture
def client(app: FastAPI, way: str) -> Iterator[TestClient]:
    headers = {"Authorization": "Bearer sesame", "X-Jobmon-User": "tester"}
    with TestClient(app, raise_server_exceptions=False, headers=headers) as client:
        yield client


@pytest.fixture
def attempt(app: FastAPI) -> int:
    """An attempt that the cluster has taken."""
    with app.state.jobmon.database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [[]], now=now, user="tester")
        run_id = run_make(connection, workflow.workflow_id, now=now, user="tester")
        (attempt,) = attempts_make(connection, workflow, run_id, [0], batch_num=1, now=now)
    return int(attempt)


def path_of(attempt: object, prefix: str = PREFIX) -> str:
    return f"{prefix}/worker/task_instance/{attempt}/event"


def post(client: TestClient, attempt: object, event: InstanceEvent, **more: Any) -> Any:
    return client.post(path_of(attempt), content=msgspec.json.encode(event), **more)


def said(response: Any) -> tuple[Any, ...]:
    """What a client sees of an answer, but for the id of the request."""
    body = response.json()
    if "request_id" in body:
        assert body.pop("request_id") == response.headers["x-request-id"]
    return response.status_code, body, response.headers["content-type"]


@pytest.mark.parametrize("prefix", ["/api/v3", "/api/v4"])
def test_an_event_is_stored_and_answered(client: TestClient, app: FastAPI, attempt: int, prefix: str) -> None:
    """Under every prefix, with the request's own id."""
    event = InstanceEvent(attempt, TaskInstanceEvent.START, nodename="n1")
    headers = {"X-Request-ID": "mine"}
    response = client.post(path_of(attempt, prefix), content=msgspec.json.encode(event), headers=headers)
    assert response.headers["x-request-id"] == "mine"
    assert response.headers["content-length"] == str(len(response.content))
    answer = msgspec.json.decode(response.content, type=WorkerResponse)
    assert answer == WorkerResponse(TaskInstanceStatus.RUNNING, True)
    with app.state.jobmon.database.read() as connection:
        assert connection.execute(select(TaskInstance.status, TaskInstance.nodename)).one() == (
            TaskInstanceStatus.RUNNING.value,
            "n1",
        )


BAD_REQUESTS = {
    "an unknown attempt": (999, b'{"task_instance_id": 999, "event": "start"}'),
    "another attempt": (1, b'{"task_instance_id": 2, "event": "start"}'),
    "an illegal event": (1, b'{"task_instance_id": 1, "event": "triage"}'),
    "no JSON": (1, b"{"),
    "no text": (1, b"\xff"),
    "no message": (1, b"[]"),
    "no such event": (1, b'{"task_instance_id": 1, "event": "dance"}'),
    "nothing": (1, b""),
    "no number": ("five", b'{"task_instance_id": 1, "event": "start"}'),
    "a number of another script": ("١", b'{"task_instance_id": 1, "event": "start"}'),
    "a negative number": (-1, b'{"task_instance_id": -1, "event": "start"}'),
    "too large a number": (10**30, b'{"task_instance_id": 1, "event": "start"}'),
    "the largest number that may be one": (10**18 - 1, b'{"task_instance_id": 1, "event": "start"}'),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_both_ways_refuse_the_same_in_the_same_words(
    app: FastAPI, attempt: int, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Status, error, message, hint and kind of content."""
    number, content = BAD_REQUESTS[name]
    answers = []
    for way in WAYS:
        if way == "long":
            monkeypatch.setattr(EventIntake, "_attempt_of", lambda self, scope: None)
        headers = {"Authorization": "Bearer sesame"}
        with TestClient(app, raise_server_exceptions=False, headers=headers) as client:
            answers.append(said(client.post(path_of(number), content=content)))
    assert answers[0] == answers[1]
    assert answers[0][0] in (400, 404, 409)


def test_without_the_token_nothing_is_taken(client: TestClient, app: FastAPI, attempt: int) -> None:
    """Neither way."""
    event = InstanceEvent(attempt, TaskInstanceEvent.START)
    response = post(client, attempt, event, headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401
    with app.state.jobmon.database.read() as connection:
        assert connection.scalar(select(TaskInstance.status)) != TaskInstanceStatus.RUNNING


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_refused(client: TestClient, attempt: int, method: str) -> None:
    """As on any route."""
    assert client.request(method, path_of(attempt)).status_code == 405


def test_a_failure_of_the_server_is_told_as_one(
    client: TestClient, app: FastAPI, attempt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the id by which its log says why."""

    def broken(*arguments: object, **more: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(app.state.jobmon.database, "retrying_write", broken)
    response = post(client, attempt, InstanceEvent(attempt, TaskInstanceEvent.START))
    assert response.status_code == 500
    assert "its log says why" in response.json()["message"]
    assert "secret" not in response.text
    assert response.json()["request_id"]


def test_a_body_in_pieces_is_put_together(client: TestClient, attempt: int) -> None:
    """As large ones come."""
    body = msgspec.json.encode(InstanceEvent(attempt, TaskInstanceEvent.START, description="x" * 300_000))
    pieces = (body[start : start + 70_000] for start in range(0, len(body), 70_000))
    assert client.post(path_of(attempt), content=pieces).status_code == 200


def test_a_wrapper_may_blame_its_node(client: TestClient, app: FastAPI, attempt: int) -> None:
    """The node is remembered with what was said of it."""
    post(client, attempt, InstanceEvent(attempt, TaskInstanceEvent.START))
    event = InstanceEvent(
        attempt, TaskInstanceEvent.LOSE, description="no disk", nodename="n7", blames_node=True
    )
    assert post(client, attempt, event).status_code == 200
    with app.state.jobmon.database.read() as connection:
        assert connection.execute(select(BadNode.nodename, BadNode.reason)).all() == [("n7", "no disk")]


def test_wake_ups_of_many_commits_are_one(app: FastAPI) -> None:
    """A feed that waits is woken once for what came within a moment; nobody else is disturbed."""
    import asyncio

    feed = app.state.jobmon.feed

    async def woken() -> tuple[int, bool]:
        mine, other = feed.listen(1), feed.listen(2)
        count = 0

        def tell() -> None:
            for _ in range(20):
                feed.notify_soon([1])

        threading.Thread(target=tell).start()
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            await feed.wait(1, mine, deadline - time.monotonic())
            count += mine.is_set()
            mine.clear()
        return count, other.is_set()

    assert asyncio.run(woken()) == (1, False)


def test_a_submission_that_arrived_twice_runs_once(client: TestClient, attempt: int) -> None:
    """The first job that says it starts may go on, also when it says so again; the other may not."""

    def start(distributor_id: str) -> int:
        event = InstanceEvent(attempt, TaskInstanceEvent.START, distributor_id=distributor_id)
        path = f"{PREFIX}/worker/task_instance/{attempt}/event"
        return client.post(path, content=msgspec.json.encode(event)).status_code

    assert [start("7_1"), start("9_1"), start("7_1")] == [200, 409, 200]


def test_what_a_command_printed_is_kept_but_for_what_no_database_can(
    client: TestClient, app: FastAPI, attempt: int
) -> None:
    """A NUL becomes U+FFFD; a text that only looks like one, written as an escape, stays as it is."""
    post(client, attempt, InstanceEvent(attempt, TaskInstanceEvent.START))
    printed = "a\0b \\u0000 \\\0 😀\0"
    answer = post(client, attempt, InstanceEvent(attempt, TaskInstanceEvent.FINISH, stderr_log=printed))
    assert answer.status_code == 200
    with app.state.jobmon.database.read() as connection:
        kept = connection.scalar(select(TaskInstance.stderr_log).where(TaskInstance.id == attempt))
    assert kept == printed.replace("\0", "\ufffd")
