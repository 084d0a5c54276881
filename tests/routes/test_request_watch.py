"""The line of a request in the log: at which level, with which facts, and without what is nobody's business."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError
from jobmon.core.log_format import JsonFormatter, TextFormatter
from jobmon.server.web.api import get_app
from jobmon.server.web.request_watch import access_level

pytestmark = pytest.mark.sqlite

PREFIX = "/api/v3"
EVENT = "/worker/task_instance/{task_instance_id}/event"


class Lines(logging.Handler):
    """Lines as they are written, in the context they are written in."""

    def __init__(self) -> None:
        super().__init__()
        self.json: list[dict[str, Any]] = []
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.json.append(json.loads(JsonFormatter().format(record)))
        self.text.append(TextFormatter().format(record))

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [line for line in self.json if line["logger"] == logger]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("jobmon")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_request_has_one_line_with_its_facts(client: TestClient, lines: Lines) -> None:
    """The template, not the path; ids of the path; who asked; no query, no header, no body."""
    client.post(
        f"{PREFIX}/swarm/workflow/41/drain?secret=hunter2",
        headers={"X-Jobmon-User": "ann", "X-Request-ID": "r-1", "Authorization": "Bearer hunter2"},
    )
    (line,) = lines.of("jobmon.access")
    assert line["level"] == "INFO"
    assert line["message"].startswith("POST /swarm/workflow/{workflow_id}/drain 404 in ")
    assert (line["request_id"], line["user"], line["workflow_id"]) == ("r-1", "ann", 41)
    assert (line["status"], line["route"]) == (404, "/swarm/workflow/{workflow_id}/drain")
    assert line["duration_seconds"] > 0
    assert "hunter2" not in "".join(lines.text)


def test_what_the_sender_bound_goes_along(client: TestClient, lines: Lines) -> None:
    """Ids of workflow and run as ids; a little of the rest; nonsense is left out."""
    bound = {"telemetry_workflow_id": "7", "telemetry_tool": "t" * 1000} | {
        f"telemetry_{i}": "x" for i in range(99)
    }
    for header in (json.dumps(bound), "no json", '["a list"]', '{"telemetry_a": {"nested": 1}}'):
        client.get(f"{PREFIX}/swarm/cluster/x/bad_nodes", headers={"X-Server-Structlog-Context": header})
    first, *others = lines.of("jobmon.access")
    assert first["workflow_id"] == 7
    assert len(first["context"]) < 20
    assert max(map(len, first["context"].values())) <= 200
    assert all("context" not in line for line in others)


def test_lines_of_the_server_carry_the_facts_too(
    client: TestClient, lines: Lines, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those written in a thread."""

    def fail(*_: object, **__: object) -> None:
        logging.getLogger("jobmon.server").warning("something odd")

    monkeypatch.setattr("jobmon.server.web.routes.swarm.bad_nodes.bad_nodes_read", fail)
    client.get(f"{PREFIX}/swarm/cluster/x/bad_nodes", headers={"X-Request-ID": "r-2"})
    (line,) = [line for line in lines.json if line["message"] == "something odd"]
    assert (line["request_id"], line["route"]) == ("r-2", "/swarm/cluster/{cluster_name}/bad_nodes")
    logging.getLogger("jobmon.server").warning("afterwards")
    assert "request_id" not in lines.json[-1]


def test_what_no_route_answers_is_told_by_its_path(client: TestClient, lines: Lines) -> None:
    """Without its query, cut off."""
    client.post("/wp-login.php?password=hunter2")
    (line,) = lines.of("jobmon.access")
    assert (line["route"], line["path"], line["status"]) == ("(other)", "/wp-login.php", 404)
    assert "hunter2" not in json.dumps(line)


@pytest.mark.parametrize(
    ("access", "method", "route", "status", "is_slow", "level"),
    [
        ("changes", "POST", "/define/tool", 200, False, logging.INFO),
        ("changes", "GET", "/monitor/workflow_status", 200, False, logging.DEBUG),
        ("changes", "GET", "/monitor/workflow_status", 200, True, logging.INFO),
        ("changes", "GET", "/monitor/workflow_status", 503, False, logging.WARNING),
        ("changes", "POST", EVENT, 200, False, logging.DEBUG),
        ("changes", "POST", EVENT, 200, True, logging.INFO),
        ("changes", "GET", "/swarm/workflow_run/{workflow_run_id}/feed", 200, True, logging.DEBUG),
        ("none", "POST", "/define/tool", 200, False, logging.DEBUG),
        ("none", "POST", "/define/tool", 500, False, logging.WARNING),
        ("all", "POST", EVENT, 200, False, logging.INFO),
    ],
)
def test_level_of_a_line(
    access: str, method: str, route: str, status: int, is_slow: bool, level: int
) -> None:
    assert access_level(access, method, route, status, is_slow) == level


def test_routine_routes_are_routes(app: FastAPI) -> None:
    """A route that gets another name is not forgotten in the list of those that are not told of."""
    from jobmon.server.web import request_watch
    from jobmon.server.web.routes import all_routers

    routes = {router.prefix + route.path for router in all_routers() for route in router.routes}
    assert routes >= request_watch._ROUTINE | request_watch._LONG_POLLS


def test_a_word_nobody_knows_is_refused(config: JobmonConfig) -> None:
    """When the server starts, not at its first request."""
    config.set("logging", "access", "some")
    with pytest.raises(ConfigError, match="changes, all, none"), TestClient(get_app(config)):
        pass
