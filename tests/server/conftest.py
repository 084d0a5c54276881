"""Real servers, and databases of every kind for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server_place import Servers, servers_in


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers of this test, which end with it."""
    directory = tmp_path / "servers"
    directory.mkdir()
    with servers_in(directory) as servers:
        yield servers
