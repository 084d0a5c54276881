"""Time as the report draws it, and what happened along it: values in, values out."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobmon.client.report.figures import Figures, TemplateFigures

TOLD_WITHIN = 0.5
"""Seconds by which start and end of an attempt may be told late; what overlaps by less need not have been at once."""


@dataclass(frozen=True)
class Axis:
    """Time as it is drawn: stretches in which nothing was queued or running are drawn short.

    Attributes:
        pieces: (start, end, position of the start) of stretches with activity; positions are seconds, gaps shortened.
        gaps: (position of the middle, seconds left out).
        length: position of the end.
    """

    pieces: tuple[tuple[float, float, float], ...]
    gaps: tuple[tuple[float, float], ...]
    length: float

    @property
    def start(self) -> float:
        """The first moment."""
        return self.pieces[0][0]

    def position(self, moment: float) -> float:
        """Where a moment is drawn."""
        position = 0.0
        for start, end, at in self.pieces:
            if moment < start:
                return position
            position = at + (moment if moment < end else end) - start
        return position


def axis_of(figures: Figures) -> Axis | None:
    """The axis of time of all attempts; ``None`` when there are none."""
    spans: list[tuple[float, float]] = []
    for template in figures.templates:
        for queued, started, ended in zip(template.queued, template.started, template.ended, strict=True):
            begin = queued if not math.isnan(queued) else started
            if not math.isnan(begin):
                spans.append((begin, max(begin, figures.now if math.isnan(ended) else ended)))
    if not spans:
        return None
    spans.sort()
    merged = [list(spans[0])]
    for begin, end in spans:
        if begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    active = max(sum(end - begin for begin, end in merged), 1.0)
    return _axis_of_stretches(merged, active)


def _axis_of_stretches(stretches: list[list[float]], active: float) -> Axis:
    """Gaps longer than a tenth of the active time shrink to a thirtieth of it."""
    joined = [stretches[0]]
    for begin, end in stretches[1:]:
        if begin - joined[-1][1] <= active / 10:
            joined[-1][1] = end
        else:
            joined.append([begin, end])
    shrunk = active / 30
    pieces, gaps, position = [], [], 0.0
    for i, (begin, end) in enumerate(joined):
        if i:
            gaps.append((position + shrunk / 2, begin - joined[i - 1][1]))
            position += shrunk
        pieces.append((begin, end, position))
        position += end - begin
    return Axis(tuple(pieces), tuple(gaps), max(position, 1e-3))


def running_and_waiting(
    template: TemplateFigures, axis: Axis, num_bins: int, now: float
) -> tuple[list[float], list[float]]:
    """Average number of attempts that ran, and that waited to start, in each bin of the axis."""
    running, waiting = _Bins(num_bins, axis.length), _Bins(num_bins, axis.length)
    for begin, end in spans_running(template, now):
        running.add(axis.position(begin), axis.position(end))
    for begin, end in spans_waiting(template, now):
        waiting.add(axis.position(begin), axis.position(end))
    return running.averages(), waiting.averages()


def spans_running(template: TemplateFigures, now: float) -> Iterator[tuple[float, float]]:
    """From when to when each attempt that was started ran."""
    for started, ended in zip(template.started, template.ended, strict=True):
        if not math.isnan(started):
            yield started, now if math.isnan(ended) else ended


def spans_waiting(template: TemplateFigures, now: float) -> Iterator[tuple[float, float]]:
    """From when to when each attempt waited to start; one that never did waited until its end."""
    for queued, started, ended in zip(template.queued, template.started, template.ended, strict=True):
        end = now if math.isnan(ended) else ended
        if not math.isnan(queued):
            yield queued, end if math.isnan(started) else started


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """How many of these spans there were at the same time, at most; empty ones do not count."""
    begins, ends = [], []
    for begin, end in spans:
        if begin < end:
            begins.append(begin)
            ends.append(end - min(TOLD_WITHIN, (end - begin) / 2))
    begins.sort()
    ends.sort()
    return max((count - bisect_right(ends, begin) for count, begin in enumerate(begins, 1)), default=0)


class _Bins:
    """Sums intervals into bins in constant time each: whole bins as differences, the ends as parts."""

    def __init__(self, count: int, length: float) -> None:
        self.count, self.width = count, length / count
        self.parts = [0.0] * (count + 1)
        self.steps = [0] * (count + 2)

    def add(self, low: float, high: float) -> None:
        if high <= low:
            return
        first = min(int(low / self.width), self.count - 1)
        last = min(int(high / self.width), self.count - 1)
        if first == last:
            self.parts[first] += high - low
            return
        self.parts[first] += (first + 1) * self.width - low
        self.parts[last] += high - last * self.width
        self.steps[first + 1] += 1
        self.steps[last] -= 1

    def averages(self) -> list[float]:
        level, found = 0, []
        for i in range(self.count):
            level += self.steps[i]
            found.append(level + self.parts[i] / self.width)
        return found
