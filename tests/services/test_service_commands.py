"""``jobmon-server reaper``, ``monitor`` and ``notify``, as an operator types them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from other_sides import FakeMail, FakeWeb

from jobmon.core.configuration import JobmonConfig
from jobmon.server.cli import cli
from jobmon.server.services.alarms import alarm_note
from jobmon.server.services.host import ServiceHost
from jobmon.server.services.lease import LeaseKeeper
from jobmon.server.services.rules import RULES
from jobmon.server.web import dialect
from jobmon.server.web.database import Database

Run = Callable[..., Result]


@pytest.fixture
def run(database_uri: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("JOBMON__DB__SQLALCHEMY_DATABASE_URI", database_uri)

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, words)

    return run


def test_a_token_on_the_command_line_is_refused_and_not_repeated(run: Run) -> None:
    for option in ("--slack-token", "--slack_token"):
        result = run("reaper", "start", option, "hunter2")
        assert result.exit_code == 2
        assert "slack.token_file" in result.output
        assert "hunter2" not in result.output


def test_one_look(run: Run, database: Database) -> None:
    """Unless another process does it."""
    result = run(
        "reaper",
        "start",
        "--once",
        "--poll-interval",
        "1",
        "--service-url",
        "http://x",
        "--slack-channel",
        "ops",
    )
    assert result.exit_code == 0, result.output
    assert "Put right: nothing." in result.output
    assert "--service-url has no effect" in result.output
    LeaseKeeper(database, 30).look()
    result = run("reaper", "start", "--once")
    assert result.exit_code == 1
    assert "Another process has the lease" in str(result.exception)


def test_status(run: Run, database: Database) -> None:
    """Who leads, and what was told of."""
    assert "nobody looks for lost runs" in run("reaper", "status").output
    keeper = LeaseKeeper(database, 30)
    keeper.look()
    with database.write() as connection:
        now = dialect.utcnow(connection)
        alarm_note(connection, "lost_run", "run 7", "It is lost.", now=now, fold_seconds=60)
    output = run("reaper", "status").output
    assert f"{keeper.holder} has the lease in term 1" in output
    assert "lost_run  run 7  ×1\n    It is lost." in output


def test_rules_and_nodes(run: Run) -> None:
    output = run("reaper", "rules").output
    assert all(rule.name in output for rule in RULES)
    assert "No node fails more often than the others." in run("monitor", "look").output


def test_channels_and_test(
    run: Run, web: FakeWeb, mail: FakeMail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is ready, what is missing, and a message to each."""
    output = run("notify", "channels").output
    assert "slack: Slack is not configured: set slack.token_file" in output
    assert "Alarms go to: the log only (set notify.default)" in output
    token = tmp_path / "token"
    token.write_text("xoxb-hunter2")
    token.chmod(0o600)
    for name, value in {
        "SLACK__TOKEN_FILE": token,
        "SLACK__API_URL": f"{web.url}/api/",
        "NOTIFY__MAIL_HOST": "127.0.0.1",
        "NOTIFY__MAIL_PORT": mail.port,
        "NOTIFY__MAIL_SECURITY": "none",
        "NOTIFY__DEFAULT": "#ops",
        "NOTIFY__CHANNELS__BAD_NODE": "mail:ada@example.org",
    }.items():
        monkeypatch.setenv(f"JOBMON__{name}", str(value))
    output = run("notify", "channels").output
    assert "slack: ready\nmail: ready" in output
    assert "Alarms go to: #ops\n  bad_node: mail:ada@example.org" in output
    for target in ("#ops", "lost_run", "mail:bo@example.org", "bad_node", f"{web.url}/hook/hunter2"):
        result = run("notify", "test", target)
        assert result.exit_code == 0, result.output
        assert "Told " in result.output
        assert "hunter2" not in result.output
    assert [request.path for request in web.received] == ["/api/chat.postMessage"] * 2 + ["/hook/hunter2"]
    assert [message["To"] for message in mail.messages] == ["bo@example.org", "ada@example.org"]
    assert "nobody who can be told" in str(run("notify", "test", "ops!").exception)


def test_a_mistake_in_an_address_is_told_at_the_start(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the commands; a server that runs already goes on and says so in its log."""
    monkeypatch.setenv("JOBMON__NOTIFY__DEFAULT", "ops")
    for words in (("start",), ("reaper", "start"), ("notify", "channels")):
        assert "notify.default: " in str(run(*words).exception)
    host = ServiceHost(JobmonConfig(), database)
    assert host.notifier.settings.default == []
    assert "until this is mended: notify.default" in caplog.text
