"""The fake controller: takes jobs, starts their scripts when there is room, and keeps account of them.

All of it may be called from any thread. Nothing happens of its own accord: :meth:`Cluster.tick` does what is due.
"""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobmon.testing.fake_slurm.model import Job, Node, Partition, Record, State, Submission
from jobmon.testing.fake_slurm.placement import Placement, never_starts
from jobmon.testing.fake_slurm.processes import (
    MARK,
    LogNotWritable,
    kill_marked,
    signal_marked,
    start_script,
)
from jobmon.testing.fake_slurm.script_environment import log_path, script_environment

TERM, KILL = 15, 9
LAUNCH_FAILURE = 53
OUT_OF_MEMORY = 125


@dataclass
class Settings:
    """What the configuration of the fake cluster says.

    Attributes:
        kill_wait_seconds: between SIGTERM and SIGKILL.
        min_job_age_seconds: how long the controller remembers jobs that ended.
        max_array_size: task ids of arrays are below it.
        max_job_count: jobs the controller keeps.
        enforce_part_limits: ``sbatch`` refuses what a partition can never run.
        requeue_delay_seconds: before a job that was put back may start again.
    """

    kill_wait_seconds: float = 1.0
    min_job_age_seconds: float = 300.0
    max_array_size: int = 1001
    max_job_count: int = 10_000
    enforce_part_limits: bool = False
    requeue_delay_seconds: float = 0.0


