"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import Place, new_place


@pytest.fixture
def place(tmp_path: Path, database_template: Path) -> Iterator[Place]:
    """A server, scripts and tasks of this test alone; the history and the processes are checked at its end."""
    yield from new_place(tmp_path / "place", database_template)


@pytest.fixture
def bare_place(tmp_path: Path) -> Iterator[Place]:
    """The same before anything of Jobmon was ever used in it."""
    yield from new_place(tmp_path / "place")
