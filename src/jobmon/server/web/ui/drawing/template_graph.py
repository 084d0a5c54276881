"""The graph of templates as SVG: layers from left to right, each template as near as can be to what it waits for.

Theory of operation
-------------------
1. Templates may wait for each other both ways, as tasks never do: edges that close a circle are drawn, but do not count.
2. A template stands in the layer after the last of those it waits for (longest path).
3. An edge over several layers passes through a place in each of them, so that it goes around boxes.
4. Within the layers, places are sorted by the mean of their neighbours, forwards and backwards a few times; the order with
   the fewest crossings stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from jobmon.server.web.ui.drawing.bars import by_label

BOX_WIDTH: Final = 176
BOX_HEIGHT: Final = 46
GAP_X: Final = 56
GAP_Y: Final = 18
PASS_HEIGHT: Final = 10
"""Height of the place of an edge that passes through a layer."""
LONG_LAYERS: Final = 12
"""Edges over more layers than this are drawn straight through."""
MARGIN: Final = 12
SWEEPS: Final = 8
MAX_BOXES: Final = 200
NAME_CHARACTERS: Final = 24

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """A template.

    Attributes:
        id: its array.
        name: its name.
        by_status: number of its tasks by status letter.
        href: address of its page.
    """

    id: int
    name: str
    by_status: Mapping[str, int]
    href: str


# -- layout ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are.

    Attributes:
        corners: upper left corner of each box.
        paths: where each edge enters the layers between its ends, which it crosses straight.
        width, height: of the whole.
    """

    corners: Mapping[int, tuple[float, float]]
    paths: Mapping[Edge, Sequence[tuple[float, float]]]
    width: float
    height: float


def forward_edges(ids: Sequence[int], upstream: Mapping[int, frozenset[int]]) -> tuple[set[Edge], set[Edge]]:
    """Edges from what is waited for to what waits, and those of them that would close a circle, apart."""
    downstream: dict[int, list[int]] = {each: [] for each in ids}
    for each in ids:
        for above in upstream.get(each, ()):
            if above in downstream and above != each:
                downstream[above].append(each)
    forward: set[Edge] = set()
    backward: set[Edge] = set()
    state: dict[int, int] = {}
    for root in ids:
        if root in state:
            continue
        stack = [(root, iter(sorted(downstream[root])))]
        state[root] = 1
        while stack:
            at, others = stack[-1]
            for other in others:
                if state.get(other) == 1:
                    backward.add((at, other))
                    continue
                forward.add((at, other))
                if other not in state:
                    state[other] = 1
                    stack.append((other, iter(sorted(downstream[other]))))
                    break
            else:
                state[at] = 2
                stack.pop()
    return forward, backward


def layers_of(ids: Sequence[int], edges: set[Edge]) -> dict[int, int]:
    """Number of the layer of each: one more than that of the last it waits for."""
    above: dict[int, set[int]] = {each: set() for each in ids}
    below: dict[int, set[int]] = {each: set() for each in ids}
    for start, end in edges:
        above[end].add(start)
        below[start].add(end)
    layer = dict.fromkeys(ids, 0)
    waiting = {each: len(above[each]) for each in ids}
    ready = [each for each in ids if not waiting[each]]
    while ready:
        at = ready.pop()
        for other in below[at]:
            layer[other] = max(layer[other], layer[at] + 1)
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return layer


Place = tuple[int, int, int]
"""A box: (its id, −1, −1); an edge that passes: (its start, its end, number of the layer)."""


