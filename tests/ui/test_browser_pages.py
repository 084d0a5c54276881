"""Every page in a real browser: nothing foreign, no complaints, accessible, and as wide as its window."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser_place import Visitor, Watched, visitor
from playwright.sync_api import Browser

pytestmark = [pytest.mark.e2e]

PAGES: dict[str, Callable[[dict[str, int]], str]] = {
    "workflows": lambda _: "/ui/",
    "help": lambda _: "/ui/help",
    "not-found": lambda _: "/ui/nosuch",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page(somebody: Visitor, name: str) -> None:
    """Is without serious findings of axe-core in both themes, and does not overflow a narrow window."""
    page = somebody.page
    if name == "not-found":
        page.goto(somebody.watched.url + PAGES[name](somebody.watched.ids))
        assert [line for line in somebody.complaints if "404" in line]
        somebody.complaints.clear()
    else:
        somebody.open(PAGES[name](somebody.watched.ids))
    assert page.locator("h1").count() == 1
    assert somebody.axe() == []
    somebody.picture(name)
    page.emulate_media(color_scheme="dark")
    assert somebody.axe() == []
    page.set_viewport_size({"width": 400, "height": 800})
    assert somebody.overflow() <= 0


@pytest.mark.parametrize("name", [name for name in PAGES if name != "not-found"])
def test_without_javascript(chromium_browser: Browser, watched: Watched, name: str) -> None:
    """Everything can be read all the same."""
    with visitor(chromium_browser, watched, java_script_enabled=False) as person:
        page = person.open(PAGES[name](watched.ids))
        assert page.locator("main").inner_text().strip()
