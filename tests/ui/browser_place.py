"""A real browser on the pages of a real local server, with workflows that really ran.

The browser is Debian's Chromium, driven by Playwright; ``JOBMON_TEST_CHROMIUM`` names another one. Without it such tests are
skipped, and with ``CI=true`` they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from jobmon.core.local_server import LocalServerFiles, read_record
from jobmon.core.ui_link import entrance

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SCRIPT = Path(__file__).parent / "watched_workflows.py"
BAD_AXE = ("serious", "critical")
SCREENSHOTS = Path(__file__).parents[2] / "docs" / "images" / "ui"
"""Where the pictures of the user guide are; those there are written anew when ``JOBMON_SCREENSHOTS`` is set."""


def chromium() -> str:
    """Path of the browser; without one the test is skipped, or fails."""
    names = (os.environ.get("JOBMON_TEST_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        reason = "no Chromium here (Debian: apt-get install chromium, or name one by JOBMON_TEST_CHROMIUM)"
        if os.environ.get("CI") == "true" and os.environ.get("BROWSER") != "no":
            pytest.fail(f"CI must have a browser: {reason}", pytrace=False)
        pytest.skip(reason)
    return found


@dataclass
class Watched:
    """A local server and what ran on it.

    Attributes:
        directory: of the server.
        url: its address.
        ids: ids by name: workflows, tasks, arrays.
    """

    directory: Path
    url: str
    ids: dict[str, int] = field(default_factory=dict)

    def link(self, path: str) -> str:
        """A link into its pages that is good once."""
        record = read_record(LocalServerFiles(self.directory))
        assert record is not None
        return entrance(record.url, record.token, path, time.time())


@contextmanager
def watched_place(directory: Path) -> Iterator[Watched]:
    """A local server on which workflows ran: done, failed, retried, resumed, with hostile names, and a wide one."""
    home = directory / "home"
    home.mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "JOBMON__EMBEDDED__DIRECTORY": str(directory / "jobmon"),
        "JOBMON__EMBEDDED__IDLE_SHUTDOWN_SECONDS": "7200",  # minutes may pass between two tests in the browser
    }
    output = subprocess.run(
        [sys.executable, SCRIPT], env=environment, cwd=directory, capture_output=True, text=True, timeout=110
    )
    assert output.returncode == 0, output.stdout + output.stderr
    ids = msgspec.json.decode(output.stdout.splitlines()[-1], type=dict[str, int])
    record = read_record(LocalServerFiles(directory / "jobmon"))
    assert record is not None
    try:
        yield Watched(directory / "jobmon", record.url, ids)
    finally:
        stop = [sys.executable, "-m", "jobmon.client.cli", "server", "stop"]
        subprocess.run(stop, env=environment, cwd=directory, capture_output=True, timeout=60, check=False)


@contextmanager
def started_browser() -> Iterator[Browser]:
    """A browser that runs until the end."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Somebody in front of the browser, who has come in by the link.

    Attributes:
        page: the tab.
        watched: the server.
        foreign: addresses beyond the server's own that a page asked for; there must be none.
        complaints: what the browser wrote on its console: errors of scripts, refusals by the content security policy.
    """

    page: Page
    watched: Watched
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Go to a page and wait until it is there with all it loads."""
        response = self.page.goto(self.watched.url + path, wait_until="load")
        assert response is not None
        return self.page

    def axe(self) -> list[str]:
        """Serious findings of axe-core on the page that is shown."""
        self.page.evaluate(AXE.read_text())
        result: Any = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{finding['id']} ({finding['impact']}): {finding['help']}: {finding['nodes'][0]['html'][:200]}"
            for finding in result["violations"]
            if finding["impact"] in BAD_AXE
        ]

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        width: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width

    def picture(self, name: str) -> None:
        """Keep a picture of what is shown for the user guide, where that is wanted."""
        path = SCREENSHOTS / f"{name}.png"
        if os.environ.get("JOBMON_SCREENSHOTS") and path.exists():
            self.page.screenshot(path=path)


@contextmanager
def visitor(browser: Browser, watched: Watched, **options: Any) -> Iterator[Visitor]:
    """Come in by the link; at the end nothing foreign was asked for, and the browser has nothing to complain of."""
    context = browser.new_context(
        **{"viewport": {"width": 1300, "height": 900}, "timezone_id": "Europe/Berlin", **options}
    )
    somebody = Visitor(context.new_page(), watched)

    def guard(route: Route) -> None:
        address = route.request.url
        if address.startswith((watched.url + "/", "data:")):
            route.continue_()
        else:
            somebody.foreign.append(address)
            route.abort()

    context.route("**/*", guard)
    somebody.page.on(
        "console",
        lambda message: somebody.complaints.append(message.text) if message.type == "error" else None,
    )
    somebody.page.on("pageerror", lambda error: somebody.complaints.append(str(error)))
    somebody.page.goto(watched.link("/ui/"))
    yield somebody
    context.close()
    assert somebody.foreign == []
    assert somebody.complaints == []
