"""How commands ended, in words; what they asked for and went beyond."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from jobmon.core.resources import bytes_to_gib, canonical_resources, describe_memory, memory_to_bytes

ERROR_LINES = 20


def describe_end(exit_code: int, stderr_log: str, stdout_log: str = "", logs: Sequence[str] = ()) -> str:
    """How a command failed, in words, with the last lines it wrote.

    Args:
        exit_code: its exit code; negative: the signal that ended it.
        stderr_log: the end of what it wrote to stderr.
        stdout_log: the same of stdout.
        logs: paths of its log files, to see whether there is room for them.
    """
    text = describe_exit(exit_code)
    if exit_code == -signal.SIGKILL:
        text += " Nobody here sent it; did the machine run out of memory?"
    elif exit_code == 127:
        text = "The command exited with code 127: the shell did not find it. Is it installed and on PATH?"
    elif exit_code == 126:
        text = "The command exited with code 126: it was found but may not be executed."
    return with_last_lines(text + full_disks(*logs), stderr_log, stdout_log)


def describe_exit(exit_code: int) -> str:
    """An exit code (negative: a signal) as a sentence."""
    if exit_code >= 0:
        return f"The command exited with code {exit_code}."
    number = -exit_code
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    return f"The command was ended by signal {number} ({name})."


def with_last_lines(text: str, stderr_log: str, stdout_log: str = "") -> str:
    """A sentence, then the last lines a command wrote to stderr; to stdout where stderr says nothing."""
    log = stderr_log if stderr_log.strip() else stdout_log
    return "\n".join([text, *log.rstrip().splitlines()[-ERROR_LINES:]])


def limits_of(resources: Mapping[str, Any]) -> dict[str, float]:
    """What the launcher is to hold a command to: ``runtime`` in seconds, ``memory`` in bytes.

    What was not asked for, or with 0, has no limit.
    """
    if not resources.get("runtime") and not resources.get("memory"):
        return {}
    asked = canonical_resources({name: resources.get(name) for name in ("runtime", "memory")})
    limits = {}
    if asked["runtime"]:
        limits["runtime"] = asked["runtime"]
    if asked["memory"]:
        limits["memory"] = memory_to_bytes(asked["memory"])
    return limits


def describe_excess(told: Mapping[str, Any], limits: Mapping[str, float]) -> str:
    """How a command went beyond what it asked for, in words; empty when it did not.

    A command that failed by itself after it had used more memory than it asked for counts as well: it may have died
    of that between two looks. One that succeeded does not.

    Args:
        told: the launcher's word about its end.
        limits: see :func:`limits_of`.
    """
    if told["limit"] == "runtime":
        seconds = limits["runtime"]
        return (
            f"The command was ended after {seconds} s: that is the run time it asked for (runtime={seconds})."
        )
    if told["exit_code"] == 0 or "memory" not in limits:
        return ""
    is_above = told["maxrss"] > limits["memory"]
    if not told["limit"] and not is_above:
        return ""
    used, asked = (describe_memory(bytes_to_gib(each)) for each in (told["maxrss"], limits["memory"]))
    about = (
        f"it used {used} of memory and had asked for {asked}."
        if is_above
        else f"it needed more than the {asked} of memory it had asked for."
    )
    if told["limit"]:
        return f"The command was ended: {about}"
    return f"{describe_exit(told['exit_code'])} That counts as a lack of memory: {about}"


def full_disks(*paths: str) -> str:
    """A sentence on the file systems of log files that have no room left; empty when all have."""
    full = []
    for directory in sorted({os.path.dirname(path) for path in paths if path}):
        try:
            if os.statvfs(directory).f_bavail == 0:
                full.append(directory)
        except OSError:
            continue  # it cannot be asked: then it is not the one to blame
    return f" The disk is full where its logs are: {', '.join(full)}." if full else ""
