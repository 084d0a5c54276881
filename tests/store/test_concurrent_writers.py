"""Writers that meet on one database: who waits for whom, what is tried again, and what each of them finds afterwards.

On SQLite one writes at a time; so these are tests of the database servers. The order in which things happen is made certain:
one transaction stays open until the other one is seen to wait for it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from scene import LAUNCH_AND_START, Scene
from sqlalchemy import Connection, select, text, update

import databases
from databases import Backend
from jobmon.core.exceptions import JobmonError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import this_process
from jobmon.core.states import TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.monitor import UpdateTasksRequest
from jobmon.serializers.swarm import BatchRequest, SyncRequest, WorkflowRunRequest
from jobmon.server.web import dialect
from jobmon.server.web.database import Database, DatabaseBusy
from jobmon.server.web.failure_dialect import Failure, failure_of
from jobmon.server.web.models import Task, TaskInstance, Tool
from jobmon.server.web.store import define
from jobmon.server.web.store.attempts import Applied, attempts_apply_events
from jobmon.server.web.store.orders import tasks_update_by_hand
from jobmon.server.web.store.resume import run_take_tasks
from jobmon.server.web.store.runs import run_create_if_none_alive

pytestmark = pytest.mark.parametrize("backend", databases.parameters(databases.SERVERS))

WAIT_SECONDS = 20.0
T = TypeVar("T")
_LOCK_WAIT = re.compile(r"^LOCK WAIT .*?^MariaDB thread id (\d+)", re.MULTILINE | re.DOTALL)


def num_blocked(connection: Connection) -> int:
    """How many transactions of this database wait for a lock.

    MariaDB's table of transactions is not read anew when it was read a moment ago; its status report is.
    """
    if connection.dialect.name == "postgresql":
        waiting = "wait_event_type = 'Lock' AND datname = current_database()"
        return connection.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {waiting}")) or 0
    report = connection.exec_driver_sql("SHOW ENGINE INNODB STATUS").one()[2]
    own = connection.scalars(text("SELECT id FROM information_schema.processlist WHERE db = database()"))
    transactions = report.split("---TRANSACTION ")
    waiting_ids = [int(found[1]) for each in transactions if (found := _LOCK_WAIT.search(each))]
    return len(set(waiting_ids) & set(own))


class Others:
    """Other writers, each in a thread of its own."""

    def __init__(self, database: Database, backend: Backend) -> None:
        self.database, self.backend = database, backend
        self.pool = ThreadPoolExecutor(16)

    def write(self, work: Callable[[Connection], T]) -> Future[T]:
        """Begin a transaction; its result."""
        return self.pool.submit(self.database.retrying_write, work)

    def wait_blocked(self, number: int = 1) -> None:
        """Wait until so many transactions wait for a lock."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            with self.database.engine.connect() as connection:
                if num_blocked(connection) >= number:
                    return
            assert time.monotonic() < deadline, f"no {number} transactions wait for a lock"
            time.sleep(0.01)


@pytest.fixture
def others(scene: Scene, backend: Backend) -> Iterator[Others]:
    others = Others(scene.database, backend)
    yield others
    others.pool.shutdown()


def apply(connection: Connection, *events: InstanceEvent) -> Applied:
    now = dialect.utcnow(connection)
    return attempts_apply_events(
        connection, list(events), now=now, actor="worker", max_infrastructure_losses=10
    )


def remote_attempt(scene: Scene, position: int = 0) -> int:
    """An attempt on a batch cluster: it outlives its run."""
    resources = scene.ids["resources"]
    batch = BatchRequest(
        scene.ids["array"], scene.ids["batch"], resources, [scene.task_ids[position]], name="job"
    )
    scene.ids["batch"] += 1
    (task_instance_id,) = scene.sync(SyncRequest([], [batch])).batches[0].task_instance_ids
    scene.sync(SyncRequest([InstanceEvent(task_instance_id, event) for event in LAUNCH_AND_START], []))
    return int(task_instance_id)


