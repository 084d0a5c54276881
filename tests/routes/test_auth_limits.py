"""How much may be asked for: size of a request, requests at once, requests of one user over time; and what clients do then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from test_every_route import assert_error

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import RequestTooLarge, RetryBudgetExhausted
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.requester import Requester
from jobmon.core.states import TaskInstanceEvent
from jobmon.serializers.define import ToolRequest, ToolResponse
from jobmon.serializers.monitor import HealthResponse
from jobmon.server.web.api import get_app
from jobmon.server.web.auth.limits import RateLimit
from jobmon.server.web.identity import claimed
from jobmon.testing.in_process import AppClient

pytestmark = pytest.mark.sqlite
PREFIX = "/api/v3"
LOOK = f"{PREFIX}/monitor/workflow_status"
Serve = Callable[..., TestClient]


@pytest.fixture
def serve(config: JobmonConfig) -> Iterator[Serve]:
    """Starts a server with some limits."""
    clients: list[TestClient] = []

    def start(**limits: float) -> TestClient:
        for name, value in limits.items():
            config.set("server", name, value)
        client = TestClient(get_app(config), raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


# -- size ---------------------------------------------------------------------------------------------------
def chunks(total: int) -> Iterator[bytes]:
    """A body whose length nobody says before."""
    yield b'{"name":"'
    yield b"x" * (total - 11)
    yield b'"}'


@pytest.mark.parametrize("said", [True, False], ids=["length said", "length not said"])
def test_a_request_that_is_too_large_is_refused(serve: Serve, said: bool) -> None:
    """With the limit in the message; the largest that is allowed is taken."""
    client = serve(max_request_bytes=200)
    for total, status in ((200, 200), (201, 413), (100_000, 413)):
        body: Any = b"".join(chunks(total)) if said else chunks(total)
        response = client.post(f"{PREFIX}/define/tool", content=body, headers={"X-Jobmon-User": "ada"})
        if status == 200:
            assert response.status_code == 200
        else:
            error = assert_error(response, 413)
            assert error.error == "RequestTooLarge"
            assert "200 bytes" in error.message
            assert "server.max_request_bytes" in error.message


@pytest.mark.parametrize("said", [True, False], ids=["length said", "length not said"])
def test_an_event_that_is_too_large_is_refused(serve: Serve, said: bool) -> None:
    """On the short way too."""
    client = serve(max_request_bytes=200)
    event = msgspec.json.encode(InstanceEvent(1, TaskInstanceEvent.START, nodename="n" * 500))
    body: Any = event if said else iter([event])
    assert_error(client.post(f"{PREFIX}/worker/task_instance/1/event", content=body), 413)


def test_a_script_is_told_at_once(serve: Serve) -> None:
    """It does not try a request again that will never be taken."""
    requester = Requester(f"http://testserver{PREFIX}", client=AppClient(serve(max_request_bytes=100)))
    with pytest.raises(RequestTooLarge, match="100 bytes"):
        requester.send("POST", "/define/tool", ToolRequest("x" * 200), ToolResponse)


# -- over time ----------------------------------------------------------------------------------------------
def test_a_bucket_of_requests() -> None:
    """Some come at once, the rest as the bucket fills; each user has one, and nobody is told to wait too short."""
    now = 100.0
    limit = RateLimit(2, lambda: now)
    ada, eve = claimed("ada"), claimed("eve")
    assert [limit.seconds_to_wait(ada) for _ in range(11)] == [0] * 10 + [1]
    assert limit.seconds_to_wait(eve) == 0
    now += 0.4
    assert limit.seconds_to_wait(ada) == 1
    now += 0.2
    assert [limit.seconds_to_wait(ada) for _ in range(2)] == [0, 1]
    now += 3600
    assert [limit.seconds_to_wait(ada) for _ in range(11)] == [0] * 10 + [1]
    slow = RateLimit(0.1, lambda: now)
    assert [slow.seconds_to_wait(ada) for _ in range(2)] == [0, 10]
    assert [RateLimit(0, lambda: now).seconds_to_wait(ada) for _ in range(1000)] == [0] * 1000


def test_who_asks_too_often_waits(serve: Serve) -> None:
    """429 and how long; others, reports of attempts and who keeps the server running are not held up."""
    client = serve(requests_per_second=0.2)
    headers = {"X-Jobmon-User": "ada"}
    assert client.get(LOOK, headers=headers).status_code == 200
    response = client.get(LOOK, headers=headers)
    assert assert_error(response, 429).error == "ServerBusy"
    assert 1 <= int(response.headers["Retry-After"]) <= 5
    assert client.get(LOOK, headers={"X-Jobmon-User": "eve"}).status_code == 200
    assert client.get("/health", headers=headers).status_code == 200
    event = msgspec.json.encode(InstanceEvent(1, TaskInstanceEvent.START))
    for _ in range(3):
        assert_error(
            client.post(f"{PREFIX}/worker/task_instance/1/event", content=event, headers=headers), 404
        )


# -- at once ------------------------------------------------------------------------------------------------
class Slow:
    """Holds up the answers to one question."""

    def __init__(self, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()
        database = app.state.jobmon.database
        read = database.read

        def slow() -> Any:
            self.begun.release()
            assert self.go_on.wait(30)
            return read()

        monkeypatch.setattr(database, "read", slow)


def test_a_server_that_is_full_says_so(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 and when to try again, at once; it answers whether it lives, and recovers."""
    client = serve(max_concurrent_requests=2)
    slow = Slow(client.app, monkeypatch)  # type: ignore[arg-type]
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(client.get, LOOK) for _ in range(2)]
        for _ in running:
            assert slow.begun.acquire(timeout=30)
        try:
            response = client.get(LOOK)
            assert assert_error(response, 503).error == "ServerBusy"
            assert int(response.headers["Retry-After"]) >= 1
            assert client.get("/health").status_code == 200
        finally:
            slow.go_on.set()
        assert [each.result(30).status_code for each in running] == [200, 200]
    assert client.get(LOOK).status_code == 200


