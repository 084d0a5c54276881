"""Requests of controllers, wrappers and people at the same time, twice and in any order, over connections of their own.

The plan of who sends what is drawn beforehand; which of it comes first is up to the database. What must be true in the end
does not depend on that: :mod:`jobmon.testing.history` replays everything that was recorded. Above all: each attempt that was
created counted once against its task (``num_attempts``), each step of an attempt moved its task along, and no task was
tried more often than it may be.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from databases import Backend
from jobmon.core.exceptions import JobmonError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.states import (
    TASK_INSTANCE_LIVE,
    WORKFLOW_RUN_ALIVE,
    Cause,
    TaskInstanceEvent,
    TaskStatus,
    WorkflowRunEvent,
)
from jobmon.serializers.monitor import UpdateTasksRequest
from jobmon.serializers.swarm import BatchRequest, SyncRequest, WorkflowRunRequest
from jobmon.server.web import dialect
from jobmon.server.web.database import Database, DatabaseBusy
from jobmon.server.web.models import Task, TaskInstance, WorkflowRun
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.orders import tasks_update_by_hand, workflow_reset_if_quiet
from jobmon.server.web.store.resume import run_take_tasks, workflow_order_resume
from jobmon.server.web.store.runs import run_apply_events, run_create_if_none_alive, run_heartbeat_if_alive
from jobmon.server.web.store.sync import run_sync
from jobmon.testing.factory import MadeWorkflow, run_make, workflow_make
from jobmon.testing.history import check_history

MAX_LOSSES = 2
EXAMPLES = int(os.environ.get("JOBMON_TEST_EXAMPLES", "50"))
WIDTH = 6  # tasks, none of which waits for another
SENDERS = 4
TRIES = 50
NOBODY = ProcessIdentity("nowhere.example", "", 1, 0)
ENDS = (TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL, TaskInstanceEvent.LOSE, TaskInstanceEvent.RESOURCE)
CAUSES = {TaskInstanceEvent.FAIL: Cause.CODE, TaskInstanceEvent.RESOURCE: Cause.RESOURCE}

POSITIONS = st.lists(st.integers(0, WIDTH - 1), min_size=1, max_size=WIDTH, unique=True)
EVENTS = st.sampled_from([TaskInstanceEvent.LAUNCH, TaskInstanceEvent.START, *ENDS])
QUEUE = st.tuples(st.just("queue"), POSITIONS, st.booleans())
TELL = st.tuples(st.just("tell"), st.lists(st.tuples(st.integers(0, 15), EVENTS), min_size=1, max_size=8))
LIVE = st.tuples(st.just("live"), st.integers(0, 15), st.sampled_from(ENDS))
ORDER = st.one_of(
    st.tuples(st.just("by_hand"), POSITIONS, st.sampled_from(["D", "G"])),
    st.tuples(st.just("resume"), st.booleans()),
    st.tuples(st.just("reset"), st.booleans()),
    st.tuples(st.just("end"), st.sampled_from([WorkflowRunEvent.FINISH, WorkflowRunEvent.FAIL])),
    st.tuples(st.just("heartbeat")),
)
STEPS = st.one_of(QUEUE, TELL, LIVE, LIVE, TELL, ORDER)
PLANS = st.lists(
    st.lists(st.tuples(STEPS, st.integers(1, 3)), min_size=3, max_size=10), min_size=SENDERS, max_size=SENDERS
)


@dataclass
class Institute:
    """A workflow, and everybody who sends requests about it."""

    database: Database
    workflow: MadeWorkflow
    lock: threading.Lock = field(default_factory=threading.Lock)
    num_batches: int = 0

    def send(self, step: Sequence[object], times: int) -> None:
        """One request, perhaps several times over; refusals are answers, a busy database is asked again."""
        request: Callable[[Connection], object] = getattr(self, f"make_{step[0]}")(*step[1:])
        for _ in range(times):
            for _ in range(TRIES):
                try:
                    self.database.retrying_write(request)
                    break
                except DatabaseBusy:
                    continue
                except JobmonError:
                    break
            else:
                pytest.fail("the database was busy all the time")

    def now(self, connection: Connection) -> datetime:
        return dialect.utcnow(connection)

    def run_id(self, connection: Connection) -> int:
        """The run that is alive; the first requests after its end create another one."""
        alive = select(func.max(WorkflowRun.id)).where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
        found = connection.scalar(alive)
        if found is not None:
            return int(found)
        message = WorkflowRunRequest(f"key{self.next_number()}", "tester", "4", NOBODY, 90)
        now = self.now(connection)
        made = run_create_if_none_alive(connection, self.workflow.workflow_id, message, now)
        run_take_tasks(connection, made.workflow_run_id, adopt=True, now=now, actor="controller")
        up = (
            WorkflowRunEvent.BIND,
            WorkflowRunEvent.INSTANTIATE,
            WorkflowRunEvent.LAUNCH,
            WorkflowRunEvent.START,
        )
        run_apply_events(connection, made.workflow_run_id, up, now=now, actor="controller")
        return made.workflow_run_id

    def attempt(self, connection: Connection, number: int) -> int | None:
        """An attempt there is; the newest ones are those somebody is most likely to talk of."""
        ids = connection.scalars(select(TaskInstance.id).order_by(TaskInstance.id.desc()).limit(16)).all()
        return ids[number % len(ids)] if ids else None

    # -- requests ---------------------------------------------------------------------------------------
    def make_queue(self, positions: list[int], is_remote: bool) -> Callable[[Connection], object]:
        tasks = [self.workflow.task_ids[position] for position in positions]
        numbers: dict[int, int] = {}  # a run never uses the number of another one's batch

        def queue(connection: Connection) -> object:
            run_id = self.run_id(connection)
            number = numbers.get(run_id) or numbers.setdefault(run_id, self.next_number())
            name = f"batch-{number}" if is_remote else ""
            resources = self.workflow.task_resources_id
            return self.sync(
                connection,
                run_id,
                SyncRequest([], [BatchRequest(self.workflow.array_id, number, resources, tasks, name=name)]),
            )

        return queue

    def next_number(self) -> int:
        with self.lock:
            self.num_batches += 1
            return self.num_batches

    def sync(self, connection: Connection, run_id: int, message: SyncRequest) -> object:
        return run_sync(
            connection,
            run_id,
            message,
            now=self.now(connection),
            actor="controller",
            max_infrastructure_losses=MAX_LOSSES,
        )

    def make_tell(self, said: list[tuple[int, TaskInstanceEvent]]) -> Callable[[Connection], object]:
        def tell(connection: Connection) -> object:
            named = [(self.attempt(connection, number), event) for number, event in said]
            events = [InstanceEvent(i, event, cause=CAUSES.get(event)) for i, event in named if i is not None]
            return self.apply(connection, events)

        return tell

    def make_live(self, number: int, end: TaskInstanceEvent) -> Callable[[Connection], object]:
        return self.make_tell(
            [(number, TaskInstanceEvent.LAUNCH), (number, TaskInstanceEvent.START), (number, end)]
        )

    def apply(self, connection: Connection, events: list[InstanceEvent]) -> object:
        return attempts_apply_events(
            connection,
            events,
            now=self.now(connection),
            actor="worker",
            max_infrastructure_losses=MAX_LOSSES,
        )

    def make_by_hand(self, positions: list[int], status: str) -> Callable[[Connection], object]:
        message = UpdateTasksRequest(
            [self.workflow.task_ids[position] for position in positions], status, False, True
        )
        return lambda connection: tasks_update_by_hand(
            connection,
            self.workflow.workflow_id,
            message,
            user="tester",
            now=self.now(connection),
            max_infrastructure_losses=MAX_LOSSES,
        )

    def make_resume(self, cold: bool) -> Callable[[Connection], object]:
        def order(connection: Connection) -> None:
            alive = connection.scalars(
                select(WorkflowRun.id).where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
            )
            workflow_order_resume(
                connection,
                self.workflow.workflow_id,
                cold=cold,
                dead_workflow_run_ids=list(alive),
                now=self.now(connection),
                actor="user:tester",
                losses=MAX_LOSSES,
            )

        return order

    def make_reset(self, is_partial: bool) -> Callable[[Connection], object]:
        return lambda connection: workflow_reset_if_quiet(
            connection,
            self.workflow.workflow_id,
            is_partial=is_partial,
            user="tester",
            now=self.now(connection),
        )

    def make_end(self, event: WorkflowRunEvent) -> Callable[[Connection], object]:
        return lambda connection: run_apply_events(
            connection,
            self.run_id(connection),
            [event],
            now=self.now(connection),
            actor="controller",
            max_infrastructure_losses=MAX_LOSSES,
        )

    def make_heartbeat(self) -> Callable[[Connection], object]:
        return lambda connection: run_heartbeat_if_alive(
            connection, self.run_id(connection), self.now(connection), 90
        )

    # -- what must be true --------------------------------------------------------------------------------
    def check(self) -> None:
        with self.database.read() as connection:
            assert check_history(connection, MAX_LOSSES) == []
            live = connection.scalars(
                select(TaskInstance.task_id).where(TaskInstance.status.in_(TASK_INSTANCE_LIVE))
            ).all()
            assert len(live) == len(set(live))
            alive = select(func.count()).where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
            assert connection.scalar(alive) in (0, 1)
            beyond = select(func.count()).where(
                Task.num_attempts - Task.num_infrastructure_losses > Task.max_attempts,
                Task.status != TaskStatus.ERROR_FATAL.value,
            )
            assert connection.scalar(beyond) == 0


@pytest.mark.timeout(600)
def test_whatever_comes_at_once_the_history_is_legal(
    backend: Backend, empty_database: Callable[[], str]
) -> None:
    """Four at a time talk of the same few tasks; nothing is lost, doubled, or ends in an error of the server."""

    @settings(
        max_examples=max(1, EXAMPLES // (10 if backend is Backend.SQLITE else 4)),
        deadline=None,
        phases=[Phase.explicit, Phase.generate],  # what failed by chance is not made smaller by repetition
        suppress_health_check=list(HealthCheck),
    )
    @given(plans=PLANS)
    def run(plans: list[list[tuple[Sequence[object], int]]]) -> None:
        database = Database(empty_database())
        try:
            with database.write() as connection:
                now = dialect.utcnow(connection)
                workflow = workflow_make(connection, ((),) * WIDTH, now=now, max_attempts=2)
                run_make(connection, workflow.workflow_id, now=now)
            institute = Institute(database, workflow)
            begin = threading.Barrier(SENDERS)

            def play(plan: list[tuple[Sequence[object], int]]) -> None:
                begin.wait(30)
                for step, times in plan:
                    institute.send(step, times)

            with ThreadPoolExecutor(SENDERS) as pool:
                for played in [pool.submit(play, plan) for plan in plans]:
                    played.result(120)
            institute.check()
            assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        finally:
            database.dispose()

    run()
