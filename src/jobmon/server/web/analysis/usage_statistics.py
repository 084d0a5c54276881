"""Statistics of what attempts used: averages, extremes and the confidence interval of the mean."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

from jobmon.core.exceptions import UsageError
from jobmon.serializers.usage import Extent, Spread

SERIES_DEGREES = 200
"""Up to so many degrees of freedom the distribution is summed exactly; above, the expansion is exact to 1e-10."""


def parse_confidence(text: str) -> float:
    """A confidence level as a fraction, from a fraction or a percentage: ``0.95``, ``95``, ``95%``.

    Raises:
        UsageError: it is neither, or not between 0 and 100 %.
    """
    stripped = text.strip()
    try:
        level = float(stripped.removesuffix("%"))
    except ValueError:
        level = math.nan
    if stripped.endswith("%") or level > 1:
        level /= 100
    if not 0 < level < 1:
        raise UsageError(
            f"The confidence level '{text}' must lie between 0 and 1, or between 0% and 100%: 0.95 or 95%."
        )
    return level


def spread_of(values: Iterable[float], confidence: float | None = None) -> Spread:
    """How values spread; zeros are taken for "not measured" and left out.

    Args:
        values: in any order.
        confidence: level of the confidence interval of the mean, as a fraction; ``None``: no interval.
    """
    ordered = sorted(value for value in values if value > 0)
    count = len(ordered)
    if not count:
        return Spread()
    mean = math.fsum(ordered) / count
    middle = count // 2
    median = ordered[middle] if count % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    interval = None
    if confidence is not None and count > 1:
        variance = math.fsum((value - mean) ** 2 for value in ordered) / (count - 1)
        half = student_quantile(confidence, count - 1) * math.sqrt(variance / count)
        interval = (mean - half, mean + half)
    return Spread(count, ordered[0], ordered[-1], mean, median, interval)


def student_quantile(confidence: float, degrees: int) -> float:
    """The ``t`` with P(\\|T\\| < t) = ``confidence`` for Student's distribution.

    For few degrees of freedom the finite series of Abramowitz & Stegun, *Handbook of Mathematical Functions* (1964),
    26.7.3 (odd) and 26.7.4 (even), inverted by bisection; for many their expansion 26.7.5 around the normal quantile.
    The interval of a mean that is made of it: Student, "The probable error of a mean", Biometrika 6 (1908) 1-25.
    """
    if degrees > SERIES_DEGREES:
        return _expansion(confidence, degrees)
    low, high = 0.0, 1.0
    while _probability_within(high, degrees) < confidence and high < 1e300:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        if _probability_within(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return high


def _probability_within(t: float, degrees: int) -> float:
    """P(\\|T\\| < t), Abramowitz & Stegun 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2 == 1
    if degrees == 1:
        return 2 * angle / math.pi
    term = cosine if is_odd else 1.0
    total = term
    for k in range(2 if is_odd else 1, degrees - 2, 2):
        term *= k / (k + 1) * cosine * cosine
        total += term
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total


def _expansion(confidence: float, degrees: int) -> float:
    """Abramowitz & Stegun 26.7.5."""
    x = NormalDist().inv_cdf((1 + confidence) / 2)
    n = float(degrees)
    return (
        x
        + (x**3 + x) / (4 * n)
        + (5 * x**5 + 16 * x**3 + 3 * x) / (96 * n**2)
        + (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / (384 * n**3)
        + (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / (92160 * n**4)
    )


@dataclass
class Gathering:
    """Extent of a quantity, gathered from partial sums."""

    count: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = 0.0

    def add(self, count: int, total: float, low: float, high: float) -> None:
        """Take in ``count`` values with these sum and extremes; none when the count is 0."""
        if count:
            self.count += count
            self.total += total
            self.low = min(self.low, low)
            self.high = max(self.high, high)

    def extent(self) -> Extent:
        """What was gathered."""
        if not self.count:
            return Extent()
        return Extent(self.count, self.low, self.total / self.count, self.high)
