"""Fixtures: an empty database, and one with a workflow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scene import Scene

from jobmon.server.web.database import Database
from jobmon.testing.history import check_history


@pytest.fixture
def scene(database_uri: str) -> Iterator[Scene]:
    """An empty database; at the end no connection may be left over, and the history must be legal."""
    database = Database(database_uri)
    scene = Scene(database)
    yield scene
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert scene.is_out_of_order or check_history(database.engine) == []
    database.dispose()


@pytest.fixture
def bound(scene: Scene) -> Scene:
    """A workflow of four tasks in a chain, registered completely."""
    scene.bind()
    return scene
