"""Submitting batches to a cluster: as much as it takes, each once, however uncertain its answers are.

A batch that was perhaps submitted is looked for by its name, which no other batch has, before it is submitted again.
Called in the cluster's thread, but for what says otherwise.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jobmon.core.exceptions import (
    BatchTooLarge,
    ClusterBusy,
    ClusterUnreachable,
    SharedFileError,
    SubmissionError,
    UsageError,
)
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause
from jobmon.distributor.attempts import Room
from jobmon.distributor.holding import Holding
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.submission import BatchWriter, Steps, Submission, step_of_each, withdraw_batch
from jobmon.distributor.watch import NEVER

MAX_BATCH = 5000
MAX_WAITING_SUBMISSIONS = 2
GATHER_SECONDS = 0.5
GATHER_FROM_LIVE = 50
BUSY_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 30.0
ENDED_FIRST = "Its controller ended first."


class SoughtBatch(NamedTuple):
    """A batch that an earlier controller was about to submit when it ended, and the attempts of its steps."""

    name: str
    steps: Steps


class Submissions:
    """The batches on their way to a cluster.

    Args:
        holding: the cluster and its attempts.
        writer: makes their jobs.
        shared: where their batch files are.
        bad_nodes: nodes to avoid; asked before each submission.

    Attributes:
        waiting: what is on its way, the oldest first.
        to_find: what an earlier controller was about to submit.
        opens_at: when the pause is over that :meth:`room` met; infinite where it met none.
    """

    def __init__(
        self,
        holding: Holding,
        writer: BatchWriter,
        shared: SharedDirectory,
        bad_nodes: Callable[[], Sequence[str]],
    ) -> None:
        self._holding, self._writer, self._shared = holding, writer, shared
        self._bad_nodes = bad_nodes
        self.waiting: deque[Submission] = deque()
        self.to_find: list[SoughtBatch] = []
        self.opens_at = NEVER
        self._capacity: tuple[int, int] | None = None  # jobs it takes now, most steps of an array
        self._capacity_at = 0.0
        self._is_full = False  # attempts wait for it to take more
        self._most_steps = MAX_BATCH
        self._submitted_at = 0.0

    # -- for the controller's loop; the lock is held --------------------------------------------------------
    def room(self) -> Room:
        """None while submissions wait or the last one was a moment ago; else as much as the cluster takes."""
        closed, holding = Room(0, 0, True), self._holding
        self.opens_at = NEVER
        if holding.is_leaving or holding.trouble is not None or self._capacity is None:
            return closed
        if len(self.waiting) >= MAX_WAITING_SUBMISSIONS:
            return closed
        gathered_at = self._submitted_at + GATHER_SECONDS
        if len(holding.watch) >= GATHER_FROM_LIVE and time.monotonic() < gathered_at:
            self.opens_at = gathered_at
            return closed
        slots, array_limit = self._capacity
        if slots <= 0 and not self._is_full:
            self._is_full = True
            holding.changed.notify_all()
        return Room(max(0, slots), min(self._most_steps, array_limit), True)

    def add(self, submission: Submission) -> None:
        """Submit a batch as soon as its turn comes."""
        submission.pause = BUSY_SECONDS
        self.waiting.append(submission)
        if self._capacity is not None:
            self._capacity = (self._capacity[0] - len(submission.jobs), self._capacity[1])
        self._submitted_at = time.monotonic()

    def take_unsent(self) -> list[InstanceEvent]:
        """Give back batches that were not submitted, to be tried again by the next run."""
        events = []
        while self.waiting and not self.waiting[-1].is_uncertain:
            submission = self.waiting.pop()
            if submission.is_written:
                self.waiting.append(submission)  # the thread is about to submit it
                break
            events += self._refusals(submission, ENDED_FIRST, Cause.INFRASTRUCTURE)
        return events

    def _refusals(self, submission: Submission, text: str, cause: Cause) -> list[InstanceEvent]:
        return self._holding.refusals(submission.batch.task_instance_ids, text, cause)

    # -- how many the cluster takes ---------------------------------------------------------------------------
    def ask_capacity_at(self) -> float:
        """When to ask how many jobs the cluster takes: at once where that is not known, again where it took none.

        Also where it was away and there is nothing else to find out by that it is back.
        """
        holding = self._holding
        has_questions = bool(holding.watch.attempts or self.waiting or self.to_find)
        if self._capacity is None or (holding.is_away and not has_questions):
            return 0.0
        is_waited_for = self._is_full and not self.waiting
        return self._capacity_at + holding.watch.poll_seconds if is_waited_for else NEVER

    def ask_capacity(self) -> None:
        """Ask it."""
        plugin, holding = self._holding.plugin, self._holding
        capacity = (plugin.room(), plugin.array_limit)
        with holding.changed:
            self._capacity, self._capacity_at = capacity, time.monotonic()
            self._is_full = self._is_full and capacity[0] <= 0
            if not self._is_full and not self.waiting:
                holding.end_trouble(ClusterBusy)
        if self._is_full:
            self._note_busy(ClusterBusy("as many of your jobs wait or run as it takes at once."))
        holding.report([])

    # -- submitting -------------------------------------------------------------------------------------------
    def submit(self) -> None:
        """Submit the oldest batch.

        Raises:
            ClusterUnreachable: whether it was is not known.
        """
        holding = self._holding
        with holding.changed:
            if not self.waiting:
                return
            submission = self.waiting[0]
            attempts = [holding.watch.attempts.get(i) for i in submission.batch.task_instance_ids]
            is_wanted = any(a is not None and not a.is_ordered for a in attempts)
            submission.is_written = is_wanted or submission.is_uncertain
        if not is_wanted and not submission.is_uncertain:
            self._drop(submission, "", Cause.ORDERED)
            return
        try:
            ids = self._hand_over(submission, is_wanted)
        except ClusterBusy as error:
            if self._postpone(submission):
                self._note_busy(error)
            else:
                self._drop(submission, ENDED_FIRST, Cause.INFRASTRUCTURE)
        except ClusterUnreachable:
            submission.is_uncertain = True
            raise
        except BatchTooLarge as error:
            self._most_steps = max(1, min(self._most_steps, error.most_steps))
            text = f"{error} It is submitted again in batches of at most {self._most_steps}."
            self._drop(submission, text, Cause.INFRASTRUCTURE)
        except SubmissionError as error:
            self._note_refused(submission, error)
        except SharedFileError as error:
            self._drop(submission, str(error), Cause.INFRASTRUCTURE)
        except UsageError as error:
            self._drop(submission, str(error), Cause.LAUNCH)
        except Exception:  # noqa: BLE001 - a plugin's own: its task is told
            self._drop(submission, traceback.format_exc(), Cause.LAUNCH)
        else:
            self._note_submitted(submission, ids)

    def _hand_over(self, submission: Submission, is_wanted: bool) -> dict[int, str]:
        """Find a batch that was perhaps submitted, or submit it; nothing: it is not wanted any more."""
        plugin = self._holding.plugin
        if submission.is_uncertain:
            ids = plugin.find_batch(submission.name, len(submission.jobs))
            if ids or not is_wanted:
                return ids
        return plugin.submit_batch(self._writer.write(submission, self._bad_nodes()))

    def _postpone(self, submission: Submission) -> bool:
        """Try a batch again later that was surely not submitted; no: nobody will."""
        with self._holding.changed:
            submission.is_written = submission.is_uncertain = False
            submission.try_at = time.monotonic() + submission.pause
            submission.pause = min(LONGEST_PAUSE_SECONDS, submission.pause * 1.5)
            return not self._holding.is_leaving

    def _note_refused(self, submission: Submission, error: SubmissionError) -> None:
        """The cluster will never take it; where attempts were to share jobs, for the longer time of these perhaps."""
        if not submission.is_shared:
            self._drop(submission, str(error), Cause.LAUNCH)
            return
        holding = self._holding
        with holding.changed:
            submission.is_written = submission.is_uncertain = False
            submission.unshare()
            holding.batches.spread(submission.name, step_of_each(submission.steps))
            for task_instance_id in submission.batch.task_instance_ids:
                if task_instance_id in holding.watch.attempts:
                    holding.watch.attempts[task_instance_id].turn = 0

    def _note_submitted(self, submission: Submission, ids: Mapping[int, str]) -> None:
        holding = self._holding
        with holding.changed:
            self.waiting.remove(submission)
            holding.end_trouble(ClusterBusy)
            events = holding.note_ids(
                submission.name, submission.steps, ids, "The cluster gave it no id.", Cause.LAUNCH
            )
            self._submitted_at = time.monotonic()
            self._capacity = None  # to be asked again
        holding.report(events)

    def _note_busy(self, error: ClusterBusy) -> None:
        with self._holding.changed:
            if self._holding.trouble is None:
                self._holding.begin_trouble(error)
        self._holding.rouse()

    def _drop(self, submission: Submission, text: str, cause: Cause) -> None:
        with self._holding.changed:
            self.waiting.remove(submission)
            self._holding.end_trouble(ClusterBusy)
            events = self._refusals(submission, text, cause)
        self._holding.report(events)

    def find(self) -> None:
        """Look for a batch that an earlier controller was about to submit when it ended.

        Raises:
            ClusterUnreachable: it cannot be told.
        """
        name, steps = self.to_find[0]
        ids = self._holding.plugin.find_batch(name, len(steps))
        if not ids:
            with contextlib.suppress(SharedFileError):
                withdraw_batch(self._shared, name)
        with self._holding.changed:
            text = "Its controller ended before it was submitted."
            events = self._holding.note_ids(name, steps, ids, text, Cause.INFRASTRUCTURE)
            self.to_find.pop(0)
        self._holding.tell(events)
