"""Every action, pressed in a browser by the owner, on a workflow that runs and on one that failed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_place import Visitor, Watched
from playwright.sync_api import Page, expect

from jobmon.core.states import TaskStatus

pytestmark = [pytest.mark.e2e]

SLOW = """
import sys
from jobmon.client.api import Tool
tool = Tool("slow")
step = tool.get_task_template("wait", command_template="sleep {seconds}", node_args=["seconds"])
workflow = tool.create_workflow(name=sys.argv[1], workflow_args=sys.argv[1], default_cluster_name="multiprocess",
    default_compute_resources_set={"multiprocess": {"queue": "null.q", "cores": 1}})
workflow.add_tasks([step.create_task(seconds=120 + n, name=f"wait_{n}", max_attempts=1) for n in range(4)])
workflow.bind()
print(workflow.workflow_id, flush=True)
workflow.run()
"""


@pytest.fixture
def slow(watched: Watched, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """A workflow of long tasks that runs; its id."""
    environment = {
        **os.environ,
        "HOME": str(watched.directory.parent / "home"),
        "JOBMON__EMBEDDED__DIRECTORY": str(watched.directory),
    }
    script = subprocess.Popen(
        [sys.executable, "-c", SLOW, request.node.name],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert script.stdout is not None
    try:
        yield int(script.stdout.readline())
    finally:
        script.terminate()
        script.wait(60)
        script.stdout.close()


def press(page: Page, link: str, **fields: str) -> str:
    """Follow the link of an action, fill its form in, and do it; what is said then."""
    page.get_by_role("link", name=link, exact=True).first.click()
    for name, value in fields.items():
        field = page.locator(f"form.confirm [name={name}]")
        if field.get_attribute("type") == "checkbox":
            field.set_checked(bool(value))
        elif field.evaluate("element => element.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    page.locator("form.confirm button").click()
    expect(page.locator(".said")).to_be_visible()
    return page.locator(".said").inner_text()


def test_a_run_is_paused_goes_on_and_is_stopped(somebody: Visitor, slow: int) -> None:
    page = somebody.open(f"/ui/workflow/{slow}")
    expect(page.locator("#wf-progress")).to_contain_text("running", timeout=30_000)
    assert "is paused" in press(page, "Pause")
    assert "at most 3 tasks" in press(page, "Unpause", limit="3")
    assert f"Workflow {slow} was " in press(page, "Stop")
    expect(page.locator("#wf-status")).to_contain_text("halted", timeout=30_000)


def test_a_run_is_drained(somebody: Visitor, slow: int) -> None:
    page = somebody.open(f"/ui/workflow/{slow}")
    expect(page.locator("#wf-progress")).to_contain_text("running", timeout=30_000)
    assert "starts no more tasks" in press(page, "Drain")
    assert f"Workflow {slow} was " in press(page, "Stop")
    expect(page.locator("#wf-status")).to_contain_text("halted", timeout=30_000)


def test_statuses_and_limits_of_templates_and_tasks(somebody: Visitor) -> None:
    """Of a workflow that failed: one task counts as done, then all tasks of its template are to run again, then all."""
    ids = somebody.watched.ids
    page = somebody.open(f"/ui/task/{ids['reset task']}")
    press(page, "Set its status", status=TaskStatus.DONE.value)
    expect(page.locator("main")).to_contain_text("done")
    page = somebody.open(f"/ui/workflow/{ids['reset']}/template/{ids['reset array']}")
    assert "5" in press(page, "Change the limit", limit="5")
    assert "task" in press(page, "Set the status of its tasks", status=TaskStatus.REGISTERED.value)
    page = somebody.open(f"/ui/workflow/{ids['reset']}")
    assert "task" in press(page, "Set all tasks", status=TaskStatus.REGISTERED.value)
    expect(page.locator("#wf-progress")).to_contain_text("13 pending")


def test_a_node_is_forgiven(somebody: Visitor) -> None:
    """Jobs avoid a node that failed, until somebody says that it is good again."""
    with sqlite3.connect(somebody.watched.directory / "jobmon.sqlite") as database:
        database.execute(
            "INSERT INTO bad_node (cluster_id, nodename, reason, seen_at, expires_at) "
            "SELECT id, 'n17', 'its disk is full', '2026-01-01 00:00:00', '2999-01-01 00:00:00' "
            "FROM cluster WHERE name = 'multiprocess'"
        )
    database.close()
    page = somebody.open("/ui/cluster/multiprocess")
    expect(page.locator("main")).to_contain_text("its disk is full")
    page.locator("a[href*='forgive'], form[action*='forgive'] button").first.click()
    page.locator("form.confirm button").click()
    expect(page.locator(".said")).to_contain_text("n17")
    expect(page.locator("main")).not_to_contain_text("its disk is full")
