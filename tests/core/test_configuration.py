"""Configuration: four sources, layered; unknown keys are warned about; what is secret stays so."""

from __future__ import annotations

import importlib
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobmon.core import configuration
from jobmon.core.configuration import JobmonConfig, coerce
from jobmon.core.configuration_keys import KEYS, Key
from jobmon.core.dotenv import read_dotenv
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


# -- what the page promises -----------------------------------------------------------------------------
PAGE = """
db.sqlalchemy_database_uri db.sqlalchemy_connect_args db.pool.size db.pool.max_overflow db.pool.timeout
db.pool.recycle db.pool.pre_ping distributor.poll_interval distributor.worker_node_entry_point
heartbeat.report_by_buffer heartbeat.task_instance_interval heartbeat.workflow_run_interval
heartbeat.graceful_termination_retry_count heartbeat.graceful_termination_retry_heartbeat http.service_url
http.route_prefix http.request_timeout http.retries_attempts http.retries_timeout http.gui_url
logging.client_logconfig_file logging.server_logconfig_file logging.distributor_logconfig_file
logging.worker_logconfig_file logging.client.formatters logging.server.handlers logging.distributor.loggers
logging.worker.loggers oidc.name oidc.conf_url oidc.client_id oidc.client_secret oidc.scope
oidc.redirect_uri oidc.login_landing_page_uri oidc.admin_group auth.enabled session.secret_key
cors.allowed_origins worker_node.command_interrupt_timeout reaper.poll_interval_minutes reaper.slack_api_url
reaper.slack_token reaper.slack_channel_default telemetry.deployment_environment telemetry.debug
telemetry.tracing.requester_enabled telemetry.tracing.server_enabled telemetry.tracing.span_exporter
telemetry.tracing.exporters.grpc_span telemetry.tracing.exporters.http_span
telemetry.tracing.exporters.console_span telemetry.logging.enabled telemetry.logging.log_exporter
telemetry.logging.exporters otlp.web_enabled otlp.http_enabled
"""


@pytest.mark.parametrize("path", PAGE.split())
def test_an_old_file_is_accepted_without_a_warning(path: str, tmp_path: Path) -> None:
    """Warnings are errors here."""
    section, _, name = path.partition(".")
    nested: Any = "x"
    for part in reversed(name.split(".")):
        nested = {part: nested}
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps({section: nested}))
    config = JobmonConfig(str(file))
    assert (config.get(section, name), config.place(section, name)) == ("x", str(file))


def test_keys_without_effect_are_those_nobody_reads() -> None:
    """So that nothing is ignored in silence, and nothing is called idle that acts."""
    source = Path(configuration.__file__).parents[1]
    text = "".join(path.read_text() for path in source.rglob("*.py") if path.name != "configuration.py")

    def is_read(key: Key) -> bool:
        component = key.name.removesuffix("_logconfig_file")
        if key.section == "logging" and re.search(rf'logging_settings\([^"]*"{component}"', text):
            return True
        return re.search(rf'"{key.section}",\s*"{re.escape(key.name)}"', text) is not None

    assert [f"{key.section}.{key.name}" for key in KEYS if key.is_idle == is_read(key)] == []


def test_keys_without_effect_that_are_set(tmp_path: Path) -> None:
    """To their default they may be."""
    file = tmp_path / "c.yaml"
    file.write_text(
        "cors: {allowed_origins: 'http://localhost:3000,http://localhost:3001'}\n"
        "heartbeat: {graceful_termination_retry_count: 5}\nlogging: {worker: {formatters: {x: {}}}}"
    )
    assert [key.env for key in JobmonConfig(str(file)).idle_settings()] == [
        "JOBMON__HEARTBEAT__GRACEFUL_TERMINATION_RETRY_COUNT",
        "JOBMON__LOGGING__WORKER",
    ]


def test_nested_keys_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the table, and entries of open ones: beside those of the file, whole or one by one."""
    file = tmp_path / "c.yaml"
    file.write_text("telemetry: {tracing: {server_enabled: false, Exporters: {x: {url: a}}}}")
    monkeypatch.setenv("JOBMON__DB__POOL__SIZE", "3")
    monkeypatch.setenv("JOBMON__TELEMETRY__TRACING__EXPORTERS__X__PORT", "4")
    monkeypatch.setenv("JOBMON__TELEMETRY__TRACING__SERVER_ENABLED", "yes")
    config = JobmonConfig(str(file))
    assert config.get("db", "pool.size") == config.get_section("db")["pool"]["size"] == 3
    expected = {"server_enabled": True, "Exporters": {"x": {"url": "a", "port": 4}}}
    assert config.get("telemetry", "tracing") == expected
    assert config.get_section_coerced("telemetry")["tracing"] == expected
    assert config.get_boolean("telemetry", "tracing.server_enabled") is True
    assert config.get_int("telemetry", "tracing.exporters.x.port") == 4
    assert config.origin("telemetry", "tracing") == "environment"
    with pytest.raises(ConfigError, match=r"no key telemetry\.tracing\.nothing"):
        config.get("telemetry", "tracing.nothing")
    monkeypatch.setenv("JOBMON__TELEMETRY__TRACING", '{"whole": 1}')
    assert config.get("telemetry", "tracing") == {
        "whole": 1,
        "server_enabled": True,
        "exporters": {"x": {"port": 4}},
    }
    config.set("telemetry", "tracing", {"said": 1})
    assert config.get("telemetry", "tracing") == {"said": 1}
    config.set("telemetry", "tracing.more", 2)
    assert config.get("telemetry", "tracing") == {"said": 1, "more": 2}


def test_values_of_files_are_typed_after_expansion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty value is the default."""
    monkeypatch.setenv("POOL", "5")
    monkeypatch.setenv("DIGITS", "0123")
    file = tmp_path / "c.yaml"
    file.write_text(
        "db: {pool: {size: '${POOL}'}}\nsession: {secret_key: '${DIGITS}'}\nhttp: {service_url: , request_timeout: }\nauth:\n"
    )
    config = JobmonConfig(str(file))
    assert config.get("db", "pool.size") == 5
    assert config.get("session", "secret_key") == "0123"
    assert config.get("http", "service_url") == ""
    assert config.origin("http", "request_timeout") == "default"


