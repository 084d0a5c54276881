"""A database that goes away and comes back: what is tried again, for how long, and that nothing is done twice by it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from scene import LAUNCH_AND_START, Scene
from sqlalchemy import Connection, text

import databases
from databases import Backend
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.server.web import database as database_module
from jobmon.server.web import dialect, errors
from jobmon.server.web.database import Database
from jobmon.server.web.failure_dialect import (
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    Failure,
)
from jobmon.server.web.store import define
from jobmon.server.web.store.attempts import attempts_apply_events

on_servers = pytest.mark.parametrize("backend", databases.parameters(databases.SERVERS))


def lose_answers(database: Database, monkeypatch: pytest.MonkeyPatch, number: int) -> list[bool]:
    """Have the connection break after so many commits, before their answers arrive; a line for each commit."""
    commits: list[bool] = []
    commit: Callable[[Any], None] = database.engine.dialect.do_commit

    def commit_and_lose(connection: Any) -> None:
        commit(connection)
        commits.append(len(commits) >= number)
        if not commits[-1]:
            connection.dbapi_connection.close()
            connection.dbapi_connection.cursor().execute("SELECT 1")

    monkeypatch.setattr(database.engine.dialect, "do_commit", commit_and_lose)
    return commits


@on_servers
def test_a_commit_of_which_no_word_came_back_is_done_again_and_counts_once(
    bound: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one was stored: the second finds it done."""
    bound.start_run()
    attempt = bound.attempt(0, *LAUNCH_AND_START)
    before = bound.rows("SELECT count(*) FROM task_history")[0][0]
    commits = lose_answers(bound.database, monkeypatch, 2)

    def work(connection: Connection) -> object:
        return attempts_apply_events(
            connection,
            [InstanceEvent(attempt, TaskInstanceEvent.FAIL, description="it broke")],
            now=dialect.utcnow(connection),
            actor="worker",
            max_infrastructure_losses=10,
        )

    bound.write(work)
    monkeypatch.undo()
    assert commits == [False, False, True]
    assert (
        bound.rows("SELECT count(*) FROM task_history")[0][0] - before == 2
    )  # it failed; its task is to be tried again
    assert bound.rows("SELECT count(*) FROM task_instance_error_log") == [(1,)]
    assert bound.rows("SELECT num_attempts FROM task ORDER BY id")[0] == (1,)


@on_servers
def test_a_database_that_comes_back_in_time_is_waited_for(
    scene: Scene, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection is refused for a while, also to those that have one; nobody but the log notices."""
    refusals = 5
    scene.database.dispose()
    connect = scene.database.engine.dialect.connect
    refused: list[int] = []

    def refuse(*words: Any, **options: Any) -> Any:
        if len(refused) < refusals:
            refused.append(1)
            options["port"] = 1
        return connect(*words, **options)

    monkeypatch.setattr(scene.database.engine.dialect, "connect", refuse)
    scene.write(lambda c: define.tool_get_or_create(c, "patient"))
    assert len(refused) == refusals
    assert scene.rows("SELECT name FROM tool") == [("patient",)]


@on_servers
def test_a_database_that_stays_away(scene: Scene, backend: Backend) -> None:
    """The request is answered within the configured time, with the advice to try again."""
    away = scene.database.engine.url.set(port=1).render_as_string(hide_password=False)
    database = Database(away, reconnect_seconds=0.3)
    with pytest.raises(DatabaseUnreachable, match="does not answer") as caught:
        database.retrying_write(dialect.utcnow)
    database.dispose()
    answer = errors.response_to(caught.value, "request")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, str(errors.RETRY_AFTER_SECONDS))


@on_servers
def test_a_database_that_takes_no_changes(scene: Scene, backend: Backend) -> None:
    """A replica, or one that is being maintained: nothing is stored, and who asks is told so."""
    read_only = {
        Backend.MARIADB: {"init_command": "SET SESSION TRANSACTION READ ONLY"},
        Backend.POSTGRESQL: {"options": "-c default_transaction_read_only=on"},
    }
    uri = scene.database.engine.url.render_as_string(hide_password=False)
    database = Database(uri, connect_args=read_only[backend])
    with pytest.raises(DatabaseReadOnly, match="takes no changes") as caught:
        database.retrying_write(lambda c: define.tool_get_or_create(c, "written"))
    database.dispose()
    assert errors.response_to(caught.value, "request").status_code == 503
    assert scene.rows("SELECT count(*) FROM tool") == [(0,)]


@pytest.mark.sqlite
def test_a_file_that_has_reached_its_limit(scene: Scene) -> None:
    """The server says so, stores nothing, and goes on when there is room."""
    with scene.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for number in range(10_000):
            scene.write(lambda c, n=number: define.tool_get_or_create(c, f"{n}" * 40))  # type: ignore[misc]

    with pytest.raises(DatabaseFull, match="no room") as caught:
        fill()
    assert errors.response_to(caught.value, "request").status_code == 507
    with scene.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    scene.write(lambda c: define.tool_get_or_create(c, "room"))


@pytest.mark.sqlite
def test_how_long_and_how_often_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conflicts five times, each wait longer; an absence until its time is over; everything else not at all."""
    patience = database_module._Patience(10.0)
    waits = [patience.delay_after(Failure.CONFLICT) for _ in range(6)]
    assert waits == [*database_module.RETRY_DELAYS_SECONDS, None]
    for failure in (Failure.LOCKED, Failure.READ_ONLY, Failure.FULL, Failure.OTHER):
        assert patience.delay_after(failure) is None
    now = 0.0
    monkeypatch.setattr(database_module.time, "monotonic", lambda: now)
    delays = []
    while (delay := patience.delay_after(Failure.GONE)) is not None:
        delays.append(delay)
        now += delay
    assert now == pytest.approx(10.0)
    assert delays[0] == database_module.RECONNECT_DELAY_SECONDS
    assert max(delays) == 1.0


@on_servers
def test_connections_in_use_are_closed_after_the_rest(database: Database, backend: Backend) -> None:
    """When the connections are closed: one that a thread still works with is closed once it is done."""
    with database.read() as connection:
        driver_connection: Any = connection.connection.driver_connection
        database.dispose()
        assert connection.scalar(text("SELECT 1")) == 1
    assert driver_connection.open is False if backend is Backend.MARIADB else driver_connection.closed
    with database.read() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


@on_servers
def test_connections_go_with_their_database(database: Database, backend: Backend) -> None:
    """An application that is dropped without a word leaves none behind: they are closed in good order."""
    dropped = Database(database.engine.url.render_as_string(hide_password=False))
    with dropped.read() as connection:
        driver_connection: Any = connection.connection.driver_connection
    del connection, dropped
    gc.collect()
    assert driver_connection.open is False if backend is Backend.MARIADB else driver_connection.closed
