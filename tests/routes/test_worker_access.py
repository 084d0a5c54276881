"""Who may pass the gate, and the addresses a local server opens for compute nodes."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert, update
from starlette.types import Message, Receive, Scope, Send

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import UsageError
from jobmon.server import embedded
from jobmon.server.node_listeners import NodeListeners
from jobmon.server.web import dialect
from jobmon.server.web.api import get_app
from jobmon.server.web.gate import WORKERS_ONLY, Doors, RequestGate
from jobmon.server.web.models import Batch, TaskInstance, WorkflowRun
from jobmon.testing.factory import attempts_make, run_make, workflow_make

EVENT = "/api/v3/worker/task_instance/1/event"
OTHER_PATHS = (
    "/api/v3/swarm/workflow/1/stop",
    "/api/v3/local/node_access",
    "/api/openapi.json",
    "/worker/task_instance/1/event",
    "/api/v3/worker",
    "/",
)


def status(doors: Doors, path: str, shown: str, workers_only: bool) -> int:
    """What a request is answered with by an application that answers everything with 200."""
    answered: list[int] = []

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    headers = [(b"authorization", f"Bearer {shown}".encode())] if shown else []
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": headers,
        WORKERS_ONLY: workers_only,
    }
    asyncio.run(RequestGate(application, doors)(scope, receive, send))
    (only,) = answered
    return only


@pytest.mark.parametrize("workers_only", [False, True])
@pytest.mark.parametrize("shown", ["", "owner", "worker", "wrong", "ownerworker", "ö"])
def test_who_may_pass_the_gate(shown: str, workers_only: bool) -> None:
    """Reports with either token; all else with the owner's, and never by an address that is for reports."""
    doors = Doors(["/api/v3"], token="owner", worker_token="worker")
    assert status(doors, EVENT, shown, workers_only) == (200 if shown in ("owner", "worker") else 401)
    assert status(doors, "/health", shown, workers_only) == 200
    expected = 403 if workers_only or shown == "worker" else 200 if shown == "owner" else 401
    assert {status(doors, path, shown, workers_only) for path in OTHER_PATHS} == {expected}


def test_a_server_without_tokens_is_open_to_all() -> None:
    """But by an address that is for reports, it takes reports only."""
    doors = Doors(["/api/v3"])
    assert status(doors, OTHER_PATHS[0], "", False) == 200
    assert status(doors, OTHER_PATHS[0], "", True) == 403
    assert status(doors, EVENT, "", True) == 200


@pytest.fixture
def guarded(config: JobmonConfig) -> FastAPI:
    return get_app(config, token="owner", worker_token="worker")


def listeners_of(app: FastAPI) -> NodeListeners:
    return NodeListeners(app, ("127.0.0.1", 1), "/api/v3", "worker")


async def get(url: str, path: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(url.removesuffix("/api/v3") + path, headers=headers)).status_code


def test_an_address_is_opened_once_and_closed(guarded: FastAPI) -> None:
    """For reports only, until controllers are to come by it too."""

    async def use() -> None:
        listeners = listeners_of(guarded)
        home = await listeners.access("localhost", False)
        assert (home.url, listeners.addresses) == ("http://127.0.0.1:1/api/v3", [])
        first, second = await asyncio.gather(
            listeners.access("127.0.0.2", False), listeners.access("127.0.0.2", False)
        )
        assert first == second
        assert first.token == "worker"
        assert "worker" not in repr(first)
        assert listeners.addresses == ["127.0.0.2"]
        assert await get(first.url, "/api/v3/health", "") == 200
        assert await get(first.url, "/api/openapi.json", "owner") == 403
        assert await listeners.access("127.0.0.2", True) == first
        assert await get(first.url, "/api/openapi.json", "owner") == 200
        assert await get(first.url, "/api/openapi.json", "worker") == 403
        await listeners.close()
        assert listeners.addresses == []
        with pytest.raises(httpx.ConnectError):
            await get(first.url, "/api/v3/health", "")

    asyncio.run(use())


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.77", f"192.0.2.77 is not an address of {socket.gethostname()}"),
        ("0.0.0.0", "not one address"),
        ("::", "not one address"),
        ("224.0.0.1", "not one address"),
        ("no.such.host.invalid", "neither an address nor a known host name"),
        ("a" * 70 + ".x", "neither an address nor a known host name"),
    ],
)
def test_addresses_that_cannot_be_opened(guarded: FastAPI, host: str, message: str) -> None:
    """The message says which and why."""
    with pytest.raises(UsageError, match=message):
        asyncio.run(listeners_of(guarded).access(host, False))


def test_a_machine_that_forbids_it(guarded: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is named, with its reason."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("jobmon.server.node_listeners.listen", refuse)
    with pytest.raises(UsageError, match=r"does not let .* listen at 127\.0\.0\.2: Permission denied"):
        asyncio.run(listeners_of(guarded).access("127.0.0.2", False))


def test_addresses_are_closed_when_nothing_is_run(guarded: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the first look, and not while they are needed."""
    monkeypatch.setattr(embedded, "LISTENERS_LOOK_SECONDS", 0.005)
    answers = iter([False, True, False, False])
    asked: list[bool] = []

    def is_needed(_: object) -> bool:
        asked.append(next(answers))
        return asked[-1]

    monkeypatch.setattr(embedded, "is_needed", is_needed)

    async def use() -> None:
        listeners = listeners_of(guarded)
        await listeners.access("127.0.0.2", False)
        closing = asyncio.create_task(embedded._close_unneeded(listeners, guarded.state.jobmon))
        async with asyncio.timeout(10):
            while listeners.addresses:
                await asyncio.sleep(0.005)
        closing.cancel()

    asyncio.run(use())
    assert asked == [False, True, False, False]


def test_when_a_local_server_is_needed(app: FastAPI) -> None:
    """A run is alive, or an attempt on a batch cluster that still reports; not an attempt nobody tells of any more."""
    state = app.state.jobmon
    assert not embedded.is_needed(state)
    with state.database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, now=now)
        run_id = run_make(connection, workflow.workflow_id, now=now)
        attempts_make(connection, workflow, run_id, [0], batch_num=1, now=now)
    assert embedded.is_needed(state)

    def change(table: type, **values: object) -> None:
        with state.database.write() as connection:
            connection.execute(update(table).values(**values))

    past, future = now - timedelta(hours=1), now + timedelta(hours=1)
    change(WorkflowRun, heartbeat_date=past)
    change(TaskInstance, report_by_date=future)
    assert not embedded.is_needed(state)  # the attempt lives, but where its controller did
    with state.database.write() as connection:
        row = {"array_id": workflow.array_id, "batch_num": 1, "workflow_run_id": run_id, "name": "job"}
        connection.execute(insert(Batch).values(**row, num_steps=1, created_date=now))
    assert embedded.is_needed(state)
    change(TaskInstance, report_by_date=past)
    assert not embedded.is_needed(state)
