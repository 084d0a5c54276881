"""Fixtures of the services: the three databases, a clock that tests set, and other sides that listen on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from database_clock import DatabaseClock
from other_sides import FakeMail, FakeWeb

from jobmon.server.web import dialect


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> DatabaseClock:
    """The database's clock in the test's hand."""
    clock = DatabaseClock()
    monkeypatch.setattr(dialect, "utcnow", clock)
    return clock


@pytest.fixture
def web() -> Iterator[FakeWeb]:
    """Another side that takes HTTP requests."""
    with FakeWeb() as web:
        yield web


@pytest.fixture
def mail() -> Iterator[FakeMail]:
    """Another side that takes mail."""
    with FakeMail() as mail:
        yield mail


@pytest.fixture
def two_webs() -> Iterator[Callable[[], FakeWeb]]:
    """Makes other sides."""
    made: list[FakeWeb] = []

    def make() -> FakeWeb:
        web = FakeWeb()
        web.__enter__()
        made.append(web)
        return web

    yield make
    for web in made:
        web.__exit__()
