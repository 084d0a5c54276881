"""Traces: from the script over the request to its statements; and that no collector ever disturbs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from collector import Collector, running_collector
from jobmon.core import tracing
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError
from jobmon.core.requester import Requester
from jobmon.core.tracing import Tracing, is_enabled, make_exporter, path_shape
from jobmon.server.web.api import get_app
from jobmon.testing.in_process import AppClient

pytestmark = pytest.mark.sqlite

MEMORY = {
    "module": "opentelemetry.sdk.trace.export.in_memory_span_exporter",
    "class": "InMemorySpanExporter",
}


def traced(config: JobmonConfig, **more: Any) -> JobmonConfig:
    """A configuration that traces into memory."""
    settings = {"server_enabled": True, "span_exporter": "memory", "exporters": {"memory": MEMORY}, **more}
    config.set("telemetry", "tracing", settings)
    config.set("metrics", "states_seconds", 0)
    return config


def spans_of(own: Tracing) -> list[ReadableSpan]:
    own.flush(10)
    exporter = own.exporter
    assert isinstance(exporter, InMemorySpanExporter)
    return list(exporter.get_finished_spans())


@pytest.fixture
def client(config: JobmonConfig) -> Iterator[TestClient]:
    with TestClient(get_app(traced(config)), raise_server_exceptions=False) as client:
        yield client


def server_tracing(client: TestClient) -> Tracing:
    own: Tracing = client.app.state.jobmon.watching.tracing  # type: ignore[attr-defined]
    return own


def test_a_request_has_a_span_and_its_statements_are_within(client: TestClient) -> None:
    """With text, without values."""
    client.post(
        "/api/v3/define/tool",
        json={"name": "hunter2"},
        headers={"X-Request-ID": "r-1", "X-Jobmon-User": "ann"},
    )
    spans = spans_of(server_tracing(client))
    (request,) = [span for span in spans if span.name == "POST /define/tool"]
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["jobmon.request_id"] == "r-1"
    assert request.attributes["jobmon.user"] == "ann"
    assert request.resource.attributes["service.name"] == "jobmon-server"
    within = [
        span
        for span in spans
        if span.parent and request.context and span.parent.span_id == request.context.span_id
    ]
    texts = [str((span.attributes or {})["db.query.text"]) for span in within]
    assert any(each.startswith("INSERT INTO tool") for each in texts)
    assert "hunter2" not in json.dumps([span.to_json() for span in spans])


def test_the_servers_span_is_part_of_the_scripts_trace(client: TestClient, config: JobmonConfig) -> None:
    """By the header that everybody knows; the script's own span is the parent of the request's."""
    own = Tracing(config, "script")
    requester = Requester("http://testserver/api/v3", client=own.traced(AppClient(client)))
    with own.tracer.start_as_current_span("my script"):
        requester.send_request("/define/tool", {"name": "t"}, "post")
    script, sent = sorted(spans_of(own), key=lambda span: span.name != "my script")
    (taken,) = [span for span in spans_of(server_tracing(client)) if span.name == "POST /define/tool"]
    assert script.context is not None
    assert sent.context is not None
    assert sent.parent is not None
    assert sent.parent.span_id == script.context.span_id
    assert taken.parent is not None
    assert taken.parent.span_id == sent.context.span_id
    assert taken.context is not None
    assert taken.context.trace_id == script.context.trace_id
    own.close()


def test_a_failed_request_has_a_span_that_says_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr("jobmon.server.web.routes.swarm.bad_nodes.bad_nodes_read", fail)
    assert client.get("/api/v3/swarm/cluster/x/bad_nodes").status_code == 500
    (span,) = [each for each in spans_of(server_tracing(client)) if "bad_nodes" in each.name]
    assert (span.status.is_ok, span.status.description) == (False, "RuntimeError")
    assert "hunter2" not in span.to_json()


def test_the_group_commit_is_a_trace_of_its_own(client: TestClient) -> None:
    """It is part of many requests, so of none."""
    client.post("/api/v3/worker/task_instance/5/event", content=b'{"task_instance_id": 5, "event": "start"}')
    spans = spans_of(server_tracing(client))
    (commit,) = [span for span in spans if span.name == "group commit"]
    (request,) = [span for span in spans if span.name.startswith("POST /worker/")]
    assert commit.parent is None
    assert commit.context is not None
    assert request.context is not None
    assert commit.context.trace_id != request.context.trace_id
    assert [span for span in spans if span.parent and span.parent.span_id == commit.context.span_id]


def test_off_is_the_default_and_imports_nothing() -> None:
    """In a process of its own: a requester loads nothing of OpenTelemetry, the server no more than FastAPI does."""
    program = (
        "import sys\nfrom jobmon.core.requester import Requester\nfrom jobmon.core.configuration import JobmonConfig\n"
        "Requester.from_defaults(JobmonConfig(dict_config={'http': {'service_url': 'http://localhost:1'}}))\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
        "from jobmon.server.web import api\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.parametrize(
    ("settings", "switch", "on"),
    [
        ({}, "server_enabled", False),
        ({"telemetry": {"tracing": {"server_enabled": "true"}}}, "server_enabled", True),
        ({"telemetry": {"tracing": {"server_enabled": True}}}, "requester_enabled", False),
        ({"otlp": {"web_enabled": True}}, "server_enabled", True),
        ({"otlp": {"http_enabled": True}}, "requester_enabled", True),
        (
            {"otlp": {"web_enabled": True}, "telemetry": {"tracing": {"server_enabled": False}}},
            "server_enabled",
            False,
        ),
    ],
)
def test_switches(settings: dict[str, Any], switch: str, on: bool) -> None:
    """The names of older versions count where the newer are silent."""
    assert is_enabled(JobmonConfig(dict_config=settings), switch) is on


def test_the_environment_switches_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBMON__TELEMETRY__TRACING__REQUESTER_ENABLED", "true")
    assert is_enabled(JobmonConfig(), "requester_enabled")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"span_exporter": "nowhere"},
            "'nowhere' is not known; there are console_span, grpc_span, http_span",
        ),
        ({"span_exporter": "mine", "exporters": {"mine": {"class": "X"}}}, "needs a module and a class"),
        (
            {"span_exporter": "mine", "exporters": {"mine": {"module": "no.such", "class": "X"}}},
            "cannot be made",
        ),
        ({"span_exporter": "http_span", "exporters": {"http_span": {"shade": "red"}}}, "cannot be made"),
    ],
)
def test_an_exporter_that_cannot_be_had_is_refused(settings: dict[str, Any], words: str) -> None:
    """When the server starts, with what is wrong."""
    with pytest.raises(ConfigError, match=words):
        make_exporter(settings)


def test_without_opentelemetry_the_switch_says_what_to_install(
    config: JobmonConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("opentelemetry.sdk.resources", "opentelemetry.sdk.trace"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"jobmon\[otel\]"):
        get_app(traced(config))


def test_numbers_are_no_part_of_a_spans_name() -> None:
    assert path_shape("/api/v3/swarm/workflow/17/drain") == "/api/v3/swarm/workflow/{id}/drain"


# -- collectors -------------------------------------------------------------------------------------------
@pytest.fixture
def collector(request: pytest.FixtureRequest) -> Iterator[Collector]:
    with running_collector(*request.param) as own:
        yield own


def to_collector(config: JobmonConfig, url: str) -> JobmonConfig:
    return traced(config, span_exporter="http_span", exporters={"http_span": {"endpoint": url, "timeout": 1}})


@pytest.mark.parametrize("collector", [(200,)], indirect=True)
def test_a_collector_gets_the_spans(config: JobmonConfig, collector: Collector) -> None:
    """By OTLP over HTTP, at the end of the server at the latest."""
    config.set("telemetry", "deployment_environment", "of this test")
    with TestClient(get_app(to_collector(config, collector.url))) as client:
        assert client.get("/time").status_code == 200
    assert "GET /time" in {span.name for span in collector.spans()}
    resource = collector.received[0].resource_spans[0].resource.attributes
    told = {attribute.key: attribute.value.string_value for attribute in resource}
    assert told["deployment.environment.name"] == "of this test"


@pytest.mark.parametrize("collector", [(200, True), (503,), (400,)], indirect=True)
def test_a_collector_that_hangs_or_refuses_disturbs_nobody(
    config: JobmonConfig, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are answered meanwhile, and the server ends in a moment."""
    monkeypatch.setattr(tracing, "END_SECONDS", 0.2)
    with TestClient(get_app(to_collector(config, collector.url))) as client:
        own = server_tracing(client)
        assert client.get("/time").status_code == 200
        own.flush(0.2)
        assert collector.arrived.wait(10)
        for _ in range(20):
            assert client.get("/time").status_code == 200
        began = time.monotonic()
    assert time.monotonic() - began < 30  # it does not wait for the sixty of the collector
    collector.go_on.set()
    own.provider.shutdown()


def test_an_absent_collector_disturbs_nobody(config: JobmonConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens there."""
    monkeypatch.setattr(tracing, "END_SECONDS", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1/traces"
        with TestClient(get_app(to_collector(config, address))) as client:
            assert client.get("/time").status_code == 200
            own = server_tracing(client)
        own.provider.shutdown()
