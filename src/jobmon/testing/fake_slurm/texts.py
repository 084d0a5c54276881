"""Values as Slurm's commands print them, and times as they are given to it."""

from __future__ import annotations

import re
from datetime import datetime

_DURATION = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_MEMORY = re.compile(r"(\d+)([KMGT]?)B?", re.IGNORECASE)


def moment(seconds: float, without: str = "N/A") -> str:
    """A local date and time; ``without`` where there is none."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%dT%H:%M:%S") if seconds else without  # noqa: DTZ006


def clock(seconds: float) -> str:
    """A duration as accounting shows it: ``1-02:03:04``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hour:02}:{minute:02}:{second:02}"


def short_clock(seconds: float) -> str:
    """A duration as ``squeue`` shows it: ``5:00``."""
    text = clock(seconds)
    while text.startswith("0") and len(text) > 4:
        text = text[1:].lstrip(":")
    return text


def seconds_of(text: str) -> int:
    """A time limit in seconds; Slurm counts in minutes and rounds up. 0: none.

    Raises:
        ValueError: this is no time limit.
    """
    if text.upper() in ("UNLIMITED", "INFINITE", "0", "-1"):
        return 0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    days, first, second, third = (int(group or 0) for group in match.groups())
    if match[1]:
        seconds = ((days * 24 + first) * 60 + second) * 60 + third
    elif match[4]:
        seconds = (first * 60 + second) * 60 + third
    else:
        seconds = first * 60 + second
    return -(-seconds // 60) * 60


def mebibytes_of(text: str) -> int:
    """Memory in MiB.

    Raises:
        ValueError: this is no amount of memory.
    """
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(text)
    kibibytes = int(match[1]) * {"K": 1, "": 1024, "M": 1024, "G": 1024**2, "T": 1024**3}[match[2].upper()]
    return -(-kibibytes // 1024)


def memory_text(mebibytes: int) -> str:
    """Memory as Slurm shows it: ``2G``, ``64M``."""
    return f"{mebibytes // 1024}G" if mebibytes and mebibytes % 1024 == 0 else f"{mebibytes}M"


def nodes_text(names: tuple[str, ...]) -> str:
    """Names of nodes in short: ``n[1-4]``."""
    numbers = [name[1:] for name in names]
    is_series = len(names) > 1 and all(
        name[0] == names[0][0] and number.isdigit() and int(number) == int(numbers[0]) + index
        for index, (name, number) in enumerate(zip(names, numbers, strict=True))
    )
    return f"{names[0][0]}[{numbers[0]}-{numbers[-1]}]" if is_series else ",".join(names)


def begin_of(text: str, now: float) -> float:
    """When ``--begin`` lets a job start: ``now+1hour``, or a date and time.

    Raises:
        ValueError: this is no time.
    """
    match = re.fullmatch(r"now(?:\+(\d+)([a-z]*))?", text)
    if match is None:
        return datetime.fromisoformat(text).timestamp()
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
    return now + int(match[1] or 0) * units[match[2][:1]]
