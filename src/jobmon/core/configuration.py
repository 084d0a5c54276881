"""Configuration: one table of keys, five sources.

A value comes from, in this order: the ``dict_config`` argument (and later calls of ``set``), the environment
(``JOBMON__SECTION__KEY``), a file ``.env`` in the working directory, a configuration file, the default in
:mod:`jobmon.core.configuration_keys`.
A file is layered over the defaults, it does not replace them. The file is the constructor's argument, else the one
named by ``JOBMON__CONFIG_FILE``, else the one a site's ``jobmon_installer*`` package names by ``get_config_file()``, else
``~/.jobmon/config.yaml`` where that exists. ``${NAME}`` in a value of a file is replaced from the environment and ``.env``.

Keys whose values are mappings of the site's own (*open* ones) take single entries from the environment as well:
``JOBMON__TELEMETRY__TRACING__SERVER_ENABLED`` is an entry of ``telemetry.tracing``.
"""

from __future__ import annotations

import ast
import copy
import importlib
import json
import os
import pkgutil
import string
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jobmon.core.configuration_keys import ENV_PREFIX, KEYS, Key
from jobmon.core.dotenv import read_dotenv
from jobmon.core.exceptions import ConfigError

CONFIG_FILE_ENV = "JOBMON__CONFIG_FILE"
_INSTALLER_PREFIX = "jobmon_installer"

_BY_PATH = {(key.section, key.name): key for key in KEYS}
_SECTIONS = frozenset(key.section for key in KEYS)
_UNSET = object()


