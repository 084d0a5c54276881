"""How long news gathers before a controller asks for it once more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobmon.swarm.beside import FEED_GATHER_SECONDS, LONGEST_GATHER_SECONDS, gather_seconds
from jobmon.swarm.state import Counts

ACTIVE = st.integers(0, 100_000)


def counts(active: int, pending: int = 0) -> Counts:
    return Counts(total=active + pending, done=0, failed=0, active=active, running=0)


@given(ACTIVE, ACTIVE, st.integers(0, 3))
def test_the_more_attempts_live_the_longer_it_gathers(first, second, pending):
    """Never shorter with more of them, and always within the two bounds."""
    fewer, more = sorted((first, second))
    assert gather_seconds(counts(fewer, pending)) <= gather_seconds(counts(more, pending))
    assert FEED_GATHER_SECONDS <= gather_seconds(counts(more, pending)) <= LONGEST_GATHER_SECONDS


@given(ACTIVE)
def test_it_gathers_for_less_time_where_tasks_wait(active):
    """What waits may depend on the news."""
    assert gather_seconds(counts(active, 1)) <= gather_seconds(counts(active))


def test_the_end_of_a_run_is_seen_at_once():
    """With a few attempts left, news is as quick as it gets."""
    assert gather_seconds(counts(2)) < FEED_GATHER_SECONDS + 0.01
