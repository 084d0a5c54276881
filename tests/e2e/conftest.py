"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import Backend, Databases
from processes import Place, new_place
from served_place import new_place_on


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
