"""How what was used lies against what was asked for: shares, quantiles and histograms. Values in, values out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from jobmon.core.recommendation import CLOSE, LOOSE


class Verdict(StrEnum):
    """What a share of a request means."""

    UNDER = "under"
    WELL = "well"
    OVER = "over"


@dataclass(frozen=True)
class Shape:
    """How a quantity lies over attempts; those where it was not measured are left out.

    Attributes:
        count: attempts with a value; 0: all else is 0.
        low, median, mean, p99, high: of the values.
        requested: what most attempts asked for; ``None``: nothing.
        verdicts: attempts by what their share of their own request means.
    """

    count: int = 0
    low: float = 0.0
    median: float = 0.0
    mean: float = 0.0
    p99: float = 0.0
    high: float = 0.0
    requested: float | None = None
    verdicts: dict[Verdict, int] | None = None


def verdict_of(used: float, requested: float) -> Verdict:
    """``UNDER``: too little was asked for, or nearly; ``OVER``: far too much."""
    share = used / requested
    if share > CLOSE:
        return Verdict.UNDER
    return Verdict.OVER if share < LOOSE else Verdict.WELL


def shape_of(pairs: Sequence[tuple[float, float | None]]) -> Shape:
    """How a quantity lies.

    Args:
        pairs: what was used, and what was asked for, of each attempt; 0 used: not measured.
    """
    measured = [(used, asked) for used, asked in pairs if used > 0]
    requests = Counter(asked for _, asked in pairs if asked)
    requested = requests.most_common(1)[0][0] if requests else None
    if not measured:
        return Shape(requested=requested)
    values = sorted(used for used, _ in measured)
    verdicts = Counter(verdict_of(used, asked) for used, asked in measured if asked)
    return Shape(
        len(values),
        values[0],
        quantile(values, 0.5),
        math.fsum(values) / len(values),
        quantile(values, 0.99),
        values[-1],
        requested,
        {verdict: verdicts[verdict] for verdict in Verdict},
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies; between two values it is interpolated."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def histogram_of(values: Sequence[float], end: float, num_bins: int) -> list[int]:
    """Number of values in each of equally wide bins between 0 and ``end``; what lies beyond is in the last one."""
    bins = [0] * num_bins
    for value in values:
        bins[min(num_bins - 1, int(num_bins * value / end))] += 1
    return bins
