"""Values that travel with every request into the server's log, and logging configurations on request.

Nothing here configures logging by being imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from jobmon.core.exceptions import ConfigError

if TYPE_CHECKING:
    from jobmon.core.configuration import JobmonConfig

PREFIX = "telemetry_"
"""Put before the names of context values that lack it."""

_context: ContextVar[dict[str, str]] = ContextVar("jobmon_context")


def _prefixed(name: str) -> str:
    return name if name.startswith(PREFIX) else PREFIX + name


def get_jobmon_context() -> dict[str, str]:
    """The values that go along with requests, by their full names; a copy."""
    return dict(_context.get({}))


def set_jobmon_context(**values: object) -> None:
    """Have values go along with every request of this thread or task from now on, as texts."""
    _context.set({**get_jobmon_context(), **{_prefixed(name): str(value) for name, value in values.items()}})


def unset_jobmon_context(*names: str) -> None:
    """Take values away again; names that are not set are ignored."""
    gone = {_prefixed(name) for name in names}
    _context.set({name: value for name, value in get_jobmon_context().items() if name not in gone})


def clear_jobmon_context() -> None:
    """Take all values away."""
    _context.set({})


@contextmanager
def bind_jobmon_context(**values: object) -> Iterator[None]:
    """Have values go along with the requests made inside the ``with`` block."""
    token = _context.set(
        {**get_jobmon_context(), **{_prefixed(name): str(value) for name, value in values.items()}}
    )
    try:
        yield
    finally:
        _context.reset(token)


def logging_settings(config: JobmonConfig, component: str, default: dict[str, Any]) -> dict[str, Any]:
    """What to give to ``logging.config.dictConfig``.

    Args:
        config: the configuration.
        component: ``client``, ``server``, ``distributor`` or ``worker``: ``logging.<component>_logconfig_file``
            replaces the default, ``logging.<component>`` changes formatters, handlers and loggers one by one.
        default: what applies without them.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = str(config.get("logging", f"{component}_logconfig_file"))
    settings = {**default} if not path else {"version": 1, "disable_existing_loggers": False, **_read(path)}
    for section, values in dict(config.get("logging", component)).items():
        settings[section] = {**settings.get(section, {}), **values}
    return settings


def _read(path: str) -> dict[str, Any]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The logging configuration {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"The logging configuration {path} must hold 'key: value' lines.")
    return content
