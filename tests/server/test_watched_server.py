"""What operators see of a real server: its log, its figures over several processes, its traces."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import httpx
import pytest

from collector import running_collector
from processes import wait_until
from server_place import PREFIX, RealServer, Servers, get

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

_JOBMON = "from jobmon.client.cli import main; main()"


def lines(server: RealServer) -> list[dict[str, Any]]:
    """Its log; every line is one object."""
    return [json.loads(line) for line in server.text.splitlines()]


def series(server: RealServer, name: str) -> dict[str, float]:
    """Labels to value."""
    found = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", get(f"{server.address}/metrics").text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def health_requests(server: RealServer) -> float:
    counted = series(server, "jobmon_request_seconds_count")
    return sum(value for labels, value in counted.items() if 'route="/health"' in labels)


def test_the_log_of_a_server_is_one_object_a_line(servers: Servers, database_uri: str) -> None:
    """Its own messages, the web server's, and a line for a request that changed something."""
    server = servers.start(database_uri, logging__format="json")
    httpx.post(
        f"{server.url}/define/tool",
        json={"name": "t"},
        headers={"X-Request-ID": "of-this-test", "X-Jobmon-User": "ann"},
        trust_env=False,
    )
    assert server.end() == 0
    told = lines(server)
    assert {"jobmon.server", "jobmon.access"} < {line["logger"] for line in told}
    assert any(line["logger"].startswith("uvicorn") for line in told)
    (line,) = [line for line in told if line.get("request_id") == "of-this-test"]
    assert (line["route"], line["status"], line["user"]) == ("/define/tool", 200, "ann")


def test_several_processes_count_together(servers: Servers, database_uri: str) -> None:
    """Whichever answers; also what one counted that was killed. What it momentarily had is gone with it."""
    server = servers.start(database_uri, workers=2)
    for _ in range(20):
        assert get(f"{server.address}/health").status_code == 200
    assert {health_requests(server) for _ in range(6)} == {20}
    memory = "jobmon_process_resident_bytes"
    wait_until(lambda: len(series(server, memory)) == 2, "figures of both processes")
    first, _ = server.workers()
    os.kill(first, signal.SIGKILL)
    server.wait_replaced([first], 2)
    wait_until(lambda: len(series(server, memory)) == 2, "figures of the new process")
    assert not [labels for labels in series(server, memory) if f'"{first}"' in labels]
    assert health_requests(server) == 20


def test_a_trace_goes_from_the_command_line_to_the_database(servers: Servers, database_uri: str) -> None:
    """Switched on by the environment, as operators do; and a collector that hangs does not hold up the command."""
    with running_collector(200) as collector, running_collector(200, True) as hanging:
        server = servers.start(database_uri, **tracing("server_enabled", collector.url))
        environment = {
            **servers.environment,
            "JOBMON__HTTP__SERVICE_URL": server.address,
            **{
                f"JOBMON__{name.upper()}": value
                for name, value in tracing("requester_enabled", hanging.url).items()
            },
        }
        done = subprocess.run(
            [sys.executable, "-c", _JOBMON, "workflow", "status"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == "There is no workflow of yours yet.\n"
        assert hanging.arrived.wait(10)
        assert server.end() == 0
        (asked,) = [span for span in hanging.spans() if span.name == f"GET {PREFIX}/monitor/workflow_status"]
        (answered,) = [span for span in collector.spans() if span.name == "GET /monitor/workflow_status"]
        assert (answered.trace_id, answered.parent_span_id) == (asked.trace_id, asked.span_id)


def tracing(switch: str, url: str) -> dict[str, str]:
    return {
        f"telemetry__tracing__{switch}": "true",
        "telemetry__tracing__span_exporter": "http_span",
        "telemetry__tracing__exporters__http_span__endpoint": url,
    }
