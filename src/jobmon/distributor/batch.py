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

What is known stands in :mod:`~jobmon.distributor.holding`; :mod:`~jobmon.distributor.submitting` and
:mod:`~jobmon.distributor.looking` are what the thread does.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from jobmon.core.cluster_protocol import ClusterDistributor, Report
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ClusterBusy, ClusterUnreachable
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TASK_INSTANCE_TERMINAL, TaskInstanceStatus
from jobmon.distributor.attempts import ENDS, News, Room
from jobmon.distributor.holding import Holding
from jobmon.distributor.looking import Looks, ServerRecordKeeper
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.sharing import share_jobs
from jobmon.distributor.spool import Spool
from jobmon.distributor.submission import (
    BatchWriter,
    RunSettings,
    Steps,
    Submission,
    job_name,
    step_of_each,
    steps_of_members,
    turn_of_each,
)
from jobmon.distributor.submitting import SoughtBatch, Submissions
from jobmon.distributor.throttle import UNKNOWN, UNLIMITED, held_by_array
from jobmon.distributor.watch import NEVER, Watch, Watched
from jobmon.serializers.swarm import BatchResponse, InstanceChanges, LiveInstance

logger = logging.getLogger("jobmon.distributor")

LONGEST_RETRY_SECONDS = 30.0
END_SECONDS = 60.0
ORDER_SECONDS = 2.0


