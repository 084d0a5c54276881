"""On a million tasks: every statement of the store finds its rows by an index, and reads no more than its question is about.

Counted is what the database itself says it read, not what it planned to read: rows on MariaDB and PostgreSQL, steps of its
virtual machine on SQLite.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import million
import pytest
from hot_statements import QUESTIONS as ASKED_BY_ROUTES
from hot_statements import Question
from million import BIG, Million
from page_statements import QUESTIONS as ASKED_BY_PAGES
from sqlalchemy import Connection, event

import databases
from databases import Backend, bare_database
from jobmon.server.web import dialect, store
from jobmon.server.web.database import Database
from jobmon.server.web.db_admin import init_db

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS_PER_ROW = 40
"""Of SQLite's virtual machine, at most."""
STEPS = 1_000
QUESTIONS = [*ASKED_BY_ROUTES, *ASKED_BY_PAGES]
WITHOUT_LARGE_TABLES = {
    "candidates",
    "census",
    "clusters",
    "define",
    "diagnosis",
    "ownership",
    "tokens",
}
"""Modules of the store that are about definitions, clusters, people and the server."""


@pytest.fixture(scope="session", params=databases.parameters())
def the_million(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Million]:
    """One for each kind of database and process; every test rolls back what it does."""
    backend: Backend = request.param
    databases.require(backend)
    with bare_database(backend, tmp_path_factory.mktemp("million")) as uri:
        init_db(uri)
        database = Database(uri)
        try:
            made = million.build(database)
            database.engine.dispose()  # with the liberties that were taken for that
            yield made
        finally:
            database.dispose()
            if backend is Backend.SQLITE:  # half a gigabyte, which pytest would keep
                Path(str(database.engine.url.database)).unlink()


class Steps:
    """Counts what SQLite does."""

    def __init__(self, connection: Connection) -> None:
        self.driver: Any = connection.connection.driver_connection
        self.count = 0

    def __enter__(self) -> Steps:
        self.driver.set_progress_handler(self._step, STEPS)
        return self

    def _step(self) -> int:
        self.count += 1
        return 0

    def __exit__(self, *_: object) -> None:
        self.driver.set_progress_handler(None, 0)

    @property
    def rows(self) -> int:
        return self.count * STEPS // STEPS_PER_ROW


def rows_read(connection: Connection) -> dict[str, int]:
    """Rows read so far by this connection, by table where that is known."""
    if connection.dialect.name == "mysql":
        found = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'")
        return {"": sum(int(value) for name, value in found if name != "Handler_read_retry")}
    found = connection.exec_driver_sql(
        "SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
    )
    return {name: int(count) for name, count in found}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_reads_no_more_than_it_is_about(the_million: Million, question: Question) -> None:
    with the_million.database.engine.connect() as connection, connection.begin() as transaction:
        now = dialect.utcnow(connection)
        if dialect.is_sqlite(connection):
            with Steps(connection) as steps:
                question.work(the_million, connection, now)
            read = {"": steps.rows}
        else:
            before = rows_read(connection)
            question.work(the_million, connection, now)
            after = rows_read(connection)
            read = {name: count - before.get(name, 0) for name, count in after.items()}
        transaction.rollback()
    assert sum(read.values()) <= question.bound, read


CHEAPER_THAN_LOOKING_UP = {("select.tasks_select (by arg)", "node_arg")}
"""MariaDB compares: a tenth of the 100 000 node args would have to be looked up one by one."""
FULL_SCAN = re.compile(r"^SCAN (\w+)$")


def test_no_statement_scans_a_large_table(the_million: Million) -> None:
    """By the plans of SQLite and MariaDB. PostgreSQL says what it did in the test above."""
    engine = the_million.database.engine
    if engine.dialect.name == "postgresql":
        return
    said: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            said.append((statement, parameters[0] if many else parameters))

    scans = {}
    for question in QUESTIONS:
        said.clear()
        with engine.connect() as connection, connection.begin() as transaction:
            event.listen(engine, "before_cursor_execute", note)
            question.work(the_million, connection, dialect.utcnow(connection))
            event.remove(engine, "before_cursor_execute", note)
            for statement, parameters in dict(said).items():
                for table in scanned(connection, statement, parameters):
                    scans[question.name, table] = statement
            transaction.rollback()
    assert scans.keys() <= CHEAPER_THAN_LOOKING_UP


def scanned(connection: Connection, statement: str, parameters: Any) -> list[str]:
    """Large tables that the plan of a statement reads from end to end."""
    if connection.dialect.name == "sqlite":
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        found = [match[1] for row in plan if (match := FULL_SCAN.match(row[3]))]
    else:
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        found = [row.table for row in plan if row.type == "ALL"]
    return [table for table in found if table in BIG]


def test_every_function_of_the_store_is_asked_about() -> None:
    """Whoever adds a module that reads large tables says here how much it may read."""
    modules = {path.stem for path in Path(store.__file__).parent.glob("*.py")} - {"__init__"}
    asked = {question.name.split(".")[0] for question in QUESTIONS}
    assert modules <= asked | WITHOUT_LARGE_TABLES | {"sharing"}  # that one is called by failures
