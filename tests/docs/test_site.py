"""The documentation builds into a site, without a warning and without the network."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src"}
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
    reference = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in (
        "jobmon.client.tool.Tool.create_workflow",
        "jobmon.client.workflow.Workflow.run",
        "jobmon.client.task_template.TaskTemplate.create_tasks",
        "jobmon.core.exceptions.WorkflowAlreadyComplete",
    ):
        assert f'id="{name}"' in reference, name
