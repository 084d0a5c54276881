"""Every page in a real browser: nothing foreign, no complaints, accessible, and as wide as its window."""

from __future__ import annotations

import pytest
from browser_place import Visitor
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.e2e]

PAGES: dict[str, str] = {
    "workflows": "/ui/",
    "workflows-of-nobody": "/ui/?user=nobody",
    "workflow": "/ui/workflow/{failing}",
    "workflow-graph": "/ui/workflow/{failing}/graph",
    "workflow-timeline": "/ui/workflow/{resumed}/timeline",
    "workflow-timeline-by-node": "/ui/workflow/{wide}/timeline?by=node",
    "workflow-errors": "/ui/workflow/{failing}/errors",
    "workflow-history": "/ui/workflow/{resumed}/history",
    "workflow-plan": "/ui/workflow/{failing}/plan",
    "workflow-wide": "/ui/workflow/{wide}",
    "workflow-hostile": "/ui/workflow/{hostile}",
    "errors-hostile": "/ui/workflow/{hostile}/errors",
    "template": "/ui/workflow/{failing}/template/{array}",
    "template-usage": "/ui/workflow/{failing}/template/{array}/usage",
    "template-errors": "/ui/workflow/{failing}/template/{array}/errors",
    "template-wide": "/ui/workflow/{wide}/template/{wide array}",
    "task": "/ui/task/{failed task}",
    "task-graph": "/ui/task/{failed task}/graph?up=2&down=2",
    "stop": "/ui/workflow/{failing}/stop",
    "resume": "/ui/workflow/{failing}/resume",
    "limit": "/ui/workflow/{failing}/limit",
    "set-status": "/ui/task/{failed task}/status",
    "clusters": "/ui/clusters",
    "cluster": "/ui/cluster/multiprocess",
    "tool-list": "/ui/tools",
    "tool": "/ui/tool/1",
    "help": "/ui/help",
    "not-found": "/ui/workflow/999999",
}
"""Every kind of page, by name."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page(somebody: Visitor, name: str) -> None:
    """Is without serious findings of axe-core in both themes, and does not overflow a narrow window."""
    page = somebody.page
    page.goto(somebody.watched.url + PAGES[name].format_map(somebody.watched.ids))
    if name == "not-found":
        assert [line for line in somebody.complaints if "404" in line]
        somebody.complaints.clear()
    assert page.locator("h1").count() == 1
    wait_for_figures(page)
    assert somebody.axe() == []
    somebody.picture(name)
    page.emulate_media(color_scheme="dark")
    assert somebody.axe() == []
    page.set_viewport_size({"width": 400, "height": 800})
    assert somebody.overflow() <= 0


def wait_for_figures(page: Page) -> None:
    """Wait until nothing on the page is being worked out any more."""
    expect(page.locator("[hx-trigger^='load delay']")).to_have_count(0, timeout=30_000)


@pytest.mark.parametrize("name", [name for name in PAGES if name != "not-found"])
def test_without_javascript(readers: Visitor, name: str) -> None:
    """Everything can be read all the same."""
    page = readers.open(PAGES[name].format_map(readers.watched.ids))
    assert len(page.locator("main").inner_text().strip()) > 20


def test_hostile_names_are_text(somebody: Visitor) -> None:
    """Scripts in names, commands and errors are shown and do nothing."""
    said: list[str] = []
    somebody.page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page = somebody.open(f"/ui/workflow/{somebody.watched.ids['hostile']}")
    assert "<script>alert(1)</script>" in page.locator("h1").inner_text()
    somebody.open(f"/ui/workflow/{somebody.watched.ids['hostile']}/errors")
    assert said == []