class TestInstaller:
    """A site's package ``jobmon_installer…`` names the file; there may be one."""

    @pytest.fixture(autouse=True)
    def _modules(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "site.yaml").write_text("http: {service_url: 'http://site'}")
        (tmp_path / ".jobmon").mkdir()
        (tmp_path / ".jobmon/config.yaml").write_text("http: {service_url: 'http://user'}")

    def install(self, directory: Path, name: str, text: str) -> None:
        (directory / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    def test_it_comes_before_the_users_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = f"def get_config_file(): return {str(tmp_path / 'site.yaml')!r}"
        self.install(tmp_path, "jobmon_installer_here", text)
        assert JobmonConfig().get("http", "service_url") == "http://site"
        monkeypatch.setenv("JOBMON__CONFIG_FILE", str(tmp_path / ".jobmon/config.yaml"))
        assert JobmonConfig().get("http", "service_url") == "http://user"
        monkeypatch.delitem(sys.modules, "jobmon_installer_here")

    def test_one_without_the_function_is_passed_over(self, tmp_path: Path) -> None:
        self.install(tmp_path, "jobmon_installer_odd", "x = 1")
        assert JobmonConfig().get("http", "service_url") == "http://user"

    def test_two_are_too_many(self, tmp_path: Path) -> None:
        self.install(tmp_path, "jobmon_installer_a", "")
        self.install(tmp_path, "jobmon_installer_b", "")
        with pytest.raises(ConfigError, match="jobmon_installer_a, jobmon_installer_b"):
            JobmonConfig()


# -- .env -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=1", "1"),
        ("export X=1", "1"),
        ("  X = a b  ", "a b"),
        ("X=a#b", "a#b"),
        ("X=a # b", "a"),
        ("X=", ""),
        ("X= # nothing", ""),
        ("X=''", ""),
        ("X='a # \\n b'  # c", "a # \\n b"),
        ('X="a # \\"b\\" \\n"', 'a # "b" \n'),
        ("X=mysql://u:p#w@h/d?a=b", "mysql://u:p#w@h/d?a=b"),
        ("# X=1", None),
        ("", None),
    ],
)
def test_lines_of_a_dotenv_file(line: str, value: str | None, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{line}\n")
    assert read_dotenv(tmp_path / ".env") == ({} if value is None else {"X": value})


@pytest.mark.parametrize("line", ["X", "1X=2", "X='a", 'X="a', "X='a' b", "a b=c"])
def test_a_line_that_is_not_understood_is_warned_about(line: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"A=1\n{line}\nB=2\n")
    with pytest.warns(UserWarning, match="line 2: not understood"):
        assert read_dotenv(tmp_path / ".env") == {"A": "1", "B": "2"}


def test_a_dotenv_file_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the environment and the file; not under pytest, and the environment is not changed."""
    (tmp_path / "c.yaml").write_text(
        "http: {request_timeout: 1, retries_timeout: 2, gui_url: 'http://${HOST_OF_GUI}'}"
    )
    (tmp_path / ".env").write_text(
        "JOBMON__CONFIG_FILE=c.yaml\nJOBMON__HTTP__REQUEST_TIMEOUT=3\nJOBMON__HTTP__RETRIES_ATTEMPTS=4\n"
        "JOBMON__TELEMETRY__TRACING__A=5\nHOST_OF_GUI=gui\nJOBMON__NOPE__X=1\n"
    )
    program = (
        "import json, os, warnings\n"
        "from jobmon.core.configuration import JobmonConfig\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    config = JobmonConfig()\n"
        "names = [('http', n) for n in ('request_timeout', 'retries_attempts', 'retries_timeout', 'gui_url')]\n"
        "print(json.dumps([[config.get(*n), config.origin(*n)] for n in [*names, ('telemetry', 'tracing.a')]]\n"
        "      + [str(each.message) for each in caught] + ['HOST_OF_GUI' in os.environ]))"
    )
    environment = {**os.environ, "JOBMON__HTTP__RETRIES_ATTEMPTS": "9"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [
        [3, ".env"],
        [9, "environment"],
        [2, "file"],
        ["http://gui", "file"],
        [5, ".env"],
        ".env: unknown configuration variable JOBMON__NOPE__X (ignored)",
        False,
    ]
    monkeypatch.chdir(tmp_path)
    assert JobmonConfig().dotenv == {}


def test_the_command_of_earlier_generations_names_its_successor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["jobmon_config"])
    configuration.main()
    assert "jobmon config show" in capsys.readouterr().out
