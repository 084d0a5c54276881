"""Attempts on batch clusters: submitted as job arrays, looked after from a thread beside the controller's loop.

Rules
-----
1. One thread a cluster makes all calls to it, one after the other: submissions first, then orders to end, then looks.
   Nothing else waits for a cluster that hangs.
2. Before a batch is submitted its batch file is written. When it is not known whether the cluster took it, it is looked
   for by its name, which no other batch has, before it is submitted again.
3. A cluster that cannot be reached fails nothing: everything waits, and the condition is told.
4. What the wrappers left in the shared directory is read before the cluster is asked about anybody's end.
5. What is reported from here is kept until the server has it; only then is a word that was left behind removed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from jobmon.core.cluster_protocol import ClusterDistributor, Report
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import BatchTooLarge, ClusterBusy, ClusterUnreachable, SubmissionError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TASK_INSTANCE_TERMINAL, Cause, TaskInstanceEvent, TaskInstanceStatus
from jobmon.distributor.attempts import ENDS, News, Room
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.spool import Spool, SpooledWord
from jobmon.distributor.submission import BatchWriter, RunSettings, Submission, job_name
from jobmon.distributor.throttle import UNKNOWN, UNLIMITED, SubmittedBatch, held_by_array, share
from jobmon.distributor.watch import NEVER, Watch, Watched, ordered_end
from jobmon.serializers.swarm import (
    BatchResponse,
    ClusterCondition,
    InstanceChanges,
    LiveInstance,
    QueueReason,
)

logger = logging.getLogger("jobmon.distributor")

MAX_BATCH = 5000
MAX_WAITING_SUBMISSIONS = 2
GATHER_SECONDS = 0.5
GATHER_FROM_LIVE = 50
BUSY_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 30.0
SPOOL_SECONDS = 1.0
END_SECONDS = 60.0
ORDER_SECONDS = 2.0
ENDED_FIRST = "Its controller ended first."


class ServerRecordKeeper(Protocol):
    """Keeps the record of where the compute nodes reach the server."""

    def renew(self) -> None:
        """Write it where the server's address has changed; called now and then."""
        ...

    def is_known(self) -> bool:
        """Whether the nodes can reach the server, as far as is known."""
        ...


@dataclass
class _Trouble:
    """What is the matter with the cluster."""

    since: float
    text: str
    kind: type[Exception]


