"""What balancers and operators ask: alive, ready, the time; and that the answers come whatever the database does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from sqlalchemy import insert, text
from starlette.testclient import TestClient

from databases import Backend
from jobmon.core.configuration import JobmonConfig
from jobmon.serializers.monitor import ReadyResponse
from jobmon.server.web import dialect
from jobmon.server.web.api import get_app
from jobmon.server.web.database import Database
from jobmon.server.web.db_admin import newest_revision
from jobmon.server.web.models import Lease
from jobmon.server.web.readiness import Readiness

PREFIX = "/api/v3"


def ready(client: TestClient) -> tuple[int, ReadyResponse]:
    response = client.get("/ready")
    return response.status_code, msgspec.json.decode(response.content, type=ReadyResponse)


def test_every_probe_answers(client: TestClient) -> None:
    """With and without the prefix."""
    for start in ("", PREFIX):
        for path in ("/", "/health", "/ready", "/time", "/api_version", "/metrics"):
            assert client.get(start + path).status_code == 200, start + path
    assert client.get("/").json()["api"] == PREFIX
    assert client.get("/api_version").json()["api_version"] == "v3"


def test_the_time_is_the_databases(client: TestClient, app: FastAPI) -> None:
    database: Database = app.state.jobmon.database
    told = datetime.fromisoformat(client.get("/time").json()["time"]).replace(tzinfo=None)
    with database.read() as connection:
        assert timedelta(0) <= dialect.utcnow(connection) - told < timedelta(seconds=30)


@pytest.mark.sqlite
def test_only_who_is_alive_and_ready_is_told_to_all(config: JobmonConfig) -> None:
    """The rest is for those with a token."""
    with TestClient(get_app(config, token="sesame"), raise_server_exceptions=False) as client:
        statuses = {
            path: client.get(path).status_code for path in ("/health", "/ready", "/time", "/metrics", "/")
        }
    assert statuses == {"/health": 200, "/ready": 200, "/time": 401, "/metrics": 401, "/": 401}


def test_ready_tells_who_leads(client: TestClient, app: FastAPI) -> None:
    """A lease that has run out is no reason to be unready."""
    database: Database = app.state.jobmon.database
    with database.write() as connection:
        now = dialect.utcnow(connection)
        row = {"name": "of_this_test", "holder": "a", "term": 3, "acquired_at": now, "expires_at": now}
        connection.execute(insert(Lease), row)
    status, answer = ready(client)
    assert (status, answer.is_ready, answer.reasons) == (200, True, [])
    (lease,) = [each for each in answer.leases if each.name == "of_this_test"]
    assert (lease.holder, lease.term) == ("a", 3)
    assert lease.remaining_seconds <= 0


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_a_wrong_schema_is_not_ready(config: JobmonConfig, revision: str) -> None:
    """Older or newer: it may change while the server runs. The reason says what to do."""
    app = get_app(config)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert ready(client)[0] == 200
        state = app.state.jobmon
        state.watching.readiness = Readiness(state.database, good_for_seconds=0)
        set_revision(state.database, revision)
        try:
            status, answer = ready(client)
        finally:
            set_revision(state.database, newest_revision())
        assert (status, answer.is_ready) == (503, False)
        assert revision in answer.reasons[0]
        assert client.get("/health").status_code == 200
        assert ready(client)[0] == 200


def set_revision(database: Database, revision: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})


def _read_only(database: Database, backend: Backend) -> None:
    """Have every new connection refuse to write."""
    from sqlalchemy import event

    words = {
        Backend.SQLITE: "PRAGMA query_only = ON",
        Backend.MARIADB: "SET SESSION TRANSACTION READ ONLY",
        Backend.POSTGRESQL: "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    }[backend]
    database.engine.dispose()

    @event.listens_for(database.engine, "connect")
    def _set(dbapi_connection: Any, _record: Any) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute(words)
        dbapi_connection.commit()


def test_a_database_that_takes_no_changes_is_ready_for_questions_only(
    database_uri: str, backend: Backend
) -> None:
    """The role decides."""
    database = Database(database_uri)
    _read_only(database, backend)
    changing = asyncio.run(Readiness(database).look())
    asking = asyncio.run(Readiness(database, writes=False).look())
    database.dispose()
    assert asking.is_ready, asking.reasons
    assert not changing.is_ready
    assert "takes no changes" in changing.reasons[0]


@pytest.mark.sqlite
def test_a_database_that_is_away_is_told_without_its_address(
    database_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is open to all; the log tells of a change once."""
    database = Database(database_uri.replace("jobmon.sqlite", "nowhere/secret.sqlite"))
    looked = Readiness(database, good_for_seconds=0)
    for _ in range(3):
        answer = asyncio.run(looked.look())
        assert not answer.is_ready
        assert "secret" not in str(answer)
    assert [record.levelname for record in caplog.records if record.name == "jobmon.server"] == ["ERROR"]
    database.dispose()


@pytest.fixture
def hanging(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Readiness]:
    """A look at a database that answers only at the end of the test."""
    go_on = threading.Event()
    looked = Readiness(database, limit_seconds=0.05, good_for_seconds=0)
    examine = looked._look._work

    def hang() -> ReadyResponse:
        assert go_on.wait(60)
        return examine()

    looked._look._work = hang
    yield looked
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "jobmon-ready":
            thread.join(10)


@pytest.mark.sqlite
def test_a_database_that_hangs_is_told_in_time(hanging: Readiness) -> None:
    """And one thread waits for it, however many ask."""

    async def ask() -> list[ReadyResponse]:
        return await asyncio.gather(*(hanging.look() for _ in range(20)))

    answers = asyncio.run(ask()) + asyncio.run(ask())
    assert {answer.is_ready for answer in answers} == {False}
    assert "has not answered" in answers[0].reasons[0]
    assert sum(thread.name == "jobmon-ready" for thread in threading.enumerate()) == 1


@pytest.mark.sqlite
def test_a_look_is_good_for_a_second(client: TestClient, app: FastAPI) -> None:
    """Impatient balancers cost nothing."""
    looks = []
    look = app.state.jobmon.watching.readiness._look
    examine = look._work
    look._work = lambda: (looks.append(1), examine())[1]
    for _ in range(20):
        assert ready(client)[0] == 200
    assert 1 <= len(looks) <= 5


@pytest.mark.sqlite
def test_a_server_that_closes_is_not_ready(client: TestClient, app: FastAPI) -> None:
    """So that no new requests are sent to it; it answers those it gets."""
    app.state.jobmon.close()
    status, answer = ready(client)
    assert (status, answer.reasons) == (503, ["The server is closing."])
    assert client.get("/health").status_code == 200


@pytest.mark.sqlite
def test_health_needs_no_thread(client: TestClient, app: FastAPI) -> None:
    """A server whose threads are all busy, or hang, lives."""
    state = app.state.jobmon
    assert client.portal is not None

    def take_all() -> None:
        for number in range(int(state.limiter.total_tokens)):
            state.limiter.acquire_on_behalf_of_nowait(number)

    def give_back() -> None:
        for number in range(int(state.limiter.total_tokens)):
            state.limiter.release_on_behalf_of(number)

    client.portal.call(take_all)
    try:
        assert client.get("/health").status_code == 200
        assert ready(client)[0] == 200
        assert client.get("/metrics").status_code == 200
    finally:
        client.portal.call(give_back)