# ------------------------------------------------------------------ trying again
def test_of_two_that_block_each_other_both_succeed(bound: Scene, others: Others) -> None:
    """The database ends one of them, which does its work again."""
    first, second = bound.task_ids[:2]
    both = threading.Barrier(2)
    tries: list[int] = []

    def rename(name: str, one: int, other: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            tries.append(one)
            connection.execute(update(Task).where(Task.id == one).values(name=name))
            if tries.count(one) == 1:
                both.wait(WAIT_SECONDS)
            connection.execute(update(Task).where(Task.id == other).values(name=name))

        return work

    done = [others.write(rename("x", first, second)), others.write(rename("y", second, first))]
    for each in done:
        each.result(WAIT_SECONDS)
    assert len(tries) >= 3
    names = bound.rows("SELECT name FROM task ORDER BY id")
    assert names[0] == names[1]


def test_who_waits_for_too_long_is_told_that_the_database_is_busy(
    bound: Scene, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And may ask again, when the other one is done."""
    waits = {
        Backend.MARIADB: "SET SESSION innodb_lock_wait_timeout = 1",
        Backend.POSTGRESQL: "SET LOCAL lock_timeout = '100ms'",
    }

    def rename(connection: Connection) -> None:
        connection.exec_driver_sql(waits[others.backend])
        connection.execute(update(Task).where(Task.id == bound.task_ids[0]).values(name="x"))

    with bound.database.write() as connection:
        connection.execute(update(Task).values(name="y"))
        with pytest.raises(DatabaseBusy, match=r"(?s)The database is busy .* try again"):
            bound.write(rename)
    bound.write(rename)
    assert bound.rows("SELECT name FROM task ORDER BY id")[:2] == [("x",), ("y",)]


def test_all_connections_in_use(bound: Scene, others: Others) -> None:
    """Whoever gets none in time is told so; nobody waits for ever."""
    uri = bound.database.engine.url.render_as_string(hide_password=False)
    small = Database(uri, pool={"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.2})
    with small.write(), pytest.raises(DatabaseBusy):
        small.retrying_write(dialect.utcnow)
    assert small.retrying_write(dialect.utcnow)
    small.dispose()


# ------------------------------------------------------------------ ids
def test_ids_are_given_out_though_every_connection_is_in_use(bound: Scene) -> None:
    """Transactions that have one connection each do not wait for a second of the same pool."""
    uri = bound.database.engine.url.render_as_string(hide_password=False)
    writers = 4
    small = Database(uri, pool={"pool_size": writers, "max_overflow": 0, "pool_timeout": 5})
    all_in = threading.Barrier(writers)

    def allocate(connection: Connection) -> range:
        connection.execute(select(Tool.id))
        all_in.wait(WAIT_SECONDS)
        return dialect.allocate_ids(connection, TaskInstance.__table__, 10)  # type: ignore[arg-type]

    with ThreadPoolExecutor(writers) as pool:
        given = [pool.submit(small.retrying_write, allocate) for _ in range(writers)]
        ids = [i for each in given for i in each.result(WAIT_SECONDS)]
    assert len(set(ids)) == 10 * writers
    small.dispose()


def test_the_first_ids_of_a_table_are_asked_for_by_many_at_once(scene: Scene, others: Others) -> None:
    """Its counter is made once."""
    asked = [others.write(lambda c: dialect.allocate_ids(c, Tool.__table__, 3)) for _ in range(12)]  # type: ignore[arg-type]
    ids = sorted(i for each in asked for i in each.result(WAIT_SECONDS))
    assert ids == list(range(1, 37))


def test_the_same_thing_registered_by_many_at_once(scene: Scene, others: Others) -> None:
    """All get the id of the one row."""
    for number in range(5):
        name = f"tool {number}"
        asked = [others.write(lambda c, n=name: define.tool_get_or_create(c, n)) for _ in range(12)]  # type: ignore[misc]
        assert len({each.result(WAIT_SECONDS).id for each in asked}) == 1


# ------------------------------------------------------------------ what others did meanwhile
def test_one_run_of_many_that_begin_at_once(bound: Scene, others: Others) -> None:
    """The others are told who has it."""

    def create(number: int) -> Callable[[Connection], object]:
        message = WorkflowRunRequest(f"key{number}", "ada", "4", this_process(), 90)
        return lambda c: run_create_if_none_alive(c, bound.workflow_id, message, dialect.utcnow(c))

    asked = [others.write(create(number)) for number in range(12)]
    errors = [each.exception(WAIT_SECONDS) for each in asked]
    assert sum(error is None for error in errors) == 1
    assert all(isinstance(error, JobmonError) for error in errors if error is not None)
    assert bound.rows("SELECT count(*) FROM workflow_run") == [(1,)]


def test_the_same_batch_sent_by_many_at_once_is_created_once(bound: Scene, others: Others) -> None:
    """And everybody is told the same attempts."""
    bound.start_run()
    batch = BatchRequest(bound.ids["array"], 7, bound.ids["resources"], bound.task_ids[:1])
    asked = [others.pool.submit(bound.sync, SyncRequest([], [batch])) for _ in range(12)]
    answers = [each.result(WAIT_SECONDS).batches[0].task_instance_ids for each in asked]
    assert len({tuple(ids) for ids in answers}) == 1
    assert bound.rows("SELECT num_attempts FROM task ORDER BY id")[0] == (1,)


def test_the_end_of_an_attempt_told_by_many_at_once_counts_once(bound: Scene, others: Others) -> None:
    """Also when they disagree: the first one says how it ended."""
    bound.start_run()
    attempt = bound.attempt(0, *LAUNCH_AND_START)
    ends = [TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL, TaskInstanceEvent.LOSE] * 4
    told = [others.write(lambda c, e=end: apply(c, InstanceEvent(attempt, e))) for end in ends]  # type: ignore[misc]
    changed = [each.result(WAIT_SECONDS).num_changed for each in told]
    assert sorted(changed) == [0] * 11 + [1]


def test_an_attempt_that_a_new_run_adopts_meanwhile_is_heard(bound: Scene, others: Others) -> None:
    """Its wrapper waits for the run it knew of; when that is done the attempt is of another one."""
    bound.start_run()
    attempt = remote_attempt(bound)
    bound.run_events(WorkflowRunEvent.FAIL)
    old_run = bound.ids["run"]
    with bound.database.write() as connection:
        now = dialect.utcnow(connection)
        message = WorkflowRunRequest("next", "ada", "4", this_process(), 90)
        run = run_create_if_none_alive(connection, bound.workflow_id, message, now)
        run_take_tasks(connection, run.workflow_run_id, adopt=True, now=now, actor="controller")
        told = others.write(lambda c: apply(c, InstanceEvent(attempt, TaskInstanceEvent.FINISH)))
        others.wait_blocked()
    applied = told.result(WAIT_SECONDS)
    assert (applied.unknown, applied.num_changed) == ([], 1)
    assert run.workflow_run_id != old_run
    assert run.workflow_run_id in applied.cursors
    assert bound.statuses()[0] == "D"


def test_a_task_set_by_hand_while_its_attempt_ends(bound: Scene, others: Others) -> None:
    """Whoever comes second finds what the first one made of it, and the history says so."""
    bound.start_run()
    attempt = remote_attempt(bound)
    bound.run_events(WorkflowRunEvent.FAIL)
    message = UpdateTasksRequest([bound.task_ids[0]], "D", False, True)

    def set_done(connection: Connection) -> object:
        now = dialect.utcnow(connection)
        return tasks_update_by_hand(
            connection, bound.workflow_id, message, user="ada", now=now, max_infrastructure_losses=10
        )

    with bound.database.write() as connection:
        apply(connection, InstanceEvent(attempt, TaskInstanceEvent.FAIL))
        ordered = others.write(set_done)
        others.wait_blocked()
    ordered.result(WAIT_SECONDS)
    assert bound.statuses()[0] == "D"


def test_orders_do_not_wait_for_other_workflows(bound: Scene, others: Others) -> None:
    """What is locked is one workflow: another one's events go on."""
    bound.start_run()
    attempt = bound.attempt(0, *LAUNCH_AND_START)
    other = Scene(bound.database)
    other.define()
    other.add_graph()
    other.add_workflow(workflow_args_hash="another")
    other.add_tasks()
    other.mark_bound()
    other.start_run()
    with bound.database.write() as connection:
        message = UpdateTasksRequest([other.task_ids[1]], "D", False, True)
        now = dialect.utcnow(connection)
        tasks_update_by_hand(
            connection, other.workflow_id, message, user="ada", now=now, max_infrastructure_losses=10
        )
        told = others.write(lambda c: apply(c, InstanceEvent(attempt, TaskInstanceEvent.FINISH)))
        assert told.result(WAIT_SECONDS).num_changed == 1


# ------------------------------------------------------------------ failures by name
@contextmanager
def failing(expected: Failure) -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError

    with pytest.raises(SQLAlchemyError) as caught:
        yield
    assert failure_of(caught.value) is expected, caught.value


def test_failures_are_told_apart(scene: Scene, backend: Backend) -> None:
    """What is nobody's fault but the statement's is no reason to try again."""
    engine = scene.database.engine
    with failing(Failure.OTHER), engine.connect() as connection:
        connection.exec_driver_sql("SELECT nothing FROM nowhere")
    with failing(Failure.OTHER), engine.begin() as connection:
        connection.execute(update(Tool).values(name=None))
        connection.exec_driver_sql("INSERT INTO tool (name) VALUES (NULL)")
    uri = engine.url.set(port=1)
    away = Database(uri.render_as_string(hide_password=False))
    with failing(Failure.GONE), away.engine.connect():
        pass
    away.dispose()
    number = {
        Backend.MARIADB: "SELECT connection_id()",
        Backend.POSTGRESQL: "SELECT pg_backend_pid()",
    }
    kill = {Backend.MARIADB: "KILL {}", Backend.POSTGRESQL: "SELECT pg_terminate_backend({})"}
    with failing(Failure.GONE), engine.connect() as connection:
        session = connection.exec_driver_sql(number[backend]).scalar()
        with databases.administrator(backend) as administrator:
            administrator.exec_driver_sql(kill[backend].format(session))
        for _ in range(100):  # it may take a moment
            connection.exec_driver_sql("SELECT 1")
            time.sleep(0.02)


def test_a_connection_cut_in_the_middle_of_a_transaction_is_replaced(scene: Scene, backend: Backend) -> None:
    """The work is done again on another one; the caller does not notice."""
    number = {Backend.MARIADB: "SELECT connection_id()", Backend.POSTGRESQL: "SELECT pg_backend_pid()"}
    kill = {Backend.MARIADB: "KILL {}", Backend.POSTGRESQL: "SELECT pg_terminate_backend({})"}
    sessions: list[Any] = []

    def work(connection: Connection) -> int:
        tool_id = define.tool_get_or_create(connection, "cut").id
        sessions.append(connection.exec_driver_sql(number[backend]).scalar())
        if len(sessions) == 1:
            with databases.administrator(backend) as administrator:
                administrator.exec_driver_sql(kill[backend].format(sessions[0]))
        return tool_id

    scene.write(work)
    assert len(sessions) == 2
    assert scene.rows("SELECT name FROM tool") == [("cut",)]
