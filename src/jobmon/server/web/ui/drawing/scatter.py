"""Run time against memory: a point for every attempt, or, of very many, how dense they lie."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from markupsafe import Markup

from jobmon.server.web.ui.drawing.axis import Axis

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 16, 16, 44
MOST_POINTS = 3000
CELLS_ACROSS, CELLS_UP = 72, 40
SHADES = 5

Point = tuple[float, float, str]
"""Run time, memory, and name of a colour."""


def scatter(
    points: Sequence[Point],
    x: Axis,
    y: Axis,
    requested: tuple[float | None, float | None],
    names: tuple[str, str],
) -> Markup:
    """A drawing of attempts.

    Args:
        points: the attempts.
        x, y: the axes.
        requested: what was asked for, on each axis; ``None``: nothing.
        names: of the axes.
    """
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(value: tuple[float, float]) -> tuple[float, float]:
        return LEFT + across * value[0] / x.end, TOP + up * (1 - value[1] / y.end)

    words = f"{len(points)} attempts: {names[0].lower()} across, {names[1].lower()} up"
    body = _dots(points, place) if len(points) <= MOST_POINTS else _density(points, x, y)
    return Markup(
        '<svg class="drawing scatter" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}</svg>'
    ).format(WIDTH, HEIGHT, words, _frame(x, y, names), body, *_limits(x, y, requested))


def _frame(x: Axis, y: Axis, names: tuple[str, str]) -> Markup:
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    bottom, right = TOP + up, LEFT + across
    parts = []
    for value in x.ticks:
        at = LEFT + across * value / x.end
        parts.append(
            Markup(
                '<line class="line" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text class="muted" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
            ).format(at, TOP, bottom, bottom + 16, x.words(value))
        )
    for value in y.ticks:
        at = TOP + up * (1 - value / y.end)
        parts.append(
            Markup(
                '<line class="line" x1="{1}" x2="{2}" y1="{0:.1f}" y2="{0:.1f}"/>'
                '<text class="muted" x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
            ).format(at, LEFT, right, LEFT - 6, at + 4, y.words(value))
        )
    parts.append(
        Markup(
            '<text x="{}" y="{}" text-anchor="end">{}</text>'
            '<text transform="translate(12 {}) rotate(-90)" text-anchor="end">{}</text>'
        ).format(right, HEIGHT - 8, names[0], TOP, names[1])
    )
    return Markup("").join(parts)


def _dots(points: Sequence[Point], place: Callable[[tuple[float, float]], tuple[float, float]]) -> Markup:
    by_colour: dict[str, list[str]] = defaultdict(list)
    for run_time, memory, colour in points:
        across, up = place((run_time, memory))
        by_colour[colour].append(f"M{across:.0f} {up:.0f}h0")
    return Markup("").join(
        Markup('<path class="dots c-{}" d="{}"/>').format(colour, "".join(sorted(set(dots))))
        for colour, dots in sorted(by_colour.items())
    )


def _density(points: Sequence[Point], x: Axis, y: Axis) -> Markup:
    """Cells, the darker the more attempts are in them."""
    cells = Counter(
        (
            min(CELLS_ACROSS - 1, int(CELLS_ACROSS * run_time / x.end)),
            min(CELLS_UP - 1, int(CELLS_UP * memory / y.end)),
        )
        for run_time, memory, _ in points
    )
    width = (WIDTH - LEFT - RIGHT) / CELLS_ACROSS
    height = (HEIGHT - TOP - BOTTOM) / CELLS_UP
    most = max(cells.values())
    shades: dict[int, list[str]] = defaultdict(list)
    for (column, row), count in sorted(cells.items()):
        shade = min(SHADES, 1 + int(SHADES * (count / most) ** 0.5))
        left, top = LEFT + column * width, HEIGHT - BOTTOM - (row + 1) * height
        shades[shade].append(f"M{left:.1f} {top:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
    return Markup("").join(
        Markup('<path class="density d{}" d="{}"/>').format(shade, "".join(parts))
        for shade, parts in sorted(shades.items())
    )


def _limits(x: Axis, y: Axis, requested: tuple[float | None, float | None]) -> tuple[Markup, Markup]:
    """Lines at what was asked for; where that lies beyond the drawing, words at its edge."""
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    upright, flat = Markup(""), Markup("")
    if requested[0]:
        is_inside = requested[0] <= x.end
        at = LEFT + across * min(1.0, requested[0] / x.end)
        upright = Markup(
            '<text class="limit" x="{:.1f}" y="{}" text-anchor="end">asked for {}{}</text>'
        ).format(at - 4, TOP + 12, x.words(requested[0]), "" if is_inside else " →")
        if is_inside:
            upright += Markup('<line class="limit" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
                at, TOP, TOP + up
            )
    if requested[1]:
        is_inside = requested[1] <= y.end
        at = TOP + up * (1 - min(1.0, requested[1] / y.end))
        flat = Markup('<text class="limit" x="{}" y="{:.1f}">asked for {}{}</text>').format(
            LEFT + 6, at + 14, y.words(requested[1]), "" if is_inside else " ↑"
        )
        if is_inside:
            flat += Markup('<line class="limit" x1="{1}" x2="{2}" y1="{0:.1f}" y2="{0:.1f}"/>').format(
                at, LEFT, LEFT + across
            )
    return upright, flat
