"""Statements that take long are told of: their text, the route and the request they were for; never their values."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient

from databases import Backend
from jobmon.core.configuration import JobmonConfig
from jobmon.core.log_format import FACTS, JsonFormatter
from jobmon.server.web import dialect
from jobmon.server.web.api import get_app
from jobmon.server.web.database import Database
from jobmon.server.web.slow_statements import MOST_CHARACTERS, OUTSIDE, shortened, watch_statements

LOGGER = "jobmon.server.statements"
SLOW = {
    Backend.SQLITE: (
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 500000) "
        "SELECT count(*), :it FROM numbers"
    ),
    Backend.MARIADB: "SELECT SLEEP(0.2), :it",
    Backend.POSTGRESQL: "SELECT pg_sleep(0.2), CAST(:it AS text)",
}
THRESHOLD = 0.02


@pytest.fixture
def slow_app(config: JobmonConfig, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """A server whose ``/time`` asks for something that takes long."""
    utcnow = dialect.utcnow

    def slowly(connection: Connection) -> object:
        connection.execute(text(SLOW[backend]), {"it": "hunter2"})
        return utcnow(connection)

    config.set("db", "slow_statement_seconds", THRESHOLD)
    config.set("metrics", "states_seconds", 0)
    monkeypatch.setattr("jobmon.server.web.routes.probes.dialect.utcnow", slowly)
    return get_app(config)


@pytest.fixture
def client(slow_app: FastAPI) -> Iterator[TestClient]:
    with TestClient(slow_app) as client:
        yield client


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == LOGGER]


def test_a_slow_statement_is_told_with_its_route(
    client: TestClient, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """And counted."""
    assert client.get("/api/v3/time", headers={"X-Request-ID": "slow-1"}).status_code == 200
    mine = [record for record in told(caplog) if getattr(record, FACTS)["route"] == "/time"]
    assert len(mine) == 1
    facts = getattr(mine[0], FACTS)
    assert facts["request_id"] == "slow-1"
    assert facts["duration_seconds"] >= THRESHOLD
    assert {Backend.SQLITE: "RECURSIVE", Backend.MARIADB: "SLEEP", Backend.POSTGRESQL: "pg_sleep"}[
        backend
    ] in facts["statement"]
    assert mine[0].levelno == logging.WARNING
    line = json.loads(JsonFormatter().format(mine[0]))
    assert line["statement"] == facts["statement"]
    assert "hunter2" not in json.dumps(line)
    assert 'jobmon_slow_statements_total{route="/time"} 1.0' in client.get("/metrics").text


@pytest.mark.sqlite
def test_a_slow_statement_outside_requests_says_so(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """One of a service, say."""
    noted: list[str] = []
    watch_statements(database.engine, 1e-9, note=noted.append)
    with database.read() as connection:
        connection.execute(text("SELECT 1"))
    assert noted == [OUTSIDE] * len(noted)
    assert any("SELECT 1" in record.getMessage() for record in told(caplog))


@pytest.mark.sqlite
def test_a_statement_that_fails_late_is_told_too(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A lock that was waited for in vain, say; with the kind of the error, not its words."""
    watch_statements(database.engine, 1e-9)
    with pytest.raises(DBAPIError), database.read() as connection:
        connection.execute(text("SELECT * FROM no_such_table WHERE x = :it"), {"it": "hunter2"})
    (record,) = [record for record in told(caplog) if "no_such_table" in record.getMessage()]
    assert getattr(record, FACTS)["error"] == "OperationalError"
    assert "hunter2" not in record.getMessage()


@pytest.mark.sqlite
def test_errors_of_the_database_name_no_values(database: Database) -> None:
    """So that a traceback in the log tells nothing of what people store."""
    with pytest.raises(DBAPIError) as raised, database.read() as connection:
        connection.execute(text("SELECT * FROM no_such_table WHERE x = :it"), {"it": "hunter2"})
    assert "hunter2" not in str(raised.value)


@pytest.mark.sqlite
def test_with_a_threshold_of_0_nothing_is_told(
    config: JobmonConfig, caplog: pytest.LogCaptureFixture
) -> None:
    config.set("db", "slow_statement_seconds", 0)
    with TestClient(get_app(config)) as client:
        assert client.get("/time").status_code == 200
    assert told(caplog) == []


@pytest.mark.sqlite
def test_a_slow_group_commit_is_not_blamed_on_one_request(
    config: JobmonConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """It is for all that share it."""
    config.set("db", "slow_statement_seconds", 1e-9)
    config.set("metrics", "states_seconds", 0)
    with TestClient(get_app(config), raise_server_exceptions=False) as client:
        caplog.clear()
        body = b'{"task_instance_id": 5, "event": "start"}'
        client.post("/api/v3/worker/task_instance/5/event", content=body)
    routes = {getattr(record, FACTS)["route"] for record in told(caplog)}
    assert "(group commit)" in routes
    assert not any("/worker" in route for route in routes)


def test_a_long_statement_is_cut_and_put_on_one_line() -> None:
    """With its length."""
    assert shortened(" SELECT\n  1 ") == "SELECT 1"
    cut = shortened("SELECT " + ", ".join(map(str, range(10_000))))
    assert len(cut) < MOST_CHARACTERS + 50
    assert "characters)" in cut
