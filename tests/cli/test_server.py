"""``jobmon server`` with a real local server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from command_line import Run

from jobmon.server.cli import cli as server_cli


@pytest.mark.e2e
def test_start_status_stop(run: Run) -> None:
    assert "No local server runs" in run("server", "stop").output
    assert json.loads(run("server", "status", "-o", "json").output)["status"] == "stopped"
    try:
        assert "was started at http://127.0.0.1:" in run("server", "start").output
        assert "runs already" in run("server", "start").output
        found = json.loads(run("server", "status", "-o", "json").output)
        assert found["status"] == "running"
        assert "server: " + found["version"] in run("version", "--components").output
        assert "running" in run("server", "status").output
    finally:
        stopped = run("server", "stop").output
    assert "was stopped" in stopped


def test_the_logging_of_a_server_is_configurable(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, over what it does by itself; an option goes before the configuration."""
    monkeypatch.setenv("JOBMON__LOGGING__SERVER", '{"loggers": {"jobmon": {"level": "DEBUG"}}}')
    monkeypatch.setenv("JOBMON__SERVER__PORT", "4000")
    monkeypatch.setenv("JOBMON__SERVER__HOST", "127.0.0.2")
    given: dict[str, Any] = {}
    served: list[tuple[str, int]] = []
    monkeypatch.setattr("logging.config.dictConfig", given.update)
    monkeypatch.setattr(
        "jobmon.server.supervisor.Supervisor.run",
        lambda self: served.append(self.listener.getsockname()) or self.listener.close(),
    )
    result = CliRunner().invoke(server_cli, ["start", "--port", "0"])
    assert result.exit_code == 0, result.output
    ((host, port),) = served
    assert (host, port != 4000) == ("127.0.0.2", True)
    assert given["loggers"]["jobmon"] == {"level": "DEBUG"}
    assert "uvicorn" in given["loggers"]
