"""Bars of tasks by status."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from jobmon.core.states import TASK_STATUSES_OF_USER_LABEL

WIDTH = 1000
"""Units of a bar; it is stretched to the room there is."""
ORDER = ("DONE", "RUNNING", "SCHEDULED", "FATAL", "PENDING")
"""Labels from left to right."""


def by_label(by_status: Mapping[str, int]) -> dict[str, int]:
    """Numbers of tasks by the label users know, from those by status letter."""
    return {
        label: sum(by_status.get(status.value, 0) for status in TASK_STATUSES_OF_USER_LABEL[label])
        for label in ORDER
    }


def progress_bar(by_status: Mapping[str, int]) -> Markup:
    """A bar of tasks by label. What there is of a label can be seen, however little it is.

    Args:
        by_status: number of tasks by status letter.
    """
    counts = {label: count for label, count in by_label(by_status).items() if count}
    total = sum(counts.values())
    words = ", ".join(f"{count} {label.lower()}" for label, count in counts.items()) or "no tasks"
    parts, at = [], 0.0
    for label, width in widths(counts, total):
        parts.append(
            Markup('<rect class="c-{}" x="{:.1f}" y="0" width="{:.1f}" height="10"/>').format(
                label.lower(), at, width
            )
        )
        at += width
    return Markup(
        '<svg class="bar" viewBox="0 0 {} 10" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>"
    ).format(WIDTH, words, words, Markup("").join(parts))


def widths(counts: Mapping[str, int], total: int) -> list[tuple[str, float]]:
    """Widths that are at least visible and together fill the bar."""
    least = 8.0
    free = WIDTH - least * len(counts)
    return [(label, least + free * count / total) for label, count in counts.items()] if total else []
