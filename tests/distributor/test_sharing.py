"""Which attempts of a batch share a job: values in, values out."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from jobmon.distributor.sharing import (
    LEAST_JOBS,
    MINUTE,
    SLACK_SECONDS,
    attempts_per_job,
    job_seconds,
    own_jobs,
    share_jobs,
)

REPEATED = st.lists(st.booleans(), max_size=2000)
SECONDS = st.integers(0, 400)
SHARED = st.sampled_from([0, 30, 60, 600])
LONGEST = st.sampled_from([0, 60, 61, 120, 600, math.inf])


@given(REPEATED, SECONDS, SHARED, LONGEST)
def test_every_attempt_has_one_job(repeated: list[bool], runtime: int, shared: float, longest: float) -> None:
    """Each once; those that were attempted before are alone; the others keep their order, in jobs of nearly equal size."""
    jobs = share_jobs(repeated, runtime, shared, longest)
    assert sorted(position for job in jobs for position in job) == list(range(len(repeated)))
    assert all(len(job) == 1 for job in jobs if any(repeated[position] for position in job))
    first = [position for job in jobs for position in job if not repeated[position]]
    assert first == sorted(first)
    sizes = {len(job) for job in jobs if not repeated[job[0]]}
    assert not sizes or max(sizes) - min(sizes) <= 1


@given(REPEATED, SECONDS, SHARED, LONGEST)
def test_no_job_is_too_long_and_jobs_are_not_too_few(
    repeated: list[bool], runtime: int, shared: float, longest: float
) -> None:
    """What the attempts of a job ask for fits into the time to share, and the job into its queue."""
    jobs = share_jobs(repeated, runtime, shared, longest)
    most = max(map(len, jobs), default=1)
    if most > 1:
        assert runtime * most <= shared
        assert job_seconds(most, runtime) <= longest
        assert job_seconds(most, runtime) >= runtime * most + SLACK_SECONDS
        assert job_seconds(most, runtime) % MINUTE == 0
    num_first = repeated.count(False)
    assert len(jobs) >= min(LEAST_JOBS, num_first)


def test_examples() -> None:
    """As the documentation tells them."""
    assert attempts_per_job(1000, 5, 60, math.inf) == 12
    assert attempts_per_job(1000, 1, 60, math.inf) == 60
    assert attempts_per_job(100, 1, 60, math.inf) == 6  # 16 jobs and more
    assert attempts_per_job(1000, 31, 60, math.inf) == 1
    assert attempts_per_job(1000, 10, 60, 120) == 6
    assert attempts_per_job(1000, 10, 60, 119) == 1  # Slurm counts in minutes
    assert len(share_jobs([False] * 1000, 5, 60, math.inf)) == 84
    assert job_seconds(12, 5) == 120


def test_who_asks_for_nothing_shares_nothing() -> None:
    """Neither without a run time, nor where sharing is switched off, nor on a cluster that cannot."""
    for runtime, shared, longest in ((0, 60, math.inf), (1, 0, math.inf), (1, 60, 0)):
        assert share_jobs([False] * 100, runtime, shared, longest) == own_jobs(100)