def lay_out(ids: Sequence[int], upstream: Mapping[int, frozenset[int]]) -> Layout:
    """Places for templates; takes a moment for hundreds of them.

    Args:
        ids: the templates, in the order of their making.
        upstream: what each waits for.
    """
    forward, _ = forward_edges(ids, upstream)
    layer = layers_of(ids, forward)
    layers: list[list[Place]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for each in ids:
        layers[layer[each]].append((each, -1, -1))
    links: dict[int, list[tuple[Place, Place]]] = defaultdict(list)
    passing: dict[Edge, list[Place]] = {}
    for start, end in sorted(forward):
        if layer[end] - layer[start] > LONG_LAYERS:
            passing[start, end] = []
            continue
        chain = [(start, end, number) for number in range(layer[start] + 1, layer[end])]
        for place in chain:
            layers[place[2]].append(place)
        passing[start, end] = chain
        whole: list[Place] = [(start, -1, -1), *chain, (end, -1, -1)]
        for offset, pair in enumerate(pairwise(whole)):
            links[layer[start] + offset].append(pair)
    ordered = _ordered(layers, links)
    return _placed(ordered, passing)


def _ordered(
    layers: list[list[Place]], links: Mapping[int, Sequence[tuple[Place, Place]]]
) -> list[list[Place]]:
    """Layers whose edges cross less."""
    best, fewest = [list(each) for each in layers], crossings(layers, links)
    current = [list(each) for each in layers]
    for sweep in range(SWEEPS):
        if not fewest:
            break
        numbers = range(1, len(current)) if sweep % 2 == 0 else range(len(current) - 2, -1, -1)
        for number in numbers:
            beside = number - 1 if sweep % 2 == 0 else number + 1
            position = {place: at for at, place in enumerate(current[beside])}
            means: dict[Place, list[int]] = defaultdict(list)
            for start, end in links.get(min(number, beside), ()):
                here, there = (end, start) if sweep % 2 == 0 else (start, end)
                means[here].append(position[there])
            current[number] = _sorted_by_mean(current[number], means)
        found = crossings(current, links)
        if found < fewest:
            best, fewest = [list(each) for each in current], found
    return best


def _sorted_by_mean(places: Sequence[Place], means: Mapping[Place, Sequence[int]]) -> list[Place]:
    keys = {
        place: sum(means[place]) / len(means[place]) if means.get(place) else float(at)
        for at, place in enumerate(places)
    }
    return sorted(places, key=lambda place: keys[place])


def crossings(layers: Sequence[Sequence[Place]], links: Mapping[int, Sequence[tuple[Place, Place]]]) -> int:
    """How often edges between neighbouring layers cross."""
    total = 0
    for number in range(len(layers) - 1):
        left = {place: at for at, place in enumerate(layers[number])}
        right = {place: at for at, place in enumerate(layers[number + 1])}
        ends = [end for _, end in sorted((left[start], right[end]) for start, end in links.get(number, ()))]
        total += _inversions(ends, len(right))
    return total


def _inversions(values: Sequence[int], size: int) -> int:
    """Pairs that stand the wrong way round (counted in a Fenwick tree)."""
    tree = [0] * (size + 1)
    count = 0
    for seen, value in enumerate(values):
        at, lower = value + 1, 0
        while at:
            lower += tree[at]
            at &= at - 1
        count += seen - lower
        at = value + 1
        while at <= size:
            tree[at] += 1
            at += at & -at
    return count


def _placed(layers: Sequence[Sequence[Place]], passing: Mapping[Edge, Sequence[Place]]) -> Layout:
    heights = [
        sum((BOX_HEIGHT if place[2] < 0 else PASS_HEIGHT) + GAP_Y for place in places) - GAP_Y
        for places in layers
    ]
    tallest = max(heights, default=0)
    corners: dict[int, tuple[float, float]] = {}
    points: dict[Place, tuple[float, float]] = {}
    for number, places in enumerate(layers):
        x = MARGIN + number * (BOX_WIDTH + GAP_X)
        y = MARGIN + (tallest - heights[number]) / 2
        for place in places:
            if place[2] < 0:
                corners[place[0]] = (x, y)
                y += BOX_HEIGHT + GAP_Y
            else:
                points[place] = (x, y + PASS_HEIGHT / 2)
                y += PASS_HEIGHT + GAP_Y
    paths = {edge: [points[place] for place in chain] for edge, chain in passing.items()}
    width = 2 * MARGIN + len(layers) * (BOX_WIDTH + GAP_X) - GAP_X
    return Layout(corners, paths, width, 2 * MARGIN + tallest)


# -- SVG ------------------------------------------------------------------------------------------------
def template_graph(boxes: Sequence[Box], upstream: Mapping[int, frozenset[int]]) -> Markup:
    """Templates with their tasks by status, and lines from what is waited for to what waits."""
    layout = lay_out([box.id for box in boxes], upstream)
    _, backward = forward_edges([box.id for box in boxes], upstream)
    edges = [_edge(layout, edge, path) for edge, path in layout.paths.items()]
    edges += [_edge_back(layout, edge) for edge in sorted(backward)]
    drawn = Markup("").join([*edges, *(_box(box, *layout.corners[box.id]) for box in boxes)])
    width, height = round(layout.width), round(layout.height) + (30 if backward else 0)
    return Markup(
        '<svg class="drawing template-graph" viewBox="0 0 {} {}" width="{}" height="{}" role="group" '
        'aria-label="Graph of {} templates">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="arrow" d="M0 0.5L8 4L0 7.5z"/></marker></defs>{}</svg>'
    ).format(width, height, width, height, len(boxes), drawn)


def _edge(layout: Layout, edge: Edge, path: Sequence[tuple[float, float]]) -> Markup:
    start_x, start_y = layout.corners[edge[0]]
    end_x, end_y = layout.corners[edge[1]]
    at_x, at_y = start_x + BOX_WIDTH, start_y + BOX_HEIGHT / 2
    said = [f"M{at_x:.0f} {at_y:.1f}"]
    for x, y in [*path, (end_x, end_y + BOX_HEIGHT / 2)]:
        middle = (at_x + x) / 2
        said.append(f"C{middle:.0f} {at_y:.1f} {middle:.0f} {y:.1f} {x:.0f} {y:.1f}")
        at_x, at_y = x, y
        if (x, y) != (end_x, end_y + BOX_HEIGHT / 2):
            said.append(f"H{x + BOX_WIDTH:.0f}")
            at_x = x + BOX_WIDTH
    return Markup('<path class="edge" marker-end="url(#arrow)" d="{}"/>').format("".join(said))


def _edge_back(layout: Layout, edge: Edge) -> Markup:
    """An edge against the direction: from below its start to below its end."""
    (start_x, start_y), (end_x, end_y) = layout.corners[edge[0]], layout.corners[edge[1]]
    from_x, to_x = start_x + BOX_WIDTH / 2, end_x + BOX_WIDTH / 2
    low = max(start_y, end_y) + BOX_HEIGHT + 26
    return Markup(
        '<path class="edge back" marker-end="url(#arrow)" d="M{:.0f} {:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}"/>'
    ).format(from_x, start_y + BOX_HEIGHT, from_x, low, to_x, low, to_x, end_y + BOX_HEIGHT)


def _box(box: Box, x: float, y: float) -> Markup:
    counts = {label: count for label, count in by_label(box.by_status).items() if count}
    total = sum(counts.values())
    words = ", ".join(f"{count} {label.lower()}" for label, count in counts.items()) or "no tasks"
    name = box.name if len(box.name) <= NAME_CHARACTERS else box.name[: NAME_CHARACTERS - 1] + "…"
    parts, at, inner = [], x + 8, BOX_WIDTH - 16
    for label, count in counts.items():
        width = inner * count / total
        parts.append(
            Markup('<rect class="c-{}" x="{:.1f}" y="{:.0f}" width="{:.1f}" height="5"/>').format(
                label.lower(), at, y + BOX_HEIGHT - 10, width
            )
        )
        at += width
    done = f"{counts.get('DONE', 0)}/{total}" + (f" · {counts['FATAL']} failed" if "FATAL" in counts else "")
    return Markup(
        '<a href="{}"><title>{}: {}</title><rect class="box{}" x="{:.0f}" y="{:.0f}" width="{}" height="{}" rx="4"/>'
        '<text x="{:.0f}" y="{:.0f}">{}</text><text class="muted small" x="{:.0f}" y="{:.0f}">{}</text>{}</a>'
    ).format(
        box.href,
        box.name,
        words,
        " has-failed" if "FATAL" in counts else "",
        x,
        y,
        BOX_WIDTH,
        BOX_HEIGHT,
        x + 8,
        y + 16,
        name,
        x + 8,
        y + 30,
        done,
        Markup("").join(parts),
    )
