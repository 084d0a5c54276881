"""Fixtures: the command line over a server in this process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from command_line import Run

from jobmon.client.cli import cli
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.configuration import JobmonConfig
from jobmon.core.requester import Requester


class AppClient:
    """Requests straight into an application."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        return self._client.request(method, url, content=content, params=params, headers=headers)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a directory of the local server of this test alone."""
    monkeypatch.setenv("JOBMON__EMBEDDED__DIRECTORY", str(tmp_path / "jobmon"))
    monkeypatch.setenv("JOBMON__PROGRESS__ENABLED", "false")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def requester(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Requester]:
    """The real server with an empty database, in this process; what asks for the default server gets it."""
    from jobmon.server.web.api import get_app
    from jobmon.server.web.db_admin import init_db

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the HTTP client underneath
        from starlette.testclient import TestClient
    uri = f"sqlite:///{tmp_path}/test.sqlite"
    config = JobmonConfig(dict_config={"db": {"sqlalchemy_database_uri": uri}})
    init_db(uri)
    with TestClient(get_app(config)) as client:
        prefix = config.get("http", "route_prefix")
        requester = Requester(f"http://testserver{prefix}", client=AppClient(client))
        monkeypatch.setattr(Requester, "from_defaults", classmethod(lambda cls, config=None: requester))
        yield requester


@pytest.fixture
def run() -> Run:
    """Carry out a command line, given as words."""

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words], prog_name="jobmon")

    return invoke


@pytest.fixture
def workflow(requester: Requester, tmp_path: Path) -> Workflow:
    """A workflow that ran: ``one`` is done, ``two`` failed for good, ``three`` waits for both."""
    tool = Tool("cli", requester=requester)
    template = tool.get_task_template(
        "step", "{command}", node_args=["command"], default_cluster_name="sequential", max_attempts=2
    )
    workflow = tool.create_workflow(name="steps", workflow_args="cli")
    one = template.create_task(name="one", command="true")
    two = template.create_task(
        name="two", command=f"test -e {tmp_path}/mended || {{ echo alas >&2; exit 3; }}"
    )
    three = template.create_task(name="three", command="echo done", upstream_tasks=[one, two])
    workflow.add_tasks([one, two, three])
    assert workflow.run() == "E"
    return workflow
