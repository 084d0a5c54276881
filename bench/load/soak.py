"""Does the memory of a server grow? Resident memory under load, and the slope of it with its error."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import psutil

SAMPLE_SECONDS = 1.0
BLOCKS = 10


class Slope(NamedTuple):
    """How memory changes with time.

    Attributes:
        per_hour: bytes per hour; below zero: it shrinks.
        error: standard error of that.
        level: mean memory in bytes.
    """

    per_hour: float
    error: float
    level: float


async def watch(processes: Sequence[psutil.Process], samples: list[float]) -> None:
    """Take the memory of the processes together, once a second, until cancelled."""
    while True:
        samples.append(float(sum(process.memory_info().rss for process in processes)))
        await asyncio.sleep(SAMPLE_SECONDS)


def slope_of(samples: Sequence[float], sample_seconds: float = SAMPLE_SECONDS) -> Slope:
    """The line through the means of ten blocks of samples.

    Neighbouring samples are alike, so that an error computed from all of them would look smaller than it is.

    Raises:
        ValueError: there are fewer than two samples to a block.
    """
    size = len(samples) // BLOCKS
    if size < 2:
        raise ValueError(f"{len(samples)} samples are too few for {BLOCKS} blocks.")
    values = [statistics.fmean(samples[n * size : (n + 1) * size]) for n in range(BLOCKS)]
    times = [(n + 0.5) * size * sample_seconds / 3600 for n in range(BLOCKS)]
    line = statistics.linear_regression(times, values)
    spread = sum((t - statistics.fmean(times)) ** 2 for t in times)
    left = sum((v - line.intercept - line.slope * t) ** 2 for t, v in zip(times, values, strict=True))
    return Slope(line.slope, math.sqrt(left / (BLOCKS - 2) / spread), statistics.fmean(samples))
