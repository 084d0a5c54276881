"""``jobmon config`` and ``jobmon version``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import Run

from jobmon.core import __version__


def test_show_masks_secrets(run: Run, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Also inside addresses, in entries of the site's own, and in the answer of one entry."""
    monkeypatch.setenv(
        "JOBMON__DB__SQLALCHEMY_DATABASE_URI", "mysql://user:hun@ter/2@host/jobmon?ssl_key=hunter2&x=1"
    )
    monkeypatch.setenv("JOBMON__DB__SQLALCHEMY_CONNECT_ARGS", '{"passwd": "hunter2", "ssl": {"ca": "x"}}')
    monkeypatch.setenv("JOBMON__SESSION__SECRET_KEY", "hunter2")
    monkeypatch.setenv("JOBMON__REAPER__SLACK_API_URL", "https://hooks.example/hunter2")
    file = directory / "c.yaml"
    file.write_text(
        "telemetry: {tracing: {exporters: {http: {headers: hunter2, endpoint: 'http://a:hunter2@b'}}}}"
    )
    monkeypatch.setenv("JOBMON__CONFIG_FILE", str(file))
    for words in (
        [],
        ["--origin"],
        ["--section", "db"],
        ["--key", "db.sqlalchemy_database_uri", "--origin", "-o", "json"],
        ["--key", "db.sqlalchemy_connect_args.passwd"],
        ["-o", "json"],
    ):
        result = run("config", "show", *words)
        assert result.exit_code == 0, result.output
        assert "hunter2" not in result.output
        assert "ter/2" not in result.output
        assert "********" in result.output
    assert "mysql://user:********@host/jobmon?ssl_key=********&x=1" in run("config", "show").output
    assert "http://a:********@b" in run("config", "show").output


def test_show_where_values_come_from(run: Run, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """In YAML as comments, so that it is a file again; in JSON as data."""
    file = directory / "c.yaml"
    file.write_text("http: {request_timeout: 5, gui_url: x}\ntelemetry: {tracing: {a: {b: 1}}}")
    monkeypatch.setenv("JOBMON__CONFIG_FILE", str(file))
    monkeypatch.setenv("JOBMON__HTTP__RETRIES_ATTEMPTS", "4")
    monkeypatch.setenv("JOBMON__TELEMETRY__TRACING__A__C", "2")
    found = json.loads(run("config", "show", "--origin", "-o", "json").output)
    assert found["http"]["request_timeout"] == {"value": 5, "origin": str(file)}
    assert found["http"]["retries_attempts"] == {"value": 4, "origin": "JOBMON__HTTP__RETRIES_ATTEMPTS"}
    assert found["http"]["retries_timeout"] == {"value": 300, "origin": "default"}
    assert found["telemetry"]["tracing"] == {
        "value": {"a": {"b": 1, "c": 2}},
        "origin": "JOBMON__TELEMETRY__TRACING__A__C",
    }
    text = run("config", "show", "--origin").output
    assert yaml.safe_load(text)["telemetry"]["tracing"] == {"a": {"b": 1, "c": 2}}
    (line,) = [line for line in text.splitlines() if "allowed_origins" in line]
    assert line.split("# ")[1] == "default, without effect in this version"


def test_show_one_value(run: Run) -> None:
    found = yaml.safe_load(run("config", "show", "--section", "db", "--key", "pool.size").output)
    assert found == {"db": {"pool": {"size": 8}}}
    assert (
        json.loads(run("config", "show", "--key", "db.pool", "-o", "json").output)["db"]["pool"]["size"] == 8
    )
    result = run("config", "show", "--section", "nope")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: The configuration has no section nope; a key is written section.key.\n",
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("nope", "no section nope; a key is written section.key.\n"),
        ("parallelism", "a key is written section.key. Did you mean multiprocess.parallelism?"),
        ("htpp.service_url", "Did you mean http.service_url?"),
        ("http.service_ulr", "no key http.service_ulr. Did you mean http.service_url?"),
    ],
)
def test_a_key_that_is_not_there(run: Run, key: str, message: str) -> None:
    """What it may have meant is named."""
    result = run("config", "show", "--key", key)
    assert result.exit_code == 1
    assert message in result.stderr


def test_set_writes_the_file(run: Run, directory: Path) -> None:
    assert "was set to 3" in run("config", "set", "multiprocess.parallelism", "3").output
    assert "was set to no" in run("config", "set", "progress.enabled", "no").output
    file = directory / ".jobmon" / "config.yaml"
    assert yaml.safe_load(file.read_text()) == {
        "multiprocess": {"parallelism": 3},
        "progress": {"enabled": False},
    }
    assert file.stat().st_mode & 0o777 == 0o600


def test_set_a_secret_does_not_print_it(run: Run) -> None:
    assert "hunter2" not in run("config", "set", "session.secret_key", "hunter2").output


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("nope.key", "1", "no key 'nope.key'"),
        ("db", "1", "no key 'db'"),
        ("db.pool.size", "many", "must be a number"),
        ("progress.enabled", "7", "must be true or false"),
    ],
)
def test_set_refuses_what_cannot_be(run: Run, key: str, value: str, message: str) -> None:
    result = run("config", "set", key, value)
    assert result.exit_code == 1
    assert message in result.stderr


def test_version(run: Run) -> None:
    assert run("version").output == f"{__version__}\n"
    output = run("version", "--components").output
    assert f"jobmon: {__version__}" in output
    assert "server: not running" in output


def test_set_says_what_will_not_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys without effect, and variables that count more than the file."""
    assert "no effect in this version" in run("config", "set", "cors.allowed_origins", "x").output
    monkeypatch.setenv("JOBMON__HTTP__REQUEST_TIMEOUT", "3")
    output = run("config", "set", "http.request_timeout", "4").output
    assert "JOBMON__HTTP__REQUEST_TIMEOUT is set in the environment" in output


def test_set_an_entry_of_an_open_key(run: Run, directory: Path) -> None:
    """Beside those that are there, in the file that is named."""
    file = directory / "site.yaml"
    file.write_text("telemetry: {tracing: {a: 1}}\nhttp: {service_url: '${PLACE}'}\n")
    result = run("config", "set", "telemetry.tracing.exporters.token", "hunter2", "--config-file", file)
    assert (result.exit_code, "hunter2" in result.output) == (0, False)
    assert yaml.safe_load(file.read_text()) == {
        "telemetry": {"tracing": {"a": 1, "exporters": {"token": "hunter2"}}},
        "http": {"service_url": "${PLACE}"},
    }
