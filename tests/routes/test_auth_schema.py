"""The OpenAPI document is true: whatever it allows to be sent is answered as it says, and never with a failure of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient
from test_every_route import PREFIX, Scene, assert_error, make_scene

from databases import Backend

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
EXAMPLES = 12
GROUPS = ("define", "swarm", "monitor", "")
"""Routes by who calls them; the last: all others."""
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def scene(app: FastAPI) -> Iterator[Scene]:
    with TestClient(app):
        yield make_scene(app.state.jobmon.database)


def ids_of(scene: Scene) -> dict[str, list[int]]:
    """Ids there are, by the names of parameters."""
    return {
        "workflow_id": [scene.workflow.workflow_id, scene.resting.workflow_id],
        "workflow_run_id": [scene.run_id, scene.waiting_run_id],
        "task_id": scene.workflow.task_ids,
        "task_instance_id": [scene.attempt],
        "dag_id": [scene.workflow.dag_id],
        "tool_id": [scene.tool_id],
        "tool_version_id": [scene.workflow.tool_version_id],
        "task_template_id": [scene.template_id],
        "task_template_version_id": [scene.workflow.task_template_version_id],
    }


def group_of(path: str) -> str:
    first = path.removeprefix(PREFIX).split("/")[1]
    return first if first in GROUPS else ""


@pytest.mark.sqlite
@pytest.mark.parametrize("group", GROUPS)
def test_the_document_is_true(app: FastAPI, scene: Scene, group: str) -> None:
    """Of each route, with ids of all kinds: those there are in every other request."""
    schema, known = schemathesis.openapi.from_asgi("/api/openapi.json", app), ids_of(scene)
    operations = [each.ok() for each in schema.get_all_operations()]
    chosen = [each for each in operations if group_of(each.path) == group]
    assert len(chosen) > 3
    for operation in chosen:

        @BOUNDED
        @given(case=operation.as_strategy(), data=st.data())
        def check(case: Any, data: st.DataObject) -> None:
            for name in case.path_parameters:
                if name in known and data.draw(st.booleans(), label="known id"):
                    case.path_parameters[name] = data.draw(st.sampled_from(known[name]), label=name)
            if "wait_seconds" in (case.query or {}):
                case.query["wait_seconds"] = 0  # a controller waits for news; this test does not
            answer = case.call(headers={"X-Jobmon-User": "tester"})
            case.validate_response(answer, checks=CHECKS)

        check()


def test_values_that_fit_no_column_are_refused(client: TestClient, backend: Backend) -> None:
    """With 400 on every kind of database, or there is no such thing."""
    make_scene(client.app.state.jobmon.database)  # type: ignore[attr-defined]
    headers = {"X-Jobmon-User": "tester"}
    for number in (2**63, 2**64, -(2**63) - 1, 10**30):
        for path in (f"/monitor/workflow/{number}/owner", f"/swarm/workflow_run/{number}"):
            assert_error(client.get(PREFIX + path, headers=headers), 400, 404)
        body = {"max_tasks": number}
        assert_error(client.put(f"{PREFIX}/swarm/workflow/1/limit", json=body, headers=headers), 400)
    body = {"next_report_increment": 1e300}
    assert_error(client.post(f"{PREFIX}/swarm/workflow_run/1/heartbeat", json=body, headers=headers), 400)
