"""Configuration: four sources, layered; unknown keys are warned about; what is secret stays so."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from jobmon.core.configuration import KEYS, JobmonConfig, coerce
from jobmon.core.exceptions import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file."""
    path = tmp_path / "config.yaml"
    path.write_text("http:\n  request_timeout: 5\n  retries_attempts: 4\ndb:\n  pool:\n    size: 3\n")
    return path


def test_every_key_has_a_default_and_a_meaning() -> None:
    """And no two have one name."""
    assert len({(key.section, key.name) for key in KEYS}) == len({key.env for key in KEYS}) == len(KEYS)
    assert all(key.meaning.endswith(".") for key in KEYS)


def test_the_sources_in_their_order(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument, environment, file, default."""
    config = JobmonConfig(str(file))
    assert (config.get("http", "request_timeout"), config.origin("http", "request_timeout")) == (5, "file")
    assert (config.get("http", "retries_timeout"), config.origin("http", "retries_timeout")) == (
        300,
        "default",
    )
    monkeypatch.setenv("JOBMON__HTTP__REQUEST_TIMEOUT", "6")
    assert (config.get("http", "request_timeout"), config.origin("http", "request_timeout")) == (
        6,
        "environment",
    )
    config = JobmonConfig(str(file), {"http": {"request_timeout": 7}})
    assert (config.get("http", "request_timeout"), config.origin("http", "request_timeout")) == (
        7,
        "argument",
    )


def test_a_file_is_layered_over_the_defaults(file: Path) -> None:
    """It does not replace the section."""
    section = JobmonConfig(str(file)).get_section("db")
    assert section["pool"]["size"] == 3
    assert section["pool"]["timeout"] == 30
    assert section["sqlalchemy_database_uri"] == ""


def test_the_file_can_be_named_by_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not exist is an error, not the defaults."""
    monkeypatch.setenv("JOBMON__CONFIG_FILE", str(file))
    assert JobmonConfig().get_int("http", "retries_attempts") == 4
    monkeypatch.setenv("JOBMON__CONFIG_FILE", str(file) + ".missing")
    with pytest.raises(ConfigError, match="does not exist"):
        JobmonConfig()


def test_the_users_own_file_is_read_where_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~/.jobmon/config.yaml``."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert JobmonConfig().filepath == ""
    (tmp_path / ".jobmon").mkdir()
    (tmp_path / ".jobmon/config.yaml").write_text("progress: {enabled: no}")
    assert not JobmonConfig().get_boolean("progress", "enabled")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("2.5", 2.5),
        ("true", True),
        ("No", False),
        ('{"a": 1}', {"a": 1}),
        ("{'a': 1}", {"a": 1}),
        ("[1, 2]", [1, 2]),
        ("{broken", "{broken"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_texts_of_the_environment_are_given_their_types(text: str, value: object) -> None:
    """Numbers, truth values, JSON and Python literals; everything else is text."""
    assert coerce(text) == value
    assert type(coerce(text)) is type(value)


def test_a_text_stays_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of digits is no number where the key is a text."""
    monkeypatch.setenv("JOBMON__SESSION__SECRET_KEY", "0123")
    assert JobmonConfig().get("session", "secret_key") == "0123"


def test_values_of_files_may_name_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are set."""
    monkeypatch.setenv("PLACE", "/data")
    path = tmp_path / "c.yaml"
    path.write_text("task:\n  log_directory: ${PLACE}/${NOWHERE}\n")
    assert JobmonConfig(str(path)).get("task", "log_directory") == "/data/${NOWHERE}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"http": {"sevice_url": "x"}}, "http.sevice_url"),
        ({"htp": {"service_url": "x"}}, "htp"),
        ({"db": {"pool": {"sice": 3}}}, "db.pool.sice"),
    ],
)
def test_unknown_keys_are_warned_about(given: dict[str, Any], words: str) -> None:
    """By name, with where they stand."""
    with pytest.warns(UserWarning, match=f"dict_config: unknown configuration .*{words}"):
        JobmonConfig(dict_config=given)


def test_unknown_variables_are_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open sections take any."""
    monkeypatch.setenv("JOBMON__LOGGING__CLIENT__ANY", "1")
    JobmonConfig()
    monkeypatch.setenv("JOBMON__HTTP__SEVICE_URL", "x")
    with pytest.warns(UserWarning, match="JOBMON__HTTP__SEVICE_URL"):
        JobmonConfig()


def test_wrong_types_are_refused_with_the_name_of_the_key() -> None:
    """When they are read."""
    config = JobmonConfig(dict_config={"http": {"request_timeout": "soon"}, "progress": {"enabled": "maybe"}})
    with pytest.raises(ConfigError, match=r"http\.request_timeout must be a number, not 'soon'"):
        config.get_float("http", "request_timeout")
    with pytest.raises(ConfigError, match=r"progress\.enabled must be true or false"):
        config.get_boolean("progress", "enabled")
    with pytest.raises(ConfigError, match=r"no key http\.nothing"):
        config.get("http", "nothing")
    with pytest.raises(ConfigError, match="no section nothing"):
        config.get_section("nothing")


@pytest.mark.parametrize("text", ["just text", "- 1\n- 2", "http: 5", "a: [", "\t"])
def test_a_file_that_is_no_configuration_is_refused(text: str, tmp_path: Path) -> None:
    """With its path."""
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"odd\.yaml"):
        JobmonConfig(str(path))


def test_what_is_set_can_be_written_and_read_again(file: Path) -> None:
    """Only for its owner's eyes; what the file held is kept."""
    config = JobmonConfig(str(file))
    config.set("db", "sqlalchemy_database_uri", "sqlite:////tmp/x")
    config.set("db", "pool.timeout", 5)
    config.write()
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    again = JobmonConfig(str(file))
    assert again.get("db", "sqlalchemy_database_uri") == "sqlite:////tmp/x"
    assert (again.get("db", "pool.size"), again.get("db", "pool.timeout")) == (3, 5)
    assert again.get("http", "retries_attempts") == 4


def test_a_place_that_cannot_be_written_is_named(file: Path) -> None:
    """A directory below a file."""
    with pytest.raises(ConfigError, match="cannot be written to"):
        JobmonConfig(str(file)).write(str(file / "below.yaml"))


def test_passwords_are_marked() -> None:
    """The database, the secrets of sign-in, the token of the reaper; ``config show`` leaves them out."""
    secret = {(key.section, key.name) for key in KEYS if key.secret}
    assert {("db", "sqlalchemy_database_uri"), ("session", "secret_key"), ("oidc", "client_secret")} <= secret


def test_a_default_cannot_be_changed_by_who_reads_it() -> None:
    """Two readers have two dictionaries."""
    JobmonConfig().get("db", "sqlalchemy_connect_args")["x"] = 1
    assert JobmonConfig().get("db", "sqlalchemy_connect_args") == {}
