"""Fixtures of the fault tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import Backend, Databases
from processes import Place, new_place
from served_place import new_place_on
from server_place import Servers, servers_in

CHECKOUT = str(Path(__file__).resolve().parents[2])
if CHECKOUT not in sys.path:
    sys.path.insert(0, CHECKOUT)  # bench, whose load the tests use, is a package beside ``tests``

from own_engines import OwnEngines  # noqa: E402


@pytest.fixture
def place(
    tmp_path: Path, backend: Backend, databases_of_servers: Databases, database_template: Path
) -> Iterator[Place]:
    """A server, scripts and tasks of this test alone; the history and the processes are checked at its end."""
    yield from new_place_on(tmp_path / "place", backend, databases_of_servers, database_template)


@pytest.fixture
def bare_place(tmp_path: Path) -> Iterator[Place]:
    """The same before anything of Jobmon was ever used in it."""
    yield from new_place(tmp_path / "place")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers of this test, which end with it."""
    directory = tmp_path / "servers"
    directory.mkdir()
    with servers_in(directory) as servers:
        yield servers


@pytest.fixture(scope="session")
def own_engines(_strange_environment: None) -> Iterator[OwnEngines]:
    """Database servers of this process, which tests may break."""
    engines = OwnEngines()
    yield engines
    engines.remove()
