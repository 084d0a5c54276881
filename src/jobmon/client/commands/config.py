"""The configuration: what applies, and changing the file."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from jobmon.core.configuration import JobmonConfig, coerce, open_key
from jobmon.core.configuration_keys import KEYS, Key
from jobmon.core.exceptions import ConfigError

MASK = "********"
"""Shown in place of a secret."""


_PASSWORD_IN_URI = re.compile(r"(?P<before>://[^:/@\s]*:)\S*(?P<after>@)")
_SECRET_PARAMETER = re.compile(
    r"(?P<before>[?&;][^=&;\s]*(?:passw|secret|token|key)[^=&;\s]*=)[^&;\s]*", re.IGNORECASE
)
_SECRET_NAME = re.compile(
    r"passw|secret|token|credential|authorization|api_?key|private|^headers$", re.IGNORECASE
)


class Setting(NamedTuple):
    """A configuration key as it applies here.

    Attributes:
        name: name within its section, with dots.
        value: its value, without secrets.
        origin: where the value comes from: ``default``, ``argument``, the path of a file, the name of a variable.
        is_idle: it has no effect in this version.
    """

    name: str
    value: Any
    origin: str
    is_idle: bool = False


def config_settings(
    section: str = "", key: str = "", config: JobmonConfig | None = None
) -> dict[str, list[Setting]]:
    """The configuration that applies, section by section, with secrets masked.

    Args:
        section: only this section.
        key: only this key, or those below it; ``section.key`` names both.
        config: the configuration; by default that of this process.

    Raises:
        ConfigError: there is no such section or key.
    """
    if key and not section:
        section, _, key = key.partition(".")
    section, key = section.lower(), key.lower()
    known = {each.section for each in KEYS}
    if section and section not in known:
        raise ConfigError(_unknown(section, key))
    config = config or JobmonConfig()
    found: dict[str, list[Setting]] = {}
    for each in KEYS:
        if section and each.section != section:
            continue
        if key and each.name != key and not each.name.startswith(f"{key}."):
            continue
        value, origin = config.get(each.section, each.name), config.place(each.section, each.name)
        found.setdefault(each.section, []).append(
            Setting(each.name, masked(each, value), origin, each.is_idle)
        )
    opened = open_key(section, key) if key else None
    if not found and opened is not None:
        value, origin = config.get(section, key), config.place(section, key)
        shown = MASK if _SECRET_NAME.search(key.rpartition(".")[2]) and value else without_secrets(value)
        found[section] = [Setting(key, shown, origin, opened.is_idle)]
    if not found:
        raise ConfigError(_unknown(section, key))
    return found


def _unknown(section: str, key: str) -> str:
    """There is no such section or key; which ones are called much like it."""
    import difflib

    names = [f"{each.section}.{each.name}" for each in KEYS]
    if key:
        wanted = f"{section}.{key}"
        text = f"The configuration has no key {wanted}."
    else:
        wanted = section
        text = f"The configuration has no section {section}; a key is written section.key."
    near = [name for name in names if wanted in (name.partition(".")[2], name.rpartition(".")[2])]
    near += difflib.get_close_matches(wanted, [*names, *{each.section for each in KEYS}], cutoff=0.7)
    return f"{text} Did you mean {' or '.join(dict.fromkeys(near))}?" if near else text


def config_values(section: str = "", key: str = "") -> dict[str, dict[str, Any]]:
    """What :func:`config_settings` tells, without origins: values by section and name; the same errors."""
    settings = config_settings(section, key)
    values: dict[str, dict[str, Any]] = {}
    for name, rows in settings.items():
        values[name] = {}
        for row in rows:
            *parents, last = row.name.split(".")
            node = values[name]
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = row.value
    return values


def masked(key: Key, value: Any) -> Any:
    """A value as it may be shown: passwords in addresses and everything named like a secret are masked."""
    if key.secret and value and not (isinstance(value, str) and key.name.endswith("_uri")):
        return MASK
    return without_secrets(value)


def without_secrets(value: Any) -> Any:
    """A value, or a mapping of values, with passwords in addresses and what is named like a secret masked."""
    if isinstance(value, str):
        value = _PASSWORD_IN_URI.sub(rf"\g<before>{MASK}\g<after>", value)
        return _SECRET_PARAMETER.sub(rf"\g<before>{MASK}", value)
    if isinstance(value, dict):
        return {
            name: MASK if _SECRET_NAME.search(str(name)) and each else without_secrets(each)
            for name, each in value.items()
        }
    return [without_secrets(each) for each in value] if isinstance(value, list) else value


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
    shown = MASK if known.secret or _SECRET_NAME.search(name) else value
    idle = " It has no effect in this version." if known.is_idle else ""
    env = next((e for e in (known.env,) if e in os.environ), "")
    hidden = f" But {env} is set in the environment, and counts more." if env else ""
    return f"{key} was set to {shown} in {config.filepath}.{idle}{hidden}"
