"""The configuration: what applies, and changing the file."""

from __future__ import annotations

from typing import Any

from jobmon.core.configuration import KEYS, JobmonConfig, coerce
from jobmon.core.exceptions import ConfigError

MASK = "********"
"""Shown in place of a secret."""


def config_values(section: str = "", key: str = "") -> dict[str, dict[str, Any]]:
    """The configuration that applies, section by section, with secrets masked.

    Args:
        section: only this section.
        key: only this key; ``section.key`` names both.

    Raises:
        ConfigError: there is no such section or key.
    """
    if key and not section:
        section, _, key = key.partition(".")
    config = JobmonConfig()
    sections = [section.lower()] if section else sorted({each.section for each in KEYS})
    values = {name: _masked(name, config.get_section(name)) for name in sections}
    if not key:
        return values
    node: Any = values[section.lower()]
    for part in key.lower().split("."):
        if not isinstance(node, dict) or part not in node:
            raise ConfigError(f"The configuration has no key {section}.{key}.")
        node = node[part]
    return {section.lower(): {key.lower(): node}}


def _masked(section: str, values: dict[str, Any]) -> dict[str, Any]:
    secrets = {each.name for each in KEYS if each.section == section and each.secret}
    return {name: MASK if name in secrets and value else value for name, value in values.items()}


def update_config_value(key: str, value: str, config_file: str | None = None) -> str:
    """Write a value into the configuration file; a message that says where.

    Args:
        key: an existing key, such as ``http.service_url`` or ``db.pool.size``.
        value: its new value, as it would be written in the environment.
        config_file: the file; by default the one that applies, else ``~/.jobmon/config.yaml``.

    Raises:
        ConfigError: there is no such key, or the file cannot be read or written.
    """
    section, _, name = key.lower().partition(".")
    known = next(
        (
            each
            for each in KEYS
            if each.section == section
            and (each.name == name or (each.is_open and name.startswith(f"{each.name}.")))
        ),
        None,
    )
    if known is None:
        raise ConfigError(
            f"The configuration has no key '{key}'; 'jobmon config show' lists those there are, "
            "written section.key."
        )
    typed = value if isinstance(known.default, str) else coerce(value)
    is_number = isinstance(known.default, int | float) and not isinstance(known.default, bool)
    if isinstance(known.default, bool) and not isinstance(typed, bool):
        raise ConfigError(f"{key} must be true or false, not '{value}'.")
    if is_number and (isinstance(typed, bool) or not isinstance(typed, int | float)):
        raise ConfigError(f"{key} must be a number, not '{value}'.")
    config = JobmonConfig(config_file or "")
    config.set(section, name, typed)
    config.write()
    return f"{key} was set to {MASK if known.secret else value} in {config.filepath}."
