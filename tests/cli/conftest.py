"""Fixtures: the command line over a server in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from command_line import Run

from jobmon.client.cli import cli
from jobmon.client.tool import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.configuration import JobmonConfig
from jobmon.core.requester import Requester
from jobmon.testing.in_process import in_process_server


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a directory of the local server of this test alone."""
    monkeypatch.setenv("JOBMON__EMBEDDED__DIRECTORY", str(tmp_path / "jobmon"))
    monkeypatch.setenv("JOBMON__PROGRESS__ENABLED", "false")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def requester(database_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Requester]:
    """The real server with an empty database, in this process; what asks for the default server gets it."""
    config = JobmonConfig(dict_config={"db": {"sqlalchemy_database_uri": database_uri}})
    with in_process_server(config) as requester:
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
