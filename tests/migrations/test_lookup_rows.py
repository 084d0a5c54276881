"""The rows a database comes with."""

from __future__ import annotations

import json
from enum import StrEnum

import pytest
from sqlalchemy import text

from jobmon.core.cluster_type import ClusterType
from jobmon.core.constants import ArgType, TaskResourcesType
from jobmon.core.states import DESCRIPTIONS, TaskInstanceStatus, TaskStatus, WorkflowRunStatus, WorkflowStatus
from jobmon.server.web import db_admin
from jobmon.server.web.database import Database

STATES = {
    "workflow_status": WorkflowStatus,
    "workflow_run_status": WorkflowRunStatus,
    "task_status": TaskStatus,
    "task_instance_status": TaskInstanceStatus,
}


def rows(database: Database, sql: str) -> list[tuple[object, ...]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


@pytest.mark.parametrize("table", sorted(STATES))
def test_states_are_those_of_the_tables(database: Database, table: str) -> None:
    kind: type[StrEnum] = STATES[table]
    expected = {(each.value, each.name, DESCRIPTIONS[kind][each.value]) for each in kind}
    assert set(rows(database, f"SELECT id, label, description FROM {table}")) == expected
    assert len(expected) == len(set(kind))


def test_states_have_the_words_users_query_by(database: Database) -> None:
    labels = {str(label) for (label,) in rows(database, "SELECT label FROM task_status")}
    assert {"REGISTERED", "QUEUED", "RUNNING", "DONE", "ERROR_FATAL"} <= labels
    assert rows(database, "SELECT id FROM workflow_status WHERE label = 'DONE'") == [("D",)]


def test_kinds_of_args_and_resources(database: Database) -> None:
    assert set(rows(database, "SELECT id, name FROM arg_type")) == {
        (kind.value, kind.name) for kind in ArgType
    }
    types = set(rows(database, "SELECT id, label FROM task_resources_type"))
    assert types == {(kind.value, kind.name) for kind in TaskResourcesType}


def test_the_local_clusters(database: Database) -> None:
    found = rows(
        database,
        "SELECT c.name, t.name, q.name, q.parameters, c.connection_parameters FROM cluster c "
        "JOIN cluster_type t ON t.id = c.cluster_type_id JOIN queue q ON q.cluster_id = c.id ORDER BY c.name",
    )
    assert [
        (name, kind, queue, json.loads(str(limits)), json.loads(str(how)))
        for name, kind, queue, limits, how in found
    ] == [
        ("dummy", "dummy", "null.q", {}, {}),
        ("multiprocess", "multiprocess", "null.q", {"cores": [1, 20]}, {}),
        ("sequential", "sequential", "null.q", {}, {}),
    ]
    for _, kind, *_ in found:
        ClusterType(str(kind))


def test_what_an_operator_changed_stays(database: Database) -> None:
    """Loading the rows again repairs labels and leaves clusters alone."""
    with database.write() as connection:
        connection.execute(text("UPDATE queue SET parameters = '{\"cores\": [1, 64]}'"))
        connection.execute(text("UPDATE task_status SET label = 'wrong'"))
        db_admin.load_lookup_rows(connection)
        db_admin.load_lookup_rows(connection)
    assert set(rows(database, "SELECT parameters FROM queue")) == {('{"cores": [1, 64]}',)}
    assert rows(database, "SELECT count(*) FROM task_status WHERE label = 'wrong'") == [(0,)]
    assert rows(database, "SELECT count(*) FROM cluster") == [(3,)]
