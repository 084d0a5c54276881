"""The processes of ``jobmon-server start``: started, replaced, ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jobmon.core.requester import Requester
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.testing.factory import run_make, workflow_make
from processes import is_gone, wait_until
from server_place import RealServer, Servers, get

pytestmark = pytest.mark.e2e


def ask_until(server: RealServer, stop: threading.Event) -> int:
    """Ask the server again and again; how often it was asked. Every question must be answered."""
    requester, count = Requester(server.url, retries_attempts=3), 0
    while not stop.is_set():
        status, _ = requester.send_request("/define/clusters", {}, "get")
        assert status == 200
        count += 1
        stop.wait(0.02)
    requester.close()
    return count


def test_the_workers_are_watched_and_replaced(servers: Servers, database_uri: str) -> None:
    """One that dies, and all of them by SIGHUP; whoever asks meanwhile is answered. SIGTERM ends them all, with status 0."""
    server = servers.start(database_uri, workers=2)
    stop = threading.Event()
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask_until, server, stop)
        first, second = server.workers()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: second in (now := server.workers()) and len(now) == 2, "a new worker")
        server.wait_replaced([first], 2)
        server.restart(num_workers=2)
        stop.set()
        assert asking.result() > 0
    assert second not in server.workers()
    workers = server.workers()
    assert server.end() == 0
    assert all(map(is_gone, workers))
    assert re.search(rf"worker {first} died \(signal 9\)", server.text)


def test_a_server_that_ends_answers_what_it_has_begun_with(servers: Servers, database_uri: str) -> None:
    """A long poll at once, with what there is; and it takes no new connections."""
    database = Database(database_uri)
    with database.write() as connection:
        now = dialect.utcnow(connection)
        run_id = run_make(connection, workflow_make(connection, now=now).workflow_id, now=now)
    database.dispose()
    server = servers.start(database_uri)

    def listen() -> Any:
        url = f"{server.url}/swarm/workflow_run/{run_id}/feed?after=1000&wait_seconds=60&known_status=R"
        return get(url)

    with ThreadPoolExecutor() as pool:
        polling = pool.submit(listen)
        wait_until(
            lambda: "jobmon_long_polls_open 1.0" in get(server.address + "/metrics").text, "a long poll"
        )
        assert server.end(20) == 0
        assert polling.result().json()["run_status"] == "R"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), 5).close()


def test_workers_do_not_outlive_their_supervisor(servers: Servers, database_uri: str) -> None:
    """However it died."""
    server = servers.start(database_uri)
    (worker,) = server.workers()
    server.process.kill()
    wait_until(lambda: is_gone(worker), "the end of the worker")


def test_a_server_that_cannot_start_says_why(servers: Servers, tmp_path: Any) -> None:
    """Once, in one line, and ends with status 1."""
    server = servers.launch(f"sqlite:///{tmp_path}/empty.sqlite", "--workers", 3)
    assert server.process.wait(60) == 1
    assert server.text.count("Error: ") == 1
    assert "jobmon-server db init" in server.text
    assert "Traceback" not in server.text


def test_an_address_that_is_taken_is_refused(servers: Servers, database_uri: str) -> None:
    """Unless both servers share it: then the second one goes on when the first one ends."""
    server = servers.start(database_uri, "--reuse-port")
    refused = servers.launch(database_uri, port=server.port)
    assert refused.process.wait(60) == 1
    assert "--reuse-port" in refused.text
    second = servers.launch(database_uri, "--reuse-port", port=server.port)
    second.wait_serving()
    assert server.end() == 0
    assert get(second.address + "/health").status_code == 200
