"""Durations of workflows by date, and small lines of means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from jobmon.core.states import WorkflowStatus, colour_name

WIDTH, HEIGHT = 900, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 12, 12, 28
_LADDER = (
    (1, "1 s"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3600, "1 h"),
    (6 * 3600, "6 h"),
    (86400, "1 d"),
    (7 * 86400, "7 d"),
    (30 * 86400, "30 d"),
)
"""Durations that lines are drawn at."""
FAILED = colour_name(WorkflowStatus.FAILED)
LINE_WIDTH, LINE_HEIGHT = 160, 28


@dataclass(frozen=True, slots=True)
class Point:
    """A workflow: when, how long in seconds, the name of its colour, its words, and where it leads."""

    at: datetime
    seconds: float
    colour: str
    words: str
    link: str


def durations_plot(points: Sequence[Point], title: str) -> Markup:
    """Durations by date, on a logarithmic scale: a day and a second can both be read."""
    if not points:
        return Markup("")
    low, high = _steps(min(p.seconds for p in points), max(p.seconds for p in points))
    begin, end = min(p.at for p in points), max(p.at for p in points)
    if end - begin < timedelta(minutes=1):
        begin, end = begin - timedelta(minutes=1), end + timedelta(minutes=1)

    def x(at: datetime) -> float:
        return _LEFT + 8 + (WIDTH - _LEFT - _RIGHT - 16) * ((at - begin) / (end - begin))

    def y(seconds: float) -> float:
        share = math.log(max(seconds, low) / low) / math.log(high / low)
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * min(1.0, max(0.0, share))

    lines = [
        Markup(
            '<path class="line" fill="none" d="M{} {:.0f}H{}"/><text x="{}" y="{:.0f}" text-anchor="end">{}</text>'
        ).format(_LEFT, y(step), WIDTH - _RIGHT, _LEFT - 6, y(step) + 4, words)
        for step, words in _LADDER
        if low <= step <= high
    ]
    dots = [
        Markup('<a href="{}" tabindex="-1">{}<title>{}</title></{}></a>').format(
            p.link, _mark(p.colour, x(p.at), y(p.seconds)), p.words, _shape(p.colour)
        )
        for p in points
    ]
    style = "%Y-%m-%d" if end - begin > timedelta(days=2) else "%m-%d %H:%M"
    dates = [
        Markup('<text class="muted" x="{:.0f}" y="{}" text-anchor="{}">{}</text>').format(
            where, HEIGHT - 8, anchor, at.strftime(style) + " UTC"
        )
        for where, anchor, at in ((_LEFT, "start", begin), (WIDTH - _RIGHT, "end", end))
    ]
    return Markup(
        '<svg class="drawing trend" viewBox="0 0 {} {}" width="{}" height="{}" role="group" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, WIDTH, HEIGHT, title, Markup("").join([*lines, *dates, *dots]))


def _shape(colour: str) -> str:
    return "path" if colour == FAILED else "circle"


def _mark(colour: str, x: float, y: float) -> Markup:
    """The beginning of a mark: a circle; of what failed a diamond, which is seen without its colour too."""
    if colour == FAILED:
        return Markup('<path class="c-{}" d="M{:.1f} {:.1f}l6 6l-6 6l-6 -6z">').format(colour, x, y - 6)
    return Markup('<circle class="c-{}" cx="{:.1f}" cy="{:.1f}" r="5">').format(colour, x, y)


def _steps(shortest: float, longest: float) -> tuple[float, float]:
    """Steps of the ladder around durations, two at least."""
    steps = [step for step, _ in _LADDER]
    low = max((step for step in steps if step <= shortest), default=min(0.1, max(shortest, 0.01)))
    high = min((step for step in steps if step >= longest), default=max(longest, steps[-1]))
    if high <= low:
        high = next((step for step in steps if step > low), low * 10)
    return float(low), float(high)


def means_line(values: Sequence[float], words: str) -> Markup:
    """A small line of means from left to right, from 0 up.

    Args:
        values: the means, oldest first.
        words: the same for who cannot see it.
    """
    if not values:
        return Markup("")
    top = max(values) or 1.0
    step = (LINE_WIDTH - 8) / max(1, len(values) - 1)
    spots = [
        (4 + step * place, LINE_HEIGHT - 4 - (LINE_HEIGHT - 8) * value / top)
        for place, value in enumerate(values)
    ]
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    last_x, last_y = spots[-1]
    return Markup(
        '<svg class="means" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}"><title>{}</title>'
        '<path d="{}"/><circle cx="{:.1f}" cy="{:.1f}" r="3"/></svg>'
    ).format(LINE_WIDTH, LINE_HEIGHT, LINE_WIDTH, LINE_HEIGHT, words, words, path, last_x, last_y)
