"""Bars for rows of tables: as small as can be, for many of them are sent again and again. What they show stands beside them."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from jobmon.server.web.ui.drawing.bars import by_label, widths


def row_bar(by_status: Mapping[str, int]) -> Markup:
    """A bar of tasks by label without words.

    Args:
        by_status: number of tasks by status letter.
    """
    counts = {label: count for label, count in by_label(by_status).items() if count}
    parts, at = [], 0.0
    for label, width in widths(counts, sum(counts.values())):
        start, at = at, at + width
        path = Markup('<path class="c-{}" d="M{:.0f} 0H{:.0f}V9H{:.0f}"/>')
        parts.append(path.format(label.lower(), start, at, start))
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 9" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(Markup("").join(parts))
