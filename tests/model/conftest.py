"""Fixtures: a database that a test makes empty again as often as it likes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from databases import Backend, Databases


@pytest.fixture
def empty_database(
    backend: Backend, databases_of_servers: Databases, database_template: Path, tmp_path: Path
) -> Callable[[], str]:
    """Empties the database of the test, which then has no rows but those that come with Jobmon; its URI."""

    def empty() -> str:
        if backend is not Backend.SQLITE:
            return databases_of_servers.empty(backend)
        path = tmp_path / "jobmon.sqlite"
        for each in tmp_path.glob("jobmon.sqlite*"):
            each.unlink()
        shutil.copy(database_template, path)
        return f"sqlite:///{path}"

    return empty
