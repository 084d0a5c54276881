"""Memory and run time as people write them, and how requests grow after a resource error.

The canonical units are GiB for memory, exact (200M is 0.1953125; a whole amount is an ``int``), and whole seconds
for run time, fractions rounded up. Everything here takes values and returns values.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeGuard
from weakref import WeakValueDictionary

from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.exceptions import InvalidMemoryFormat, InvalidMemoryUnit, InvalidResourceScale

BYTES_OF_UNIT = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
"""Bytes of the units of memory."""

_MEMORY = re.compile(r"\s*(\d+)\s*([a-z]*)\s*", re.IGNORECASE)
_CLOCK = re.compile(r"\s*(\d+):([0-5]?\d):([0-5]?\d)\s*")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)
_SECONDS_OF_UNIT = {
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
}

Scale = float | Callable[[Any], Any] | Iterator[Any]
"""How a resource grows: a fraction added to it, a function of it, or values to ask for one by one."""


def parse_memory(text: str, default_unit: str = "M") -> tuple[int, str]:
    """Amount and unit letter (B, K, M, G or T) of a text such as ``8G``, ``500 MiB`` or ``12``.

    Raises:
        InvalidMemoryFormat: it is not a whole number with at most a unit.
        InvalidMemoryUnit: there is no such unit.
    """
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise InvalidMemoryFormat(f"Memory '{text}' is not a whole number and a unit, such as 8G or 500M.")
    unit = match[2].upper()
    letter = unit[:1] or default_unit
    if letter not in BYTES_OF_UNIT or unit[1:] not in ("", "B", "IB") or unit == "BB":
        raise InvalidMemoryUnit(f"Memory '{text}': there is no unit '{match[2]}'; use B, K, M, G or T.")
    return int(match[1]), letter


def memory_to_gib(value: Any) -> float:
    """Memory in GiB, exact: a number (or a text that is one) means GiB, other texts carry their unit.

    Returns:
        An ``int`` when the amount is whole.

    Raises:
        InvalidMemoryFormat, InvalidMemoryUnit: see :func:`parse_memory`; also for a negative number.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            amount, letter = parse_memory(value)
            value = amount * BYTES_OF_UNIT[letter] / BYTES_OF_UNIT["G"]
    if not _is_number(value) or value < 0:
        raise InvalidMemoryFormat(
            f"Memory {value!r} is neither a number of GiB nor a text such as 8G or 500M."
        )
    return _whole(value)


def memory_to_whole_gib(value: Any) -> int:
    """Memory in whole GiB, rounded up, for those who can ask for nothing finer.

    Raises:
        InvalidMemoryFormat, InvalidMemoryUnit: see :func:`memory_to_gib`.
    """
    return math.ceil(memory_to_gib(value))


def memory_to_bytes(gib: float) -> int:
    """Bytes of canonical memory (GiB)."""
    return math.ceil(gib * BYTES_OF_UNIT["G"])


def bytes_to_gib(amount: float) -> float:
    """Bytes as canonical memory (GiB)."""
    return _whole(amount / BYTES_OF_UNIT["G"])


def describe_memory(gib: float) -> str:
    """Memory (in GiB) for people: ``200 MiB``, ``2 GiB``, ``1.5 TiB``; at most four digits."""
    amount = gib * BYTES_OF_UNIT["G"]
    for letter in ("T", "G", "M", "K"):
        if amount >= BYTES_OF_UNIT[letter]:
            number = amount / BYTES_OF_UNIT[letter]
            return f"{number:.4g} {letter}iB" if number < 1000 else f"{number:.0f} {letter}iB"
    return f"{amount:.0f} B"


