"""Names of tasks: what they may not hold, and how they are made where nobody gave one."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

MADE_NAME_CHARACTERS = 249
"""Names that are made are cut to this length."""


@functools.cache
def illegal_characters() -> re.Pattern[str]:
    """Finds a character that no name may have: a name becomes part of the names of log files."""
    from jobmon.core.constants import SpecialChars

    return re.compile(r"[\s\x00-\x1f\x7f" + re.escape(SpecialChars.ILLEGAL_SPECIAL_CHARACTERS) + "]")


def legal_task_name(text: str) -> str:
    """A text as a name: what it may not hold becomes ``_``, a digit in front gets one before it, a long one is cut."""
    name = illegal_characters().sub("_", text) or "_"
    return (f"_{name}" if name[0].isdigit() else name)[:MADE_NAME_CHARACTERS]


def create_task_name(
    kwargs_for_name: Mapping[str, Any],
    prefix: str = "",
    name_func: Callable[[str, dict[str, Any]], str] | None = None,
) -> str:
    """The name of a task: ``prefix:arg=value:…``, or what ``name_func(prefix, kwargs)`` says.

    Characters that names of tasks may not have become ``_``; long names are cut.

    Raises:
        TypeError: ``name_func`` returned no text.
    """
    if name_func is not None:
        name = name_func(prefix, dict(kwargs_for_name))
        if not isinstance(name, str):
            raise TypeError(f"name_func of '{prefix}' must return a text, not {name!r}.")
    else:
        parts = [prefix] if prefix else []
        for arg, value in kwargs_for_name.items():
            shown = f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple | set) else value
            parts.append(f"{arg}={shown}")
        name = ":".join(parts)
    return legal_task_name(name)
