"""Databases this version cannot work with: the message says which and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from schema_steps import contents, definition
from sqlalchemy import text

from databases import Backend, bare_database, drop_database
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError, JobmonError
from jobmon.server.web.api import get_app
from jobmon.server.web.database import make_engine
from jobmon.server.web.db_admin import (
    SchemaError,
    current_revision,
    init_db,
    newest_revision,
    require_schema,
)


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


@pytest.fixture
def bare_uri(backend: Backend, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    with bare_database(backend, tmp_path) as uri:
        yield uri


@pytest.fixture
def made_uri(bare_uri: str) -> str:
    """A database with tables, whose revision may be changed."""
    init_db(bare_uri)
    return bare_uri


def set_revision(uri: str, revision: str) -> None:
    engine = make_engine(uri)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    engine.dispose()


def everything(uri: str) -> object:
    engine = make_engine(uri)
    try:
        return definition(engine), contents(engine), current_revision(engine)
    finally:
        engine.dispose()


@ALL
def test_a_newer_database(made_uri: str, use: Use) -> None:
    """It is left as it is."""
    set_revision(made_uri, "9999")
    before = everything(made_uri)
    with pytest.raises(SchemaError) as caught:
        use(made_uri)
    message = str(caught.value)
    assert "newer Jobmon" in message
    assert "9999" in message
    assert newest_revision() in message
    assert "Upgrade Jobmon" in message
    assert everything(made_uri) == before


@ALL
def test_a_database_of_a_jobmon_before_version_4(made_uri: str, use: Use) -> None:
    """Its revisions have other names than ours."""
    set_revision(made_uri, "4762c850f79c")
    before = everything(made_uri)
    with pytest.raises(SchemaError, match=r"before version 4 \(schema 4762c850f79c\)"):
        use(made_uri)
    assert everything(made_uri) == before


def test_a_database_with_tables_of_other_making(bare_uri: str) -> None:
    engine = make_engine(bare_uri)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE task (name VARCHAR(10))"))
    engine.dispose()
    before = everything(bare_uri)
    with pytest.raises(SchemaError, match=r"tables of other making \(task\)"):
        init_db(bare_uri)
    assert everything(bare_uri) == before


@READERS
def test_an_older_database(made_uri: str, use: Use) -> None:
    set_revision(made_uri, "0000")
    with pytest.raises(SchemaError, match=r"schema 0000, .*run 'jobmon-server db init'"):
        use(made_uri)


@READERS
def test_a_database_without_tables(bare_uri: str, use: Use) -> None:
    with pytest.raises(SchemaError, match=r"schema none, .*run 'jobmon-server db init'"):
        use(bare_uri)


@READERS
def test_a_database_that_is_missing(backend: Backend, bare_uri: str, use: Use) -> None:
    if backend is not Backend.SQLITE:  # there it is missing as it is
        drop_database(bare_uri)
    with pytest.raises(SchemaError, match="'jobmon-server db init'"):
        use(bare_uri)


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
