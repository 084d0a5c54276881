"""Databases this version cannot work with: the message says which and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi import FastAPI

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError, JobmonError
from jobmon.server.web.api import get_app
from jobmon.server.web.database import make_engine
from jobmon.server.web.db_admin import SchemaError, init_db, newest_revision, require_schema


def open_app(uri: str) -> None:
    get_app(JobmonConfig(dict_config={"db": {"sqlalchemy_database_uri": uri}}))


def require(uri: str) -> None:
    engine = make_engine(uri)
    try:
        require_schema(engine)
    finally:
        engine.dispose()


ALL = pytest.mark.parametrize(
    "use", [init_db, open_app, require], ids=["init_db", "get_app", "require_schema"]
)
READERS = pytest.mark.parametrize("use", [open_app, require], ids=["get_app", "require_schema"])
Use = Callable[[str], None]


def set_revision(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
        connection.commit()


@ALL
def test_a_newer_database(database_uri: str, tmp_path: Path, use: Use) -> None:
    set_revision(tmp_path / "jobmon.sqlite", "9999")
    with pytest.raises(SchemaError) as caught:
        use(database_uri)
    message = str(caught.value)
    assert "newer Jobmon" in message
    assert "9999" in message
    assert newest_revision() in message
    assert "Upgrade Jobmon" in message


@ALL
def test_a_newer_database_is_left_as_it_is(database_uri: str, tmp_path: Path, use: Use) -> None:
    path = tmp_path / "jobmon.sqlite"
    set_revision(path, "9999")
    before = path.read_bytes()
    with pytest.raises(SchemaError):
        use(database_uri)
    assert path.read_bytes() == before


@READERS
def test_an_older_database(database_uri: str, tmp_path: Path, use: Use) -> None:
    set_revision(tmp_path / "jobmon.sqlite", "0000")
    with pytest.raises(SchemaError, match=r"schema 0000, .*run 'jobmon-server db init'"):
        use(database_uri)


@READERS
def test_a_database_without_tables(tmp_path: Path, use: Use) -> None:
    with pytest.raises(SchemaError, match=r"schema none, .*run 'jobmon-server db init'"):
        use(f"sqlite:///{tmp_path / 'empty.sqlite'}")


@ALL
def test_a_file_that_is_no_database(tmp_path: Path, use: Use) -> None:
    path = tmp_path / "letter.sqlite"
    path.write_text("This is a letter, not a database. " * 100)
    with pytest.raises(SchemaError) as caught:
        use(f"sqlite:///{path}")
    assert str(path) in str(caught.value)
    assert "Move it away, or name another one" in str(caught.value)
    assert path.read_text().startswith("This is a letter")


@pytest.mark.parametrize("uri", ["no uri at all", "nodatabase:///x", "sqlite+nodriver:///x"])
@ALL
def test_a_uri_that_cannot_be_used(uri: str, use: Use) -> None:
    with pytest.raises(ConfigError, match="sqlalchemy_database_uri"):
        use(uri)


def test_no_uri() -> None:
    """The message names the key."""
    for use in (lambda: init_db(config=JobmonConfig(dict_config={})), lambda: open_app("")):
        with pytest.raises(JobmonError, match="sqlalchemy_database_uri"):
            use()


@pytest.fixture
def configured(tmp_path: Path) -> JobmonConfig:
    uri = f"sqlite:///{tmp_path / 'of the configuration.sqlite'}"
    return JobmonConfig(dict_config={"db": {"sqlalchemy_database_uri": uri}})


@pytest.fixture
def made(configured: JobmonConfig) -> Iterator[FastAPI]:
    init_db(config=configured)
    app = get_app(configured)
    yield app
    app.state.jobmon.database.dispose()


def test_the_uri_of_the_configuration(made: FastAPI, tmp_path: Path) -> None:
    assert (tmp_path / "of the configuration.sqlite").exists()
    assert made.state.jobmon.database.engine.url.database.endswith("of the configuration.sqlite")
