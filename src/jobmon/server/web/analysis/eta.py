"""When a workflow that is being run may be done.

Formula
-------
For each template: work = tasks that have not started × mean run time of its finished attempts + what is left of the
tasks that run (mean − elapsed, at least a tenth of the mean). A template none of whose tasks has finished is taken to be
as slow as the others on average, and the answer says so.

Templates are put into stages: one comes after those its tasks wait for. The time of a stage is the longest of

* its work divided by the concurrency, and half the mean of a task that has not started: at the end of a stage not all
  places are taken any more,
* for each template its work divided by the template's own limit,
* the longest mean of a task that has not started, or what is left of the one that runs longest.

The remaining time is the sum over the stages. It is never longer when fewer tasks remain.

The concurrency is what the run has reached of late: the time that attempts have run in the window divided by the
window, which includes the time in which nothing ran; while tasks take long compared with the window, at least the
number of those that run now. It is at most the workflow's limit.

The range: the error of a mean after n finished tasks, and the scatter of the tasks that remain, 1.64 standard deviations of
them; half of the work of templates that are only guessed; and a tenth, because concurrency changes.

What is not known: attempts that will fail and be repeated, tasks that wait for one that failed, queues of a cluster that
fill. Hence "about".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobmon.core.words import counted
from jobmon.serializers.monitor import EtaRow

SIGMAS = 1.64
"""Nine of ten lie within so many standard deviations."""

CONCURRENCY_ERROR = 0.1
GUESS_ERROR = 0.5
LEAST_LEFT = 0.1
"""A task that runs is taken to need at least this part of the mean."""

WINDOW_SECONDS = 300.0
"""The rate is that of so many seconds, or of the time in which two tasks follow each other, if that is longer."""

ENOUGH_FINISHED = 10
MANY_PER_WINDOW = 10
"""The past alone is trusted when so many tasks follow each other in the window, and so many finished."""


@dataclass(frozen=True, slots=True)
class TemplateWork:
    """What is known of the tasks of one template.

    Attributes:
        name: the template.
        num_waiting: tasks that will run and have not started.
        running: seconds for which the tasks that run have run.
        finished: run times in seconds of attempts that succeeded, the latest of them.
        limit: at most so many at once.
        stage: how many stages of templates come before it, from 0.
    """

    name: str
    num_waiting: int
    running: Sequence[float]
    finished: Sequence[float]
    limit: int
    stage: int = 0


@dataclass(frozen=True, slots=True)
class Recent:
    """What the run got done of late.

    Attributes:
        window_seconds: length of the time looked at; 0: there is none.
        num_finished: attempts that succeeded in it.
        worked_seconds: how long these ran in it, together.
    """

    window_seconds: float
    num_finished: int
    worked_seconds: float


def recent_of(finished: Sequence[tuple[float, float]], run_seconds: float, *, is_cut: bool = False) -> Recent:
    """What was done in the latest window.

    Args:
        finished: for each attempt that succeeded, how many seconds ago it ended and how many it ran.
        run_seconds: how long the run has taken.
        is_cut: there are more; these are the latest.
    """
    if not finished or run_seconds <= 0:
        return Recent(max(0.0, run_seconds), 0, 0.0)
    mean = sum(seconds for _, seconds in finished) / len(finished)
    window = min(run_seconds, max(WINDOW_SECONDS, 2 * mean))
    inside = [(ago, seconds) for ago, seconds in finished if ago <= window]
    if is_cut and len(inside) == len(finished):
        window = min(window, max(0.001, *(ago for ago, _ in inside)))
    # what an attempt ran before the window began does not count
    worked = sum(max(0.0, min(seconds, window - ago)) for ago, seconds in inside)
    return Recent(window, len(inside), worked)


def estimate(
    num_tasks: int, num_done: int, templates: Sequence[TemplateWork], limit: int, recent: Recent
) -> EtaRow:
    """When the workflow may be done; see the formula above.

    Args:
        num_tasks, num_done: tasks of the workflow.
        templates: those with tasks that are to run, and those with finished ones.
        limit: at most so many tasks of the workflow at once.
        recent: what was done of late.
    """
    percent = 100 * num_done / num_tasks if num_tasks else 100.0
    rate = 60 * recent.num_finished / recent.window_seconds if recent.num_finished else None
    to_do = [template for template in templates if template.num_waiting or template.running]
    if not to_do:
        return EtaRow(percent, rate, 0.0, 0.0, 0.0, "nothing is left to run")
    samples = [seconds for template in templates for seconds in template.finished]
    if not samples:
        return EtaRow(percent, rate, None, None, None, "not known yet: no task has finished")
    running = [elapsed for template in templates for elapsed in template.running]
    concurrency = _concurrency(running, limit, sum(samples) / len(samples), recent)
    if concurrency <= 0:
        why = "the limit of the workflow is 0" if limit <= 0 else "nothing has run of late"
        return EtaRow(percent, rate, None, None, None, f"not known: {why}")
    overall = _Durations(samples, is_guessed=True)
    durations = {
        template.name: _Durations(template.finished) if template.finished else overall for template in to_do
    }
    if any(template.limit <= 0 for template in to_do if template.num_waiting):
        return EtaRow(percent, rate, None, None, None, "not known: the limit of a template is 0")
    remaining = sum(
        _stage_seconds([t for t in to_do if t.stage == stage], durations, concurrency)
        for stage in sorted({template.stage for template in to_do})
    )
    spread = _spread(to_do, durations)
    guessed = sorted(name for name, known in durations.items() if known.is_guessed)
    return EtaRow(
        percent,
        rate,
        remaining,
        remaining / (1 + spread),
        remaining * (1 + spread),
        _how(len(samples), concurrency, guessed),
    )


def stages(upstream: Mapping[int, set[int]]) -> dict[int, int]:
    """How many templates come before each one, along the longest way; circles are cut where they are met.

    Args:
        upstream: for each template those its tasks wait for.
    """
    found: dict[int, int] = {}
    for start in sorted(upstream):
        way = [start]
        while way:
            here = way[-1]
            before = sorted(upstream[here] & upstream.keys() - set(way))
            unknown = [template for template in before if template not in found]
            if unknown:
                way.append(unknown[0])
            else:
                found[here] = max((found[template] + 1 for template in before), default=0)
                way.pop()
    return found


class _Durations:
    """Mean and scatter of run times, in seconds."""

    def __init__(self, samples: Sequence[float], *, is_guessed: bool = False) -> None:
        self.count, self.is_guessed = len(samples), is_guessed
        self.mean = math.fsum(samples) / len(samples)
        squares = math.fsum((seconds - self.mean) ** 2 for seconds in samples)
        # of one sample nothing is known: it may as well be twice as long
        self.variance = squares / (len(samples) - 1) if len(samples) > 1 else self.mean**2

    def left(self, elapsed: float) -> float:
        """What a task that runs may need yet."""
        return max(self.mean - elapsed, LEAST_LEFT * self.mean)


def _concurrency(running: Sequence[float], limit: int, mean_seconds: float, recent: Recent) -> float:
    """Tasks that effectively run at once."""
    reached = 0.0
    if recent.window_seconds > 0:
        worked = recent.worked_seconds + sum(min(elapsed, recent.window_seconds) for elapsed in running)
        reached = worked / recent.window_seconds
    is_telling = (
        recent.num_finished >= ENOUGH_FINISHED and mean_seconds * MANY_PER_WINDOW <= recent.window_seconds
    )
    if not is_telling:
        reached = max(reached, float(len(running)))
    return min(reached, float(limit))


def _stage_seconds(
    templates: Sequence[TemplateWork], durations: Mapping[str, _Durations], concurrency: float
) -> float:
    total, longest, tail = 0.0, 0.0, 0.0
    for template in templates:
        known = durations[template.name]
        left = [known.left(elapsed) for elapsed in template.running]
        work = template.num_waiting * known.mean + sum(left)
        total += work
        longest = max(longest, *left, known.mean if template.num_waiting else 0.0)
        if template.num_waiting:
            longest = max(longest, work / template.limit)
            tail = max(tail, known.mean / 2)
    return max(total / concurrency + tail * (1 - 1 / max(1.0, concurrency)), longest)


def _spread(templates: Sequence[TemplateWork], durations: Mapping[str, _Durations]) -> float:
    """Relative width of the range around the estimate."""
    work, variance, guessed = 0.0, 0.0, 0.0
    for template in templates:
        known = durations[template.name]
        count = template.num_waiting + len(template.running)
        work += count * known.mean
        variance += count * known.variance + count**2 * known.variance / known.count
        guessed += count * known.mean if known.is_guessed else 0.0
    if work <= 0:
        return CONCURRENCY_ERROR
    error = math.hypot(SIGMAS * math.sqrt(variance) / work, GUESS_ERROR * guessed / work)
    return math.hypot(CONCURRENCY_ERROR, error)


def _how(num_samples: int, concurrency: float, guessed: Sequence[str]) -> str:
    number = f"{concurrency:.0f}" if concurrency >= 10 else f"{concurrency:.1f}".removesuffix(".0")
    text = f"from the mean run time of {counted(num_samples, 'finished task')} and {number} running at once"
    if guessed:
        some = ", ".join(guessed[:3]) + (" …" if len(guessed) > 3 else "")
        text += f"; none of {some} has finished yet, they are taken to be like the others"
    return text