def open_key(section: str, name: str) -> Key | None:
    """The open key that ``section.name`` is, or is an entry of."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        key = _BY_PATH.get((section, ".".join(parts[:length])))
        if key is not None:
            return key if key.is_open else None
    return None


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


def _expand(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return string.Template(value).safe_substitute(variables) if "$" in value else value
    if isinstance(value, dict):
        return {k: _expand(v, variables) for k, v in value.items()}
    return [_expand(v, variables) for v in value] if isinstance(value, list) else value


def _put(mapping: dict[str, Any], path: list[str], value: Any) -> None:
    """Set an entry of nested mappings; names are those already there where only the case differs."""
    for name in path[:-1]:
        name = _name_in(mapping, name)
        if not isinstance(mapping.get(name), dict):
            mapping[name] = {}
        mapping = mapping[name]
    mapping[_name_in(mapping, path[-1])] = value


def _name_in(mapping: Mapping[str, Any], name: str) -> str:
    return next((known for known in mapping if str(known).lower() == name.lower()), name)


def _flatten(section: str, values: Mapping[str, Any], origin: str) -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted names, down to the keys of the table; unknown ones are warned about."""

    def walk(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
        key = _BY_PATH.get((section, prefix))
        if key is None and isinstance(node, Mapping) and node:
            for name, value in node.items():
                yield from walk(f"{prefix}.{name}" if prefix else str(name), value)
            return
        if key is None and open_key(section, prefix) is None:
            warnings.warn(f"{origin}: unknown configuration key {section}.{prefix} (ignored)", stacklevel=2)
        yield prefix, node

    for name, value in values.items():
        yield from walk(str(name), value)


def _installers() -> list[str]:
    """Names of the sites' packages.

    Folders are looked through by name first: ``pkgutil`` opens every package in them, which takes 20 ms and more.
    """
    if not any(_may_hold_installer(path) for path in sys.path):
        return []
    return [module.name for module in pkgutil.iter_modules() if module.name.startswith(_INSTALLER_PREFIX)]


def _may_hold_installer(path: str) -> bool:
    try:
        return any(name.startswith(_INSTALLER_PREFIX) for name in os.listdir(path or "."))
    except NotADirectoryError:  # an archive: only pkgutil can tell
        return True
    except OSError:
        return False


def default_config_file(variables: Mapping[str, str] = os.environ) -> str:
    """Path of the configuration file that applies when none is given; empty when there is none.

    Args:
        variables: where ``JOBMON__CONFIG_FILE`` may stand.
    """
    path = variables.get(CONFIG_FILE_ENV, "")
    if path:
        return path
    installers = _installers()
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
    if not isinstance(content, dict) or not all(isinstance(v, dict | None) for v in content.values()):
        raise ConfigError(f"The configuration file {path} must hold sections of 'key: value' lines.")
    return {str(section): values or {} for section, values in content.items()}


class JobmonConfig:
    """The configuration as this process sees it.

    Args:
        filepath: a YAML file layered over the defaults; empty for the file that applies by default.
        dict_config: ``{section: {key: value}}``, stronger than everything else.
    """

    def __init__(
        self, filepath: str = "", dict_config: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.dotenv = {} if "pytest" in sys.modules else read_dotenv(Path(".env"))
        self.filepath = filepath or default_config_file(self._variables())
        self._file: dict[tuple[str, str], Any] = {}
        self._explicit: dict[tuple[str, str], Any] = {}
        if self.filepath:
            for section, content in read_config_file(self.filepath).items():
                self._load(self._file, section, content, self.filepath)
        for section, values in (dict_config or {}).items():
            self._load(self._explicit, section, values, "dict_config")
        self._warn_of_unknown_variables()

    def _variables(self) -> Mapping[str, str]:
        """The environment, with what ``.env`` adds to it."""
        return {**self.dotenv, **os.environ} if self.dotenv else os.environ

    def _load(
        self, store: dict[tuple[str, str], Any], section: str, values: Mapping[str, Any], origin: str
    ) -> None:
        if section not in _SECTIONS:
            warnings.warn(f"{origin}: unknown configuration section {section} (ignored)", stacklevel=3)
        for name, value in _flatten(section, values, origin):
            opened = open_key(section, name)
            if opened is None or opened.name == name:
                store[section, name] = value
                continue
            at = (section, opened.name)
            entries = copy.deepcopy(store.get(at) or self._file.get(at) or {})
            _put(entries, name.removeprefix(f"{opened.name}.").split("."), value)
            store[at] = entries

    def _warn_of_unknown_variables(self) -> None:
        known = {key.env for key in KEYS} | {CONFIG_FILE_ENV}
        open_prefixes = tuple(f"{key.env}__" for key in KEYS if key.is_open)
        for origin, names in (("environment", os.environ), (".env", self.dotenv)):
            for name in names:
                if name.startswith(ENV_PREFIX) and name not in known and not name.startswith(open_prefixes):
                    warnings.warn(f"{origin}: unknown configuration variable {name} (ignored)", stacklevel=3)

    # -- reading ----------------------------------------------------------------------------------
    def origin(self, section: str, key: str) -> str:
        """Where the value comes from: ``argument``, ``environment``, ``.env``, ``file`` or ``default``."""
        return self._find(section.lower(), key.lower())[1]

    def place(self, section: str, key: str) -> str:
        """Where the value comes from, by name: the variable, the path of the file; ``argument``, ``default``."""
        return self._find(section.lower(), key.lower())[2]

    def idle_settings(self) -> list[Key]:
        """Keys that were given a value of their own but have no effect in this version."""
        return [
            key
            for key in KEYS
            if key.is_idle
            and self.origin(key.section, key.name) != "default"
            and self.get(key.section, key.name) != key.default
        ]

    def _find(self, section: str, key: str) -> tuple[Any, str, str]:
        """Value, kind of its origin, and name of the place."""
        opened = open_key(section, key)
        if opened is None:
            return self._find_whole(section, key)
        value, origin, place = self._find_whole(section, opened.name)
        if origin != "argument":
            for name, text in sorted(self._variables().items()):
                if name.startswith(f"{opened.env}__"):
                    value = copy.deepcopy(value) if isinstance(value, dict) else {}
                    _put(value, name.removeprefix(f"{opened.env}__").lower().split("__"), coerce(text))
                    origin, place = self._origin_of_variable(name)
        for part in key.removeprefix(opened.name).removeprefix(".").split(".") if key != opened.name else ():
            name = _name_in(value, part) if isinstance(value, dict) else part
            value = value[name] if isinstance(value, dict) and name in value else _UNSET
        return value, origin, place

    def _find_whole(self, section: str, key: str) -> tuple[Any, str, str]:
        known = _BY_PATH.get((section, key))
        env = known.env if known else Key(section, key, None, "").env
        variables = self._variables()
        if (section, key) in self._explicit:
            return self._explicit[section, key], "argument", "argument"
        if env in variables:
            text = variables[env]
            is_text = known is not None and isinstance(known.default, str)
            return text if is_text else coerce(text), *self._origin_of_variable(env)
        value = self._file.get((section, key))
        if value is not None:
            expanded = _expand(value, variables)
            if known is not None and not isinstance(known.default, str) and expanded != value:
                expanded = coerce(expanded) if isinstance(expanded, str) else expanded
            return expanded, "file", self.filepath
        return copy.copy(known.default) if known is not None else _UNSET, "default", "default"

    def _origin_of_variable(self, name: str) -> tuple[str, str]:
        return ("environment", name) if name in os.environ else (".env", f"{name} in .env")

    def get(self, section: str, key: str) -> Any:
        """Value of a key; ``pool.size`` names a nested one.

        Raises:
            ConfigError: when the key has neither a value nor a default.
        """
        value = self._find(section.lower(), key.lower())[0]
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


def main() -> None:
    """``jobmon_config``, a command of earlier generations that had nothing to do: it names its successor."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="jobmon_config",
        description="This command does nothing by itself.\n\nTo see the configuration:  jobmon config show\n"
        "To change it:              jobmon config set KEY VALUE",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    parser.print_help()
