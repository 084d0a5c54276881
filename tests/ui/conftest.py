"""Fixtures of the tests of pages: read without a browser, and in a real one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_place import Visitor, Watched, started_browser, visitor, watched_place
from fastapi import FastAPI
from page_visitor import Made, PageVisitor, make_workflows
from playwright.sync_api import Browser
from starlette.testclient import TestClient
from template_scene import Tried, make_tried

from jobmon.server.web.database import Database


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


# ------------------------------------------------------------------ without a browser
@pytest.fixture
def stored(app: FastAPI) -> Database:
    """The database of the server."""
    database: Database = app.state.jobmon.database
    return database


@pytest.fixture
def reader(client: TestClient) -> PageVisitor:
    """Somebody who has not said who they are."""
    return PageVisitor(client)


@pytest.fixture
def owner(client: TestClient) -> PageVisitor:
    """Who owns the workflows."""
    client.cookies.set("jobmon_name", "tester", path="/ui")
    return PageVisitor(client)


@pytest.fixture
def made(client: TestClient, stored: Database) -> Made:
    """A workflow that is being run, and one that rests."""
    return make_workflows(stored)


@pytest.fixture
def tried(client: TestClient, stored: Database) -> Tried:
    """A workflow whose tasks were tried."""
    return make_tried(stored)