class BatchAttempts:
    """The attempts one batch cluster holds for a controller; see :class:`jobmon.distributor.attempts.ClusterAttempts`.

    Args:
        plugin: drives the cluster.
        settings: what the attempts have in common.
        shared: the directory the nodes share with this machine.
        config: says how the wrapper is started on the nodes.
        bad_nodes: nodes to avoid; asked before each submission.
        watch: when to look.
        server: keeps the record of where the nodes reach the server.
    """

    def __init__(
        self,
        plugin: ClusterDistributor,
        settings: RunSettings,
        shared: SharedDirectory,
        config: JobmonConfig,
        bad_nodes: Callable[[], Sequence[str]],
        watch: Watch,
        server: ServerRecordKeeper,
    ) -> None:
        self.plugin, self._settings = plugin, settings
        self._writer = BatchWriter(plugin.cluster_name, settings, shared, config)
        self._bad_nodes, self._server = bad_nodes, server
        self._watch = watch
        spool = shared.spool_of(plugin.cluster_name)
        spool.mkdir(mode=0o700, exist_ok=True)
        self._spool = Spool(spool)
        self._words: dict[Path, SpooledWord] = {}  # told, and not acknowledged yet
        self._report: Report = lambda events: None
        self._changed = threading.Condition()
        self._submissions: deque[Submission] = deque()
        self._to_find: list[tuple[str, int]] = []
        self._steps: dict[tuple[str, int], int] = {}
        self._batches: dict[str, SubmittedBatch] = {}
        self._job_of: dict[int, str] = {}
        self._limits: tuple[int, Mapping[int, int]] | None = None
        self._throttles: dict[str, int] = {}
        self._capacity: tuple[int, int] | None = None  # jobs it takes now, most steps of an array
        self._capacity_at = 0.0
        self._is_full = False  # attempts wait for it to take more
        self._most_steps = MAX_BATCH
        self._trouble: _Trouble | None = None
        self._reasons: list[QueueReason] = []
        self._has_news = False
        self._retry_at = self._retry_pause = self._orders_at = 0.0
        self._spooled_at = self._submitted_at = 0.0
        self._opens_at = NEVER
        self._is_closing = self._is_leaving = self._is_draining = False
        self._thread: threading.Thread | None = None

    # -- for the controller's loop ------------------------------------------------------------------------
    @property
    def live(self) -> Collection[int]:
        """Attempts that live there."""
        return self._watch.attempts.keys()

    @property
    def outlives_controller(self) -> bool:
        """They go on by themselves."""
        return True

    @property
    def end_seconds(self) -> float:
        """How long they may take to end after they were ordered to."""
        return END_SECONDS

    @property
    def is_hungry(self) -> bool:
        """A batch is worth waiting a moment for, unless nothing runs."""
        return not self._watch.attempts

    @property
    def opens_at(self) -> float:
        """When the pause is over that :meth:`room` met; infinite where it met none."""
        return self._opens_at

    def open(self, report: Report) -> None:
        """Begin to look after the cluster."""
        self._report = report
        self.plugin.start()
        self._thread = threading.Thread(
            target=self._work, name=f"jobmon-{self.plugin.cluster_name}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the thread after the call it is in; what was submitted goes on."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(5)
        self.plugin.stop()

    def room(self) -> Room:
        """None while submissions wait or the last one was a moment ago; else as much as the cluster takes."""
        closed = Room(0, 0, True)
        self._opens_at = NEVER
        with self._changed:
            if self._is_leaving or self._trouble is not None or self._capacity is None:
                return closed
            if len(self._submissions) >= MAX_WAITING_SUBMISSIONS:
                return closed
            gathered_at = self._submitted_at + GATHER_SECONDS
            if len(self._watch) >= GATHER_FROM_LIVE and time.monotonic() < gathered_at:
                self._opens_at = gathered_at
                return closed
            slots, array_limit = self._capacity
            if slots <= 0 and not self._is_full:
                self._is_full = True
                self._changed.notify_all()
            return Room(max(0, slots), min(self._most_steps, array_limit), True)

    def held(self) -> Mapping[int, int]:
        """Attempts that the cluster holds back by a throttle, by array."""
        return held_by_array(self._batches.values())

    def job_name(self, array_name: str, batch_num: int) -> str:
        """Name of the job of a batch."""
        return job_name(array_name, batch_num, f"{self._settings.workflow_id}.{self._settings.run_key[:12]}")

    def run(
        self, batch: BatchResponse, requested_resources: Mapping[str, Any], *, name: str, max_running: int
    ) -> None:
        """Submit the attempts of a batch, as soon as the thread comes to it."""
        new = [i for i in batch.task_instance_ids if i not in self._watch.attempts]
        if not new:
            return  # the same answer, told again
        resources = dict(requested_resources)
        resources["working_dir"] = resources.get("working_dir") or self._settings.working_dir
        with self._changed:
            self._watch.add((Watched(i, name) for i in new), time.monotonic())
            self._note_batch(name, batch.array_id, new, max_running or UNLIMITED)
            self._submissions.append(Submission(batch, name, resources, max_running, pause=BUSY_SECONDS))
            if self._capacity is not None:
                self._capacity = (self._capacity[0] - len(new), self._capacity[1])
            self._submitted_at = time.monotonic()
            self._changed.notify_all()

    def adopt(self, attempts: Sequence[LiveInstance]) -> None:
        """Take over attempts of an earlier controller; those without an id are looked for by the name of their batch."""
        now = time.monotonic()
        sizes: dict[str, int] = {}
        with self._changed:
            for each in attempts:
                status = TaskInstanceStatus(each.status)
                watched = Watched(each.task_instance_id, each.job_name, each.distributor_id, status)
                watched.is_ordered = status is TaskInstanceStatus.KILL_SELF
                self._watch.add([watched], now)
                self._note_batch(each.job_name, each.array_id, [each.task_instance_id], UNKNOWN)
                if each.distributor_id:
                    self._batches[each.job_name].distributor_id = each.distributor_id
                else:
                    sizes[each.job_name] = each.batch_size
            self._steps = {
                (each.job_name, each.array_step_id): each.task_instance_id
                for each in attempts
                if not each.distributor_id
            }
            self._to_find = list(sizes.items())
            self._watch.expect_news()

    def note(self, events: Sequence[InstanceEvent], now: float) -> None:
        """Those whose end is reported live no more."""
        with self._changed:
            for event in events:
                if event.event in ENDS:
                    self._forget(event.task_instance_id)
            self._changed.notify_all()

    def note_acknowledged(self, events: Sequence[InstanceEvent]) -> None:
        """Remove the words of those that the server has now."""
        told = {id(event) for event in events}
        with self._changed:
            done = [word for word in self._words.values() if id(word.event) in told]
            for word in done:
                del self._words[word.path]
        if done:
            self._spool.forget(done)

    def note_changes(self, changes: InstanceChanges) -> None:
        """Take note of what the wrappers told the server."""
        with self._changed:
            for task_instance_id, letter in zip(changes.task_instance_ids, changes.statuses, strict=True):
                status = TaskInstanceStatus(letter)
                if status in TASK_INSTANCE_TERMINAL:
                    self._forget(task_instance_id)
                else:
                    self._watch.note_state(task_instance_id, status)
            self._changed.notify_all()

    def note_limits(self, workflow_limit: int, array_limits: Mapping[int, int]) -> None:
        """Change how many of the submitted attempts may run at once, where that has to change."""
        limits = (workflow_limit, dict(array_limits))
        with self._changed:
            if limits == self._limits or self._is_draining:
                return
            self._limits = limits
            self._share_anew()
            self._changed.notify_all()

    def drain(self) -> None:
        """Hold back what waits on the cluster; what was not submitted yet never is."""
        with self._changed:
            if self._is_draining:
                return
            self._is_draining, self._limits = True, (0, {})
            self._share_anew()
            self._watch.order_end(
                [a.task_instance_id for a in self._watch.attempts.values() if not a.distributor_id]
            )
            self._changed.notify_all()

    @property
    def num_drained(self) -> int:
        """Attempts that the cluster was told to hold back and that it has not started since."""
        with self._changed:
            return 0 if self._throttles or not self._is_draining else self._watch.num_waiting

    def take_news(self) -> News | None:
        """The condition of the cluster and reasons to wait, where they have changed."""
        with self._changed:
            if not self._has_news:
                return None
            self._has_news = False
            reasons, self._reasons = self._reasons, []
            trouble = self._trouble
            condition = None
            if trouble is not None:
                condition = ClusterCondition(self.plugin.cluster_name, trouble.since, trouble.text)
            return News(condition, reasons)

    def terminate(self, task_instance_ids: Sequence[int]) -> None:
        """Cancel jobs; what was not submitted yet never is."""
        with self._changed:
            self._watch.order_end(task_instance_ids)
            self._changed.notify_all()

    def terminate_all(self) -> None:
        """Cancel all jobs of this run."""
        with self._changed:
            self._is_leaving = True
        self.terminate(list(self._watch.attempts))

    def kill_all(self) -> None:
        """The cluster was told already, or will be: it ends them by itself."""
        self.terminate_all()

    def leave_all(self) -> None:
        """Submit nothing more; batches that were not submitted are given back, to be tried again by the next run."""
        with self._changed:
            self._is_leaving = True
            events = []
            while self._submissions and not self._submissions[-1].is_uncertain:
                submission = self._submissions.pop()
                if submission.is_written:
                    self._submissions.append(submission)  # the thread is about to submit it
                    break
                events += self._refusals(submission, ENDED_FIRST, Cause.INFRASTRUCTURE)
        if events:
            self._report(events)

    @property
    def is_submitting(self) -> bool:
        """Whether batches are on their way."""
        return bool(self._submissions)

    # -- bookkeeping; the lock is held ----------------------------------------------------------------------
    def _note_batch(
        self, name: str, array_id: int, task_instance_ids: Sequence[int], max_running: int
    ) -> None:
        batch = self._batches.setdefault(name, SubmittedBatch(name, array_id, 0, max_running))
        batch.num_live += len(task_instance_ids)
        self._job_of.update(dict.fromkeys(task_instance_ids, name))

    def _forget(self, task_instance_id: int) -> None:
        self._watch.remove(task_instance_id)
        name = self._job_of.pop(task_instance_id, None)
        if name is not None:
            batch = self._batches[name]
            batch.num_live -= 1
            if batch.num_live <= 0:
                del self._batches[name]
                self._throttles.pop(name, None)
            is_freed = batch.max_running < 0 or batch.num_live < batch.max_running
            if is_freed and any(other.num_held for other in self._batches.values()):
                self._share_anew()

    def _share_anew(self) -> None:
        """Decide how many attempts of each batch may run at once; the cluster is told where that has changed."""
        if self._limits is None:
            return
        for name, granted in share(self._batches.values(), *self._limits).items():
            batch = self._batches[name]
            if batch.max_running == UNKNOWN and granted == UNLIMITED and self._watch.all_started(name):
                batch.max_running = UNLIMITED  # whatever was allowed, they run
            elif granted != batch.max_running:
                batch.max_running = self._throttles[name] = granted

    def _note_ids(
        self, name: str, steps: Mapping[int, int], ids: Mapping[int, str], text: str, cause: Cause
    ) -> list[InstanceEvent]:
        """Take the ids the cluster gave the steps of a batch; those it gave none are refused, for the reason given."""
        now, events = time.monotonic(), []
        for step, task_instance_id in steps.items():
            if step not in ids:
                events += self._refusals_of([task_instance_id], text, cause)
            elif task_instance_id in self._watch.attempts:
                self._watch.note_submitted(task_instance_id, ids[step], now)
                events.append(_launched(task_instance_id, ids[step]))
        if ids and name in self._batches:
            self._batches[name].distributor_id = next(iter(ids.values()))
        return events

    def _refusals(self, submission: Submission, text: str, cause: Cause) -> list[InstanceEvent]:
        return self._refusals_of(submission.batch.task_instance_ids, text, cause)

    def _refusals_of(self, task_instance_ids: Sequence[int], text: str, cause: Cause) -> list[InstanceEvent]:
        return [
            ordered_end(i)
            if self._watch.attempts[i].is_ordered
            else InstanceEvent(i, TaskInstanceEvent.REFUSE, cause=cause, description=text)
            for i in task_instance_ids
            if i in self._watch.attempts
        ]

    # -- the thread -------------------------------------------------------------------------------------------
    def _work(self) -> None:
        while True:
            with self._changed:
                if self._is_closing:
                    return
                step, due = self._next_step(time.monotonic())
                if step is None:
                    self._changed.wait(None if due == NEVER else max(0.0, due - time.monotonic()))
                    continue
            try:
                step()
                if step != self._read_spool:  # all others ask the cluster
                    self._note_reached()
            except (ClusterUnreachable, ClusterBusy) as error:
                self._note_trouble(error)
                self._postpone_orders(step)
            except Exception:
                logger.exception("looking after cluster %s failed", self.plugin.cluster_name)
                self._wait_before_retry()
                self._postpone_orders(step)

    def _next_step(self, now: float) -> tuple[Callable[[], None] | None, float]:
        """What to do now, or when there will be something to do."""
        times = [NEVER]
        if self._watch.attempts:
            times.append(self._spool_at())
            if times[-1] <= now:
                return self._read_spool, now
        if now < self._retry_at:
            return None, min(self._retry_at, *times)
        times.append(self._ask_capacity_at())
        if times[-1] <= now:
            return self._ask_capacity, now
        if self._to_find:
            return self._find, now
        if self._submissions:
            if now >= self._submissions[0].try_at:
                return self._submit, now
            times.append(self._submissions[0].try_at)
        order = self._order()
        if order is not None and now >= self._orders_at:
            return order, now
        if order is not None:
            times.append(self._orders_at)
        silent_at, look_at = self._watch.settles_at, self._watch.look_at
        if min(silent_at, look_at) <= now:
            return self._look, now
        return None, min(silent_at, look_at, *times)

    def _order(self) -> Callable[[], None] | None:
        """What to order the cluster to do, where there is something."""
        if self._watch.to_cancel():
            return self._cancel
        if any(self._batches[name].distributor_id for name in self._throttles):
            return self._throttle
        return None

    def _ask_capacity_at(self) -> float:
        """When to ask how many jobs the cluster takes: at once where that is not known, again where it took none.

        Also where it was away and there is nothing else to find out by that it is back.
        """
        is_away = self._trouble is not None and self._trouble.kind is ClusterUnreachable
        has_questions = bool(self._watch.attempts or self._submissions or self._to_find)
        if self._capacity is None or (is_away and not has_questions):
            return 0.0
        is_waited_for = self._is_full and not self._submissions
        return self._capacity_at + self._watch.poll_seconds if is_waited_for else NEVER

    def _spool_at(self) -> float:
        """When to see next whether words were left: often only where nothing else tells of them."""
        if self._server.is_known():
            return NEVER if self._spooled_at else 0.0
        return self._spooled_at + SPOOL_SECONDS

    def _tell(self, events: list[InstanceEvent]) -> None:
        if events:
            self._report(events)

    # -- trouble ----------------------------------------------------------------------------------------------
    def _note_reached(self) -> None:
        with self._changed:
            self._retry_pause = 0.0
            if self._trouble is not None and self._trouble.kind is ClusterUnreachable:
                logger.info("cluster %s answers again", self.plugin.cluster_name)
                self._trouble, self._has_news = None, True
        self._rouse()

    def _note_trouble(self, error: ClusterUnreachable | ClusterBusy) -> None:
        with self._changed:
            if self._trouble is None or self._trouble.kind is not type(error):
                logger.warning("%s", self._begin_trouble(error).text)
            self._watch.note_unreachable(time.monotonic())
        self._wait_before_retry()
        self._rouse()

    def _begin_trouble(self, error: ClusterUnreachable | ClusterBusy) -> _Trouble:
        """Say from now on what is the matter with the cluster; the lock is held."""
        now = time.time()
        text = _describe_trouble(self.plugin.cluster_name, now, error)
        self._trouble, self._has_news = _Trouble(now, text, type(error)), True
        return self._trouble

    def _wait_before_retry(self) -> None:
        with self._changed:
            self._retry_pause = min(LONGEST_RETRY_SECONDS, max(1.0, self._retry_pause * 2))
            self._retry_at = time.monotonic() + self._retry_pause

    def _postpone_orders(self, step: Callable[[], None]) -> None:
        """After an order that was not carried out, look at the attempts before it is given again."""
        if step in (self._cancel, self._throttle):
            self._orders_at = self._retry_at + ORDER_SECONDS

    def _rouse(self) -> None:
        """Have the controller take a turn, for there is news without an event."""
        if self._has_news:
            self._report([])

    def _ask_capacity(self) -> None:
        capacity = (self.plugin.room(), self.plugin.array_limit)
        with self._changed:
            self._capacity, self._capacity_at = capacity, time.monotonic()
            self._is_full = self._is_full and capacity[0] <= 0
            if not self._is_full and not self._submissions:
                self._note_not_busy()
        if self._is_full:
            self._note_busy(ClusterBusy("as many of your jobs wait or run as it takes at once."))
        self._report([])

    # -- submitting -------------------------------------------------------------------------------------------
    def _submit(self) -> None:
        with self._changed:
            if not self._submissions:
                return
            submission = self._submissions[0]
            attempts = [self._watch.attempts.get(i) for i in submission.batch.task_instance_ids]
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
            self._drop(submission, str(error), Cause.LAUNCH)
        except OSError as error:
            text = f"The batch file for the compute nodes cannot be written ({error}). See distributor.shared_directory."
            self._drop(submission, text, Cause.INFRASTRUCTURE)
        except Exception:  # noqa: BLE001 - a plugin's own: its task is told
            self._drop(submission, traceback.format_exc(), Cause.LAUNCH)
        else:
            self._note_submitted(submission, ids)

    def _postpone(self, submission: Submission) -> bool:
        """Try a batch again later that was surely not submitted; no: nobody will."""
        with self._changed:
            submission.is_written = submission.is_uncertain = False
            submission.try_at = time.monotonic() + submission.pause
            submission.pause = min(LONGEST_RETRY_SECONDS, submission.pause * 1.5)
            return not self._is_leaving

    def _hand_over(self, submission: Submission, is_wanted: bool) -> dict[int, str]:
        """Find a batch that was perhaps submitted, or submit it; nothing: it is not wanted any more."""
        if submission.is_uncertain:
            ids = self.plugin.find_batch(submission.name, len(submission.batch.task_instance_ids))
            if ids or not is_wanted:
                return ids
        return self.plugin.submit_batch(self._writer.write(submission, self._bad_nodes()))

    def _note_submitted(self, submission: Submission, ids: Mapping[int, str]) -> None:
        with self._changed:
            self._submissions.remove(submission)
            self._note_not_busy()
            steps = dict(enumerate(submission.batch.task_instance_ids))
            events = self._note_ids(submission.name, steps, ids, "The cluster gave it no id.", Cause.LAUNCH)
            self._submitted_at = time.monotonic()
            self._capacity = None  # to be asked again
        self._report(events)

    def _note_busy(self, error: ClusterBusy) -> None:
        with self._changed:
            if self._trouble is None:
                self._begin_trouble(error)
        self._rouse()

    def _note_not_busy(self) -> None:
        """The cluster takes jobs again; the lock is held."""
        if self._trouble is not None and self._trouble.kind is ClusterBusy:
            self._trouble, self._has_news = None, True

    def _drop(self, submission: Submission, text: str, cause: Cause) -> None:
        with self._changed:
            self._submissions.remove(submission)
            self._note_not_busy()
            events = self._refusals(submission, text, cause)
        self._report(events)

    def _find(self) -> None:
        """Batches an earlier controller was about to submit when it ended."""
        name, size = self._to_find[0]
        ids = self.plugin.find_batch(name, size)
        if not ids:
            with contextlib.suppress(OSError):
                self._writer.withdraw(name)
        with self._changed:
            steps = {step: i for (job, step), i in self._steps.items() if job == name}
            text = "Its controller ended before it was submitted."
            events = self._note_ids(name, steps, ids, text, Cause.INFRASTRUCTURE)
            self._to_find.pop(0)
        self._tell(events)

    # -- looking ----------------------------------------------------------------------------------------------
    def _read_spool(self) -> None:
        """Take the words that wrappers left when they could not reach the server; those of the dead are removed."""
        words = self._spool.take()
        events, stale = [], []
        with self._changed:
            self._spooled_at = time.monotonic()
            for word in words:
                if word.path in self._words:
                    continue
                if word.event.task_instance_id not in self._watch.attempts:
                    stale.append(word)
                    continue
                self._words[word.path] = word
                events.append(word.event)
                is_triage = word.event.event is TaskInstanceEvent.TRIAGE
                status = TaskInstanceStatus.TRIAGING if is_triage else TaskInstanceStatus.RUNNING
                self._watch.note_state(word.event.task_instance_id, status)
        if stale:
            self._spool.forget(stale)
        self._tell(events)

    def _look(self) -> None:
        self._server.renew()
        self._read_spool()
        with self._changed:
            asked, now = self._watch.distributor_ids(), time.monotonic()
            is_due = self._watch.look_at <= now
            forgotten = self._watch.take_replaced()
        self._tell(forgotten)
        if is_due and asked:
            looks = self.plugin.look(asked)
            with self._changed:
                told = self._watch.note_look(looks, asked, time.monotonic())
                self._reasons += [QueueReason(ids, reason) for reason, ids in told.reasons.items()]
                self._has_news = self._has_news or bool(told.reasons)
            self._rouse()
            if self._is_draining:
                self._report([])  # what waits may be all there is
            self._fail_impossible(told.impossible)
        self._ask_ends()

    def _ask_ends(self) -> None:
        with self._changed:
            silent = self._watch.silent(time.monotonic())
        if not silent:
            return
        ends = self.plugin.ends([attempt.distributor_id for attempt in silent])
        with self._changed:
            events = self._watch.note_ends(ends, silent, time.monotonic())
        self._tell(events)

    def _fail_impossible(self, impossible: Mapping[int, str]) -> None:
        """Cancel what would wait for ever; its task is told why."""
        if not impossible:
            return
        with self._changed:
            jobs = {
                self._watch.attempts[i].distributor_id: self._watch.attempts[i].job_name
                for i in impossible
                if i in self._watch.attempts
            }
        self.plugin.cancel(jobs)
        self._tell(
            [
                InstanceEvent(
                    i,
                    TaskInstanceEvent.LOSE,
                    cause=Cause.LAUNCH,
                    description=f"The job can never start and was cancelled: {reason}",
                )
                for i, reason in impossible.items()
            ]
        )

    def _cancel(self) -> None:
        with self._changed:
            doomed = self._watch.to_cancel()
        self.plugin.cancel({attempt.distributor_id: attempt.job_name for attempt in doomed})
        with self._changed:
            self._watch.note_cancelled(doomed)

    def _throttle(self) -> None:
        with self._changed:
            wanted = {
                name: limit for name, limit in self._throttles.items() if self._batches[name].distributor_id
            }
            limits = {self._batches[name].distributor_id: limit for name, limit in wanted.items()}
        self.plugin.throttle(limits)
        with self._changed:
            for name, limit in wanted.items():
                if self._throttles.get(name) == limit:
                    del self._throttles[name]
            if self._is_draining:
                self._watch.forget_waiting()


def _launched(task_instance_id: int, distributor_id: str) -> InstanceEvent:
    return InstanceEvent(task_instance_id, TaskInstanceEvent.LAUNCH, distributor_id=distributor_id)


def _describe_trouble(cluster_name: str, since: float, error: Exception) -> str:
    when = datetime.fromtimestamp(since).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(error, ClusterBusy):
        return f"Cluster {cluster_name} takes no more jobs since {when}: {error}"
    return f"Cluster {cluster_name} is unreachable since {when}: {error}"
