"""From a failed workflow to a done one with a browser alone: on a real local server, with real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from page_visitor import PageVisitor, text_of

from jobmon.core.ui_link import entrance
from processes import Place, new_place, wait_until

pytestmark = pytest.mark.e2e

SCRIPT = """
from jobmon.client.api import Tool
tool = Tool("resumed in a browser")
step = tool.get_task_template(
    "step", "{command}", node_args=["command"], default_cluster_name="multiprocess", max_attempts=1
)
workflow = tool.create_workflow(name="resumed", workflow_args="resumed")
first = step.create_task(name="first", command="test -e mended")
second = step.create_task(name="second", command="true", upstream_tasks=[first])
workflow.add_tasks([first, second])
assert workflow.run() == "E"
print(workflow.workflow_id)
"""


@pytest.fixture
def place(tmp_path: Path, database_template: Path) -> Iterator[Place]:
    """A local server, scripts and tasks of this test alone."""
    yield from new_place(tmp_path / "place", database_template)


@pytest.fixture
def owner(place: Place) -> Iterator[PageVisitor]:
    """The owner of the server, who has come in by the link."""
    record = place.start_server()
    with httpx.Client(base_url=record.url, trust_env=False, timeout=60) as client:
        link = entrance(record.url, record.token, "/ui/help", time.time())
        assert client.get(link).status_code == 303
        yield PageVisitor(client)  # type: ignore[arg-type]


def test_what_failed_is_mended_and_resumed(place: Place, owner: PageVisitor) -> None:
    """The run works where the script did, begins while the browser waits, and ends without it."""
    script = place.start_python(SCRIPT)
    assert script.end() == 0, script.text
    number = int(script.text.split()[-1])
    path = f"/workflow/{number}/resume"
    assert "2 tasks to run, 1 of them failed before" in owner.text(path)
    (place.work / "mended").touch()
    form = owner.get(path).text
    fields = {"run": form.partition('name="run" value="')[2].partition('"')[0]}
    fields["csrf"] = owner.csrf
    answer = owner.client.post(f"/ui{path}", data=fields)
    assert answer.status_code == 303, text_of(answer)
    assert "goes%20on%20by%20itself" in str(answer.headers)
    place.jobmon("workflow", "wait", number, "-t", 60)
    wait_until(lambda: "Every task of workflow" in owner.text(path), "the page saying that all is done")
    assert place.runs() == "ED"
    again = owner.client.post(f"/ui{path}", data=fields)
    assert again.status_code == 400
    assert "is done" in text_of(again)
    (log,) = place.directory.rglob("resume.log")
    assert log.stat().st_mode & 0o077 == 0
