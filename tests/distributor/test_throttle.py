"""How the attempts that may run at once are shared among batches on a cluster."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from jobmon.distributor.throttle import UNLIMITED, SubmittedBatch, held_by_array, share


def batch(name: str, array_id: int, num_live: int, max_running: int = UNLIMITED) -> SubmittedBatch:
    """A batch on the cluster, whose attempts have a job each."""
    return SubmittedBatch(name, array_id, Counter(range(num_live)), max_running)


def test_older_batches_come_first() -> None:
    """The limit of their array is used up in the order in which they were submitted."""
    batches = [batch("a", 1, 5), batch("b", 1, 5), batch("c", 2, 5)]
    assert share(batches, 100, {1: 7}) == {"a": UNLIMITED, "b": 2, "c": UNLIMITED}


def test_a_limit_of_nothing_holds_back_all() -> None:
    """A paused array runs nothing more."""
    assert share([batch("a", 1, 5)], 100, {1: 0}) == {"a": 0}
    assert share([batch("a", 1, 5)], 0, {1: 9}) == {"a": 0}


def test_held_is_what_exceeds_the_throttle() -> None:
    """A batch that is nearly done holds back nothing."""
    assert held_by_array([batch("a", 1, 10, 3), batch("b", 1, 2, 3), batch("c", 2, 9)]) == {1: 7}


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 20)), max_size=8),
    st.integers(0, 50),
    st.dictionaries(st.integers(1, 3), st.integers(0, 30)),
)
def test_no_limit_is_exceeded(
    sizes: list[tuple[int, int]], workflow_limit: int, array_limits: dict[int, int]
) -> None:
    """Neither the workflow's nor any array's, and no room is left that somebody waits for."""
    batches = [batch(str(i), array_id, size) for i, (array_id, size) in enumerate(sizes)]
    shares = share(batches, workflow_limit, array_limits)
    running = {b.name: b.num_jobs if shares[b.name] == UNLIMITED else shares[b.name] for b in batches}
    assert sum(running.values()) <= workflow_limit
    for array_id, limit in array_limits.items():
        used = sum(running[b.name] for b in batches if b.array_id == array_id)
        assert used <= limit
    for b in batches:
        if running[b.name] < b.num_jobs:
            used = sum(running[o.name] for o in batches if o.array_id == b.array_id)
            is_array_full = b.array_id in array_limits and used >= array_limits[b.array_id]
            assert is_array_full or sum(running.values()) == workflow_limit