class BatchAttempts:
    """The attempts one batch cluster holds for a controller; see :class:`jobmon.distributor.attempts.ClusterAttempts`.

    Args:
        plugin: drives the cluster.
        settings: what the attempts have in common.
        shared: the directory the nodes share with this machine.
        config: says how the wrapper is started on the nodes, and what attempts may share a job.
        bad_nodes: nodes to avoid; asked before each submission.
        watch: when to look.
        server: keeps the record of where the nodes reach the server.
        longest_shared_seconds: longest run time of a job that attempts with such resources may share; 0: they do not.
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
        longest_shared_seconds: Callable[[Mapping[str, Any]], float] = lambda resources: 0.0,
    ) -> None:
        self.plugin, self._settings, self._shared = plugin, settings, shared
        self._shared_seconds = config.get_float("distributor", "shared_job_seconds")
        self._longest_shared_seconds = longest_shared_seconds
        self._watch = watch
        self._holding = Holding(plugin, watch)
        self._changed = self._holding.changed
        writer = BatchWriter(plugin.cluster_name, settings, shared, config)
        self._submissions = Submissions(self._holding, writer, shared, bad_nodes)
        spool = shared.spool_of(plugin.cluster_name)
        spool.mkdir(mode=0o700, exist_ok=True)
        self._looks = Looks(self._holding, Spool(spool), server)
        self._retry_at = self._retry_pause = self._orders_at = 0.0
        self._is_closing = False
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
        return self._submissions.opens_at

    def open(self, report: Report) -> None:
        """Begin to look after the cluster."""
        self._holding.report = report
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
        with self._changed:
            return self._submissions.room()

    def held(self) -> Mapping[int, int]:
        """Attempts that do not run though the cluster has them, by array: held by a throttle, or behind others of their job."""
        with self._changed:
            return held_by_array(self._holding.batches.by_name.values())

    def job_name(self, array_name: str, batch_num: int) -> str:
        """Name of the job of a batch."""
        return job_name(array_name, batch_num, f"{self._settings.workflow_id}.{self._settings.run_key[:12]}")

    def run(
        self,
        batch: BatchResponse,
        requested_resources: Mapping[str, Any],
        *,
        name: str,
        max_running: int,
        repeated: Collection[int] = (),
    ) -> None:
        """Submit the attempts of a batch, as soon as the thread comes to it."""
        new = [i for i in batch.task_instance_ids if i not in self._watch.attempts]
        if not new:
            return  # the same answer, told again
        resources = dict(requested_resources)
        resources["working_dir"] = resources.get("working_dir") or self._settings.working_dir
        jobs = share_jobs(
            [task_id in repeated for task_id in batch.task_ids],
            math.ceil(float(resources.get("runtime") or 0)),
            self._shared_seconds,
            self._longest_shared_seconds(resources),
        )
        submission = Submission(batch, name, resources, max_running, jobs)
        with self._changed:
            self._add(name, batch.array_id, submission.steps, set(new), max_running or UNLIMITED)
            self._submissions.add(submission)
            self._changed.notify_all()

    def _add(
        self, name: str, array_id: int, steps: Steps, task_instance_ids: Collection[int], max_running: int
    ) -> None:
        """Watch attempts of a batch from now on; the lock is held."""
        turns = turn_of_each(steps)
        step_of = {i: step for i, step in step_of_each(steps).items() if i in task_instance_ids}
        self._watch.add((Watched(i, name, turn=turns.get(i, 0)) for i in step_of), time.monotonic())
        self._holding.batches.add(name, array_id, step_of, max_running)

    def adopt(self, attempts: Sequence[LiveInstance]) -> None:
        """Take over attempts of an earlier controller; those without an id are looked for by the name of their batch."""
        of_batch: dict[str, list[LiveInstance]] = {}
        for each in attempts:
            of_batch.setdefault(each.job_name, []).append(each)
        with self._changed:
            for name, members in of_batch.items():
                self._adopt_batch(name, members)
            self._watch.expect_news()

    def _adopt_batch(self, name: str, members: Sequence[LiveInstance]) -> None:
        steps = steps_of_members(self._shared, name, members)
        ids = [each.task_instance_id for each in members]
        self._add(name, members[0].array_id, steps, ids, UNKNOWN)
        now = time.monotonic()
        for each in members:
            watched = self._watch.attempts[each.task_instance_id]
            watched.status = TaskInstanceStatus(each.status)
            watched.is_ordered = watched.status is TaskInstanceStatus.KILL_SELF
            if each.distributor_id:
                self._watch.note_submitted(each.task_instance_id, each.distributor_id, now)
                self._holding.batches.note_id(name, each.distributor_id)
        unknown = {each.task_instance_id for each in members if not each.distributor_id}
        if unknown:
            sought = [[i for i in step if i in unknown] for step in steps]
            self._submissions.to_find.append(SoughtBatch(name, sought))

    def note(self, events: Sequence[InstanceEvent], now: float) -> None:
        """Those whose end is reported live no more."""
        with self._changed:
            for event in events:
                if event.event in ENDS:
                    self._holding.forget(event.task_instance_id)
            self._changed.notify_all()

    def note_acknowledged(self, events: Sequence[InstanceEvent]) -> None:
        """Remove the words of those that the server has now."""
        self._looks.note_acknowledged(events)

    def note_changes(self, changes: InstanceChanges) -> None:
        """Take note of what the wrappers told the server."""
        with self._changed:
            for task_instance_id, letter in zip(changes.task_instance_ids, changes.statuses, strict=True):
                status = TaskInstanceStatus(letter)
                if status in TASK_INSTANCE_TERMINAL:
                    self._holding.forget(task_instance_id)
                else:
                    self._watch.note_state(task_instance_id, status)
            self._changed.notify_all()

    def note_limits(self, workflow_limit: int, array_limits: Mapping[int, int]) -> None:
        """Change how many of the submitted attempts may run at once, where that has to change."""
        with self._changed:
            if not self._holding.is_draining:
                self._holding.batches.set_limits(workflow_limit, array_limits)
                self._changed.notify_all()

    def drain(self) -> None:
        """Hold back what waits on the cluster; what was not submitted yet never is. A job that runs runs all it has."""
        with self._changed:
            if self._holding.is_draining:
                return
            self._holding.is_draining = True
            self._holding.batches.set_limits(0, {})
            self._watch.order_end(
                [a.task_instance_id for a in self._watch.attempts.values() if not a.distributor_id]
            )
            self._changed.notify_all()

    @property
    def num_drained(self) -> int:
        """Attempts that the cluster was told to hold back and that it has not started since."""
        with self._changed:
            if self._holding.batches.has_to_tell or not self._holding.is_draining:
                return 0
            return self._watch.num_waiting

    def take_news(self) -> News | None:
        """The condition of the cluster and reasons to wait, where they have changed."""
        with self._changed:
            return self._holding.take_news()

    def terminate(self, task_instance_ids: Sequence[int]) -> None:
        """Cancel jobs; what was not submitted yet never is."""
        with self._changed:
            self._watch.order_end(task_instance_ids)
            self._changed.notify_all()

    def terminate_all(self) -> None:
        """Cancel all jobs of this run."""
        with self._changed:
            self._holding.is_leaving = True
        self.terminate(list(self._watch.attempts))

    def kill_all(self) -> None:
        """The cluster was told already, or will be: it ends them by itself."""
        self.terminate_all()

    def leave_all(self) -> None:
        """Submit nothing more; batches that were not submitted are given back, to be tried again by the next run."""
        with self._changed:
            self._holding.is_leaving = True
            events = self._submissions.take_unsent()
        self._holding.tell(events)

    @property
    def is_submitting(self) -> bool:
        """Whether batches are on their way."""
        return bool(self._submissions.waiting)

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
                if step != self._looks.read_spool:  # all others ask the cluster
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
        submissions, looks, times = self._submissions, self._looks, [NEVER]
        if self._watch.attempts:
            times.append(looks.spool_at())
            if times[-1] <= now:
                return looks.read_spool, now
        if now < self._retry_at:
            return None, min(self._retry_at, *times)
        times.append(submissions.ask_capacity_at())
        if times[-1] <= now:
            return submissions.ask_capacity, now
        if submissions.to_find:
            return submissions.find, now
        if submissions.waiting:
            times.append(submissions.waiting[0].try_at)
            if times[-1] <= now:
                return submissions.submit, now
        order = looks.order()
        if order is not None:
            times.append(self._orders_at)
            if times[-1] <= now:
                return order, now
        times += [self._watch.settles_at, self._watch.look_at]
        if min(times[-2:]) <= now:
            return looks.look, now
        return None, min(times)

    # -- trouble ----------------------------------------------------------------------------------------------
    def _note_reached(self) -> None:
        with self._changed:
            self._retry_pause = 0.0
            if self._holding.end_trouble(ClusterUnreachable):
                logger.info("cluster %s answers again", self.plugin.cluster_name)
        self._holding.rouse()

    def _note_trouble(self, error: ClusterUnreachable | ClusterBusy) -> None:
        with self._changed:
            trouble = self._holding.trouble
            if trouble is None or trouble.kind is not type(error):
                logger.warning("%s", self._holding.begin_trouble(error).text)
            self._watch.note_unreachable(time.monotonic())
        self._wait_before_retry()
        self._holding.rouse()

    def _wait_before_retry(self) -> None:
        with self._changed:
            self._retry_pause = min(LONGEST_RETRY_SECONDS, max(1.0, self._retry_pause * 2))
            self._retry_at = time.monotonic() + self._retry_pause

    def _postpone_orders(self, step: Callable[[], None]) -> None:
        """After an order that was not carried out, look at the attempts before it is given again."""
        if step in (self._looks.cancel, self._looks.throttle):
            self._orders_at = self._retry_at + ORDER_SECONDS
