"""``jobmon config`` and ``jobmon version``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import Run

from jobmon.core import __version__


def test_show_masks_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBMON__DB__SQLALCHEMY_DATABASE_URI", "mysql://user:secret@host/jobmon")
    for words in ([], ["--section", "db"], ["--key", "db.sqlalchemy_database_uri"], ["-o", "json"]):
        result = run("config", "show", *words)
        assert result.exit_code == 0
        assert "secret@" not in result.output
        assert "********" in result.output


def test_show_one_value(run: Run) -> None:
    found = yaml.safe_load(run("config", "show", "--section", "db", "--key", "pool.size").output)
    assert found == {"db": {"pool.size": 8}}
    assert (
        json.loads(run("config", "show", "--key", "db.pool", "-o", "json").output)["db"]["pool"]["size"] == 8
    )
    result = run("config", "show", "--section", "nope")
    assert (result.exit_code, result.stderr) == (1, "Error: The configuration has no section nope.\n")


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
