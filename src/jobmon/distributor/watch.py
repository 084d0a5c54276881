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
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from jobmon.core.batch_cluster import JobLook, RemoteEnd
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    TASK_INSTANCE_STARTED,
    TASK_INSTANCE_TERMINAL,
    Cause,
    TaskInstanceEvent,
    TaskInstanceStatus,
)

SETTLE_SECONDS = 2.0
UNTOLD_SECONDS = 180.0
UNTOLD_ANSWERS = 4
FIRST_LOOK_SECONDS = 2.0
SOON_SECONDS = 1.0
SLOWER = 1.6
NEVER = float("inf")


@dataclass(slots=True)
class Watched:
    """An attempt that lives on the cluster, as far as is known.

    Attributes:
        task_instance_id: the attempt.
        job_name: name of its batch.
        distributor_id: its id on the cluster; empty until it is submitted.
        status: its latest state in the database.
        reason: why it waits, as it was told last.
        silent_since: first look (monotonic) that did not list it.
        num_untold: answers since then that knew nothing of its end.
        is_ordered: it was ordered to end.
        is_cancelled: the cluster was told so.
        is_waiting: the latest look listed it, and it had not been started.
    """

    task_instance_id: int
    job_name: str
    distributor_id: str = ""
    status: TaskInstanceStatus = TaskInstanceStatus.INSTANTIATED
    reason: str = ""
    silent_since: float | None = None
    num_untold: int = 0
    is_ordered: bool = False
    is_cancelled: bool = False
    is_waiting: bool = False


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
        self._by_distributor_id: dict[str, Watched] = {}
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
        former = self._by_distributor_id.get(distributor_id)
        if former is not None and former is not attempt:
            self._replaced.append(former)
        self._by_distributor_id[distributor_id] = attempt
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
        if attempt is not None and self._by_distributor_id.get(attempt.distributor_id) is attempt:
            del self._by_distributor_id[attempt.distributor_id]
        if not self._by_distributor_id:
            self._looked_at = NEVER
        return attempt

    def take_replaced(self) -> list[InstanceEvent]:
        """The ends of attempts whose id the cluster has given to a later one: it does not know of them any more."""
        replaced, self._replaced = self._replaced, []
        return [
            ordered_end(attempt.task_instance_id) if attempt.is_ordered else _forgotten(attempt)
            for attempt in replaced
            if attempt.task_instance_id in self.attempts
        ]

    def order_end(self, task_instance_ids: Iterable[int]) -> None:
        """Attempts have to end."""
        for task_instance_id in task_instance_ids:
            if task_instance_id in self.attempts:
                self.attempts[task_instance_id].is_ordered = True

    def to_cancel(self) -> list[Watched]:
        """Attempts that have to end and of which the cluster was not told."""
        return [a for a in self._by_distributor_id.values() if a.is_ordered and not a.is_cancelled]

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
        return self._looked_at + self._pause if self._by_distributor_id else NEVER

    def note_unreachable(self, now: float) -> None:
        """A look was not answered: nothing is known, and the next one need not hurry."""
        self._looked_at = now
        self._pause = min(self.steady_seconds, max(SOON_SECONDS, self._pause * SLOWER))

    def distributor_ids(self) -> list[str]:
        """Ids of all jobs that are watched."""
        return list(self._by_distributor_id)

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
        for distributor_id in asked:
            attempt = self._by_distributor_id.get(distributor_id)
            if attempt is None:
                continue  # it has told its end meanwhile
            look = looks.get(distributor_id)
            if look is None or _is_anothers(look.name, attempt):
                is_news = is_news or attempt.num_untold == 0
                if attempt.silent_since is None:
                    attempt.silent_since = now
                continue
            attempt.silent_since, attempt.num_untold = None, 0
            attempt.is_waiting = not look.is_running
            if look.reason != attempt.reason:
                attempt.reason = look.reason
                reasons.setdefault(look.reason, []).append(attempt.task_instance_id)
            if look.can_never_start and not attempt.is_ordered:
                impossible[attempt.task_instance_id] = look.reason
            is_news = is_news or attempt.is_cancelled or attempt.status is TaskInstanceStatus.TRIAGING
        self._looked_at = now
        longest = self.poll_seconds if is_news else self.steady_seconds
        self._pause = min(longest, max(SOON_SECONDS, self._pause * (SLOWER if is_news else 2.0)))
        return Looked(reasons, impossible)

    def silent(self, now: float) -> list[Watched]:
        """Attempts about whose end the cluster has to be asked now."""
        return [
            attempt
            for attempt in self._by_distributor_id.values()
            if attempt.silent_since is not None and now - attempt.silent_since >= SETTLE_SECONDS
        ]

    @property
    def settles_at(self) -> float:
        """When the first silent attempt will have been so for long enough (monotonic)."""
        fresh = (
            a.silent_since + SETTLE_SECONDS
            for a in self._by_distributor_id.values()
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
            if attempt.is_ordered and (end is None or end.event is not TaskInstanceEvent.FINISH):
                events.append(ordered_end(attempt.task_instance_id))
            elif end is not None:
                events.extend(events_of_end(attempt, end))
            elif attempt.num_untold >= UNTOLD_ANSWERS and now - attempt.silent_since >= UNTOLD_SECONDS:
                events.append(_untold(attempt, now - attempt.silent_since))
        return events


def _is_anothers(name: str, attempt: Watched) -> bool:
    """Whether a name that the cluster tells, if it does, is not that of the attempt's job."""
    return bool(name and attempt.job_name) and name != attempt.job_name


def events_of_end(attempt: Watched, end: RemoteEnd) -> list[InstanceEvent]:
    """What to tell the server of an end that the cluster knows of; a start that was never told comes first."""
    if _is_of_another_start(attempt, end):
        end = replace(
            end,
            event=TaskInstanceEvent.LOSE,
            cause=Cause.INFRASTRUCTURE,
            exit_code=None,
            description=f"{end.description} But it had been running, and told nothing of an end: the cluster lost it, as "
            "a crash of its controller may do.",
        )
    told = InstanceEvent(
        attempt.task_instance_id,
        end.event,
        cause=end.cause,
        description=end.description,
        nodename=end.nodename,
        distributor_id=attempt.distributor_id,
        exit_code=end.exit_code,
        wallclock=end.wallclock,
        maxrss=end.maxrss,
        cpu=end.cpu,
        blames_node=end.blames_node,
    )
    needs_start = end.event in (TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL)
    if not needs_start or attempt.status in TASK_INSTANCE_STARTED:
        return [told]
    start = InstanceEvent(
        attempt.task_instance_id,
        TaskInstanceEvent.START,
        nodename=end.nodename,
        distributor_id=attempt.distributor_id,
    )
    return [start, told]


def _is_of_another_start(attempt: Watched, end: RemoteEnd) -> bool:
    """Whether a cluster tells of a job that ended before it could do anything, though the attempt had told its start.

    A wrapper that ran tells its end by itself, and that it is cancelled. A controller that crashed forgets that jobs run,
    starts them once more, and calls what comes of that a failure with an exit code of its own, or cancels it.
    """
    is_brief = end.wallclock is not None and end.wallclock < 1
    is_own_code = end.cause is Cause.CODE and end.exit_code is not None and end.exit_code > 0
    is_failure = end.event is TaskInstanceEvent.FAIL and (is_own_code or end.cause is Cause.CANCELLED)
    return attempt.status is TaskInstanceStatus.RUNNING and is_brief and is_failure


def ordered_end(task_instance_id: int) -> InstanceEvent:
    """The end of an attempt that was ordered to end and that is gone."""
    return InstanceEvent(
        task_instance_id,
        TaskInstanceEvent.ABORT,
        cause=Cause.ORDERED,
        description="The attempt was ended by order: its job was cancelled.",
    )


def _forgotten(attempt: Watched) -> InstanceEvent:
    return _lost(
        attempt,
        f"The cluster lost job {attempt.distributor_id} and gave its id to another job, as it may do after a crash of its "
        "controller.",
    )


def _untold(attempt: Watched, seconds: float) -> InstanceEvent:
    return _lost(
        attempt,
        f"Job {attempt.distributor_id} is neither in the queue of the cluster nor in its records, which were asked "
        f"{attempt.num_untold} times over {seconds:.0f} s. It told nothing of its end.",
    )


def _lost(attempt: Watched, description: str) -> InstanceEvent:
    return InstanceEvent(
        attempt.task_instance_id,
        TaskInstanceEvent.LOSE,
        cause=Cause.INFRASTRUCTURE,
        distributor_id=attempt.distributor_id,
        description=description,
    )
