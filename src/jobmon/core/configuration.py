"""Configuration: one table of keys, four sources.

A value comes from, in this order: the ``dict_config`` argument (and later calls of ``set``), the environment
(``JOBMON__SECTION__KEY``), a configuration file, the default in :data:`KEYS`. A file is layered over the
defaults, it does not replace them. The file is the constructor's argument, else the one named by ``JOBMON__CONFIG_FILE``,
else the one a site's ``jobmon_installer*`` package names by ``get_config_file()``, else ``~/.jobmon/config.yaml``
where that exists. ``${NAME}`` in a value of a file is replaced from the environment.
"""

from __future__ import annotations

import ast
import copy
import importlib
import json
import os
import pkgutil
import string
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobmon.core.exceptions import ConfigError

ENV_PREFIX = "JOBMON__"
CONFIG_FILE_ENV = "JOBMON__CONFIG_FILE"


@dataclass(frozen=True)
class Key:
    """One configuration key: its default, what it means, and whether it must not be shown."""

    section: str
    name: str
    default: Any
    meaning: str
    secret: bool = False
    is_open: bool = False  # a mapping whose keys are the site's own

    @property
    def env(self) -> str:
        """Name of the environment variable."""
        return f"{ENV_PREFIX}{self.section.upper()}__{self.name.upper().replace('.', '__')}"


def _keys(section: str, *rows: tuple[Any, ...]) -> Iterator[Key]:
    for name, default, meaning, *flags in rows:
        yield Key(section, name, default, meaning, secret="secret" in flags, is_open="open" in flags)


KEYS: tuple[Key, ...] = (
    *_keys(
        "http",
        ("service_url", "", "Address of the Jobmon server; empty: start and use a local one."),
        ("route_prefix", "/api/v3", "Prefix of every route."),
        ("request_timeout", 20, "Seconds one request may take."),
        ("retries_attempts", 10, "How often a request is tried."),
        ("retries_timeout", 300, "Seconds after which a request is given up."),
        ("gui_url", "", "Address of the web GUI; empty: the server's own."),
        ("token_file", "", "File (mode 0600) with the bearer token sent to http.service_url."),
    ),
    *_keys(
        "embedded",
        ("directory", "~/.jobmon", "Where the local server keeps its database, logs and records."),
        ("idle_shutdown_seconds", 900, "The local server ends itself after so long without use; 0: never."),
        ("startup_timeout_seconds", 60, "How long a start of the local server may take."),
        ("allow_network_filesystem", False, "Use embedded.directory although it is on a network filesystem."),
    ),
    *_keys(
        "db",
        ("sqlalchemy_database_uri", "", "Database of the server, as a SQLAlchemy URI.", "secret"),
        ("sqlalchemy_connect_args", {}, "Extra arguments of the database driver.", "open"),
        ("pool.size", 8, "Connections kept open."),
        ("pool.max_overflow", 8, "Connections opened beyond that under load."),
        ("pool.timeout", 30, "Seconds a request waits for a connection."),
        ("pool.recycle", 300, "Seconds after which a connection is replaced."),
        ("pool.pre_ping", True, "Test a connection before it is used."),
    ),
    *_keys(
        "heartbeat",
        ("workflow_run_interval", 30, "Seconds between two signs of life of a controller."),
        ("task_instance_interval", 90, "Seconds between two signs of life of a remote task."),
        ("report_by_buffer", 3.1, "Intervals without a sign of life after which something counts as lost."),
        ("graceful_termination_retry_count", 3, "Heartbeats retried before a worker gives up."),
        ("graceful_termination_retry_heartbeat", True, "Whether such heartbeats are retried."),
    ),
    *_keys(
        "distributor",
        ("poll_interval", 10, "Seconds between two looks at a remote cluster."),
        ("worker_node_entry_point", "", "Path of worker_node_entry_point on the compute nodes."),
    ),
    *_keys(
        "worker_node",
        ("command_interrupt_timeout", 10, "Seconds a command has to end after it was asked to."),
    ),
    *_keys(
        "task",
        ("max_infrastructure_losses", 10, "Attempts a task may lose through no fault of its own."),
        ("log_directory", "", "Default directory of tasks' logs; empty: logs/ in embedded.directory."),
    ),
    *_keys(
        "multiprocess",
        ("parallelism", 0, "Commands run at once on this machine; 0: as many as it has cores."),
    ),
    *_keys(
        "progress",
        ("enabled", True, "Whether workflow.run() shows progress on stderr."),
    ),
    *_keys(
        "logging",
        ("client_logconfig_file", "", "Logging configuration of the client (YAML, logging.config form)."),
        ("server_logconfig_file", "", "The same for the server."),
        ("distributor_logconfig_file", "", "The same for a detached controller."),
        ("worker_logconfig_file", "", "The same for the worker node wrapper."),
        ("client", {}, "Overrides: formatters, handlers, loggers.", "open"),
        ("server", {}, "Overrides: formatters, handlers, loggers.", "open"),
        ("distributor", {}, "Overrides: formatters, handlers, loggers.", "open"),
        ("worker", {}, "Overrides: formatters, handlers, loggers.", "open"),
    ),
    *_keys(
        "auth",
        ("enabled", False, "Whether users sign in."),
    ),
    *_keys("session", ("secret_key", "", "Signs the browser's session cookie.", "secret")),
    *_keys(
        "oidc",
        ("name", "OIDC", "Name of the identity provider."),
        ("conf_url", "", "Its discovery document."),
        ("client_id", "", "Client id there."),
        ("client_secret", "", "Client secret there.", "secret"),
        ("scope", "openid email profile", "Scopes asked for."),
        ("redirect_uri", "", "Where the provider sends the browser back."),
        ("login_landing_page_uri", "", "Where a login ends."),
        ("admin_group", "", "Members may change every workflow."),
    ),
    *_keys(
        "cors", ("allowed_origins", "http://localhost:3000,http://localhost:3001", "Origins of browsers.")
    ),
    *_keys(
        "reaper",
        ("poll_interval_minutes", 5, "Minutes between two looks for lost runs."),
        ("slack_api_url", "", "Where the reaper reports."),
        ("slack_token", "", "Its token.", "secret"),
        ("slack_channel_default", "", "Its channel."),
    ),
    *_keys(
        "telemetry",
        ("deployment_environment", "prod", "Named in traces."),
        ("debug", False, "Verbose telemetry."),
        ("tracing", {}, "Tracing: requester_enabled, server_enabled, span_exporter, exporters.", "open"),
        ("logging", {}, "Log export: enabled, log_exporter, exporters.", "open"),
    ),
)
"""Every key there is; the reference in the documentation is made from this table."""

