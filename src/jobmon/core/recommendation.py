"""What to ask for next time, from the most that was used: the one home of the margins, for reports and pages."""

from __future__ import annotations

import math

MEMORY_FACTOR = 1.2
RUNTIME_FACTOR = 1.3
LEAST_MEMORY_MIB = 64
LEAST_RUNTIME_SECONDS = 60
CLOSE, LOOSE = 0.9, 0.5
"""Shares of a request above which it is close to its limit, below which it is far too large."""
_MIB_OF_GIB = 1024


def memory_to_ask_for(peak_gib: float) -> str | None:
    """A fifth more than the most that was used, as resources are written; ``None`` when it was not measured."""
    if not peak_gib:
        return None
    mib = max(LEAST_MEMORY_MIB, math.ceil(peak_gib * MEMORY_FACTOR * _MIB_OF_GIB))
    return f"{mib}M" if mib < 10 * _MIB_OF_GIB else f"{math.ceil(mib / _MIB_OF_GIB)}G"


def runtime_to_ask_for(peak_seconds: float) -> int | None:
    """Three tenths more than the longest run time, in seconds; ``None`` when it was not measured."""
    return max(LEAST_RUNTIME_SECONDS, math.ceil(peak_seconds * RUNTIME_FACTOR)) if peak_seconds else None
