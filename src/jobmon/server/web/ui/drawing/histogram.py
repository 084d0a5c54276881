"""How often a quantity took which values, and where what was asked for lies."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from jobmon.server.web.ui.drawing.axis import Axis

WIDTH, HEIGHT = 520, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 20, 26


def histogram(bins: Sequence[int], axis: Axis, requested: float | None, name: str) -> Markup:
    """Bars over an axis.

    Args:
        bins: numbers of values in equally wide bins between 0 and the end of the axis.
        axis: of the values.
        requested: what was asked for; ``None``: nothing.
        name: what the values are.
    """
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    most = max([1, *bins])
    width = across / len(bins)
    parts = [_ticks(axis, across, up)]
    for place, count in enumerate(bins):
        if count:
            height = max(1.0, up * count / most)
            words = f"{axis.words(axis.end * place / len(bins))} to {axis.words(axis.end * (place + 1) / len(bins))}"
            parts.append(
                Markup(
                    '<rect class="column" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}: {}</title></rect>'
                ).format(LEFT + place * width + 0.5, TOP + up - height, width - 1, height, words, count)
            )
    parts.append(
        Markup('<text class="muted" x="{}" y="{}" text-anchor="end">{}</text>').format(
            LEFT - 6, TOP + 8, most
        )
    )
    if requested:
        parts.append(_limit(axis, requested, across, up))
    label = f"Histogram of {name} of {sum(bins)} attempts"
    return Markup(
        '<svg class="drawing histogram" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, label, Markup("").join(parts))


def _ticks(axis: Axis, across: float, up: float) -> Markup:
    return Markup("").join(
        Markup(
            '<line class="line" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
            '<text class="muted" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
        ).format(LEFT + across * value / axis.end, TOP, TOP + up, HEIGHT - 8, axis.words(value))
        for value in axis.ticks
    )


def _limit(axis: Axis, requested: float, across: float, up: float) -> Markup:
    is_inside = requested <= axis.end
    at = LEFT + across * min(1.0, requested / axis.end)
    anchor = "end" if at > LEFT + across / 2 else "start"
    words = Markup('<text class="limit" x="{:.1f}" y="{}" text-anchor="{}">asked for {}{}</text>').format(
        at, TOP - 6, anchor, axis.words(requested), "" if is_inside else " →"
    )
    if not is_inside:
        return words
    return words + Markup('<line class="limit" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
        at, TOP, TOP + up
    )
