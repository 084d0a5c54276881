"""Three server processes on one database: each request goes to any of them."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from databases import Backend, bare_database, parameters, require
from jobmon.core.exceptions import WorkflowNotResumable
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.requester import Requester, current_user
from jobmon.core.states import TaskInstanceEvent
from jobmon.serializers.swarm import FeedResponse, WorkflowRunRequest, WorkflowRunResponse
from jobmon.serializers.worker import WorkerResponse
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.db_admin import init_db
from jobmon.testing.factory import attempts_make, run_make, workflow_make
from jobmon.testing.history import assert_history
from server_place import Servers, servers_in

pytestmark = pytest.mark.e2e

A = TypeVar("A")
NUM_SERVERS = 3
USER = current_user()


@dataclass
class Three:
    """Three servers and their database."""

    servers: Servers
    uri: str
    urls: list[str]
    requesters: list[Requester]
    database: Database

    def send(self, method: str, path: str, message: msgspec.Struct, answer: type[A]) -> A:
        """Send a request to any of them."""
        return random.choice(self.requesters).send(method, path, message, answer)


@pytest.fixture(scope="module", params=parameters((Backend.MARIADB, Backend.POSTGRESQL)))
def three(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    require(request.param)
    directory: Path = tmp_path_factory.mktemp("three")
    with bare_database(request.param, directory) as uri, servers_in(directory) as servers:
        init_db(uri)
        started = [servers.launch(uri) for _ in range(NUM_SERVERS)]
        for server in started:
            server.wait_serving()
        database = Database(uri)
        requesters = [server.requester() for server in started]
        for requester in requesters:  # whose threads would each open connections of their own at first
            assert requester.send_request("/health", {}, "get")[0] == 200
        yield Three(servers, uri, [server.url for server in started], requesters, database)
        for requester in requesters:
            requester.close()
        for server in started:
            server.tell_to_end()
        assert all(server.end() == 0 for server in started)
        assert_history(uri)
        database.dispose()


def layers(num_layers: int, width: int) -> list[dict[str, Any]]:
    """Tasks each of which waits for two of the layer above."""
    return [
        {
            "name": f"t{layer}_{place}",
            "command": "true",
            "upstream": [f"t{layer - 1}_{place}", f"t{layer - 1}_{(place + 1) % width}"] if layer else [],
        }
        for layer in range(num_layers)
        for place in range(width)
    ]


def test_several_workflows_at_once(three: Three) -> None:
    """Three controllers, 300 tasks with dependencies each: all is done, once."""
    tasks = layers(10, 30)
    scripts = [
        three.servers.start_flow(
            three.urls, tasks, f"several {number}", workflow={"default_cluster_name": "dummy"}
        )
        for number in range(3)
    ]
    for script in scripts:
        result = script.result(90)
        assert (result["status"], result["done"], result["new"]) == ("D", 300, 300), script.text
    assert_history(three.uri)


def test_one_run_at_a_time(three: Three) -> None:
    """Of ten controllers that want to run the same workflow over different servers, one does."""
    with three.database.write() as connection:
        workflow = workflow_make(connection, now=dialect.utcnow(connection), user=USER)
    path = f"/swarm/workflow/{workflow.workflow_id}/workflow_run"

    def try_to_run(number: int) -> int:
        message = WorkflowRunRequest(uuid.uuid4().hex, USER, "4", ProcessIdentity("h", "", number, 1), 90)
        try:
            return three.send("POST", path, message, WorkflowRunResponse).workflow_run_id
        except WorkflowNotResumable:
            return 0

    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(try_to_run, range(10)))
    assert Counter(made)[0] == 9, made


def test_what_one_server_commits_wakes_the_long_polls_of_the_others(three: Three) -> None:
    """Each attempt's end is told to each of them, whichever server heard of it, and however often."""
    num_tasks = 60
    with three.database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [()] * num_tasks, now=now, user=USER)
        run_id = run_make(connection, workflow.workflow_id, now=now, user=USER)
        attempts = attempts_make(connection, workflow, run_id, range(num_tasks), batch_num=1, now=now)
    ended_at: dict[int, float] = {}
    delays: list[float] = []

    def listen(requester: Requester) -> set[int]:
        """All attempts a controller at this server hears of."""
        after, heard = 0, set()
        deadline = time.monotonic() + 60
        while len(heard) < num_tasks and time.monotonic() < deadline:
            questions = {"after": after, "wait_seconds": 20, "known_status": "R"}
            news = requester.send(
                "GET",
                f"/swarm/workflow_run/{run_id}/feed",
                None,
                FeedResponse,
                params=questions,
                timeout_seconds=30,
            )
            now = time.monotonic()
            for attempt, status in zip(
                news.instances.task_instance_ids, news.instances.statuses, strict=True
            ):
                if status == "D" and attempt not in heard:
                    heard.add(attempt)
                    delays.append(now - ended_at[attempt])
            assert news.cursor >= after
            after = news.cursor
        return heard

    def report(attempt: int) -> None:
        path = f"/worker/task_instance/{attempt}/event"
        for kind in (TaskInstanceEvent.START, TaskInstanceEvent.FINISH, TaskInstanceEvent.FINISH):
            if kind == TaskInstanceEvent.FINISH:
                ended_at.setdefault(attempt, time.monotonic())
            event = InstanceEvent(attempt, kind)
            three.send("POST", path, event, WorkerResponse)

    with ThreadPoolExecutor() as pool:
        listening = [pool.submit(listen, requester) for requester in three.requesters]
        list(pool.map(report, attempts))
        for each in listening:
            assert each.result() == set(attempts)
    print(f"news after {sorted(delays)[len(delays) // 2]:.3f} s, at the latest {max(delays):.3f} s")
