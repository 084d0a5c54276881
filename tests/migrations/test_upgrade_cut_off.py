"""Upgrades that are killed, and several that start at once: the next one leads to the same tables."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from schema_steps import bare_engine, columns_of, contents, definition, fill, migrate
from sqlalchemy import Connection, Engine, event, text

from databases import Backend, bare_database, drop_database
from jobmon.server.web.database import make_engine
from jobmon.server.web.db_admin import (
    SchemaError,
    current_revision,
    newest_revision,
    require_schema,
    schema_differences,
    upgrade,
)
from jobmon.server.web.schema_dialect import schema_transaction
from processes import wait_until

DEFINITIONS = re.compile(r"\s*(CREATE|ALTER|DROP) (TABLE|INDEX)")


class CutOff(BaseException):
    """The process ends here."""


@contextmanager
def cut_off_after(engine: Engine, count: int) -> Iterator[None]:
    """End an upgrade right after so many statements that define something."""
    left = count

    def look(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal left
        if DEFINITIONS.match(statement):
            left -= 1
            if left == 0:
                raise CutOff

    event.listen(engine, "after_cursor_execute", look)
    try:
        yield
    except CutOff:
        pass
    finally:
        event.remove(engine, "after_cursor_execute", look)


@pytest.mark.mariadb
@pytest.mark.slow
@pytest.mark.parametrize("start", ["", "0001"], ids=["from nothing", "from 0001 with rows"])
def test_cut_off_after_every_statement(tmp_path: Path, start: str) -> None:
    """MariaDB commits statement by statement: an upgrade that dies after each single one still gets there."""
    with bare_engine(Backend.MARIADB, tmp_path) as engine, bare_engine(Backend.MARIADB, tmp_path) as other:
        columns: dict[str, list[str]] = {}
        before: dict[str, list[Any]] = {}
        if start:
            migrate(engine, "upgrade", start)
            fill(engine)
            columns = columns_of(engine)
            before = contents(engine, columns)
        num_cuts = 0
        while current_revision(engine) != newest_revision():
            with cut_off_after(engine, 1):
                upgrade(engine)
            if current_revision(engine) != newest_revision():
                num_cuts += 1
                with pytest.raises(SchemaError, match="db init"):
                    require_schema(engine)
        assert num_cuts > 20
        upgrade(other)
        assert definition(engine) == definition(other)
        assert contents(engine, columns) == before if start else True


@pytest.mark.mariadb
def test_what_cannot_be_completed_is_refused(tmp_path: Path) -> None:
    """A table that is there, but is not what it should be: the tables are compared, and the message says what differs."""
    with bare_engine(Backend.MARIADB, tmp_path) as engine:
        migrate(engine, "upgrade", "0004")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE lease (name VARCHAR(64) PRIMARY KEY)"))
        with pytest.raises(
            SchemaError, match=r"(?s)an earlier upgrade had made lease.*holder.*Restore the dump"
        ):
            upgrade(engine)


KILLED_UPGRADE = """
import os, re, signal, sys
from sqlalchemy import Engine, event
from jobmon.server.web.db_admin import init_db
left = int(sys.argv[1])
@event.listens_for(Engine, "after_cursor_execute")
def look(connection, cursor, statement, *_):
    global left
    if re.match(r"\\s*(CREATE|ALTER|DROP) (TABLE|INDEX)", statement):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
init_db(os.environ["JOBMON__DB__SQLALCHEMY_DATABASE_URI"])
"""


def start(uri: str, *command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "JOBMON__DB__SQLALCHEMY_DATABASE_URI": uri}
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(what: str) -> list[str]:
    return ["-c", "from jobmon.server.cli import main; main()", "db", what]


@pytest.mark.e2e
@pytest.mark.parametrize("count", [4, 70], ids=["early", "late"])
def test_killed(backend: Backend, tmp_path: Path, count: int) -> None:
    """Its lock dies with it, and the next one completes its work."""
    with bare_engine(backend, tmp_path) as engine, bare_engine(backend, tmp_path) as other:
        uri = engine.url.render_as_string(hide_password=False)
        killed = start(uri, "-c", KILLED_UPGRADE, str(count))
        _, said = killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL, said
        again = start(uri, *command("init"))
        out, said = again.communicate(timeout=60)
        assert (again.returncode, out) == (0, "The database is ready.\n"), said
        upgrade(other)
        assert definition(engine) == definition(other)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM cluster")) == 3
            assert schema_differences(connection) == []


@pytest.mark.e2e
def test_several_at_once(backend: Backend, tmp_path: Path) -> None:
    """The database itself is missing at first; one makes it and its tables, the others find them."""
    with bare_database(backend, tmp_path) as uri:
        if backend is not Backend.SQLITE:
            drop_database(uri)
        processes = [start(uri, *command("init")) for _ in range(4)]
        ends = [process.communicate(timeout=60) for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, ends
        told = "".join(said for _, said in ends)
        assert told.count("Applied 0001") == 1
        assert told.count("Created the database") <= 1
        engine = make_engine(uri)
        require_schema(engine)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM cluster")) == 3
        engine.dispose()


@pytest.mark.e2e
def test_waits_for_another_and_says_so(backend: Backend, tmp_path: Path) -> None:
    with bare_engine(backend, tmp_path) as engine:
        migrate(engine, "upgrade", "0004")
        with schema_transaction(engine, print):
            waiting = start(engine.url.render_as_string(hide_password=False), *command("upgrade"))
            assert waiting.stderr is not None
            line = waiting.stderr.readline()
            assert line == "Another process changes the schema of this database; waiting for it.\n"
            assert waiting.poll() is None
        out, said = waiting.communicate(timeout=60)
        assert (waiting.returncode, out) == (0, "The database is up to date.\n"), said
        wait_until(lambda: current_revision(engine) == newest_revision(), "the upgrade")
