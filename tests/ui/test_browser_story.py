"""What a new user does: opens the printed link, follows a failure to its traceback, mends it, resumes, watches the end."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from browser_place import Visitor, Watched, visitor
from playwright.sync_api import Browser, expect

from processes import wait_until

pytestmark = [pytest.mark.e2e]

SCRIPT = """
import sys
from jobmon.client.api import Tool
tool = Tool("story")
step = tool.get_task_template("fit", command_template=f"python3 {{script}} {{n}}", node_args=["n"], op_args=["script"])
workflow = tool.create_workflow(name="story", workflow_args="story", default_cluster_name="multiprocess",
    default_compute_resources_set={"multiprocess": {"queue": "null.q", "cores": 1}})
first = [step.create_task(n=n, script="fit.py", name=f"fit_{n}", max_attempts=1) for n in range(3)]
last = step.create_task(n=9, script="fit.py", name="last", upstream_tasks=first, max_attempts=1)
workflow.add_tasks([*first, last])
workflow.run()
"""
FIT = """
import pathlib, sys
def read(n):
    if n == "1" and not pathlib.Path("mended").exists():
        raise RuntimeError(f"the table of {n} is empty")
read(sys.argv[1])
"""


def start_story(directory: Path, watched: Watched) -> str:
    """Run a script as a user does, in a terminal; the link it prints."""
    import pexpect

    directory.mkdir()
    (directory / "story.py").write_text(SCRIPT)
    (directory / "fit.py").write_text(FIT)
    environment = {
        **os.environ,
        "HOME": str(watched.directory.parent / "home"),
        "JOBMON__EMBEDDED__DIRECTORY": str(watched.directory),
        "JOBMON__EMBEDDED__IDLE_SHUTDOWN_SECONDS": "7200",
        "COLUMNS": "400",
    }
    terminal = pexpect.spawn(
        sys.executable,
        ["story.py"],
        cwd=directory,
        env=environment,
        timeout=60,
        encoding="utf-8",
        dimensions=(50, 400),
    )
    terminal.expect(re.compile(r"http://127\.0\.0\.1:\d+/ui/\S+"))
    link = terminal.match.group(0)
    terminal.expect(pexpect.EOF)
    terminal.close()
    return str(link)


def test_from_the_printed_link_to_the_end(
    chromium_browser: Browser, watched: Watched, tmp_path: Path
) -> None:
    link = start_story(tmp_path / "work", watched)
    with visitor(chromium_browser, watched) as somebody:
        page = somebody.page
        page.goto(link)
        expect(page.locator("h1")).to_contain_text("story")
        expect(page.locator("#wf-status")).to_contain_text("failed")
        somebody.picture("story-failed")

        page.get_by_role("link", name="fit_1").first.click()
        expect(page.locator("h1")).to_contain_text("fit_1")
        expect(page.locator("main")).to_contain_text("RuntimeError: the table of 1 is empty")
        expect(page.locator("main")).to_contain_text("line 5, in read")
        somebody.picture("story-traceback")

        (tmp_path / "work" / "mended").touch()
        page.goto(link)  # used before, but this browser is in
        page.get_by_role("link", name="Resume", exact=True).click()
        page.locator("form.confirm button").click()
        expect(page.locator(".said")).to_be_visible()
        expect(page.locator("#wf-status")).to_contain_text(
            "done", timeout=60_000
        )  # without being loaded again
        somebody.picture("story-done")


def test_a_link_is_good_once(chromium_browser: Browser, watched: Watched) -> None:
    """Another browser that finds it is shown how to get one."""
    link = watched.link("/ui/help")
    with visitor(chromium_browser, watched) as somebody:
        somebody.page.goto(link)
        expect(somebody.page.locator("h1")).to_have_text("Help")
    context = chromium_browser.new_context()
    page = context.new_page()
    page.goto(link)
    expect(page.locator("main")).to_contain_text("jobmon ui")
    assert wait_until(lambda: "sign" in page.title().lower(), "the page to sign in")
    context.close()


def test_an_action_is_asked_first_and_done(somebody: Visitor) -> None:
    """A limit, from the page of the workflow and back to it."""
    workflow_id = somebody.watched.ids["failing"]
    page = somebody.open(f"/ui/workflow/{workflow_id}")
    page.get_by_role("link", name="Limit", exact=True).click()
    page.locator("input[type=number]").fill("17")
    page.locator("form.confirm button").click()
    expect(page.locator(".said")).to_contain_text("17")
    expect(page.locator("#facts")).to_contain_text("17 tasks at once")


def test_tabs_nobody_looks_at_let_go_of_the_server(somebody: Visitor) -> None:
    """And are up to date when somebody looks again."""
    page = somebody.page
    page.add_init_script(
        "const make = window.EventSource; window.sources = [];"
        "window.EventSource = function (...words) { const one = new make(...words); window.sources.push(one); return one; };"
    )
    somebody.open(f"/ui/workflow/{somebody.watched.ids['failing']}")
    assert wait_until(lambda: page.evaluate("window.sources.length") == 1, "the stream")
    hide = """(hidden) => {
        Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(hide, True)
    assert wait_until(lambda: page.evaluate("window.sources[0].readyState") == 2, "the stream to be closed")
    with page.expect_navigation():
        page.evaluate(hide, False)
    assert wait_until(lambda: page.evaluate("window.sources[0].readyState") == 1, "the stream again")
