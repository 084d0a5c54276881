"""Times, sizes and ids as Slurm writes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jobmon.core.resources import BYTES_OF_UNIT

MAX_INDICES = 4_000_001
"""More elements than any array of Slurm may have: a longer range is nonsense, and not worth the memory."""

_CLOCK = re.compile(r"(?:(?:(\d+)-)?(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")
_DAYS_HOURS = re.compile(r"(\d+)-(\d+)(?::(\d+))?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)[nc?]?")
_BYTES = {"": BYTES_OF_UNIT["M"], "P": BYTES_OF_UNIT["T"] * 1024} | {
    unit: BYTES_OF_UNIT[unit] for unit in "KMGT"
}
_ID = re.compile(r"(\d+)(?:_(?:(\d+)|\[([\d,:-]+)(?:%\d+)?\]))?(?:\+\d+)?")
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


def seconds_of(text: str) -> float | None:
    """Seconds of ``1-02:03:04``, ``03:04.5`` or ``12``; ``None`` for what is no time (``UNLIMITED``, ``INVALID``)."""
    if match := _DAYS_HOURS.fullmatch(text):
        days, hours, minutes = (int(part or 0) for part in match.groups())
        return (days * 24 + hours) * 3600.0 + minutes * 60
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups()[:3])
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(match[4])


def bytes_of(text: str) -> int | None:
    """Bytes of ``64M``, ``1.50G`` or ``3400K``; a bare number counts MiB; ``None`` for what is no size, or none."""
    match = _SIZE.fullmatch(text)
    if match is None or float(match[1]) == 0:
        return None
    return round(float(match[1]) * _BYTES[match[2]])


def exit_of(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal of ``3:0``, or of a wait status such as ``768``; ``None`` where it says neither."""
    code, colon, signal = text.partition(":")
    if not code.isdecimal() or (colon and not signal.isdecimal()):
        return None, None
    return (int(code), int(signal)) if colon else (int(code) >> 8, int(code) & 0x7F)


def split_id(text: str) -> tuple[str, tuple[int, ...]]:
    """Array and indices of ``13``, ``13_5`` or ``13_[3-9%3,12]``.

    Raises:
        ValueError: it is no id, or one that was cut short.
    """
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is no id of a job.")
    job_id, index, ranges = match.groups()
    if ranges is not None:
        return job_id, expand(ranges)
    return job_id, () if index is None else (int(index),)


def expand(ranges: str) -> tuple[int, ...]:
    """Numbers of ``1-3,7,10-20:5``.

    Raises:
        ValueError: it is no list of numbers and ranges, or an endless one.
    """
    found: list[int] = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"'{ranges}' is no list of numbers and ranges.")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if step < 1 or (last - first) // step + len(found) >= MAX_INDICES:
            raise ValueError(f"'{ranges}' is no list of elements of an array.")
        found.extend(range(first, last + 1, step))
    return tuple(found)


def compress(numbers: Iterable[int]) -> str:
    """Numbers as Slurm takes them: ``1-3,7``."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