_BY_PATH = {(key.section, key.name): key for key in KEYS}
_SECTIONS = frozenset(key.section for key in KEYS)
_UNSET = object()


def coerce(text: str) -> Any:
    """Value of a text from the environment: int, float, bool, JSON or Python literal, else the text itself."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            pass
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if text[:1] in "[{(\"'":
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(text)
            except (ValueError, SyntaxError):
                pass
    return text


_BOOLEANS = {"t": True, "true": True, "yes": True, "f": False, "false": False, "no": False}


def _expand(value: Any) -> Any:
    if isinstance(value, str):
        return string.Template(value).safe_substitute(os.environ) if "$" in value else value
    if isinstance(value, dict):
        return {k: _expand(v) for k, v in value.items()}
    return [_expand(v) for v in value] if isinstance(value, list) else value


def _flatten(section: str, values: Mapping[str, Any], origin: str) -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted names, down to the keys of the table; unknown ones are warned about."""

    def walk(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
        key = _BY_PATH.get((section, prefix))
        if key is None and isinstance(node, Mapping) and node:
            for name, value in node.items():
                yield from walk(f"{prefix}.{name}" if prefix else str(name), value)
            return
        if key is None:
            warnings.warn(f"{origin}: unknown configuration key {section}.{prefix} (ignored)", stacklevel=2)
        yield prefix, node

    for name, value in values.items():
        yield from walk(str(name), value)


def default_config_file() -> str:
    """Path of the configuration file that applies when none is given; empty when there is none."""
    path = os.environ.get(CONFIG_FILE_ENV, "")
    if path:
        return path
    installers = [m.name for m in pkgutil.iter_modules() if m.name.startswith("jobmon_installer")]
    if len(installers) > 1:
        raise ConfigError(f"More than one site installer is present: {', '.join(installers)}. Keep one.")
    if installers:
        module = importlib.import_module(installers[0])
        if hasattr(module, "get_config_file"):
            return str(module.get_config_file())
    user_file = Path("~/.jobmon/config.yaml").expanduser()
    return str(user_file) if user_file.is_file() else ""


def read_config_file(path: str) -> dict[str, dict[str, Any]]:
    """Sections of a YAML configuration file."""
    import yaml

    try:
        content = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"The configuration file {path} does not exist.") from None
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ConfigError(f"The configuration file {path} must hold sections of 'key: value' lines.")
    return content


