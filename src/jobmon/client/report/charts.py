"""Charts as SVG text, made without any library: they scale, print, and take their colours from the page's style.

Every text that comes from users passes :func:`escape`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import chain

from jobmon.client.report.figures import Figures, Outcome, TemplateFigures
from jobmon.client.report.timeline import (
    Axis,
    most_at_once,
    running_and_waiting,
    spans_running,
    spans_waiting,
)
from jobmon.core import words
from jobmon.core.words import describe_duration

WIDTH = 1000
LEFT = 185
RIGHT = 12
BINS = 240
MAX_ROWS = 24
MAX_BARS = 110
_INNER = WIDTH - LEFT - RIGHT
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800)
OUTCOME_CLASS = {
    Outcome.LIVE: "live",
    Outcome.DONE: "done",
    Outcome.FAILED: "failed",
    Outcome.RESOURCE: "resource",
    Outcome.ORDERED: "ordered",
}


def _svg(height: float, content: str, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}" '
        f'preserveAspectRatio="xMidYMid meet">{content}</svg>'
    )


def _text(x: float, y: float, text: str, css: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(text)}</text>'


def _x(axis: Axis, position: float) -> float:
    return LEFT + _INNER * position / axis.length


def shorten(text: str, length: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def thousands(count: int) -> str:
    """A whole number with narrow spaces between thousands."""
    return words.thousands(count).replace(" ", "\u202f")


# -- axes ---------------------------------------------------------------------------------------------
def _time_axis(axis: Axis, top: float, bottom: float) -> str:
    """Lines and labels of the time since the first attempt; bands where idle time was taken out."""
    active = axis.length
    step: float = next((tick for tick in _TICKS if active / tick <= 9), _TICKS[-1])
    while active / step > 9:
        step *= 2
    if active < 5:
        step = next(tick for tick in (0.1, 0.2, 0.5, 1) if active / tick <= 11)
    parts = []
    last_x = -math.inf
    for start, end, at in axis.pieces:
        first = math.ceil((start - axis.start) / step - 1e-9) * step
        count = int((end - axis.start - first) / step + 1e-9) + 1
        for i in range(max(0, min(count, 40))):
            since = first + i * step
            x = _x(axis, at + since - (start - axis.start))
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
            if x - last_x > 60:
                anchor = "end" if x > WIDTH - RIGHT - 20 else "middle"
                parts.append(_text(x, bottom + 16, _since(since, step), "tick", anchor))
                last_x = x
    for position, seconds in axis.gaps:
        x, half = _x(axis, position), _INNER / 60
        parts.append(
            f'<rect class="gap" x="{x - half:.1f}" y="{top}" width="{2 * half:.1f}" height="{bottom - top:.1f}">'
            f"<title>nothing happened for {describe_duration(seconds)}</title></rect>"
        )
        parts.append(_text(x, top - 4, f"{describe_duration(seconds)} idle", "tick", "middle"))
    return "".join(parts)


def _since(seconds: float, step: float) -> str:
    if step < 1:
        return f"{seconds:.1f} s"
    return "0" if seconds == 0 else describe_duration(seconds)


def _nice_top(value: float) -> float:
    """A round number not below a value."""
    if value <= 1:
        return 1.0
    scale: float = 10 ** math.floor(math.log10(value))
    return next(
        factor * scale for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if factor * scale >= value * 0.999
    )


def _area(axis: Axis, values: Sequence[float], baseline: float, height: float, top: float, css: str) -> str:
    """A stepped area over the bins, zero at the baseline, ``top`` at ``height`` above it."""
    if not any(values):
        return ""
    points = [f"{LEFT},{baseline:.1f}"]
    for i, value in enumerate(values):
        y = baseline - height * min(value, top) / top
        left, right = (LEFT + _INNER * edge / len(values) for edge in (i, i + 1))
        points.append(f"{left:.1f},{y:.1f} {right:.1f},{y:.1f}")
    points.append(f"{LEFT + _INNER},{baseline:.1f}")
    return f'<polygon class="{css}" points="{" ".join(points)}"/>'


def _add(total: list[float], values: Sequence[float]) -> None:
    for i, value in enumerate(values):
        total[i] += value


# -- timeline -----------------------------------------------------------------------------------------
Curves = Sequence[tuple[list[float], list[float]]]
"""For each template, how many attempts ran and how many waited in each slice of time."""


def curves_of(figures: Figures, axis: Axis) -> Curves:
    """What the charts of the timeline are drawn from."""
    return [running_and_waiting(template, axis, BINS, figures.now) for template in figures.templates]


def concurrency_chart(figures: Figures, curves: Curves, axis: Axis) -> str:
    """How many attempts ran and how many waited to start, over time."""
    running, waiting = [0.0] * BINS, [0.0] * BINS
    for of_running, of_waiting in curves:
        _add(running, of_running)
        _add(waiting, of_waiting)
    num_running, num_waiting = (
        most_at_once(span for template in figures.templates for span in spans_of(template, figures.now))
        for spans_of in (spans_running, spans_waiting)
    )
    panels = [
        ("running", running, num_running, "run", 26, 120),
        ("waiting", waiting, num_waiting, "wait", 176, 60),
    ]
    bottom = 236
    parts = [_time_axis(axis, 26, bottom)]
    for name, values, most, css, y, height in panels:
        top = _nice_top(max(most, *values))
        base = y + height
        parts.append(_area(axis, values, base, height, top, css))
        parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
        parts.append(_text(LEFT - 8, y + 9, _count(top), "tick", "end"))
        parts.append(_text(LEFT - 8, base, "0", "tick", "end"))
        parts.append(_text(0, y + 9, name, "name"))
        parts.append(_text(0, y + 25, f"at most {thousands(most)}", "tick"))
    return _svg(bottom + 24, "".join(parts), "Attempts running and waiting over time")


def _count(value: float) -> str:
    return thousands(round(value)) if value >= 10 else f"{value:.1f}".removesuffix(".0")


def template_rows(figures: Figures, curves: Curves, axis: Axis) -> str:
    """For each template, when its attempts waited and ran; marks where attempts failed."""
    tried = zip(figures.templates, curves, strict=True)
    shown = [(template, curve) for template, curve in tried if template.count][:MAX_ROWS]
    height, gap, top = 30, 10, 22
    bottom = top + len(shown) * (height + gap)
    parts = [_time_axis(axis, top, bottom)]
    for i, (template, (running, waiting)) in enumerate(shown):
        base = top + i * (height + gap) + height
        both = [a + b for a, b in zip(running, waiting, strict=True)]
        most = most_at_once(chain(spans_running(template, figures.now), spans_waiting(template, figures.now)))
        limit = max(most, *both, 0.01)
        parts.append(_area(axis, both, base, height, limit, "wait"))
        parts.append(_area(axis, running, base, height, limit, "run"))
        parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
        parts.append(_failure_marks(template, axis, base, figures.now))
        parts.append(_text(0, base - 15, shorten(template.name, 22), "name"))
        told = f"{thousands(template.count)} attempts, peak {thousands(most)}"
        parts.append(_text(0, base - 1, told, "tick"))
    return _svg(bottom + 24, "".join(parts), "Waiting and running attempts by template over time")


def _failure_marks(template: TemplateFigures, axis: Axis, base: float, now: float) -> str:
    """One mark per pixel column at most, however many attempts failed there."""
    columns: dict[tuple[int, str], int] = {}
    for ended, outcome in zip(template.ended, template.outcome, strict=True):
        if outcome > Outcome.DONE:
            x = int(_x(axis, axis.position(now if math.isnan(ended) else ended)) // 3) * 3
            key = (x, OUTCOME_CLASS[Outcome(outcome)])
            columns[key] = columns.get(key, 0) + 1
    return "".join(
        f'<rect class="{css}" x="{x}" y="{base - 1:.1f}" width="3" height="6"><title>{count} {css}</title></rect>'
        for (x, css), count in sorted(columns.items())
    )


def attempt_bars(figures: Figures, axis: Axis) -> tuple[str, int]:
    """Single attempts as bars, waiting light and running solid; how many are drawn.

    Where there are too many, evenly spaced ones of every template.
    """
    bar, top = 5, 22
    total = max(1, figures.num_attempts)
    parts, y, drawn = [], float(top), 0
    for template in figures.templates:
        picked = _sample(
            template, max(1, MAX_BARS * template.count // total) if total > MAX_BARS else template.count
        )
        if not picked:
            continue
        if drawn >= MAX_BARS:
            break
        parts.append(_text(0, y + 8, shorten(template.name, 22), "name"))
        for i in picked:
            parts.append(_bar(template, i, axis, y, bar, figures.now))
            y += bar + 1
        drawn += len(picked)
        y += max(0, 14 - (bar + 1) * len(picked)) + 6
    return _svg(y + 24, _time_axis(axis, top - 4, y) + "".join(parts), "Single attempts"), drawn


def _sample(template: TemplateFigures, count: int) -> list[int]:
    order = sorted(range(template.count), key=lambda i: (template.queued[i], template.started[i]))
    if count >= len(order):
        return order
    return [order[int((i + 0.5) * len(order) / count)] for i in range(count)]


def _bar(template: TemplateFigures, i: int, axis: Axis, y: float, height: float, now: float) -> str:
    queued, started, ended = template.queued[i], template.started[i], template.ended[i]
    end = now if math.isnan(ended) else ended
    start = end if math.isnan(started) else started
    outcome = OUTCOME_CLASS[Outcome(template.outcome[i])]
    x0, x1, x2 = (_x(axis, axis.position(moment)) for moment in (queued, start, end))
    title = (
        f"{template.names[i]}, attempt {template.attempts[i]}: {outcome}; waited {describe_duration(start - queued)}, "
        f"ran {describe_duration(end - start)}"
    )
    return (
        f"<g><title>{escape(title)}</title>"
        f'<rect class="wait" x="{x0:.1f}" y="{y:.0f}" width="{max(0.0, x1 - x0):.1f}" height="{height}"/>'
        f'<rect class="{outcome}" x="{x1:.1f}" y="{y:.0f}" width="{max(1.0, x2 - x1):.1f}" height="{height}"/></g>'
    )


# -- small charts in tables ---------------------------------------------------------------------------
def usage_bar(request: float | None, median: float | None, peak: float) -> str:
    """What was used (median: bar, most: mark) against what was asked for (frame)."""
    if not peak:
        return ""
    width, height = 120, 12
    limit = max(request or 0.0, peak) * 1.02
    parts = []
    if request:
        parts.append(
            f'<rect class="frame" x="0.5" y="0.5" width="{width * request / limit - 1:.1f}" height="{height - 1}"/>'
        )
    if median:
        css = "over" if request and median > request else "used"
        parts.append(
            f'<rect class="{css}" x="0.5" y="2.5" width="{width * median / limit:.1f}" height="{height - 5}"/>'
        )
    css = "over" if request and peak > request else "peak"
    parts.append(
        f'<rect class="{css}" x="{max(0.0, width * peak / limit - 2):.1f}" y="0" width="2" height="{height}"/>'
    )
    return f'<svg class="mini" viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(parts)}</svg>'


def share_bar(parts: Sequence[tuple[str, float]]) -> str:
    """Shares of a whole, as one bar: (style class, amount) from left to right."""
    total = sum(amount for _, amount in parts)
    if not total:
        return ""
    x, drawn = 0.0, []
    for css, amount in parts:
        width = WIDTH * amount / total
        drawn.append(f'<rect class="{css}" x="{x:.2f}" y="0" width="{width:.2f}" height="14"/>')
        x += width
    return (
        f'<svg class="share" viewBox="0 0 {WIDTH} 14" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(drawn)}</svg>"
    )
