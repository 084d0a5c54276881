"""Databases for tests: SQLite files, and databases of their own on a real MariaDB and a real PostgreSQL.

``scripts/databases-up`` brings up such servers, ``make test`` does so by itself. Where they are is said by the variables of
``ADMIN_URL_VARIABLES``: URLs of a user who may create databases. Without them the servers of the script are looked for at their
usual ports; where there are none, tests on them are skipped, and with ``CI=true`` they fail.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Connection, NullPool, create_engine, insert, make_url, select, text
from sqlalchemy.exc import OperationalError

from jobmon.server.web.db_admin import init_db
from jobmon.server.web.models import Base


class Backend(StrEnum):
    """Kinds of databases that Jobmon works with."""

    SQLITE = "sqlite"
    MARIADB = "mariadb"
    POSTGRESQL = "postgresql"


SERVERS = (Backend.MARIADB, Backend.POSTGRESQL)
ADMIN_URL_VARIABLES = {
    Backend.MARIADB: "JOBMON_TEST_MARIADB_URL",
    Backend.POSTGRESQL: "JOBMON_TEST_POSTGRESQL_URL",
}
USUAL_ADMIN_URLS = {
    Backend.MARIADB: f"mysql+pymysql://root@127.0.0.1:{os.environ.get('MARIADB_PORT', '33306')}/",
    Backend.POSTGRESQL: f"postgresql+psycopg://postgres@127.0.0.1:{os.environ.get('POSTGRES_PORT', '35432')}/postgres",
}
PREFIX = "jobmon_test_"
CONNECT_SECONDS = 5.0
_numbers = count()


def parameters(backends: Sequence[Backend] = tuple(Backend)) -> list[Any]:
    """The backends as parameters of tests; each but SQLite marks its tests with its name."""
    marks = {Backend.MARIADB: [pytest.mark.mariadb], Backend.POSTGRESQL: [pytest.mark.postgresql]}
    return [pytest.param(each, marks=marks.get(each, []), id=each.value) for each in backends]


ON_EVERY_DATABASE = pytest.mark.parametrize("backend", parameters())
"""Marks a test whose fixtures follow ``backend``, where that is not so for its whole folder."""


# ------------------------------------------------------------------ is it there?
@lru_cache
def why_not_here(backend: Backend) -> str:
    """Why tests cannot use such a server; empty: they can."""
    if os.environ.get("DATABASES") == "no":
        return "DATABASES=no leaves out the tests on database servers"
    url = make_url(admin_url(backend))
    try:
        with socket.create_connection((url.host or "127.0.0.1", url.port or 0), CONNECT_SECONDS):
            return ""
    except OSError as error:
        variable = ADMIN_URL_VARIABLES[backend]
        return (
            f"no {backend} answers at {url.host}:{url.port} ({error}); `make databases` starts one (Debian, as root), "
            f"or name another by {variable}"
        )


def admin_url(backend: Backend) -> str:
    """URL of the user who may create databases."""
    return os.environ.get(ADMIN_URL_VARIABLES[backend], "") or USUAL_ADMIN_URLS[backend]


def require(backend: Backend) -> None:
    """Skip the test where there is no such server; with CI=true that is a failure, unless DATABASES=no says not to have it."""
    if backend is Backend.SQLITE or not (reason := why_not_here(backend)):
        return
    if os.environ.get("CI") == "true" and os.environ.get("DATABASES") != "no":
        pytest.fail(f"CI must have a real {backend}: {reason}", pytrace=False)
    pytest.skip(reason)


# ------------------------------------------------------------------ databases
def database_url(backend: Backend, name: str) -> str:
    """URI of a database on the server."""
    return make_url(admin_url(backend)).set(database=name).render_as_string(hide_password=False)


@contextmanager
def administrator(backend: Backend) -> Iterator[Connection]:
    """A connection that may create and drop databases; every statement is committed."""
    engine = create_engine(admin_url(backend), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def create_database(backend: Backend) -> str:
    """Create a database without tables; its URI. Its name says which process made it."""
    name = f"{PREFIX}{os.getpid()}_{next(_numbers)}"
    with administrator(backend) as connection:
        charset = " CHARACTER SET utf8mb4" if backend is Backend.MARIADB else ""
        connection.exec_driver_sql(f"CREATE DATABASE {name}{charset}")
    return database_url(backend, name)


def drop_database(uri: str) -> None:
    """Drop a database; who is connected to it is cut off."""
    url = make_url(uri)
    backend = backend_of(url)
    with administrator(backend) as connection:
        force = " WITH (FORCE)" if backend is Backend.POSTGRESQL else ""
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {url.database}{force}")


def drop_left_over(backend: Backend) -> None:
    """Drop databases of test processes that are no more."""
    names = {
        Backend.MARIADB: "SELECT schema_name FROM information_schema.schemata",
        Backend.POSTGRESQL: "SELECT datname FROM pg_database",
    }
    with administrator(backend) as connection:
        for name in connection.scalars(text(names[backend])).all():
            made_by = re.fullmatch(PREFIX + r"(\d+)_\d+", name)
            if made_by and not Path(f"/proc/{made_by[1]}").exists():
                drop_database(database_url(backend, name))


def backend_of(uri: URL | str) -> Backend:
    """The kind of database a URI names."""
    name = make_url(uri).get_backend_name()
    return Backend.MARIADB if name == "mysql" else Backend(name)


# ------------------------------------------------------------------ statements of tests
_WORDS_OF_SQL = re.compile(r"""('(?:[^']|'')*'|"[^"]*")|(?<![\w.:])(array|cursor|user)(?![\w"(])""")


