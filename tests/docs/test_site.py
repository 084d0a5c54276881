"""The documentation builds into a site, without a warning and without the network."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from jobmon.client import status_commands
from jobmon.client.array import Array
from jobmon.client.task import Task
from jobmon.client.task_template import TaskTemplate
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core import exceptions

ROOT = Path(__file__).resolve().parents[2]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src"}
SCRIPTS_CALL = (
    "add_",
    "create_",
    "get_",
    "set_",
    "update_",
    "default_",
    "resource_",
    "bind",
    "run",
    "plan",
    "explain",
)
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


class Addresses(HTMLParser):
    """What a page loads, and whether it has an element with each id."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") not in ("stylesheet", "icon"):
            return
        if LOADED.get(tag) in values:
            self.loaded.append(values[LOADED[tag]] or "")


@pytest.mark.slow
def test_the_site_builds_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="Sphinx is not installed here")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(site)]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees")],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **NO_NETWORK},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        parser = Addresses()
        parser.feed(page.read_text(encoding="utf-8"))
        assert [each for each in parser.loaded if re.match(r"(https?:)?//", each)] == [], page.name
    reference = "".join(
        page.read_text(encoding="utf-8") for page in sorted((site / "reference").glob("*.html"))
    )
    assert [name for name in names_of_scripts() if f'id="{name}"' not in reference] == []
    assert re.findall(r'id="[^"]*\.(?:from_wire|to_wire|snapshot|__init__|add_note)"', reference) == []


def names_of_scripts() -> Iterator[str]:
    """What the reference must have: what scripts import, the methods they call, every exception."""
    for definition in (Tool, TaskTemplate, Array, Task, Workflow):
        path = f"{definition.__module__}.{definition.__qualname__}"
        yield path
        yield from (f"{path}.{name}" for name in dir(definition) if name.startswith(SCRIPTS_CALL))
    yield from (f"jobmon.client.status_commands.{name}" for name in status_commands.__all__ if name[0] != "_")
    for name, error in vars(exceptions).items():
        if isinstance(error, type) and issubclass(error, exceptions.JobmonError):
            yield f"jobmon.core.exceptions.{name}"
