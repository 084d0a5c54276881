"""Logging is configured when a script asks for it, and never otherwise; context travels with requests."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobmon.client.logging import (
    JobmonLoggerConfig,
    configure_client_logging,
    default_config,
    ensure_structlog_configured,
)
from jobmon.core.exceptions import ConfigError
from jobmon.core.logging import (
    bind_jobmon_context,
    clear_jobmon_context,
    get_jobmon_context,
    set_jobmon_context,
    unset_jobmon_context,
)
from jobmon.core.requester import Requester


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Loggers as they were before the test."""
    names = ("jobmon", "mine")
    before = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level) for name in names}
    propagate = logging.getLogger("jobmon").propagate
    yield
    for name, (handlers, level) in before.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).setLevel(level)
    logging.getLogger("jobmon").propagate = propagate
    clear_jobmon_context()


def test_nothing_is_touched_unasked(tmp_path: Path) -> None:
    """By importing everything a script imports, and by a whole run on a real server."""
    script = tmp_path / "script.py"
    script.write_text(
        "import logging\n"
        "def state():\n"
        "    loggers = [logging.getLogger(), logging.getLogger('jobmon'), logging.getLogger('asyncio')]\n"
        "    return [(each.handlers, each.level, each.propagate, each.disabled) for each in loggers]\n"
        "before = str(state())\n"
        "import jobmon.client.api, jobmon.client.logging, jobmon.core.logging, jobmon.client.swarm\n"
        "import jobmon.swarm.host, jobmon.swarm.controller\n"
        "jobmon.client.logging.ensure_structlog_configured()\n"
        "from jobmon.testing.in_process import in_process_server\n"
        "from jobmon.core.configuration import JobmonConfig\n"
        "from jobmon.server.web.db_admin import init_db\n"
        f"config = JobmonConfig(dict_config={{'db': {{'sqlalchemy_database_uri': 'sqlite:///{tmp_path}/db'}}}})\n"
        "init_db(config=config)\n"
        "with in_process_server(config) as requester:\n"
        "    tool = jobmon.client.api.Tool('t', requester=requester)\n"
        "    workflow = tool.create_workflow(default_cluster_name='dummy')\n"
        "    workflow.add_task(tool.get_task_template('s', 'true {a}', ['a']).create_task(a=1))\n"
        "    assert workflow.run() == 'D'\n"
        "assert str(state()) == before, state()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs of Jobmon on stderr, those of others left alone."""
    root = logging.getLogger().handlers[:]
    ensure_structlog_configured()
    JobmonLoggerConfig.set_default_config()
    logging.getLogger("jobmon.client.workflow").info("heard")
    logging.getLogger("others").info("not heard")
    assert logging.getLogger().handlers == root
    assert "heard" in capsys.readouterr().err
    assert default_config["loggers"].keys() == {"jobmon"}


def test_a_handler_for_another_logger(capsys: pytest.CaptureFixture[str]) -> None:
    """Attached twice, a line is written once."""
    for _ in range(2):
        JobmonLoggerConfig.attach_default_handler("mine", logging.DEBUG)
    logging.getLogger("mine").debug("a line")
    assert capsys.readouterr().err.count("a line") == 1


def test_what_the_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file replaces the default, single keys are laid over it; a file that cannot be read is named."""
    target = tmp_path / "client.log"
    path = tmp_path / "logging.yaml"
    path.write_text(
        f"handlers: {{file: {{class: logging.FileHandler, filename: {target}}}}}\n"
        "loggers: {jobmon: {handlers: [file], level: INFO, propagate: false}}\n"
    )
    monkeypatch.setenv("JOBMON__LOGGING__CLIENT_LOGCONFIG_FILE", str(path))
    overrides = '{"loggers": {"jobmon": {"handlers": ["file"], "level": "WARNING", "propagate": false}}}'
    monkeypatch.setenv("JOBMON__LOGGING__CLIENT", overrides)
    configure_client_logging()
    logging.getLogger("jobmon.x").info("too low")
    logging.getLogger("jobmon.x").warning("high enough")
    for handler in logging.getLogger("jobmon").handlers:
        handler.close()
    assert target.read_text() == "high enough\n"
    monkeypatch.setenv("JOBMON__LOGGING__CLIENT_LOGCONFIG_FILE", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        configure_client_logging()


class Recorder:
    """An HTTP client that notes the headers."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    def request(self, method: str, url: str, **more: Any) -> Any:
        self.headers.append(dict(more["headers"]))

        class Answer:
            status_code, content = 200, b"{}"

        return Answer()

    def close(self) -> None:
        pass


def test_context_travels_in_a_header() -> None:
    """With its prefix, what a requester adds included; without any there is no header."""
    client = Recorder()
    requester = Requester("http://nowhere", client=client)

    def sent() -> dict[str, str] | None:
        requester.send_request("/x", {}, "get")
        header = client.headers[-1].get("X-Server-Structlog-Context")
        return None if header is None else msgspec.json.decode(header, type=dict[str, str])

    assert sent() is None
    set_jobmon_context(workflow_run_id=5, telemetry_tool="t")
    with bind_jobmon_context(step="one"):
        assert sent() == {
            "telemetry_workflow_run_id": "5",
            "telemetry_tool": "t",
            "telemetry_step": "one",
        }
    unset_jobmon_context("tool", "never_set")
    assert get_jobmon_context() == {"telemetry_workflow_run_id": "5"}
    requester.add_server_structlog_context(more="1")
    assert sent() == {"telemetry_workflow_run_id": "5", "more": "1"}
    clear_jobmon_context()
    assert sent() == {"more": "1"}
