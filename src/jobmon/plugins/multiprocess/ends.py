"""What commands asked for and went beyond; :mod:`jobmon.worker_node.ends` has the words for all other ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobmon.core.resources import bytes_to_gib, canonical_resources, describe_memory, memory_to_bytes
from jobmon.worker_node.ends import describe_exit


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
