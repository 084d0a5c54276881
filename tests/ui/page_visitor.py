"""Somebody who reads pages and sends their forms, as a browser does, without a browser."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import unquote

from starlette.testclient import TestClient

from jobmon.core.states import WorkflowRunStatus
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.testing.factory import MadeWorkflow, attempts_make, run_make, workflow_make

HOSTILE = "<script>alert(1)</script>"
_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


@dataclass
class PageVisitor:
    """Reads pages.

    Attributes:
        client: the browser's connection, with its cookies.
        headers: sent with every request.
    """

    client: TestClient
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        """A page below ``/ui``."""
        return self.client.get(f"/ui{path}", headers=self.headers, follow_redirects=False)

    def text(self, path: str) -> str:
        """What a page says, without its tags."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return text_of(answer)

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Any:
        """Send the form of a page, with these values in its fields."""
        hidden = dict(_HIDDEN.findall(self.get(path).text.partition("<main")[2]))
        hidden.setdefault("csrf", self.csrf)  # the page shows no form to who may not do it
        data = {name: unescape(value) for name, value in hidden.items()} | (fields or {})
        return self.client.post(
            f"/ui{path}", data=data, headers={**self.headers, **headers}, follow_redirects=False
        )

    @property
    def csrf(self) -> str:
        """What the cookie of this browser says."""
        return next((each.value or "" for each in self.client.cookies.jar if each.name.endswith("_csrf")), "")

    def done(self, path: str, **fields: str) -> str:
        """Send the form; the sentence that says what was done."""
        answer = self.post(path, fields)
        assert answer.status_code == 303, text_of(answer)
        said = [each for each in answer.headers.get_list("set-cookie") if "jobmon_said=" in each]
        return unquote(said[0].partition("=")[2].partition(";")[0])


def text_of(answer: Any) -> str:
    """The text of a page without its tags and its frame."""
    main = answer.text.partition("<main")[2].partition(">")[2].partition("</main>")[0] or answer.text
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)))


@dataclass(frozen=True)
class Made:
    """A workflow that is being run: its second task waits for the first, which has an attempt; and one that rests."""

    workflow: MadeWorkflow
    run_id: int
    resting: MadeWorkflow


def make_workflows(database: Database, user: str = "tester", name: str = HOSTILE) -> Made:
    """Make them."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [[], [0], []], now=now, user=user, name=name)
        run_id = run_make(
            connection, workflow.workflow_id, now=now, user=user, status=WorkflowRunStatus.RUNNING
        )
        attempts_make(connection, workflow, run_id, [0], batch_num=1, now=now)
        resting = workflow_make(connection, [[], [0]], now=now, user=user, name=f"resting {name}")
    return Made(workflow, run_id, resting)
