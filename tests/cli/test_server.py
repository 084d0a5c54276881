"""``jobmon server`` with a real local server."""

from __future__ import annotations

import json

import pytest
from command_line import Run


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
