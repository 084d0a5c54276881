"""Chains, levels and schedules against plain recursions over small random graphs."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.client.plan_graph import PlanGraph, find_chains, simulate

Upstreams = list[list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Upstreams, bytearray]:
    size = draw(st.integers(1, 12))
    upstreams = [
        sorted(draw(st.sets(st.integers(0, max(0, i - 1)), max_size=3)) if i else ()) for i in range(size)
    ]
    return upstreams, bytearray(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))


@given(graphs(), st.data())
def test_longest_and_slowest_chain(drawn: tuple[Upstreams, bytearray], data: st.DataObject) -> None:
    upstreams, is_open = drawn
    seconds = data.draw(st.lists(st.integers(0, 9), min_size=len(is_open), max_size=len(is_open)))

    @cache
    def depth(position: int) -> int:
        return 1 + max((depth(up) for up in upstreams[position] if is_open[up]), default=0)

    @cache
    def end(position: int) -> int:
        return seconds[position] + max((end(up) for up in upstreams[position] if is_open[up]), default=0)

    wanted = [position for position in range(len(is_open)) if is_open[position]]
    chains = find_chains(PlanGraph(upstreams, is_open), seconds)
    assert len(chains.longest) == max(map(depth, wanted), default=0)
    assert chains.slowest_seconds == max(map(end, wanted), default=0)
    assert sum(seconds[position] for position in chains.slowest) == chains.slowest_seconds
    for chain in (chains.longest, chains.slowest):
        assert all(is_open[position] for position in chain)
        assert all(up in upstreams[down] for up, down in pairwise(chain))
    levels = [depth(position) for position in wanted]
    assert chains.width == max(map(levels.count, levels), default=0)


@given(graphs(), st.data())
def test_a_schedule_keeps_the_limits_and_wastes_nothing(
    drawn: tuple[Upstreams, bytearray], data: st.DataObject
) -> None:
    upstreams, is_open = drawn
    size = len(is_open)
    seconds = data.draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    groups = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    limit = data.draw(st.integers(1, 4))
    graph = PlanGraph(upstreams, is_open)
    work = sum(seconds[position] for position in range(size) if is_open[position])
    critical = find_chains(graph, seconds).slowest_seconds
    free = simulate(graph, seconds, [1.0] * size, groups, size, [size, size])
    assert free.seconds == critical  # nothing holds it up
    assert free.memory_at_once == free.at_once
    tight = simulate(graph, seconds, [1.0] * size, groups, limit, [size, 1])
    assert tight.at_once <= limit
    assert tight.num_never == 0
    assert max(critical, work / limit) <= tight.seconds <= work
    assert simulate(graph, seconds, [0.0] * size, groups, 1, [1, 1]).seconds == work
    assert simulate(graph, seconds, [0.0] * size, groups, 0, [1, 1]).num_never == sum(is_open)


@given(graphs(), st.data())
def test_what_waits_for_the_marked(drawn: tuple[Upstreams, bytearray], data: st.DataObject) -> None:
    upstreams, _ = drawn
    size = len(upstreams)
    marked = data.draw(st.sets(st.integers(0, size - 1)))
    reached = set(marked)
    for position in range(size):  # upstreams come first
        if reached & set(upstreams[position]):
            reached.add(position)
    graph = PlanGraph(upstreams, bytearray(b"\1") * size)
    assert [place for place, is_reached in enumerate(graph.spread(marked)) if is_reached] == sorted(reached)


def test_a_circle_is_left_out() -> None:
    """It is a problem that validate() names; nothing hangs here."""
    graph = PlanGraph([[2], [0], [1], []], bytearray(b"\1\1\1\1"))
    assert graph.in_order() == [3]
    schedule = simulate(graph, [1.0] * 4, [0.0] * 4, [0] * 4, 9, [9])
    assert (schedule.seconds, schedule.num_never) == (pytest.approx(1.0), 3)