def test_who_waits_for_news_takes_no_room(serve: Serve) -> None:
    """A controller's long poll costs nothing while it waits."""
    client = serve(max_concurrent_requests=1)
    feed = f"{PREFIX}/swarm/workflow_run/1/feed"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, feed, params={"after": 0, "wait_seconds": 1})
        assert client.get(LOOK).status_code == 200
        assert waiting.result(30).status_code in (200, 400, 404)


# -- what clients do ------------------------------------------------------------------------------------------
@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of the requester, not slept."""
    pauses: list[float] = []
    monkeypatch.setattr("jobmon.core.requester.time.sleep", pauses.append)  # tenacity's is the same function
    return pauses


def requester_of(*replies: tuple[int, str]) -> Requester:
    """One whose server answers with these statuses and values of Retry-After; the last again and again."""
    left = list(replies)

    def answer(_: httpx.Request) -> httpx.Response:
        status, after = left.pop(0) if len(left) > 1 else left[0]
        headers = {"Retry-After": after} if after else {}
        return httpx.Response(status, json={"status": "ok", "version": "4", "database": ""}, headers=headers)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return Requester(f"http://server{PREFIX}", client=client, retries_attempts=4)


def test_a_client_comes_back_when_the_server_wants_it(slept: list[float]) -> None:
    """Not before; also the first time, when it would try again at once otherwise."""
    requester = requester_of((429, "7"), (503, "11"), (200, ""))
    assert requester.send("GET", "/health", None, HealthResponse).status == "ok"
    assert slept[0] == 7
    assert slept[1] >= 11
    assert len(slept) == 2


@pytest.mark.parametrize(
    ("said", "waits"), [("", 0), ("soon", 0), ("-5", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("86400", 60)]
)
def test_what_else_a_server_may_say(slept: list[float], said: str, waits: float) -> None:
    """A date or nonsense is no time to wait, and nobody waits for a day."""
    requester = requester_of((503, said), (200, ""))
    assert requester.send("GET", "/health", None, HealthResponse).status == "ok"
    assert slept == ([waits] if waits else [])


def test_a_server_that_stays_full_is_given_up(slept: list[float]) -> None:
    """Within the budget of tries."""
    with pytest.raises(RetryBudgetExhausted, match="HTTP 503"):
        requester_of((503, "3")).send("GET", "/health", None, HealthResponse)
    assert len(slept) == 3
    assert all(pause >= 3 for pause in slept)
