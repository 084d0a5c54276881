"""Axes of quantities: where the ticks are, and how values become places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_MIB, _GIB = float(1 << 20), float(1 << 30)
_STEPS_SECONDS: Sequence[float] = (
    *(unit * 10.0**power for power in range(-3, 1) for unit in (1, 2, 5)),
    *(10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0),
    *(3600.0 * hours for hours in (1, 2, 4, 6, 12, 24, 48, 120, 240, 480, 1200)),
)
_STEPS_BYTES: Sequence[float] = (
    *(unit * 10**power * _MIB for power in range(-3, 2) for unit in (1, 2, 5)),
    *(size * _MIB for size in (128, 256, 512)),
    *(unit * 10**power * _GIB for power in range(4) for unit in (1, 2, 5)),
)
NUM_TICKS = 6


@dataclass(frozen=True)
class Axis:
    """One axis from 0 on.

    Attributes:
        end: value at its end.
        ticks: values that are marked.
        words: how a value is written.
    """

    end: float
    ticks: Sequence[float]
    words: Callable[[float], str]


def seconds_axis(highest: float, words: Callable[[float], str]) -> Axis:
    """An axis of lengths of time that reaches beyond ``highest``."""
    return _axis(highest or 1.0, _STEPS_SECONDS, words)


def bytes_axis(highest: float, words: Callable[[float], str]) -> Axis:
    """An axis of sizes that reaches beyond ``highest``."""
    return _axis(highest or _MIB, _STEPS_BYTES, words)


def _axis(highest: float, steps: Sequence[float], words: Callable[[float], str]) -> Axis:
    end = 1.05 * highest
    step = next((step for step in steps if end / step <= NUM_TICKS), 0.0) or end / NUM_TICKS
    return Axis(end, [step * place for place in range(int(end / step) + 1)], words)


def reach(used: float, requested: float | None) -> float:
    """Where an axis must reach: to the request too, unless what was used would be squeezed into a corner by it."""
    return max(used, requested) if requested and requested <= 4 * used else used
