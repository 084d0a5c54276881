"""A server and a shared directory for wrappers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wrapping import Server, Site


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that is up."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def site(tmp_path: Path, server: Server) -> Iterator[Site]:
    """A shared directory that names the server; what is left of wrappers is ended."""
    site = Site(tmp_path, server)
    yield site
    site.close()
