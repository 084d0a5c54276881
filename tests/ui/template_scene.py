"""A workflow whose tasks were tried: done, failed, retried, running, waiting; with hostile names and texts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, update

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.serializers.swarm import SyncRequest
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Task
from jobmon.server.web.store.sync import run_sync
from jobmon.testing.factory import (
    MAX_INFRASTRUCTURE_LOSSES,
    MadeWorkflow,
    attempts_make,
    run_make,
    workflow_make,
)

HOSTILE = "<script>alert(1)</script>"
LOG = f"\x1b[31mred\x1b[0m {HOSTILE}\nprogress 1\rprogress 2\nlast line\x07\nValueError: no rows in {HOSTILE}"
GIB = 1 << 30
DONE, RETRIED, FAILED, RUNNING, WAITING, LAST = range(6)
"""Positions of the tasks; the last one waits for all others."""


@dataclass(frozen=True)
class Tried:
    """The workflow, its run, and the attempts of each task by position."""

    workflow: MadeWorkflow
    run_id: int
    attempts: dict[int, list[int]]

    @property
    def base(self) -> str:
        """Path of the page of its template."""
        return f"/workflow/{self.workflow.workflow_id}/template/{self.workflow.array_id}"

    def task_path(self, position: int) -> str:
        """Path of the page of a task."""
        return f"/task/{self.workflow.task_ids[position]}"


class _Teller:
    def __init__(self, connection: Connection, workflow: MadeWorkflow, run_id: int) -> None:
        self.connection, self.workflow, self.run_id = connection, workflow, run_id
        self.batch_num = 0
        self.attempts: dict[int, list[int]] = {}

    def attempt(self, position: int, last: TaskInstanceEvent | None = None, **details: object) -> None:
        self.batch_num += 1
        now = dialect.utcnow(self.connection)
        (attempt_id,) = attempts_make(
            self.connection, self.workflow, self.run_id, [position], batch_num=self.batch_num, now=now
        )
        self.attempts.setdefault(position, []).append(attempt_id)
        events = [
            InstanceEvent(attempt_id, TaskInstanceEvent.LAUNCH, distributor_id=str(attempt_id)),
            InstanceEvent(attempt_id, TaskInstanceEvent.START, nodename=f"node{position}"),
        ]
        if last is not None:
            events.append(InstanceEvent(attempt_id, last, **details))  # type: ignore[arg-type]
        run_sync(
            self.connection,
            self.run_id,
            SyncRequest(events, []),
            now=dialect.utcnow(self.connection),
            actor="controller",
            max_infrastructure_losses=MAX_INFRASTRUCTURE_LOSSES,
        )


def make_tried(database: Database, name: str = HOSTILE) -> Tried:
    """Make it."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(
            connection, [[], [], [], [], [], [0, 1, 2, 3, 4]], now=now, name=name, max_attempts=2
        )
        run_id = run_make(connection, workflow.workflow_id, now=now)
        tell = _Teller(connection, workflow, run_id)
        done = {"wallclock": 12.0, "maxrss": GIB // 2, "cpu": 6.0}
        failed = {
            "cause": Cause.CODE,
            "exit_code": 3,
            "description": f"ValueError: no rows in {HOSTILE}",
            "stderr_log": LOG,
            "stdout_log": "out",
            "stderr": f"/logs/{HOSTILE}.e",
            "wallclock": 2.0,
            "maxrss": GIB // 10,
        }
        tell.attempt(DONE, TaskInstanceEvent.FINISH, **done)
        tell.attempt(RETRIED, TaskInstanceEvent.FAIL, **failed)
        tell.attempt(RETRIED, TaskInstanceEvent.FINISH, **{**done, "maxrss": GIB})
        tell.attempt(FAILED, TaskInstanceEvent.FAIL, **failed)
        tell.attempt(FAILED, TaskInstanceEvent.FAIL, **failed)
        tell.attempt(RUNNING)
        connection.execute(
            update(Task)
            .where(Task.id == workflow.task_ids[FAILED])
            .values(name=HOSTILE, command=f"fit {HOSTILE}")
        )
    return Tried(workflow, run_id, tell.attempts)
