"""Fixtures: a server that only answers, and a real one in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from recording import RecordingRequester

from jobmon.client.task_template import TaskTemplate
from jobmon.client.tool import Tool
from jobmon.core.configuration import JobmonConfig
from jobmon.core.requester import Requester
from jobmon.testing.in_process import in_process_server


@pytest.fixture
def requester() -> RecordingRequester:
    return RecordingRequester()


@pytest.fixture
def tool(requester: RecordingRequester) -> Tool:
    return Tool("life", requester=requester)


@pytest.fixture
def template(tool: Tool) -> TaskTemplate:
    """One arg of each kind."""
    return tool.get_task_template("fit", "{exe} fit.py {country} {data}", ["country"], ["data"], ["exe"])


@pytest.fixture
def app_requester(database_uri: str, tmp_path: Path) -> Iterator[Requester]:
    """The real server with an empty database, in this process."""
    settings = {"db": {"sqlalchemy_database_uri": database_uri}, "embedded": {"directory": str(tmp_path)}}
    with in_process_server(JobmonConfig(dict_config=settings)) as requester:
        yield requester
