"""What is known of the attempts on a batch cluster, and when it has to be asked about them. Pure: ``now`` is a parameter.

Rules
-----
1. Attempts tell of their start and end themselves. The cluster is asked about all that live in one query, seldom: every
   ``steady_seconds`` while they wait and run, sooner while news are expected.
2. An attempt that the cluster does not list any more and that has told nothing is *silent*. How it ended is asked only when
   it has been silent for ``SETTLE_SECONDS``: its own word may be on its way, and accounting lags behind.
3. Ids are used again by and by: what the cluster tells of a job of another name is about somebody else's.
4. Only an answer counts. A cluster that does not answer, or does not know yet, says nothing about an attempt; one is
   given up as lost when the cluster has answered several times, over ``UNTOLD_SECONDS``, that it knows nothing of it.
5. Attempts of one batch may share a job, and its id. It is cancelled when all that are left of them have to end; one of
   several is told by the server, at its turn or at its next sign of life.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from jobmon.core.batch_cluster import JobLook, RemoteEnd
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    TASK_INSTANCE_STARTED,
    TASK_INSTANCE_TERMINAL,
    TaskInstanceEvent,
    TaskInstanceStatus,
)
from jobmon.distributor.verdicts import Watched, events_of_end, forgotten, ordered_end, untold

__all__ = ["NEVER", "SETTLE_SECONDS", "UNTOLD_ANSWERS", "UNTOLD_SECONDS", "Looked", "Watch", "Watched"]

SETTLE_SECONDS = 2.0
UNTOLD_SECONDS = 180.0
UNTOLD_ANSWERS = 4
FIRST_LOOK_SECONDS = 2.0
SOON_SECONDS = 1.0
SLOWER = 1.6
OTHERS_FIRST = "its job runs, and other short tasks of it come first."
NEVER = float("inf")


class Looked(NamedTuple):
    """What a look at the cluster tells.

    Attributes:
        reasons: attempts whose reason to wait has changed, by the new reason.
        impossible: attempts that can never start, with the reason; their jobs have to be cancelled.
    """

    reasons: dict[str, list[int]]
    impossible: dict[int, str]


class Watch:
    """The attempts of one run on one batch cluster.

    Args:
        poll_seconds: longest pause between two looks while news are expected.
        steady_seconds: longest pause otherwise.
    """

    def __init__(self, poll_seconds: float, steady_seconds: float) -> None:
        self.poll_seconds, self.steady_seconds = poll_seconds, max(poll_seconds, steady_seconds)
        self.attempts: dict[int, Watched] = {}
        self._jobs: dict[str, dict[int, Watched]] = {}  # by distributor id, then by attempt
        self._replaced: list[Watched] = []
        self._pause = FIRST_LOOK_SECONDS
        self._looked_at = NEVER  # the first submission sets it

    def __len__(self) -> int:
        return len(self.attempts)

    # -- what happens to attempts -----------------------------------------------------------------------
    def add(self, attempts: Iterable[Watched], now: float) -> None:
        """Watch attempts from now on."""
        for attempt in attempts:
            self.attempts[attempt.task_instance_id] = attempt
            if attempt.distributor_id:
                self.note_submitted(attempt.task_instance_id, attempt.distributor_id, now)

    def note_submitted(self, task_instance_id: int, distributor_id: str, now: float) -> None:
        """The cluster has taken an attempt under an id."""
        attempt = self.attempts.get(task_instance_id)
        if attempt is None:
            return
        attempt.distributor_id = distributor_id
        if attempt.status is TaskInstanceStatus.INSTANTIATED:
            attempt.status = TaskInstanceStatus.LAUNCHED
        job = self._jobs.setdefault(distributor_id, {})
        strangers = [other for other in job.values() if other.job_name != attempt.job_name]
        self._replaced += strangers
        for other in strangers:
            del job[other.task_instance_id]
        job[task_instance_id] = attempt
        if self._looked_at == NEVER:
            self._looked_at, self._pause = now, FIRST_LOOK_SECONDS
        else:
            self._pause = min(self._pause, self.poll_seconds)

    def note_state(self, task_instance_id: int, status: TaskInstanceStatus) -> None:
        """The database has a new state of an attempt."""
        attempt = self.attempts.get(task_instance_id)
        if attempt is None:
            return
        if status in TASK_INSTANCE_TERMINAL:
            self.remove(task_instance_id)
            return
        if status is TaskInstanceStatus.TRIAGING and attempt.status is not status:
            self.expect_news()
        attempt.status = status

    def remove(self, task_instance_id: int) -> Watched | None:
        """Watch an attempt no longer."""
        attempt = self.attempts.pop(task_instance_id, None)
        job = {} if attempt is None else self._jobs.get(attempt.distributor_id, {})
        if attempt is not None and job.get(task_instance_id) is attempt:
            del job[task_instance_id]
            if not job:
                del self._jobs[attempt.distributor_id]
        if not self._jobs:
            self._looked_at = NEVER
        return attempt

    def take_replaced(self) -> list[InstanceEvent]:
        """The ends of attempts whose id the cluster has given to a later one: it does not know of them any more."""
        replaced, self._replaced = self._replaced, []
        return [
            ordered_end(attempt.task_instance_id) if attempt.is_ordered else forgotten(attempt)
            for attempt in replaced
            if attempt.task_instance_id in self.attempts
        ]

    def order_end(self, task_instance_ids: Iterable[int]) -> None:
        """Attempts have to end."""
        for task_instance_id in task_instance_ids:
            if task_instance_id in self.attempts:
                self.attempts[task_instance_id].is_ordered = True

    def to_cancel(self) -> list[Watched]:
        """Attempts that have to end and of which the cluster was not told; not those of jobs in which others go on."""
        return [
            attempt
            for job in self._jobs.values()
            if all(each.is_ordered for each in job.values())
            for attempt in job.values()
            if not attempt.is_cancelled
        ]

    def note_cancelled(self, attempts: Iterable[Watched]) -> None:
        """The cluster was told that they have to end."""
        for attempt in attempts:
            attempt.is_cancelled = True
        self.expect_news()

    def forget_waiting(self) -> None:
        """Only what is looked at from now on counts as waiting; look soon."""
        for attempt in self.attempts.values():
            attempt.is_waiting = False
        self.expect_news()

    @property
    def num_waiting(self) -> int:
        """Attempts that the cluster has and has not started, by the latest look."""
        return sum(a.is_waiting and a.status not in TASK_INSTANCE_STARTED for a in self.attempts.values())

    def all_started(self, job_name: str) -> bool:
        """Whether all attempts of a batch have started."""
        return all(
            a.status in TASK_INSTANCE_STARTED for a in self.attempts.values() if a.job_name == job_name
        )

    # -- when to look -----------------------------------------------------------------------------------
    def expect_news(self) -> None:
        """Look soon."""
        self._pause = min(self._pause, SOON_SECONDS)

    @property
    def look_at(self) -> float:
        """When the next look is due (monotonic)."""
        if self._replaced:
            return 0.0
        return self._looked_at + self._pause if self._jobs else NEVER

    def note_unreachable(self, now: float) -> None:
        """A look was not answered: nothing is known, and the next one need not hurry."""
        self._looked_at = now
        self._pause = min(self.steady_seconds, max(SOON_SECONDS, self._pause * SLOWER))

    def distributor_ids(self) -> list[str]:
        """Ids of all jobs that are watched."""
        return list(self._jobs)

    # -- what the cluster tells ---------------------------------------------------------------------------
    def note_look(self, looks: Mapping[str, JobLook], asked: Sequence[str], now: float) -> Looked:
        """Take what the cluster lists.

        Args:
            looks: the jobs that wait or run.
            asked: the ids that were asked for.
            now: when it was asked.
        """
        reasons: dict[str, list[int]] = {}
        impossible: dict[int, str] = {}
        is_news = False
        for distributor_id, attempt in self._asked(asked):
            look = looks.get(distributor_id)
            if look is None or _is_anothers(look.name, attempt):
                is_news = is_news or attempt.num_untold == 0
                if attempt.silent_since is None:
                    attempt.silent_since = now
                continue
            attempt.silent_since, attempt.num_untold = None, 0
            attempt.is_waiting = not look.is_running
            reason = _reason(look, attempt)
            if reason != attempt.reason:
                attempt.reason = reason
                reasons.setdefault(reason, []).append(attempt.task_instance_id)
            if look.can_never_start and not attempt.is_ordered:
                impossible[attempt.task_instance_id] = look.reason
            is_news = is_news or attempt.is_cancelled or attempt.status is TaskInstanceStatus.TRIAGING
        self._looked_at = now
        longest = self.poll_seconds if is_news else self.steady_seconds
        self._pause = min(longest, max(SOON_SECONDS, self._pause * (SLOWER if is_news else 2.0)))
        return Looked(reasons, impossible)

    def _asked(self, distributor_ids: Iterable[str]) -> Iterator[tuple[str, Watched]]:
        """The attempts of jobs that were asked about, but for those that have told their end meanwhile."""
        for distributor_id in distributor_ids:
            for attempt in self._jobs.get(distributor_id, {}).values():
                yield distributor_id, attempt

    def _submitted(self) -> Iterator[Watched]:
        return (attempt for job in self._jobs.values() for attempt in job.values())

    def silent(self, now: float) -> list[Watched]:
        """Attempts about whose end the cluster has to be asked now."""
        return [
            attempt
            for attempt in self._submitted()
            if attempt.silent_since is not None and now - attempt.silent_since >= SETTLE_SECONDS
        ]

    @property
    def settles_at(self) -> float:
        """When the first silent attempt will have been so for long enough (monotonic)."""
        fresh = (
            a.silent_since + SETTLE_SECONDS
            for a in self._submitted()
            if a.silent_since is not None and a.num_untold == 0
        )
        return min(fresh, default=NEVER)

    def note_ends(
        self, ends: Mapping[str, RemoteEnd], asked: Sequence[Watched], now: float
    ) -> list[InstanceEvent]:
        """Take what the cluster tells of the ends of silent attempts; the events that follow."""
        events: list[InstanceEvent] = []
        for attempt in asked:
            if self.attempts.get(attempt.task_instance_id) is not attempt or attempt.silent_since is None:
                continue  # it has told its end meanwhile
            end = ends.get(attempt.distributor_id)
            if end is not None and _is_anothers(end.name, attempt):
                end = None
            attempt.num_untold += 1
            has_succeeded = end is not None and end.event is TaskInstanceEvent.FINISH and not attempt.turn
            if attempt.is_ordered and not has_succeeded:
                events.append(ordered_end(attempt.task_instance_id))
            elif end is not None:
                events.extend(events_of_end(attempt, end))
            elif attempt.num_untold >= UNTOLD_ANSWERS and now - attempt.silent_since >= UNTOLD_SECONDS:
                events.append(untold(attempt, now - attempt.silent_since))
        return events


def _reason(look: JobLook, attempt: Watched) -> str:
    """Why an attempt does not start, though its job may run."""
    if not attempt.turn or not look.is_running:
        return look.reason
    return attempt.reason if attempt.status in TASK_INSTANCE_STARTED else OTHERS_FIRST


def _is_anothers(name: str, attempt: Watched) -> bool:
    """Whether a name that the cluster tells, if it does, is not that of the attempt's job."""
    return bool(name and attempt.job_name) and name != attempt.job_name
