"""Fixtures: an empty database, and one with a workflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scene import Scene

from jobmon.server.web.database import Database
from jobmon.server.web.db_admin import init_db


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """An empty database; at the end no connection may be left over."""
    uri = f"sqlite:///{tmp_path}/jobmon.sqlite"
    init_db(uri)
    database = Database(uri)
    yield Scene(database)
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    database.dispose()


@pytest.fixture
def bound(scene: Scene) -> Scene:
    """A workflow of four tasks in a chain, registered completely."""
    scene.bind()
    return scene
