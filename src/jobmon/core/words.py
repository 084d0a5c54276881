"""Numbers, lengths of time, resources and causes in the words people read: one home, for server and client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobmon.core.resources import describe_memory
from jobmon.core.states import Cause

CAUSE_WORDS: Mapping[str, str] = {
    Cause.CODE: "its command failed",
    Cause.RESOURCE: "it took more than it had asked for",
    Cause.LAUNCH: "it could not be started",
    Cause.INFRASTRUCTURE: "it was lost with its node, its controller or the server",
    Cause.PREEMPTED: "the cluster took its place away",
    Cause.CANCELLED: "it was cancelled on the cluster by a person or its operators",
    Cause.ORDERED: "it was ended by order",
}
"""Why an attempt did not succeed, as a clause; a newer server may send causes that are not here."""


def thousands(number: int) -> str:
    """A whole number with its thousands apart: ``4 000``."""
    return f"{number:,}".replace(",", " ")


def counted(number: int, noun: str) -> str:
    """A number of things whose plural ends in s: ``1 task``, ``4 000 tasks``."""
    return f"{thousands(number)} {noun}" + ("" if number == 1 else "s")


def describe_duration(seconds: float) -> str:
    """A length of time: ``0.42 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``, ``4 d 3 h``."""
    if seconds < 10:
        return f"{round(seconds, 4):.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def rough_duration(seconds: float) -> str:
    """About how long, in steps that fit the length: ``40 s``, ``12 min``, ``2 h 10 min``, ``3 days``."""
    if seconds < 1:
        return "1 s"
    if seconds < 60:
        return f"{round(seconds) if seconds < 10 else 5 * round(seconds / 5)} s"
    if seconds < 600:
        seconds = 10 * round(seconds / 10)
        return f"{seconds // 60} min" + (f" {seconds % 60} s" if seconds % 60 else "")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        minutes = 5 * round(minutes / 5)
        rest = f" {minutes % 60:02d} min" if minutes % 60 else ""
        return f"{minutes // 60} h{rest}"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h" if hours < 96 else f"{round(hours / 24)} days"


def describe_resource(name: str, value: Any) -> str:
    """A value of a canonical resource (memory in GiB, run time in seconds) with its unit."""
    if value is None:
        return "none"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "memory" and is_number:
        return describe_memory(value)
    if name == "runtime" and is_number:
        return describe_duration(value)
    return str(value)


def describe_resources(resources: Mapping[str, Any]) -> str:
    """Canonical resources: ``cores 2, memory 3 GiB, runtime 5 min``; empty when there are none."""
    return ", ".join(f"{name} {describe_resource(name, value)}" for name, value in resources.items())


def changed_resources(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two requests: ``memory 3 GiB instead of 2 GiB``."""
    changes = []
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was != now:
            shown_was, shown_now = describe_resource(name, was), describe_resource(name, now)
            if shown_was == shown_now:  # they differ by less than the words tell
                shown_was, shown_now = str(was), str(now)
            changes.append(f"{name} {shown_now} instead of {shown_was}")
    return changes
