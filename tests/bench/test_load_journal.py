"""The journal of acknowledged changes finds what a database lost and what it has twice."""

from __future__ import annotations

import asyncio
import sqlite3

import httpx
import msgspec
import pytest
from bench.load import Kind, Servers, Shape, Simulation, database

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.serializers.worker import WorkerResponse
from jobmon.testing.acknowledged import AttemptEvent, changes_of
from jobmon.testing.journal import Journal, JournalingClient, read_journal

EVENT = InstanceEvent(7, TaskInstanceEvent.FINISH, exit_code=0)
CONTENT = msgspec.json.encode(EVENT)
ANSWER = msgspec.json.encode(WorkerResponse("D", False))
TWICE = (
    "INSERT INTO task_history (workflow_run_id, cursor, task_id, task_instance_id, event, instance_from, instance_to, "
    "occurred_at, actor) SELECT workflow_run_id, cursor, task_id, task_instance_id, event, instance_from, instance_to, "
    "occurred_at, actor FROM task_history WHERE event = 'finish' AND task_id = 1"
)
"""Records an event of an attempt once more."""
PATH = "/worker/task_instance/7/event"


def test_an_answer_acknowledges_the_event_it_answers():
    """With and without address and query; what only asks acknowledges nothing."""
    expected = [AttemptEvent(EVENT, "D")]
    url = f"http://127.0.0.1:1/api/v3{PATH}?client_jobmon_version=1"
    assert list(changes_of("POST", PATH, CONTENT, ANSWER)) == expected
    assert list(changes_of("post", url, CONTENT, ANSWER)) == expected
    assert not list(changes_of("GET", "/swarm/workflow_run/1/feed", None, b"{}"))


@pytest.mark.parametrize("status", [0, 400, 409, 429, 500, 503])
def test_what_was_not_answered_with_success_is_not_written_down(status):
    """It may be in the database or not."""
    journal = Journal()
    journal.note("POST", PATH, CONTENT, status, ANSWER)
    assert not journal.changes


def test_a_file_keeps_what_was_acknowledged(tmp_path):
    """A second journal of the same file goes on; a line cut off by a death is passed over."""
    path = tmp_path / "journal"
    for _ in range(2):
        with Journal(path) as journal:
            journal.note("POST", PATH, CONTENT, 200, ANSWER)
    with path.open("ab") as file:
        file.write(b'{"type":"Attempt')
    assert read_journal(path) == [AttemptEvent(EVENT, "D")] * 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_requester_s_client_writes_down_what_is_acknowledged():
    """It passes on the answer as it is."""
    journal = Journal()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=ANSWER))
    client = JournalingClient(httpx.Client(transport=transport), journal)
    response = client.request("POST", f"http://server{PATH}", content=CONTENT)
    client.close()
    assert response.content == ANSWER
    assert journal.changes == [AttemptEvent(EVENT, "D")]


# ------------------------------------------------------------------ beside a database
@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    """A database in which two small workflows ran, and the journal of it."""
    with database(Kind.SQLITE) as uri:
        journal = Journal()
        with Servers(uri, tmp_path_factory.mktemp("servers")) as servers:
            simulation = Simulation(Shape(2, 3, 2, 0.05), servers.urls, journal=journal)
            asyncio.run(simulation.run())
        yield uri, journal


@pytest.fixture
def spoilt(worked, tmp_path):
    """The journal, and what makes a copy of the database in which a statement was executed."""
    uri, journal = worked

    def spoil(statement):
        path = tmp_path / "copy.sqlite"
        with (
            sqlite3.connect(uri.removeprefix("sqlite:///")) as source,
            sqlite3.connect(path) as copy,
        ):
            source.backup(copy)
            copy.execute(statement)
        source.close()
        copy.close()
        return journal.problems(f"sqlite:///{path}")

    return spoil


@pytest.mark.e2e
def test_a_database_that_has_everything_once_is_right(worked):
    """Registration, runs, batches, events of wrappers and of controllers."""
    uri, journal = worked
    kinds = {type(change).__name__ for change in journal.changes}
    assert kinds == {
        "AttemptEvent",
        "BatchCreated",
        "RunCreated",
        "RunTold",
        "TasksRegistered",
        "TasksTold",
        "WorkflowBound",
    }
    assert journal.problems(uri) == []


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM task_history WHERE event = 'finish' AND task_id = 1", "never was D"),
        ("DELETE FROM task_history WHERE event = 'queue' AND task_id = 1", "queued 0 times"),
        ("DELETE FROM task_instance WHERE task_id = 2", "there is no such attempt"),
        ("UPDATE task_instance SET exit_code = 1 WHERE task_id = 3", "exit_code was 0"),
        ("UPDATE task SET command = 'false' WHERE id = 4", "task 4 is lost"),
        ("UPDATE workflow SET created_date = NULL WHERE id = 1", "workflow 1 is not bound"),
        ("UPDATE workflow_run SET run_key = 'x' WHERE id = 1", "runs of its key are []"),
        ("DELETE FROM workflow_history WHERE run_to = 'R' AND workflow_id = 1", "never was R"),
        (
            TWICE,
            "is recorded 2 times",
        ),
    ],
)
def test_what_is_lost_or_there_twice_is_found(spoilt, statement, words):
    """Each kind of change, one at a time."""
    problems = spoilt(statement)
    assert problems
    assert words in "\n".join(problems)


@pytest.mark.e2e
def test_a_client_sends_again_until_it_is_answered(tmp_path):
    """A server that is killed in the middle of the load and started again: all workflows end, nothing is lost."""

    async def killed_once(servers, simulation):
        running = asyncio.create_task(simulation.run())
        while not simulation.outcome.events:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(servers.kill)
        await asyncio.to_thread(servers.start)
        return await running

    with database(Kind.SQLITE) as uri, Servers(uri, tmp_path) as servers:
        journal = Journal()
        simulation = Simulation(Shape(2, 20, 3, 0.2), servers.urls, journal=journal)
        outcome = asyncio.run(killed_once(servers, simulation))
        assert outcome.finished == 2
        assert outcome.statuses[0] > 0  # connections broke
        journal.assert_kept(uri)
