"""Progress over time: as values for a plot, and as SVG for who has no JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from markupsafe import Markup

from jobmon.server.web.store.timeline import Curve

WIDTH: Final = 720
HEIGHT: Final = 150
LEFT: Final = 52
BOTTOM: Final = 20
TOP: Final = 8


def curve_values(curve: Curve) -> dict[str, Any]:
    """What ``plots.js`` draws: from the beginning of the run, so that the shortest has two points."""
    is_short = curve.window.count == 1

    def from_the_beginning(values: Sequence[float]) -> list[float]:
        return [0 if is_short else values[0], *values]

    return {
        "kind": "lines",
        "time": True,
        "x": [curve.window.start_epoch, *curve.window.moments()],
        "y_label": "tasks",
        "series": [
            {"label": "done", "colour": "done", "values": from_the_beginning(curve.done), "fill": True},
            {"label": "failed", "colour": "fatal", "values": from_the_beginning(curve.failed), "fill": True},
            {
                "label": "running at once",
                "colour": "running",
                "values": from_the_beginning([round(each, 2) for each in curve.running]),
                "right": True,
            },
        ],
    }


def curve_drawing(curve: Curve) -> Markup:
    """Tasks done and failed, and how many ran, each over the time of the run; running ones have their own scale."""
    most = max(1, *curve.done, *curve.failed)
    most_running = max(1.0, *curve.running)
    start = curve.window.start.strftime("%m-%d %H:%M")
    end = curve.window.end.strftime("%m-%d %H:%M UTC")
    words = (
        f"Progress from {start} to {end}: {curve.done[-1]} done, {curve.failed[-1]} failed, "
        f"at most {most_running:.0f} running at once"
    )
    bottom = HEIGHT - BOTTOM
    return Markup(
        '<svg class="drawing curve" viewBox="0 0 {w} {h}" role="img" aria-label="{words}"><title>{words}</title>'
        '<path class="line" fill="none" d="M{left} {top}H{w}M{left} {bottom}H{w}"/>'
        '<path class="c-done area" d="{done}"/><path class="c-fatal area" d="{failed}"/>'
        '<path class="running-line" fill="none" d="{running}"/>'
        '<text class="muted" text-anchor="end" x="{label_x}" y="{label_top}">{most}</text>'
        '<text class="muted" text-anchor="end" x="{label_x}" y="{bottom}">0</text>'
        '<text class="muted" x="{left}" y="{h_text}">{start}</text>'
        '<text class="muted" text-anchor="end" x="{w}" y="{h_text}">{end}</text></svg>'
    ).format(
        w=WIDTH,
        h=HEIGHT,
        words=words,
        left=LEFT,
        top=TOP,
        bottom=bottom,
        done=_path(curve.done, most, is_area=True),
        failed=_path(curve.failed, most, is_area=True),
        running=_path(curve.running, most_running, is_area=False),
        label_x=LEFT - 4,
        label_top=TOP + 8,
        most=f"{most:,}".replace(",", "\u202f"),
        h_text=HEIGHT - 5,
        start=start,
        end=end,
    )


def _path(values: Sequence[float], most: float, *, is_area: bool) -> str:
    """A line from left to right, closed along the ground where it is an area."""
    bottom = HEIGHT - BOTTOM
    step = (WIDTH - LEFT) / max(1, len(values) - 1)
    points = [
        f"{LEFT + number * step:.1f} {bottom - (bottom - TOP) * value / most:.1f}"
        for number, value in enumerate(values)
    ]
    line = "L".join(points)
    return f"M{LEFT} {bottom}L{line}V{bottom}z" if is_area else f"M{line}"
