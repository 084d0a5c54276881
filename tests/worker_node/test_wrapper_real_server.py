"""The wrapper and the real server: what attempts become in the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select

from jobmon.core import __version__
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent, TaskInstanceStatus, TaskStatus
from jobmon.distributor.batch_file import BatchElement, BatchHeader, write_batch
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models.task import Task
from jobmon.server.web.models.task_instance import TaskInstance
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.testing.factory import attempts_make, run_make, workflow_make
from processes import wait_until
from wrapping import Site

pytestmark = pytest.mark.e2e


@pytest.fixture
def database(app: FastAPI) -> Database:
    """The database of the application."""
    found: Database = app.state.jobmon.database
    return found


@pytest.fixture
def attempts(database: Database) -> list[int]:
    """Attempts that wait for their wrappers."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [()] * 4, now=now)
        run_id = run_make(connection, workflow.workflow_id, now=now)
        return attempts_make(connection, workflow, run_id, range(4), batch_num=1, now=now)


@pytest.fixture
def listening(app: FastAPI, attempts: list[int], site: Site) -> Iterator[Site]:
    """The site, whose file names the application, which listens on a port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server")
        port = server.servers[0].sockets[0].getsockname()[1]
        site.shared.write_server(f"http://127.0.0.1:{port}/api/v3", "", "tester")
        yield site
    finally:
        server.should_exit = True
        thread.join(20)


def write(site: Site, attempts: list[int], *commands: str, **header: object) -> None:
    defaults: dict[str, object] = {
        "version": __version__,
        "workflow_id": 1,
        "workflow_run_id": 1,
        "cluster_name": "dummy",
        "user": "tester",
        "server_file": str(site.shared.server),
        "spool": str(site.shared.spool),
        "stdout": str(site.root / "logs"),
        "stderr": str(site.root / "logs"),
        "working_dir": str(site.work),
        "heartbeat_seconds": 0.1,
        "report_seconds": 270,
        "interrupt_seconds": 1,
        "start_wait_seconds": 30,
        "report_wait_seconds": 30,
    }
    elements = [
        BatchElement(attempt, 1, f"step_{number}", command)
        for number, (attempt, command) in enumerate(zip(attempts, commands, strict=False))
    ]
    write_batch(site.shared.batches / "1", BatchHeader(**{**defaults, **header}), elements)  # type: ignore[arg-type]


def states(database: Database, attempt: int) -> tuple[str, str]:
    query = select(TaskInstance.status, Task.status).join(Task, Task.id == TaskInstance.task_id)
    with database.read() as connection:
        row = connection.execute(query.where(TaskInstance.id == attempt)).one()
    return row[0], row[1]


def test_attempts_end_as_their_commands_do(listening: Site, database: Database, attempts: list[int]) -> None:
    """Done, failed, out of time: the states in the database, and what is recorded with them."""
    write(listening, attempts, "echo hello", "exit 3", "exec sleep 600", runtime=1)
    batch_file = listening.shared.batches / "1"
    wrapped = [listening.start_file(batch_file, step) for step in range(3)]
    wait_until(lambda: states(database, attempts[2])[0] == TaskInstanceStatus.RUNNING, "the third attempt")
    wrapped[2].signal(15)
    assert [each.end(40) for each in wrapped] == [0, 3, 143]
    assert [states(database, attempt) for attempt in attempts[:3]] == [
        (TaskInstanceStatus.DONE, TaskStatus.DONE),
        (TaskInstanceStatus.ERROR, TaskStatus.REGISTERED),
        (TaskInstanceStatus.RESOURCE_ERROR, TaskStatus.ADJUSTING_RESOURCES),
    ]
    with database.read() as connection:
        row = connection.execute(
            select(TaskInstance.stdout_log, TaskInstance.distributor_id, TaskInstance.maxrss).where(
                TaskInstance.id == attempts[0]
            )
        ).one()
    assert (row[0], row[1]) == ("hello\n", "99_1")
    assert int(row[2]) > 1 << 20


def test_an_attempt_that_somebody_ended_stops(
    listening: Site, database: Database, attempts: list[int]
) -> None:
    """It hears of it with its next sign of life; one that was ended before its start is not run at all."""
    write(listening, attempts, "exec sleep 600", "touch ran")
    batch_file = listening.shared.batches / "1"
    wrapped = listening.start_file(batch_file)
    wait_until(lambda: states(database, attempts[0])[0] == TaskInstanceStatus.RUNNING, "the attempt")
    with database.write() as connection:
        attempts_apply_events(
            connection,
            [InstanceEvent(attempt, TaskInstanceEvent.KILL) for attempt in attempts[:2]],
            now=dialect.utcnow(connection),
            actor="user",
            max_infrastructure_losses=10,
        )
    assert wrapped.end(40) == 130
    assert states(database, attempts[0])[0] == TaskInstanceStatus.ERROR_FATAL
    assert listening.start_file(batch_file, 1).end(40) == 199
    assert not (listening.work / "ran").exists()


def test_an_attempt_the_server_does_not_know_is_not_run(listening: Site) -> None:
    """Its own 404 is told from that of others."""
    wrapped = listening.start("touch ran", start_wait_seconds=30)
    assert wrapped.end(40) == 199
    assert "There is no task instance 41." in wrapped.said
    assert not (listening.work / "ran").exists()
