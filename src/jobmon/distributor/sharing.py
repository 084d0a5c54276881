"""Which attempts of a batch share a job. Pure.

Clusters count time in minutes, and a job costs them more than a short command does. Attempts that ask for little run time
are therefore run one after the other by one job; the cluster sees fewer jobs, each of which asks for the time of all.

Rules
-----
1. A job carries as many attempts as fit into ``shared_seconds`` by the run time each asks for, never so many that
   a batch becomes fewer jobs than :data:`LEAST_JOBS`: what could run side by side should.
2. A job asks for the sum of these times and :data:`SLACK_SECONDS` for what goes on between commands, in whole minutes. Where
   its queue does not give that much it carries fewer.
3. A task that was attempted before has a job of its own: a bad neighbour costs another task one attempt, not all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

LEAST_JOBS = 16
SLACK_SECONDS = 60
MINUTE = 60

Jobs = tuple[tuple[int, ...], ...]
"""The attempts of each job of a batch, as positions in the batch, in the order in which they run."""


def attempts_per_job(
    num_attempts: int, runtime_seconds: float, shared_seconds: float, longest_seconds: float
) -> int:
    """Most attempts of a batch that one job carries; 1: none of them share.

    Args:
        num_attempts: those of the batch that may share.
        runtime_seconds: what each asks for; 0: nothing was asked for.
        shared_seconds: most run time asked for by the attempts of one job together; 0: they never share.
        longest_seconds: longest run time of a job in their queue.
    """
    if runtime_seconds <= 0 or shared_seconds <= 0:
        return 1
    fits = math.floor(shared_seconds / runtime_seconds)
    if not math.isinf(longest_seconds):
        granted = MINUTE * math.floor(longest_seconds / MINUTE) - SLACK_SECONDS
        fits = min(fits, math.floor(granted / runtime_seconds))
    return max(1, min(fits, num_attempts // LEAST_JOBS))


def job_seconds(num_attempts: int, runtime_seconds: float) -> int:
    """The run time that a job of so many attempts asks for."""
    return MINUTE * math.ceil(num_attempts * runtime_seconds / MINUTE) + SLACK_SECONDS


def share_jobs(
    is_repeated: Sequence[bool], runtime_seconds: float, shared_seconds: float, longest_seconds: float
) -> Jobs:
    """The jobs of a batch: as few as the rules allow, of nearly equal size; those that have a job of their own come last.

    Args:
        is_repeated: for each attempt of the batch, whether its task was attempted before.
        runtime_seconds, shared_seconds, longest_seconds: see :func:`attempts_per_job`.
    """
    first = [position for position, repeated in enumerate(is_repeated) if not repeated]
    alone = [(position,) for position, repeated in enumerate(is_repeated) if repeated]
    most = attempts_per_job(len(first), runtime_seconds, shared_seconds, longest_seconds)
    num_jobs = math.ceil(len(first) / most)
    bounds = [job * len(first) // num_jobs for job in range(num_jobs + 1)] if num_jobs else [0]
    shared = [tuple(first[start:stop]) for start, stop in pairwise(bounds)]
    return (*shared, *alone)


def own_jobs(num_attempts: int) -> Jobs:
    """The jobs of a batch whose attempts do not share."""
    return tuple((position,) for position in range(num_attempts))
