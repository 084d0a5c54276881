"""Drawings of one workflow: the graph of its templates, its timeline, its curve."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.states import TaskInstanceStatus, TaskStatus
from jobmon.server.web.store.timeline import Bar, Curve, Timeline, Window
from jobmon.server.web.ui.drawing.curve import curve_drawing, curve_values
from jobmon.server.web.ui.drawing.template_graph import (
    BOX_HEIGHT,
    BOX_WIDTH,
    MAX_BOXES,
    Box,
    forward_edges,
    lay_out,
    layers_of,
    template_graph,
)
from jobmon.server.web.ui.drawing.timeline import lanes_of, ticks_of, timeline_drawing

NOON = datetime.fromisoformat("2026-05-01T12:00:00")
HOSTILE = "<script>alert(1)</script>"
DONE = TaskStatus.DONE.value

Upstream = dict[int, frozenset[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Upstream:
    """Up to a dozen templates that wait for any others, or for themselves."""
    ids = list(range(1, draw(st.integers(1, 12)) + 1))
    return {each: draw(st.frozensets(st.sampled_from(ids), max_size=4)) for each in ids}


# -- the graph ------------------------------------------------------------------------------------------
@given(graphs())
def test_what_waits_stands_to_the_right_and_every_edge_is_kept(upstream: Upstream) -> None:
    forward, backward = forward_edges(list(upstream), upstream)
    layer = layers_of(list(upstream), forward)
    assert all(layer[start] < layer[end] for start, end in forward)
    every = {(above, each) for each, over in upstream.items() for above in over if above != each}
    assert forward | backward == every
    assert not forward & backward


@given(graphs())
def test_no_box_covers_another_and_all_lie_in_the_drawing(upstream: Upstream) -> None:
    layout = lay_out(list(upstream), upstream)
    corners = list(layout.corners.values())
    assert len(corners) == len(upstream)
    for number, (x, y) in enumerate(corners):
        assert x >= 0
        assert y >= 0
        assert x + BOX_WIDTH <= layout.width
        assert y + BOX_HEIGHT <= layout.height
        for other_x, other_y in corners[number + 1 :]:
            assert abs(x - other_x) >= BOX_WIDTH or abs(y - other_y) >= BOX_HEIGHT


def test_edges_that_cross_are_put_straight() -> None:
    upstream: Upstream = {1: frozenset(), 2: frozenset(), 3: frozenset({2}), 4: frozenset({1})}
    corners = lay_out([1, 2, 3, 4], upstream).corners
    assert (corners[1][1] < corners[2][1]) == (corners[4][1] < corners[3][1])


def test_names_and_addresses_are_escaped_in_the_graph() -> None:
    drawing = template_graph([Box(1, HOSTILE, {DONE: 3}, '/ui/"x')], {1: frozenset({1})})
    assert "<script" not in drawing
    root = ET.fromstring(drawing)
    assert HOSTILE in "".join(root.itertext())


def test_as_many_templates_as_are_drawn_stay_a_small_page() -> None:
    ids = list(range(MAX_BOXES))
    upstream = {
        each: frozenset(other for other in (each - 1, each - 7, each - 40) if other >= 0) for each in ids
    }
    drawing = template_graph([Box(each, f"template {each}", {DONE: 5}, "/ui/x") for each in ids], upstream)
    assert len(drawing) < 300_000


def test_templates_that_wait_for_each_other_are_drawn_all_the_same() -> None:
    drawing = template_graph(
        [Box(each, str(each), {}, "/ui/x") for each in (1, 2)], {1: frozenset({2}), 2: frozenset({1})}
    )
    assert drawing.count('class="edge back"') == 1
    assert drawing.count('class="edge"') == 1


# -- the timeline ---------------------------------------------------------------------------------------
def bar(begin: float, end: float, name: str = "fit_1", row: str = "fit") -> Bar:
    return Bar(
        row,
        7,
        name,
        "node1",
        TaskInstanceStatus.DONE,
        NOON + timedelta(seconds=begin),
        NOON + timedelta(seconds=end),
    )


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30)), max_size=30))
def test_attempts_in_one_lane_follow_each_other(times: list[tuple[int, int]]) -> None:
    bars = [bar(begin, begin + seconds) for begin, seconds in times]
    lanes = lanes_of(bars)
    for lane in set(lanes):
        own = sorted(
            (each for each, at in zip(bars, lanes, strict=True) if at == lane), key=lambda b: b.begin
        )
        assert all(one.end <= other.begin for one, other in pairwise(own))


@given(st.integers(1, 10**8), st.integers(0, 86400))
def test_there_are_a_few_round_moments_in_any_time(seconds: int, offset: int) -> None:
    start = NOON + timedelta(seconds=offset)
    ticks = ticks_of(start, start + timedelta(seconds=seconds))
    assert len(ticks) <= 9
    assert all(start < moment < start + timedelta(seconds=seconds) for moment, _ in ticks)


def test_bars_lead_to_their_tasks_and_say_what_they_are() -> None:
    timeline = Timeline(Window(NOON, 1, 10), ["fit"], [bar(2, 4, HOSTILE)])
    drawing = timeline_drawing(timeline, "/ui/task/")
    root = ET.fromstring(drawing)
    (link,) = root.iter("a")
    assert link.get("href") == "/ui/task/7"
    assert f"{HOSTILE} on node1: its command succeeded; 12:00:02, 2.0 s" in "".join(link.itertext())
    assert "UTC" in "".join(root.itertext())


def test_a_timeline_of_any_number_of_attempts_stays_a_small_page() -> None:
    cells = {
        f"row {row}": {
            letter.value: [(7 * i * (row + 1) + k) % 1000 for i in range(120)]
            for k, letter in enumerate(
                (TaskInstanceStatus.DONE, TaskInstanceStatus.ERROR, TaskInstanceStatus.RUNNING)
            )
        }
        for row in range(40)
    }
    drawing = timeline_drawing(Timeline(Window(NOON, 60, 120), list(cells), cells=cells), "/ui/task/")
    ET.fromstring(drawing)
    assert len(drawing) < 250_000
    assert (
        len(timeline_drawing(Timeline(Window(NOON, 1, 99), ["fit"], [bar(1, 2)] * 1000), "/ui/task/"))
        < 290_000
    )


# -- the curve ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1, 150])
def test_the_curve_is_drawn_and_told(count: int) -> None:
    curve = Curve(Window(NOON, 60, count), [5] * count, [1] * count, [0.5] * count)
    words = "".join(ET.fromstring(curve_drawing(curve)).itertext())
    assert "5 done, 1 failed" in words
    values = curve_values(curve)
    assert len(values["x"]) == count + 1
    assert all(len(series["values"]) == count + 1 for series in values["series"])
    assert values["x"][:2] == [1777636800, 1777636860]
    assert values["series"][0]["values"][0] == (0 if count == 1 else 5)
