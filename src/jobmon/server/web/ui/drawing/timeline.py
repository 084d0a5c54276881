"""What ran when, by template or by node, as SVG: attempt by attempt, or where there are many, how many in each interval."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from markupsafe import Markup

from jobmon.core.states import DESCRIPTIONS, TaskInstanceStatus, colour_name
from jobmon.server.web.store.timeline import Bar, Timeline, Window

WIDTH: Final = 1200
LEFT: Final = 190
TOP: Final = 26
LANE: Final = 9
ROW_OF_CELLS: Final = 40
GAP: Final = 8
MAX_LANES: Final = 12
"""Lanes of a row; attempts beyond share them."""
TICKS: Final = 8
NAME_CHARACTERS: Final = 26
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DAY: Final = 86400
COLOUR_ORDER: Final = ("done", "running", "fatal")
"""Colours from the ground up."""
ZONES: Final = 12
"""Parts of a row that say on hover what is in them."""


def timeline_drawing(timeline: Timeline, task_href: str) -> Markup:
    """A timeline.

    Args:
        timeline: what to draw.
        task_href: address of the page of a task, but for its id.
    """
    if timeline.cells:
        return _frame(timeline.window, *_cells(timeline))
    return _frame(timeline.window, *_bars(timeline, task_href))


def _frame(
    window: Window, rows: Sequence[Markup], names: Sequence[tuple[str, float]], height: float
) -> Markup:
    ticks = [
        Markup(
            '<path class="line" fill="none" d="M{x:.1f} {top}V{low:.0f}"/><text class="muted" text-anchor="middle" '
            'x="{x:.1f}" y="16">{words}</text>'
        ).format(x=_x(window, moment), top=TOP - 4, low=height, words=words)
        for moment, words in ticks_of(window.start, window.end)
    ]
    labels = [
        Markup('<text text-anchor="end" x="{}" y="{:.0f}"><title>{}</title>{}</text>').format(
            LEFT - 8, y, name, name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "…"
        )
        for name, y in names
    ]
    return Markup(
        '<svg class="drawing timeline" viewBox="0 0 {} {:.0f}" width="{}" height="{:.0f}" role="group" '
        'aria-label="Timeline of {} rows"><text class="muted" x="4" y="16">UTC, from {}</text>{}{}{}</svg>'
    ).format(
        WIDTH,
        height + 4,
        WIDTH,
        height + 4,
        len(names),
        window.start.strftime("%Y-%m-%d"),
        Markup("").join(ticks),
        Markup("").join(labels),
        Markup("").join(rows),
    )


def _x(window: Window, moment: datetime) -> float:
    share = (moment - window.start).total_seconds() / (window.step_seconds * window.count)
    return LEFT + (WIDTH - LEFT - 4) * max(0.0, min(1.0, share))


def ticks_of(start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """Round moments between two others with what to write at them; at most nine."""
    span = max(1.0, (end - start).total_seconds())
    step = next((each for each in _STEPS if span / each <= TICKS), 0) or _DAY * -(
        -int(span) // (_DAY * TICKS)
    )
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    number = int((start - midnight).total_seconds() // step) + 1
    found = []
    while (moment := midnight + timedelta(seconds=number * step)) < end:
        number += 1
        if step >= _DAY or moment.strftime("%H%M%S") == "000000":
            words = moment.strftime("%m-%d")
        else:
            words = moment.strftime("%H:%M:%S" if step < 60 else "%H:%M")
        found.append((moment, words))
    return found


# -- attempt by attempt ---------------------------------------------------------------------------------
def lanes_of(bars: Sequence[Bar]) -> list[int]:
    """A lane for each of some attempts, so that none covers another while there are lanes enough."""
    free: list[int] = []
    busy: list[tuple[datetime, int]] = []
    lanes = [0] * len(bars)
    num_lanes = 0
    for number in sorted(range(len(bars)), key=lambda i: (bars[i].begin, bars[i].end)):
        while busy and busy[0][0] <= bars[number].begin:
            heappush(free, heappop(busy)[1])
        if free:
            lane = heappop(free)
        else:
            lane, num_lanes = num_lanes, num_lanes + 1
        heappush(busy, (bars[number].end, lane))
        lanes[number] = lane
    return lanes


def _bars(timeline: Timeline, task_href: str) -> tuple[list[Markup], list[tuple[str, float]], float]:
    by_row: dict[str, list[Bar]] = defaultdict(list)
    for bar in timeline.bars:
        by_row[bar.row].append(bar)
    drawn, names, y = [], [], float(TOP)
    for row in timeline.rows:
        lanes = lanes_of(by_row[row])
        most = max(lanes, default=0) + 1
        height = max(14.0, float(LANE * min(most, MAX_LANES)))
        thick = height / most
        names.append((row, y + min(height / 2 + 4, 14)))
        for bar, lane in zip(by_row[row], lanes, strict=True):
            drawn.append(
                _bar(timeline.window, bar, y + lane * thick, max(0.8, min(LANE, thick) - 1), task_href)
            )
        y += height + GAP
        drawn.append(_rule(y - GAP / 2))
    return drawn, names, y


def _rule(y: float) -> Markup:
    return Markup('<path class="line" fill="none" d="M0 {:.1f}H{}"/>').format(y, WIDTH)


def _bar(window: Window, bar: Bar, y: float, height: float, task_href: str) -> Markup:
    left, right = _x(window, bar.begin), _x(window, bar.end)
    seconds = (bar.end - bar.begin).total_seconds()
    where = f" on {bar.nodename}" if bar.nodename else ""
    words = f"{bar.task_name}{where}: {status_words(bar.status)}; {bar.begin:%H:%M:%S}, {seconds:.1f} s"
    return Markup(
        '<a href="{}{}"><rect class="c-{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect></a>'
    ).format(task_href, bar.task_id, colour_name(bar.status), left, y, max(1.2, right - left), height, words)


def status_words(status: TaskInstanceStatus) -> str:
    """What a status of an attempt means."""
    return DESCRIPTIONS[TaskInstanceStatus][status.value].rstrip(".").lower()


# -- how many in each interval --------------------------------------------------------------------------
def _cells(timeline: Timeline) -> tuple[list[Markup], list[tuple[str, float]], float]:
    drawn, names, y = [], [], float(TOP)
    for row in timeline.rows:
        by_colour = counts_by_colour(timeline.cells.get(row, {}), timeline.window.count)
        totals = [
            sum(counts[number] for counts in by_colour.values()) for number in range(timeline.window.count)
        ]
        most = max([1.0, *totals])
        names.append((row, y + 14))
        drawn.append(
            Markup('<text class="muted small" text-anchor="end" x="{}" y="{:.0f}">up to {}</text>').format(
                LEFT - 8, y + 28, f"{math.ceil(most):,}".replace(",", "\u202f")
            )
        )
        drawn += _columns(timeline.window, by_colour, totals, y, most)
        y += ROW_OF_CELLS + GAP
        drawn.append(_rule(y - GAP / 2))
    return drawn, names, y


def counts_by_colour(by_status: Mapping[str, Sequence[float]], count: int) -> dict[str, list[float]]:
    """Attempts in each interval by colour of their state, from those by status letter."""
    found = {colour: [0.0] * count for colour in COLOUR_ORDER}
    for letter, numbers in by_status.items():
        counts = found.setdefault(colour_name(TaskInstanceStatus(letter)), [0.0] * count)
        for number, value in enumerate(numbers):
            counts[number] += value
    return found


def _columns(
    window: Window, by_colour: Mapping[str, Sequence[float]], totals: Sequence[float], y: float, most: float
) -> list[Markup]:
    """Areas as high as there are attempts in each interval, the colours upon each other, and what to say on hover."""
    heights, areas = list(totals), []
    for colour in reversed(list(by_colour)):  # the highest first: the next ones cover its lower part
        counts = by_colour[colour]
        if any(counts):
            areas.append(
                Markup('<path class="c-{}" d="{}"/>').format(colour, _steps(window, heights, y, most))
            )
        heights = [round(height - count, 3) for height, count in zip(heights, counts, strict=True)]
    per_zone = -(-window.count // ZONES)
    zones = (range(at, min(at + per_zone, window.count)) for at in range(0, window.count, per_zone))
    return areas + [_zone(window, by_colour, zone, y) for zone in zones if any(totals[i] for i in zone)]


def _steps(window: Window, heights: Sequence[float], y: float, most: float) -> str:
    """An area over the ground of a row; what there is can be seen, however little it is."""
    ground = y + ROW_OF_CELLS
    width = (WIDTH - LEFT - 4) / window.count
    said, last = [f"M{LEFT} {ground:.0f}"], ground
    for number, height in enumerate([*heights, 0]):
        top = ground - max(1.0, ROW_OF_CELLS * height / most) if height else ground
        if top != last or number == window.count:
            said.append(f"H{LEFT + number * width:.0f}V{top:.1f}")
            last = top
    return "".join(said) + "z"


def _zone(window: Window, by_colour: Mapping[str, Sequence[float]], zone: range, y: float) -> Markup:
    most = {colour: max(counts[number] for number in zone) for colour, counts in by_colour.items()}
    words = ", ".join(f"{value:.3g} {_WORDS[colour]}" for colour, value in most.items() if value)
    begin = window.start + timedelta(seconds=window.step_seconds * zone.start)
    width = (WIDTH - LEFT - 4) / window.count
    return Markup(
        '<rect class="zone" x="{:.0f}" y="{:.0f}" width="{:.0f}" height="{}"><title>{}: up to {}</title></rect>'
    ).format(
        LEFT + zone.start * width, y, len(zone) * width, ROW_OF_CELLS, begin.strftime("%m-%d %H:%M:%S"), words
    )


_WORDS: Final = {
    "done": "that succeeded",
    "running": "still running",
    "fatal": "that failed",
    "pending": "pending",
    "scheduled": "scheduled",
}