def sql(connection: Connection, statement: str, **values: Any) -> Any:
    """Execute SQL of a test; its result. Columns and tables whose names are words of the language are quoted."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    quoted = _WORDS_OF_SQL.sub(
        lambda found: found[1].replace(":", r"\:") if found[1] else quote(found[2]), statement
    )
    return connection.execute(text(quoted), values)


def ignore_foreign_keys(connection: Connection) -> None:
    """Let a test put rows into tables that would not be let in; before the connection's first statement."""
    name = connection.dialect.name
    connection.rollback()
    if name == "sqlite":
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    elif name == "postgresql":
        connection.exec_driver_sql("SET session_replication_role = replica")
    else:
        connection.exec_driver_sql("SET foreign_key_checks = 0")


class OwnDatabase:
    """A database of this test process with Jobmon's tables, that can be made empty again quickly.

    Args:
        backend: its kind.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.uri = create_database(backend)
        init_db(self.uri)
        self._engine = create_engine(self.uri, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._connection = self._engine.connect()
        self._tables = {table.name: table for table in Base.metadata.sorted_tables}
        self._first_rows = {name: self._rows(name) for name in self._filled()}
        self._say_foreign_keys_do_not_matter()

    def reset(self) -> None:
        """Make it what it was at first: only the rows that come with Jobmon, and ids from the beginning.

        Whoever is still connected is cut off.
        """
        if self._connection.closed or self._connection.invalidated:
            self._connection = self._engine.connect()
            self._say_foreign_keys_do_not_matter()
        self._cut_off_others()
        changed = [
            name
            for name in self._filled() | self._first_rows.keys()
            if name not in self._first_rows or self._rows(name) != self._first_rows[name]
        ]
        with self._in_one_go():
            for name in changed:
                self._connection.exec_driver_sql(f"DELETE FROM {self._quoted(name)}")
                if rows := self._first_rows.get(name):
                    self._connection.execute(insert(self._tables[name]), rows)
        self._restart_ids(changed)

    def drop(self) -> None:
        """Drop it."""
        self._connection.close()
        drop_database(self.uri)

    def _filled(self) -> set[str]:
        """Tables that have rows."""
        questions = [f"EXISTS(SELECT 1 FROM {self._quoted(name)})" for name in self._tables]
        answers = self._connection.exec_driver_sql(f"SELECT {', '.join(questions)}").one()
        return {name for name, has_rows in zip(self._tables, answers, strict=True) if has_rows}

    def _rows(self, name: str) -> list[Any]:
        table = self._tables[name]
        return sorted(map(dict, self._connection.execute(select(table)).mappings()), key=repr)

    @contextmanager
    def _in_one_go(self) -> Iterator[None]:
        """One commit for many statements: each is a wait for the disk."""
        self._connection.exec_driver_sql("BEGIN")
        yield
        self._connection.exec_driver_sql("COMMIT")

    def _restart_ids(self, names: Sequence[str]) -> None:
        counters = {name: self._tables[name].autoincrement_column for name in names}
        calls = []
        for name, counter in counters.items():
            if counter is None:
                continue
            if self.backend is Backend.MARIADB:
                self._connection.exec_driver_sql(f"ALTER TABLE {self._quoted(name)} AUTO_INCREMENT = 1")
                continue
            sequence = f"pg_get_serial_sequence('{self._quoted(name)}', '{counter.name}')"
            calls.append(f"setval({sequence}, {len(self._first_rows.get(name, ())) + 1}, false)")
        if calls:
            self._connection.exec_driver_sql(f"SELECT {', '.join(calls)}")

    def _quoted(self, name: str) -> str:
        return self._engine.dialect.identifier_preparer.quote(name)

    def _say_foreign_keys_do_not_matter(self) -> None:
        ignore_foreign_keys(self._connection)

    def _cut_off_others(self) -> None:
        if self.backend is Backend.POSTGRESQL:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            self._connection.exec_driver_sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
            )
            return
        rows = self._connection.exec_driver_sql(
            "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
        )
        for (number,) in rows.all():
            try:
                self._connection.exec_driver_sql(f"KILL {number}")
            except OperationalError:
                pass  # it has just ended by itself


class Databases:
    """The databases of a test process; those on servers are made when first asked for."""

    def __init__(self) -> None:
        self._own: dict[Backend, OwnDatabase] = {}

    def empty(self, backend: Backend) -> str:
        """URI of the process's database on this server, with Jobmon's tables and nothing in them."""
        require(backend)
        if backend not in self._own:
            drop_left_over(backend)
            self._own[backend] = OwnDatabase(backend)
        own = self._own[backend]
        own.reset()
        return own.uri

    def drop(self) -> None:
        """Drop them all."""
        for own in self._own.values():
            own.drop()
        self._own.clear()


@contextmanager
def bare_database(backend: Backend, directory: Path) -> Iterator[str]:
    """URI of a new database without tables, which is dropped afterwards; for SQLite a file that is not there yet."""
    if backend is Backend.SQLITE:
        yield f"sqlite:///{directory / f'bare{next(_numbers)}.sqlite'}"
        return
    require(backend)
    uri = create_database(backend)
    try:
        yield uri
    finally:
        drop_database(uri)
