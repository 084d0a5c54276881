"""What users type into a database client, on a database that holds a workflow that ran."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, WorkflowRunStatus
from jobmon.serializers.swarm import SyncRequest
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.store.sync import run_sync
from jobmon.testing.factory import MAX_INFRASTRUCTURE_LOSSES, attempts_make, run_make, workflow_make

Query = Callable[[str], list[tuple[Any, ...]]]
LAUNCH, START = TaskInstanceEvent.LAUNCH, TaskInstanceEvent.START
FINISH, FAIL = TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL


@pytest.fixture
def query(database: Database) -> Query:
    """Five tasks of ada's workflow ``census``: two done, one failed once and waiting, one running, one not begun."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        made = workflow_make(
            connection, [(), (), (), (), (0, 1)], now=now, user="ada", name="census", max_attempts=2
        )
        run = run_make(connection, made.workflow_id, now=now, user="ada", status=WorkflowRunStatus.RUNNING)
        attempts = attempts_make(connection, made, run, [0, 1, 2, 3], batch_num=1, now=now)
        told = [InstanceEvent(i, event, nodename="node7") for i in attempts for event in (LAUNCH, START)]
        told += [
            InstanceEvent(attempts[0], FINISH, wallclock=2.0, maxrss=1000, exit_code=0, stdout_log="fine"),
            InstanceEvent(attempts[1], FINISH, wallclock=4.0, maxrss=3000, exit_code=0),
            InstanceEvent(
                attempts[2], FAIL, Cause.CODE, "no such country", exit_code=1, stderr_log="KeyError"
            ),
        ]
        run_sync(
            connection,
            run,
            SyncRequest(told, []),
            now=now,
            actor="controller",
            max_infrastructure_losses=MAX_INFRASTRUCTURE_LOSSES,
        )
        other = workflow_make(connection, [()], now=now, user="bob", name="other")
        run_make(connection, other.workflow_id, now=now, user="bob", status=WorkflowRunStatus.BOUND)

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with database.read() as connection:
            quote = connection.dialect.identifier_preparer.quote
            sql = re.sub(r"\barray a\b", f"{quote('array')} a", sql)  # a word of its own in PostgreSQL
            return [tuple(row) for row in connection.execute(text(sql))]

    return ask


def test_counts_by_status(query: Query) -> None:
    rows = query(
        "SELECT s.label, count(*) FROM task t JOIN task_status s ON s.id = t.status "
        "JOIN workflow w ON w.id = t.workflow_id WHERE w.name = 'census' GROUP BY s.label ORDER BY s.label"
    )
    assert rows == [("DONE", 2), ("REGISTERED", 2), ("RUNNING", 1)]


def test_a_workflow_by_its_name(query: Query) -> None:
    rows = query(
        "SELECT w.id, w.workflow_args, s.label FROM workflow w JOIN workflow_status s ON s.id = w.status "
        "WHERE w.name LIKE 'cens%' AND w.created_date IS NOT NULL"
    )
    assert [row[1:] for row in rows] == [("census", "RUNNING")]


def test_the_runs_of_a_user(query: Query) -> None:
    rows = query(
        "SELECT w.name, s.label, r.jobmon_version <> '' FROM workflow_run r JOIN workflow w ON w.id = r.workflow_id "
        "JOIN workflow_run_status s ON s.id = r.status WHERE r.user = 'ada' ORDER BY r.created_date DESC"
    )
    assert rows == [("census", "RUNNING", 1)]
    assert query(
        "SELECT workflow_run.user, count(*) FROM workflow_run GROUP BY workflow_run.user ORDER BY 1"
    ) == [
        ("ada", 1),
        ("bob", 1),
    ]


def test_the_errors_of_a_workflow(query: Query) -> None:
    rows = query(
        "SELECT t.name, ti.id, s.label, e.description, ti.stderr_log, e.error_time IS NOT NULL "
        "FROM task_instance_error_log e JOIN task_instance ti ON ti.id = e.task_instance_id "
        "JOIN task_instance_status s ON s.id = ti.status JOIN task t ON t.id = ti.task_id "
        "JOIN workflow w ON w.id = t.workflow_id WHERE w.name = 'census'"
    )
    assert [(row[0], *row[2:]) for row in rows] == [("step_2", "ERROR", "no such country", "KeyError", 1)]


def test_the_errors_of_one_run(query: Query) -> None:
    rows = query(
        "SELECT count(*) FROM workflow_run r JOIN task_instance ti ON ti.workflow_run_id = r.id "
        "JOIN task_instance_error_log e ON e.task_instance_id = ti.id WHERE r.user = 'ada'"
    )
    assert rows == [(1,)]


def test_tasks_that_were_tried_more_than_once_or_may_be(query: Query) -> None:
    rows = query("SELECT name, num_attempts, max_attempts FROM task WHERE num_attempts > 0 AND status = 'G'")
    assert rows == [("step_2", 1, 2)]


def test_what_a_template_used(query: Query) -> None:
    """Resources by template, the way they are looked up before the next large run."""
    rows = query(
        "SELECT tt.name, tool.name, max(ti.maxrss), avg(ti.wallclock), count(*) FROM task_instance ti "
        "JOIN task t ON t.id = ti.task_id JOIN node n ON n.id = t.node_id "
        "JOIN task_template_version ttv ON ttv.id = n.task_template_version_id "
        "JOIN task_template tt ON tt.id = ttv.task_template_id JOIN tool_version tv ON tv.id = tt.tool_version_id "
        "JOIN tool ON tool.id = tv.tool_id WHERE ti.status = 'D' GROUP BY tt.name, tool.name"
    )
    assert rows == [("step", "tool of tests", 3000, 3.0, 2)]


def test_the_task_of_an_argument(query: Query) -> None:
    rows = query(
        "SELECT t.name, t.command FROM task t JOIN node_arg na ON na.node_id = t.node_id JOIN arg a ON a.id = na.arg_id "
        "JOIN workflow w ON w.id = t.workflow_id WHERE w.name = 'census' AND a.name = 'which' AND na.val = '3'"
    )
    assert rows == [("step_3", "true # 3")]


def test_the_arrays_and_their_cluster(query: Query) -> None:
    rows = query(
        "SELECT a.name, c.name, q.name, count(*) FROM array a JOIN task t ON t.array_id = a.id "
        "JOIN task_resources tr ON tr.id = t.task_resources_id JOIN queue q ON q.id = tr.queue_id "
        "JOIN cluster c ON c.id = q.cluster_id JOIN workflow w ON w.id = a.workflow_id WHERE w.name = 'census' "
        "GROUP BY a.name, c.name, q.name"
    )
    assert rows == [("step", "dummy", "null.q", 5)]


def test_where_an_attempt_ran(query: Query) -> None:
    rows = query(
        "SELECT DISTINCT ti.nodename FROM task_instance ti JOIN task_instance_status s ON s.id = ti.status "
        "WHERE s.label IN ('RUNNING', 'DONE')"
    )
    assert rows == [("node7",)]


def test_what_happened_to_a_task_in_order(query: Query) -> None:
    """The history, which older databases did not have."""
    rows = query(
        "SELECT h.event, h.task_from, h.task_to FROM task_history h JOIN task t ON t.id = h.task_id "
        "JOIN workflow w ON w.id = t.workflow_id WHERE w.name = 'census' AND t.name = 'step_0' ORDER BY h.id"
    )
    assert [row[2] for row in rows][-1] == "D"
    assert [row[0] for row in rows][-3:] == ["launch", "start", "finish"]