class JobmonConfig:
    """The configuration as this process sees it.

    Args:
        filepath: a YAML file layered over the defaults; empty for the file that applies by default.
        dict_config: ``{section: {key: value}}``, stronger than everything else.
    """

    def __init__(
        self, filepath: str = "", dict_config: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.filepath = filepath or default_config_file()
        self._file: dict[tuple[str, str], Any] = {}
        self._explicit: dict[tuple[str, str], Any] = {}
        if self.filepath:
            for section, content in read_config_file(self.filepath).items():
                self._load(self._file, section, content, self.filepath)
        for section, values in (dict_config or {}).items():
            self._load(self._explicit, section, values, "dict_config")
        self._warn_of_unknown_environment()

    @staticmethod
    def _load(
        store: dict[tuple[str, str], Any], section: str, values: Mapping[str, Any], origin: str
    ) -> None:
        if section not in _SECTIONS:
            warnings.warn(f"{origin}: unknown configuration section {section} (ignored)", stacklevel=3)
        for name, value in _flatten(section, values, origin):
            store[section, name] = value

    @staticmethod
    def _warn_of_unknown_environment() -> None:
        known = {key.env for key in KEYS} | {CONFIG_FILE_ENV}
        open_prefixes = tuple(f"{key.env}__" for key in KEYS if key.is_open)
        for name in os.environ:
            if name.startswith(ENV_PREFIX) and name not in known and not name.startswith(open_prefixes):
                warnings.warn(f"environment: unknown configuration variable {name} (ignored)", stacklevel=3)

    # -- reading ----------------------------------------------------------------------------------
    def origin(self, section: str, key: str) -> str:
        """Where the value comes from: ``argument``, ``environment``, ``file`` or ``default``."""
        section, key = section.lower(), key.lower()
        known = _BY_PATH.get((section, key))
        env = known.env if known else Key(section, key, None, "").env
        if (section, key) in self._explicit:
            return "argument"
        if env in os.environ:
            return "environment"
        if (section, key) in self._file:
            return "file"
        return "default"

    def _lookup(self, section: str, key: str) -> Any:
        section, key = section.lower(), key.lower()
        known = _BY_PATH.get((section, key))
        env = known.env if known else Key(section, key, None, "").env
        if (section, key) in self._explicit:
            return self._explicit[section, key]
        if env in os.environ:
            text = os.environ[env]
            return text if known is not None and isinstance(known.default, str) else coerce(text)
        if (section, key) in self._file:
            return _expand(self._file[section, key])
        if known is not None:
            return copy.copy(known.default)
        return _UNSET

    def get(self, section: str, key: str) -> Any:
        """Value of a key; ``pool.size`` names a nested one.

        Raises:
            ConfigError: when the key has neither a value nor a default.
        """
        value = self._lookup(section, key)
        if value is _UNSET:
            raise ConfigError(f"The configuration has no key {section}.{key}.")
        return value

    def get_section(self, section: str) -> dict[str, Any]:
        """All keys of a section with their values; nested keys as nested dictionaries."""
        section = section.lower()
        names = {k.name for k in KEYS if k.section == section}
        names |= {n for s, n in (*self._file, *self._explicit) if s == section}
        if not names:
            raise ConfigError(f"The configuration has no section {section}.")
        result: dict[str, Any] = {}
        for name in sorted(names):
            *parents, last = name.split(".")
            node = result
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = self.get(section, name)
        return result

    get_section_coerced = get_section

    def get_boolean(self, section: str, key: str) -> bool:
        """Value of a key as true or false."""
        value = self.get(section, key)
        if isinstance(value, str):
            if value.lower() not in _BOOLEANS:
                raise ConfigError(f"{section}.{key} must be true or false, not {value!r}.")
            return _BOOLEANS[value.lower()]
        return bool(value)

    def get_int(self, section: str, key: str) -> int:
        """Value of a key as a whole number."""
        return int(self._number(section, key))

    def get_float(self, section: str, key: str) -> float:
        """Value of a key as a number."""
        return self._number(section, key)

    def _number(self, section: str, key: str) -> float:
        value = self.get(section, key)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{section}.{key} must be a number, not {value!r}.") from None

    # -- writing ----------------------------------------------------------------------------------
    def set(self, section: str, key: str, val: Any) -> None:
        """Give a key a value in this object; ``write`` makes it last."""
        self._load(self._explicit, section.lower(), {key.lower(): val}, "set()")

    def write(self, filepath: str = "") -> None:
        """Write what the file held and what was set to ``filepath`` (default: the file it was read from).

        Without any file, ``~/.jobmon/config.yaml`` is written. The file is readable by its owner only, for it may
        hold passwords.
        """
        import yaml

        target = Path(filepath or self.filepath or "~/.jobmon/config.yaml").expanduser()
        content: dict[str, Any] = {}
        for (section, name), value in {**self._file, **self._explicit}.items():
            node = content.setdefault(section, {})
            *parents, last = name.split(".")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=target.parent, prefix=".config-", delete=False
            ) as file:
                yaml.safe_dump(content, file, sort_keys=True, allow_unicode=True)
            os.replace(file.name, target)  # NamedTemporaryFile creates mode 0600
        except OSError as error:
            raise ConfigError(f"The configuration cannot be written to {target}: {error}") from error
        self.filepath = str(target)
