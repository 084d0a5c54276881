"""A task among those it waits for and those that wait for it: steps up to the left, steps down to the right."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from jobmon.core.states import DESCRIPTIONS, TaskStatus, colour_name
from jobmon.server.web.store.neighbourhood import Neighbour, Neighbourhood

BOX_WIDTH, BOX_HEIGHT = 184, 42
GAP_ACROSS, GAP_DOWN = 64, 10
MARGIN = 10
NAME_CHARACTERS = 24
MORE_HEIGHT = 22

Place = tuple[float, float]


def neighbourhood_drawing(around: Neighbourhood, link: Callable[[int], str]) -> Markup:
    """The drawing.

    Args:
        around: the tasks; each step is a column.
        link: address of the page of a task.
    """
    levels = sorted({task.level for task in around.tasks})
    columns = {level: around.of_level(level) for level in levels}
    heights = {
        level: len(tasks) * (BOX_HEIGHT + GAP_DOWN)
        - GAP_DOWN
        + (MORE_HEIGHT if level in around.hidden else 0)
        for level, tasks in columns.items()
    }
    height = max(heights.values()) + 2 * MARGIN
    width = len(levels) * (BOX_WIDTH + GAP_ACROSS) - GAP_ACROSS + 2 * MARGIN
    places: dict[int, Place] = {}
    boxes = []
    for number, level in enumerate(levels):
        left = MARGIN + number * (BOX_WIDTH + GAP_ACROSS)
        top = (height - heights[level]) / 2
        for task in columns[level]:
            places[task.id] = (left, top)
            boxes.append(_box(task, (left, top), link(task.id)))
            top += BOX_HEIGHT + GAP_DOWN
        if level in around.hidden:
            boxes.append(
                Markup('<text class="muted" x="{}" y="{:.1f}">and {} more</text>').format(
                    left + 4, top + 6, f"{around.hidden[level]:,}".replace(",", "\u202f")
                )
            )
    edges = [_edge(places[before], places[after]) for before, after in around.edges]
    words = f"{around.num_up} tasks directly upstream, {around.num_down} directly downstream; {len(places)} tasks are drawn"
    return Markup(
        '<svg class="drawing neighbourhood" viewBox="0 0 {0} {1:.0f}" width="{0}" height="{1:.0f}" role="group" '
        'aria-label="{2}">{3}{4}</svg>'
    ).format(width, height, words, Markup("").join(edges), Markup("").join(boxes))


def _box(task: Neighbour, place: Place, address: str) -> Markup:
    left, top = place
    state = task.status.name.replace("_", " ").lower()
    name = task.name if len(task.name) <= NAME_CHARACTERS else task.name[: NAME_CHARACTERS - 1] + "…"
    return Markup(
        '<a href="{}"{}><title>{} (task {}): {} {}</title><rect class="box{}" x="{:.1f}" y="{:.1f}" width="{}" height="{}" '
        'rx="4"/><rect class="c-{}" x="{:.1f}" y="{:.1f}" width="7" height="{}" rx="3"/>'
        '<text x="{:.1f}" y="{:.1f}">{}</text><text class="muted" x="{:.1f}" y="{:.1f}">{}</text></a>'
    ).format(
        address,
        Markup(' aria-current="page"') if task.level == 0 else "",
        task.name,
        task.id,
        state,
        DESCRIPTIONS[TaskStatus][task.status.value],
        " chosen" if task.level == 0 else "",
        *(left, top, BOX_WIDTH, BOX_HEIGHT),
        colour_name(task.status),
        *(left, top, BOX_HEIGHT),
        *(left + 14, top + 17, name),
        *(left + 14, top + 34, state),
    )


def _edge(before: Place, after: Place) -> Markup:
    """From the right side of one box to the left side of another; back around where that lies behind."""
    start = (before[0] + BOX_WIDTH, before[1] + BOX_HEIGHT / 2)
    end = (after[0] - 6, after[1] + BOX_HEIGHT / 2)
    bend = max(24.0, (end[0] - start[0]) / 2)
    return Markup(
        '<path class="edge" d="M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}"/>'
        '<path class="arrow" d="M{:.1f} {:.1f}l-7 -4v8z"/>'
    ).format(
        *start, start[0] + bend, start[1], end[0] - bend, end[1], *end, after[0], after[1] + BOX_HEIGHT / 2
    )
