"""Fixtures for every test: a database of its own, a server in this process, a directory for a local server."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from hypothesis import settings
from sqlalchemy import Engine, event

import databases
from databases import Backend, Databases
from jobmon.core import local_server
from jobmon.core.configuration import JobmonConfig
from jobmon.core.configuration_keys import ENV_PREFIX
from jobmon.core.local_server import LocalServerFiles
from jobmon.core.requester import Requester
from jobmon.server.web import dialect
from jobmon.server.web.api import get_app
from jobmon.server.web.database import Database
from jobmon.server.web.db_admin import init_db
from jobmon.testing.history import check_history
from jobmon.testing.in_process import AppClient
from processes import wait_until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about the HTTP client underneath
    from starlette.testclient import TestClient

if TYPE_CHECKING:
    from scheduling import OneWorkerPerCluster

GIVE_BACK_SECONDS = 5.0
FOLDERS_ON_EVERY_DATABASE = tuple(
    Path(__file__).parent / name for name in ("store", "model", "routes", "migrations")
)
"""Folders whose tests run on every database, but those that are marked to be about SQLite alone."""

settings.register_profile("jobmon", deadline=None, print_blob=True)
settings.load_profile("jobmon")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerPerCluster:
    """Two workers must not use the one real cluster of a machine at the same time."""
    from scheduling import OneWorkerPerCluster  # there may be no pytest-xdist

    return OneWorkerPerCluster(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the store, the model, the routes and the migrations run on every database, unless they say on which."""
    own = metafunc.definition.iter_markers("parametrize")
    if "backend" not in metafunc.fixturenames or any(mark.args[0] == "backend" for mark in own):
        return
    if metafunc.definition.get_closest_marker("sqlite"):
        return
    if any(metafunc.definition.path.is_relative_to(folder) for folder in FOLDERS_ON_EVERY_DATABASE):
        metafunc.parametrize("backend", databases.parameters())


@pytest.fixture(autouse=True, scope="session")
def _strange_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the configuration, the database or the local server of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(ENV_PREFIX):
                patch.delenv(name)
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        patch.setenv("JOBMON__EMBEDDED__DIRECTORY", str(home / "jobmon"))
        yield


def _do_not_wait(connection: Any, _record: Any) -> None:
    connection.execute("SET synchronous_commit = off")
    connection.commit()


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk(_strange_environment: None) -> Iterator[None]:
    """Databases in this process need not survive a power cut; those of real servers are left as they are."""
    configure = dialect.configure

    def configured(engine: Engine) -> None:
        configure(engine)
        if dialect.is_sqlite(engine):
            event.listen(
                engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
            )
        elif engine.dialect.name == "postgresql":
            event.listen(engine, "connect", _do_not_wait)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialect, "configure", configured)
        yield


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "jobmon.sqlite"
    init_db(f"sqlite:///{path}")
    assert not path.with_name(path.name + "-wal").exists()
    return path


@pytest.fixture(scope="session")
def databases_of_servers(_strange_environment: None) -> Iterator[Databases]:
    """The databases of this process on the database servers."""
    own = Databases()
    yield own
    own.drop()


@pytest.fixture
def backend() -> Backend:
    """The kind of database of a test; ``pytest_generate_tests`` makes a parameter of it where tests run on all."""
    return Backend.SQLITE


@pytest.fixture
def database_uri(
    backend: Backend, databases_of_servers: Databases, database_template: Path, tmp_path: Path
) -> str:
    """An empty database of this test alone."""
    if backend is not Backend.SQLITE:
        return databases_of_servers.empty(backend)
    path = tmp_path / "jobmon.sqlite"
    shutil.copy(database_template, path)
    return f"sqlite:///{path}"


def assert_sound(database: Database) -> None:
    """What must be true of a database after every test: nothing holds a connection, and the history is legal."""
    pool: Any = database.engine.pool
    # What the server does by itself, such as looking for news, may be at it just now.
    wait_until(lambda: pool.checkedout() == 0, "all connections being given back", GIVE_BACK_SECONDS)
    assert check_history(database.engine) == []


@pytest.fixture
def database(database_uri: str) -> Iterator[Database]:
    """The empty database, for tests of the store; checked at the end."""
    database = Database(database_uri)
    yield database
    assert_sound(database)
    database.dispose()


@pytest.fixture
def config(database_uri: str, tmp_path: Path) -> JobmonConfig:
    """Configuration of a server over the empty database."""
    return JobmonConfig(
        dict_config={
            "db": {"sqlalchemy_database_uri": database_uri},
            "embedded": {"directory": str(tmp_path / "jobmon")},
            "reaper": {"enabled": False},  # the services have tests of their own, and would act amid others
        }
    )


@pytest.fixture
def app(config: JobmonConfig) -> Iterator[FastAPI]:
    """The server's application over the empty database; checked at the end."""
    app = get_app(config)
    yield app
    assert_sound(app.state.jobmon.database)
    app.state.jobmon.database.dispose()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Raw requests to the application; its own failures come as answers."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
        assert_sound(app.state.jobmon.database)


@pytest.fixture
def requester(client: TestClient) -> Requester:
    """Typed requests to the application."""
    return Requester("http://testserver/api/v3", client=AppClient(client))


@pytest.fixture
def embedded_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for a local server of this test alone, which is stopped afterwards."""
    directory = tmp_path / "embedded"
    monkeypatch.setenv("JOBMON__EMBEDDED__DIRECTORY", str(directory))
    yield directory
    if directory.exists():
        local_server.stop(LocalServerFiles(directory))
