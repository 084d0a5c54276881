"""What a task may ask of a Slurm cluster: the names there are, and what each value may be.

Each resource has a reader, which gives the value as the rest of the plugin takes it (numbers as numbers, lists of
texts as lists), or raises a ``ValueError`` whose text goes on behind the name and the value.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jobmon.core.exceptions import InvalidMemoryFormat, InvalidMemoryUnit
from jobmon.core.resources import memory_to_gib, runtime_to_seconds

ENVIRONMENTS = ("submit", "clean")
OWN_OPTIONS = ("array", "job-name", "parsable", "wrap", "wait", "test-only", "help", "version", "usage")
"""Long options of sbatch with which Jobmon would no longer know its jobs; so do their short forms."""
OWN_LETTERS = "aJWhV"


def _amount(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ValueError("is not a whole number")
    return int(value)


def _count(value: Any) -> int:
    if _amount(value) < 1:
        raise ValueError("is not 1 or more")
    return int(value)


def _count_or_none(value: Any) -> int:
    if _amount(value) < 0:
        raise ValueError("is not 0 or more")
    return int(value)


def _memory(value: Any) -> float:
    try:
        gib = memory_to_gib(value)
    except (InvalidMemoryFormat, InvalidMemoryUnit) as error:
        raise ValueError(f"cannot be read: {error}") from error
    if gib <= 0:
        raise ValueError("is no memory at all (Slurm takes 0 for all of a node); ask for some")
    return gib


def _runtime(value: Any) -> int:
    seconds = runtime_to_seconds(value)
    if seconds <= 0:
        raise ValueError("is no time at all (Slurm takes 0 for no limit); ask for some")
    return seconds


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("is not a text")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("holds a line break or another control character")
    return value


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            return shlex.split(_text(value)) if value.strip() else []
        except ValueError as error:
            raise ValueError(f"cannot be taken apart into words: {error}".lower()) from error
    if not isinstance(value, list | tuple):
        raise ValueError("is neither a text nor a list of texts")
    return [_text(word) for word in value]


def _environment(value: Any) -> str:
    if value not in ENVIRONMENTS:
        raise ValueError(f"is not one of {', '.join(ENVIRONMENTS)}")
    return str(value)


def _sbatch_arguments(value: Any) -> list[str]:
    words = _words(value)
    for word in words:
        if _is_own(word):
            raise ValueError(f"holds {word}, which Jobmon sets itself")
    if words and not words[0].startswith("-"):
        raise ValueError("does not begin with an option; give options only, such as --nice=10")
    return words


def _is_own(word: str) -> bool:
    """Whether a word is one of the options that Jobmon needs for itself; sbatch takes beginnings of long ones too."""
    if word.startswith("--"):
        name = word[2:].split("=", 1)[0]
        return bool(name) and any(option.startswith(name) for option in OWN_OPTIONS)
    return word.startswith("-") and word[1:2] in OWN_LETTERS and len(word) > 1


RESOURCES: Mapping[str, Callable[[Any], Any]] = {
    "queue": _text,
    "cores": _count,
    "memory": _memory,
    "runtime": _runtime,
    "project": _text,
    "constraints": _text,
    "gpus": _count_or_none,
    "gres": _text,
    "qos": _text,
    "nodes": _count,
    "ntasks": _count,
    "reservation": _text,
    "working_dir": _text,
    "stdout": _text,
    "stderr": _text,
    "standard_output": _text,
    "standard_error": _text,
    "environment": _environment,
    "modules": _words,
    "venv": _text,
    "conda": _text,
    "container": _text,
    "container_program": _text,
    "container_arguments": _words,
    "sbatch_arguments": _sbatch_arguments,
}
"""What a task may ask for, and how each value is read."""

OTHER_NAMES: Mapping[str, str] = {
    "partition": "queue",
    "num_cores": "cores",
    "cpus": "cores",
    "cpus_per_task": "cores",
    "m_mem_free": "memory",
    "mem": "memory",
    "max_runtime_seconds": "runtime",
    "time": "runtime",
    "account": "project",
    "constraint": "constraints",
    "gpu": "gpus",
    "chdir": "working_dir",
    "output": "standard_output",
    "error": "standard_error",
    "sbatch_args": "sbatch_arguments",
}
"""What others call the same; named in the message about an unknown name."""


def read_resources(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values as the rest of the plugin takes them, and what is wrong with the others, a sentence each.

    A value of ``None`` counts as not given; names that are not known are left out.
    """
    found, problems = {}, []
    for name, value in given.items():
        if value is None or name not in RESOURCES:
            continue
        try:
            found[name] = RESOURCES[name](value)
        except (ValueError, OverflowError) as error:
            problems.append(f"{name}={value!r} {str(error).rstrip('.')}.")
    return found, problems


def unknown_names(given: Iterable[str]) -> list[str]:
    """A sentence about the names that are not known, with what was probably meant; nothing when all are."""
    unknown = []
    for name in given:
        if name not in RESOURCES:
            meant = OTHER_NAMES.get(name) or next(iter(difflib.get_close_matches(name, RESOURCES)), "")
            unknown.append(f"'{name}'" + (f" (did you mean {meant}?)" if meant else ""))
    if not unknown:
        return []
    return [f"There is no resource {' or '.join(unknown)} on Slurm; known are {', '.join(RESOURCES)}."]
