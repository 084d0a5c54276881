"""The history checker finds what ought not to be: each kind of fault, put into a sound database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import Engine, text

import databases
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, WorkflowRunEvent
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.runs import run_apply_event
from jobmon.testing.factory import attempts_make, run_make, workflow_make
from jobmon.testing.history import assert_history, check_history


@pytest.fixture
def engine(database_uri: str) -> Iterator[Engine]:
    """A chain of two tasks that ran to its end, the second with a retry."""
    database = Database(database_uri)

    def tell(attempt: int, *events: TaskInstanceEvent, cause: Cause | None = None) -> None:
        with database.write() as connection:
            attempts_apply_events(
                connection,
                [InstanceEvent(attempt, event, cause=cause) for event in events],
                now=dialect.utcnow(connection),
                actor="controller",
                max_infrastructure_losses=10,
            )

    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [[], [0]], now=now)
        run_id = run_make(connection, workflow.workflow_id, now=now)
    for number, (position, end) in enumerate(
        [(0, TaskInstanceEvent.FINISH), (1, TaskInstanceEvent.FAIL), (1, TaskInstanceEvent.FINISH)], 1
    ):
        with database.write() as connection:
            now = dialect.utcnow(connection)
            (attempt,) = attempts_make(connection, workflow, run_id, [position], batch_num=number, now=now)
        tell(attempt, TaskInstanceEvent.START)
        tell(attempt, end, cause=Cause.CODE if end is TaskInstanceEvent.FAIL else None)
    with database.write() as connection:
        now = dialect.utcnow(connection)
        run_apply_event(connection, run_id, WorkflowRunEvent.FINISH, now=now, actor="controller")
    database.dispose()
    damaged = Database(database_uri)
    yield damaged.engine
    damaged.dispose()


def test_a_sound_history_is_accepted_from_engine_connection_and_uri(
    engine: Engine, database_uri: str
) -> None:
    """Nothing is found."""
    assert check_history(engine) == []
    assert check_history(database_uri) == []
    with engine.connect() as connection:
        assert_history(connection)


LAST = "(SELECT max(id) FROM {0})"
FAULTS: list[tuple[str, Sequence[str]]] = [
    ("is illegal", ["UPDATE task_history SET event = 'miss' WHERE event = 'start' AND task_id = 1"]),
    ("the attempt was", ["DELETE FROM task_history WHERE event = 'start' AND task_id = 1"]),
    ("draining is True", ["UPDATE workflow_run SET is_draining = true"]),
    (
        "was created at cursor",
        [
            "UPDATE workflow_run SET is_draining = true",
            (
                "INSERT INTO workflow_history (workflow_id, workflow_run_id, cursor, event, occurred_at, actor)"
                " SELECT workflow_id, id, 1, 'drain', created_date, 'user:x' FROM workflow_run"
            ),
        ],
    ),
    ("the task was", ["UPDATE task_history SET task_from = 'A' WHERE event = 'finish' AND task_id = 1"]),
    (
        "ought to have made it",
        ["UPDATE task_history SET task_from = NULL, task_to = NULL WHERE event = 'start'"],
    ),
    ("live at once", ["DELETE FROM task_history WHERE task_instance_id = 2 AND event IN ('fail', 'retry')"]),
    ("before its upstream tasks", ["UPDATE task_history SET id = id + 1000 WHERE task_id = 1"]),
    ("was not decided", ["DELETE FROM task_history WHERE event = 'retry'"]),
    ("ought to be exhaust", ["UPDATE task SET max_attempts = 1"]),
    ("attempts and losses are", ["UPDATE task SET num_attempts = 7 WHERE id = 2"]),
    ("it is R, its history ends with D", ["UPDATE task SET status = 'R' WHERE id = 1"]),
    ("it is E, its history ends with D", ["UPDATE task_instance SET status = 'E' WHERE id = 1"]),
    ("it has a history but no row", ["DELETE FROM task_instance WHERE id = 3"]),
    (
        "an earlier transaction had reached",
        ["UPDATE task_history SET cursor = 1 WHERE id = " + LAST.format("task_history")],
    ),
    ("another transaction has the same cursor", ["UPDATE task_history SET cursor = 8 WHERE cursor = 9"]),
    ("its cursor is", ["UPDATE workflow_run SET last_cursor = 2"]),
    ("the run was", ["DELETE FROM workflow_history WHERE event = 'launch'"]),
    ("run R -bind-> D is illegal", ["UPDATE workflow_history SET event = 'bind' WHERE event = 'finish'"]),
    ("took the workflow", ["UPDATE workflow_history SET workflow_to = 'F' WHERE event = 'finish'"]),
    ("its history ends with D", ["UPDATE workflow_run SET status = 'R'"]),
    ("its history ends: D", ["UPDATE workflow SET status = 'R'"]),
    (
        "are alive at once",
        [
            (
                "INSERT INTO workflow_run SELECT 2, workflow_id, user, jobmon_version, jobmon_server_version, 'L', created_date,"
                " status_date, heartbeat_date, 'other', controller, 99, is_draining, NULL FROM workflow_run"
            ),
            (
                "INSERT INTO workflow_history SELECT id - 1000, workflow_id, 2, cursor, event, run_from, run_to, workflow_from,"
                " workflow_to, occurred_at, actor FROM workflow_history WHERE event = 'link'"
            ),
        ],
    ),
    (
        "but 1 of its tasks are not",
        ["UPDATE task SET status = 'G' WHERE id = 2"],
    ),
    ("of another workflow", ["UPDATE task_instance SET array_id = 77 WHERE id = 1"]),
]


@pytest.mark.parametrize(("words", "statements"), FAULTS, ids=[words for words, _ in FAULTS])
def test_a_fault_is_found(engine: Engine, words: str, statements: Sequence[str]) -> None:
    """And named."""
    with engine.connect() as connection:
        databases.ignore_foreign_keys(connection)
        for statement in statements:
            databases.sql(connection, statement)
        problems = check_history(connection)
    assert any(words in problem for problem in problems), problems


def test_the_assertion_names_the_problems(engine: Engine) -> None:
    """The first twenty."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM task_history"))
    with pytest.raises(AssertionError, match=r"The history has \d+ problems:\n  task 1: it is D"):
        assert_history(engine)