class Cluster:
    """The controller, its nodes and its accounting.

    Args:
        directory: for the scripts; it exists.
        nodes, partitions: what there is.
        settings: its configuration.
    """

    def __init__(
        self, directory: Path, nodes: Sequence[Node], partitions: Sequence[Partition], settings: Settings
    ) -> None:
        self.lock = threading.RLock()
        self.settings = settings
        self.nodes = {node.name: node for node in nodes}
        self.partitions = {partition.name: partition for partition in partitions}
        self.jobs: dict[tuple[int, int | None], Job] = {}
        self.accounted: dict[int, list[Job]] = defaultdict(list)
        self.next_id = 1
        self._directory, self._key = directory, uuid.uuid4().hex
        self._waiting: dict[int, deque[Job]] = {}
        self._placement = Placement(self.nodes)
        self._scripts: dict[int, tuple[Job, subprocess.Popen[bytes], str]] = {}
        self._runs = 0

    # -- what users order ------------------------------------------------------------------------------
    def submit(self, submission: Submission) -> int:
        """Take a job; its id."""
        with self.lock:
            job_id, now = self._new_id(), time.time()
            held = "JobHeldUser" if submission.is_held else ""
            queue: deque[Job] = deque()
            for task in submission.tasks or (None,):
                job = Job(job_id, task, job_id, submission, now, throttle=submission.throttle, is_held=held)
                job.is_split = task is None
                self.jobs[job_id, task] = job
                self.accounted[job_id].append(job)
                queue.append(job)
            self._waiting[job_id] = queue
            self._start_waiting(now)
            for job in queue:  # those that started have said so
                self._account(job)
            return job_id

    def _new_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def find(self, job_id: int, tasks: Iterable[int] | None = None) -> list[Job]:
        """Jobs the controller knows by an id: an array's, some of its elements', or a raw one."""
        with self.lock:
            if tasks is not None:
                return [job for task in tasks if (job := self.jobs.get((job_id, task)))]
            whole = [job for job in self.accounted.get(job_id, ()) if self._is_known(job)]
            return whole or [job for job in self.jobs.values() if job.job_id == job_id]

    def _is_known(self, job: Job) -> bool:
        return self.jobs.get((job.array_job_id, job.task)) is job

    def cancel(self, jobs: Sequence[Job], uid: int, is_whole: bool) -> None:
        """Cancel jobs; elements that wait vanish without a trace unless the whole array is meant."""
        with self.lock:
            now = time.time()
            for job in jobs:
                if job.state is State.PENDING:
                    self._cancel_waiting(job, uid, now, is_whole)
                elif job.is_active:
                    job.cancelled_by = uid
                    self._order_end(job, State.CANCELLED, now)

    def _cancel_waiting(self, job: Job, uid: int, now: float, is_whole: bool) -> None:
        queue = self._waiting[job.array_job_id]
        queue.remove(job)
        if is_whole or job.is_split:
            job.cancelled_by = uid
            self._finish(job, State.CANCELLED, 0, 0, now)
        else:
            del self.jobs[job.array_job_id, job.task]
            self.accounted[job.array_job_id].remove(job)
            if not queue and not any(other.is_split for other in self.accounted[job.array_job_id]):
                self._leave_empty_array(job, uid, now)
        if not queue:
            del self._waiting[job.array_job_id]

    def _leave_empty_array(self, job: Job, uid: int, now: float) -> None:
        rest = Job(job.array_job_id, None, job.array_job_id, job.submission, job.submitted, cancelled_by=uid)
        rest.is_split = True
        self.jobs[rest.array_job_id, None] = rest
        self.accounted[rest.array_job_id].append(rest)
        self._finish(rest, State.CANCELLED, 0, 0, now)

    def hold(self, jobs: Iterable[Job], reason: str) -> None:
        """Keep jobs from starting, for a reason; an empty one lets them go."""
        with self.lock:
            for job in jobs:
                job.is_held = reason
                job.reason = reason or "None"

    def throttle(self, jobs: Iterable[Job], limit: int) -> None:
        """Change how many elements of an array run at once; 0: all."""
        with self.lock:
            for job in jobs:
                job.throttle = limit

    def requeue(self, jobs: Iterable[Job]) -> None:
        """Put jobs back that run, or have ended."""
        with self.lock:
            now = time.time()
            for job in jobs:
                if job.is_active:
                    self._order_end(job, State.REQUEUED, now)
                elif job.state is not State.PENDING:
                    self._put_back(job, now)

    # -- what happens to jobs -------------------------------------------------------------------------
    def end_as(self, jobs: Iterable[Job], state: State, at_once: bool = False) -> None:
        """End jobs that run as if the cluster had done so; ``at_once``: they are not asked first."""
        with self.lock:
            now = time.time()
            for job in jobs:
                if job.is_active:
                    self._order_end(job, state, now - self.settings.kill_wait_seconds * at_once)

    def fail_node(self, name: str, leave_processes: bool) -> None:
        """A node dies; ``leave_processes``: what ran there goes on, though nobody knows."""
        with self.lock:
            now = time.time()
            self.nodes[name].is_down, self.nodes[name].reason = True, "Not responding"
            for job in [job for job in self.jobs.values() if job.is_active and job.node == name]:
                if not leave_processes:
                    kill_marked(job.mark)
                job.process = 0
                self._finish(job, State.NODE_FAIL, 0, 0, now)
                if job.submission.requeue:
                    self._put_back(job, now)

    def remove_node(self, name: str) -> None:
        """A node leaves the cluster and its partitions."""
        with self.lock:
            del self.nodes[name]
            for partition in list(self.partitions.values()):
                nodes = tuple(node for node in partition.nodes if node != name)
                self.partitions[partition.name] = replace(partition, nodes=nodes)

    def restart(self, lose_seconds: float) -> None:
        """The controller dies and returns without its last seconds.

        Jobs submitted in them are gone, those started in them wait again, those that ended in them wait again too.
        """
        with self.lock:
            now = time.time()
            since = now - lose_seconds
            for job in list(self.jobs.values()):
                if job.submitted > since:
                    self._forget(job)
                elif max(job.started, job.ended) > since:
                    kill_marked(job.mark)
                    job.process = 0
                    self._wait_again(job)

    def _forget(self, job: Job) -> None:
        kill_marked(job.mark)
        job.process = 0
        self.jobs.pop((job.array_job_id, job.task), None)
        self.accounted[job.array_job_id].remove(job)
        queue = self._waiting.get(job.array_job_id, deque())
        if job in queue:
            queue.remove(job)

    def purge(self, before: float | None = None) -> None:
        """The controller forgets jobs that ended, by default all of them; accounting does not."""
        with self.lock:
            for key, job in list(self.jobs.items()):
                if job.ended and (before is None or job.ended < before):
                    del self.jobs[key]

    # -- time -----------------------------------------------------------------------------------------
    def tick(self) -> None:
        """Do all that is due: take note of ends, kill what was asked to end, start what has room."""
        with self.lock:
            now = time.time()
            for pid, (job, script, mark) in list(self._scripts.items()):
                if script.poll() is not None:
                    del self._scripts[pid]
                    if job.process == pid:
                        self._script_ended(job, script.returncode, now)
                elif job.process == pid and job.kill_at and now >= job.kill_at:
                    kill_marked(mark)
            self.purge(now - self.settings.min_job_age_seconds)
            self._start_waiting(now)

    def stop(self) -> None:
        """End every process of every job."""
        with self.lock:
            self._waiting.clear()
            for _, script, mark in self._scripts.values():
                kill_marked(mark)
                script.wait()
            self._scripts.clear()

    def _start_waiting(self, now: float) -> None:
        for job_id, queue in list(self._waiting.items()):
            while queue and self._may_start(queue[0], now):
                job = queue.popleft()
                self._start(job, is_last=not queue or queue[0].is_split, now=now)
            if not queue:
                del self._waiting[job_id]

    def waiting_reason(self, job: Job) -> str:
        """Why a job waits, in Slurm's word."""
        queue = self._waiting.get(job.array_job_id)
        return job.is_held or (queue[0].reason if queue else job.reason)

    def _may_start(self, job: Job, now: float) -> bool:
        running = self._placement.running(job.array_job_id)
        job.reason = (
            job.is_held
            or ("BeginTime" if job.submission.begin > now else "")
            or never_starts(job.submission, self.partitions[job.submission.partition], self.nodes)
            or ("JobArrayTaskLimit" if 0 < job.throttle <= running else "")
            or self._placement.why_not(job.submission, self.partitions[job.submission.partition])
        )
        return not job.reason

    def _start(self, job: Job, is_last: bool, now: float) -> None:
        if not job.is_split:
            job.job_id = job.array_job_id if is_last else self._new_id()
            job.is_split = True
        job.node = self._placement.take(
            job.array_job_id, job.submission, self.partitions[job.submission.partition]
        )
        job.state, job.reason, job.started, job.ended = State.RUNNING, "None", now, 0.0
        job.ordered_end, job.kill_at, job.cancelled_by, job.exit_code, job.signal = None, 0.0, -1, 0, 0
        self._account(job)
        self._run_script(job, now)

    def _run_script(self, job: Job, now: float) -> None:
        submission = job.submission
        path = self._directory / f"job{job.job_id:05}.{job.restarts}"
        path.mkdir(exist_ok=True)
        script = path / "slurm_script"
        script.write_text(submission.script)
        script.chmod(0o700)
        self._runs += 1
        job.mark = f"{self._key}/{self._runs}"
        environment = {**script_environment(job), MARK: job.mark}
        error = Path(submission.directory, log_path(submission.error, job)) if submission.error else None
        try:
            process = start_script(
                script,
                submission.directory,
                environment,
                Path(submission.directory, log_path(submission.output, job)),
                error,
                submission.append and job.restarts > 0,
            )
        except LogNotWritable:
            self._finish(job, State.FAILED, 0, LAUNCH_FAILURE, now, "JobLaunchFailure")
        except OSError as exc:
            self._finish(job, State.FAILED, exc.errno or 1, 0, now, "NonZeroExitCode")
        else:
            job.process = process.pid
            self._scripts[process.pid] = (job, process, job.mark)

    # -- ends -----------------------------------------------------------------------------------------
    def _order_end(self, job: Job, state: State, now: float) -> None:
        if job.ordered_end is not None:
            return
        job.state = State.COMPLETING
        job.ordered_end, job.kill_at = state, now + self.settings.kill_wait_seconds
        if state is State.OUT_OF_MEMORY:
            kill_marked(job.mark)
        else:
            signal_marked(job.mark, TERM)

    def _script_ended(self, job: Job, returncode: int, now: float) -> None:
        kill_marked(job.mark)  # what a script leaves behind ends with it
        job.process = 0
        ordered = job.ordered_end
        if ordered is State.REQUEUED:
            self._finish(job, State.REQUEUED, 0, 0, now)
            self._put_back(job, now)
        elif ordered is State.OUT_OF_MEMORY:
            self._finish(job, ordered, 0, OUT_OF_MEMORY, now, "OutOfMemory")
        elif ordered is not None:
            self._finish(job, ordered, 0, 0, now)
            job.signal = TERM  # what scontrol shows of it, though accounting does not
        elif returncode == 0:
            self._finish(job, State.COMPLETED, 0, 0, now)
        elif returncode < 0:
            self._finish(job, State.FAILED, 0, -returncode, now, "JobLaunchFailure")
        else:
            self._finish(job, State.FAILED, returncode, 0, now, "NonZeroExitCode")

    def _finish(
        self, job: Job, state: State, exit_code: int, signal: int, now: float, reason: str = "None"
    ) -> None:
        if job.is_active:
            self._placement.give_back(job.array_job_id, job.node, job.submission)
        job.state, job.exit_code, job.signal, job.ended, job.reason = state, exit_code, signal, now, reason
        job.started = job.started or now
        self._account(job)

    def _put_back(self, job: Job, now: float) -> None:
        job.restarts += 1
        self._wait_again(job, begin=now + self.settings.requeue_delay_seconds)

    def _wait_again(self, job: Job, begin: float = 0.0) -> None:
        if job.is_active:
            self._placement.give_back(job.array_job_id, job.node, job.submission)
        elif job.state is State.PENDING:
            return
        job.state, job.node, job.ordered_end, job.kill_at = State.PENDING, "", None, 0.0
        job.started = job.ended = 0.0
        job.is_split = True
        job.cancelled_by = -1
        job.reason = "BeginTime" if begin else "None"
        self._waiting.setdefault(job.array_job_id, deque()).append(job)
        self._account(job)

    # -- accounting -----------------------------------------------------------------------------------
    def _account(self, job: Job) -> None:
        by = f" by {job.cancelled_by}" if job.state is State.CANCELLED and job.cancelled_by >= 0 else ""
        record = Record(
            job.restarts,
            job.job_id,
            job.state + by,
            job.exit_code,
            job.signal,
            job.node,
            job.started,
            job.ended,
            job.reason,
            job.is_split,
        )
        job.records.append((time.time(), record))

    def told(self, job: Job, lag_seconds: float) -> Iterator[Record]:
        """What accounting knows of the runs of a job, the first one first; it learns everything late."""
        known_until = time.time() - lag_seconds
        latest: Mapping[int, Record] = {record.run: record for at, record in job.records if at <= known_until}
        return iter(latest.values())

    @property
    def user_jobs(self) -> int:
        """How many jobs wait or run."""
        with self.lock:
            return sum(job.is_active or job.state is State.PENDING for job in self.jobs.values())
