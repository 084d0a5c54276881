"""Fixtures of the tests in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_place import Visitor, Watched, started_browser, visitor, watched_place
from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def chromium_browser() -> Iterator[Browser]:
    """A browser. Not for longer: Playwright keeps an event loop running, beside which other tests could not start theirs."""
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A local server with workflows that ran."""
    with watched_place(tmp_path_factory.mktemp("watched")) as place:
        yield place


@pytest.fixture
def somebody(chromium_browser: Browser, watched: Watched) -> Iterator[Visitor]:
    """The owner of the workflows, in front of the browser."""
    with visitor(chromium_browser, watched) as person:
        yield person


@pytest.fixture(scope="module")
def readers(chromium_browser: Browser, watched: Watched) -> Iterator[Visitor]:
    """The same, in a browser that runs no scripts."""
    with visitor(chromium_browser, watched, java_script_enabled=False) as person:
        yield person