def runtime_to_seconds(value: Any) -> int:
    """Run time in seconds: a number, ``HH:MM:SS``, or amounts with units such as ``2h`` or ``1h30m``.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, str):
        if (match := _CLOCK.fullmatch(value)) is not None:
            hours, minutes, seconds = (int(part) for part in match.groups())
            return hours * 3600 + minutes * 60 + seconds
        parts = _DURATION.findall(value)
        if (
            parts
            and not _DURATION.sub("", value).strip()
            and all(u.lower() in _SECONDS_OF_UNIT for _, u in parts)
        ):
            return math.ceil(sum(float(amount) * _SECONDS_OF_UNIT[unit.lower()] for amount, unit in parts))
        try:
            value = float(value)
        except ValueError:
            pass
    if not _is_number(value) or value < 0:
        raise ValueError(
            f"Run time {value!r} is neither a number of seconds, nor HH:MM:SS, nor amounts with units "
            "such as 2h or 90 minutes."
        )
    return math.ceil(value)


def canonical_resources(resources: Mapping[str, Any]) -> dict[str, Any]:
    """The resources with ``memory`` in GiB and ``runtime`` in seconds; everything else as it is.

    Raises:
        ValueError, InvalidMemoryFormat, InvalidMemoryUnit: one of the two is written in no known way.
    """
    canonical = dict(resources)
    if canonical.get("memory") is not None:
        canonical["memory"] = memory_to_gib(canonical["memory"])
    if canonical.get("runtime") is not None:
        canonical["runtime"] = runtime_to_seconds(canonical["runtime"])
    return canonical


class ScaleSequence:
    """The values of an iterator, to be gone through by any number of tasks, each from the start.

    The iterator itself is read once and only as far as somebody got, so that it may be endless. Get one by
    :meth:`of`, so that tasks that were given the same iterator one by one do not take its values from each other.
    """

    __slots__ = ("__weakref__", "_source", "_values")

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._values: list[Any] = []

    @classmethod
    def of(cls, source: Iterator[Any]) -> ScaleSequence:
        """The sequence of an iterator: the same one for the same iterator."""
        known = _SEQUENCES.get(id(source))  # a sequence keeps its iterator, so that no other one gets this id
        if known is None:
            known = _SEQUENCES[id(source)] = cls(source)
        return known

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while True:
            if position == len(self._values):
                try:
                    self._values.append(next(self._source))
                except StopIteration:
                    return
            yield self._values[position]
            position += 1

    def __deepcopy__(self, memo: dict[int, Any]) -> ScaleSequence:
        """Itself: reading it changes nothing."""
        return self

    def first(self, count: int) -> list[Any]:
        """At most ``count`` values from the start."""
        return list(islice(self, count))


_SEQUENCES: WeakValueDictionary[int, ScaleSequence] = WeakValueDictionary()
"""Sequences that are in use by the ids of their iterators."""


def scale_value(name: str, value: float, scale: Scale) -> float:
    """What to ask for after ``value`` was not enough.

    A number ``s`` adds that fraction (rounded up, so that 200 MiB and a half more are 1 GiB), a callable is given the
    value, an iterator gives its next value; when it is exhausted the value stays, with a warning.

    Raises:
        InvalidResourceScale: (a ValueError) the result is not a number, or is negative.
    """
    if isinstance(scale, Iterator):
        new = next(scale, None)
        if new is None:
            warnings.warn(
                f"The resource scale of '{name}' has no more values; it stays at {value}.", stacklevel=2
            )
            return value
    elif callable(scale):
        new = scale(value)
    else:
        # 10 * 1.1 is 11.000000000000002, which nobody means to round up to 12
        new = math.ceil(round(value * (1 + scale), 6))
    if not _is_number(new) or new < 0:
        raise InvalidResourceScale(
            f"The resource scale of '{name}' gave {new!r} for {value}; it must give a number."
        )
    return _whole(new)


def scale_resources(resources: Mapping[str, Any], scales: Mapping[str, Scale]) -> dict[str, Any]:
    """The resources after a resource error: those that have a scale and are numbers grow, the others stay."""
    canonical = canonical_resources(resources)
    return canonical_resources(
        {
            name: scale_value(name, value, scales[name]) if name in scales and _is_number(value) else value
            for name, value in canonical.items()
        }
    )


PEAK_MARGIN = 1.1
"""Memory asked for after an attempt that lacked it is at least so many times its measured peak."""


def memory_for_peak(peak: int) -> dict[str, float]:
    """The least that is to be asked for after an attempt that lacked resources used ``peak`` bytes; 0: not measured."""
    mebibytes = math.ceil(peak * PEAK_MARGIN / BYTES_OF_UNIT["M"])
    return {"memory": bytes_to_gib(mebibytes * BYTES_OF_UNIT["M"])} if peak else {}


def describe_adjustment(
    before: Mapping[str, Any], queue_before: str, after: Mapping[str, Any], queue_after: str, peak: int
) -> str:
    """How a request differs from the last one, as a sentence for the history."""
    changes = []
    if before.get("memory") != after.get("memory"):
        was = f" after {describe_memory(before['memory'])}" if before.get("memory") is not None else ""
        measured = f" (peak measured: {describe_memory(bytes_to_gib(peak))})" if peak else ""
        changes.append(f"{describe_memory(after['memory'])} of memory{was}{measured}")
    if before.get("runtime") != after.get("runtime"):
        changes.append(f"a run time of {after['runtime']} s after {before.get('runtime')} s")
    changes += [
        f"{name}={after[name]} after {before.get(name)}"
        for name in sorted(set(after) - {"memory", "runtime"})
        if before.get(name) != after[name]
    ]
    if queue_before != queue_after:
        changes.append(f"queue {queue_after} after {queue_before}")
    if not changes:
        return "It asks for the same again: the queue allows no more."
    return f"It asks for {', '.join(changes)}."


def adjust_resources(
    resources: Mapping[str, Any],
    scales: Mapping[str, Scale],
    queues: Sequence[ClusterQueue],
    at_least: Mapping[str, float] | None = None,
) -> tuple[dict[str, Any], ClusterQueue]:
    """The resources after a resource error, and the queue that takes them.

    Args:
        resources: what was asked for.
        scales: how it grows.
        queues: the present queue, then those to try next.
        at_least: least amounts, of resources that grow by a fraction; what a script says otherwise is its own word.

    Returns:
        The scaled resources and the first queue that takes them as they are; when none does, the resources
        within the limits of the last queue.

    Raises:
        ValueError: a scale gave something that is not a number.
    """
    scaled = scale_resources(resources, scales)
    for name, amount in (at_least or {}).items():
        if isinstance(scales.get(name), int | float) and scaled.get(name) is not None:
            scaled[name] = max(scaled[name], amount)
    for queue in queues:
        if queue.validate_resources(strict=True, **scaled)[0]:
            return queue.coerce_resources(**scaled), queue
    return queues[-1].coerce_resources(**scaled), queues[-1]


def scales_to_json(scales: Mapping[str, Any], max_attempts: int) -> str:
    """Scales as the database keeps them: numbers, the values iterators give, the names of callables."""

    def plain(scale: Any) -> Any:
        if isinstance(scale, ScaleSequence):
            return scale.first(max(0, max_attempts - 1))
        if callable(scale):
            return getattr(scale, "__qualname__", type(scale).__qualname__)
        return scale

    return json.dumps({name: plain(scale) for name, scale in sorted(scales.items())})


def scales_from_json(text: str, present: Mapping[str, Any] | None = None) -> dict[str, Scale]:
    """Scales from the database.

    Args:
        text: as :func:`scales_to_json` wrote it.
        present: what was asked for last; the values of an iterator go on behind it, where it is one of them.

    Raises:
        InvalidResourceScale: (a ValueError) one is a callable, which only the script that defined the workflow can provide.
    """
    scales: dict[str, Scale] = {}
    for name, stored in (json.loads(text) if text else {}).items():
        if isinstance(stored, str):
            raise InvalidResourceScale(
                f"The resource scale of '{name}' is the function {stored}, which is known to the script only; "
                "resume the workflow with its script."
            )
        scales[name] = (
            iter(_values_after(stored, (present or {}).get(name))) if isinstance(stored, list) else stored
        )
    return scales


def _values_after(values: list[Any], present: Any) -> list[Any]:
    return values[values.index(present) + 1 :] if present in values else values


def _whole(value: float) -> float:
    """The number, as an ``int`` when it is whole, so that equal requests are written alike."""
    return int(value) if value == int(value) else value


def _is_number(value: Any) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
