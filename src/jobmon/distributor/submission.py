"""What a batch on its way to a batch cluster consists of: its job, and the batch file its wrappers read."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobmon.core import __version__
from jobmon.core.batch_cluster import BatchJob
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import SharedFileError
from jobmon.core.resources import memory_to_bytes
from jobmon.distributor.batch_file import BatchElement, BatchHeader, read_steps, wrapper_words, write_batch
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.sharing import Jobs, job_seconds, own_jobs
from jobmon.serializers.swarm import BatchResponse, LiveInstance

logger = logging.getLogger("jobmon.distributor")

NAME_CHARACTERS = 60
SUFFIX = ".batch"

Steps = list[list[int]]
"""The attempts that each step of a job array runs, in order."""

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


def job_name(array_name: str, batch_num: int, key: str) -> str:
    """Name of the job of a batch: that of its array and its number, and a key that makes it unique for ever."""
    return f"{_NOT_IN_NAMES.sub('_', array_name)[:NAME_CHARACTERS]}-{batch_num}.{key}"


def step_of_each(steps: Steps) -> dict[int, int]:
    """The step that runs each attempt."""
    return {each: step for step, attempts in enumerate(steps) for each in attempts}


def turn_of_each(steps: Steps) -> dict[int, int]:
    """Which of those that share its job each attempt is, from 1; those that have it for themselves are absent."""
    return {
        each: turn for attempts in steps if len(attempts) > 1 for turn, each in enumerate(attempts, start=1)
    }


def shared_resources(resources: Mapping[str, Any], num_attempts: int) -> dict[str, Any]:
    """What a job asks for that runs so many attempts, each of which asks for ``resources``."""
    if num_attempts < 2:
        return dict(resources)
    return {**resources, "runtime": job_seconds(num_attempts, float(resources["runtime"]))}


@dataclass(frozen=True)
class RunSettings:
    """What the attempts of one run have in common.

    Attributes:
        workflow_id, workflow_run_id: the run.
        run_key: its key; part of the names of its jobs.
        user: whose run it is.
        working_dir: where commands run when a task does not say.
        log_directory: where their logs go when a task does not say, on a file system the nodes share.
        heartbeat_seconds: between two signs of life of an attempt.
        report_seconds: until the next one is due.
        interrupt_seconds: a command has to end after it was asked to.
        start_wait_seconds: a wrapper tries to reach the server before it starts without having told.
        report_wait_seconds: it tries to tell the end.
        cluster_type: plugin of the cluster, where the wrapper has to ask it.
    """

    workflow_id: int
    workflow_run_id: int
    run_key: str
    user: str
    working_dir: str
    log_directory: Path
    heartbeat_seconds: float
    report_seconds: float
    interrupt_seconds: float
    start_wait_seconds: float
    report_wait_seconds: float
    cluster_type: str = ""


@dataclass
class Submission:
    """A batch on its way to the cluster.

    Attributes:
        batch: its attempts.
        name: of its job.
        resources: what each of them asks for.
        max_running: how many may run at once; 0: all.
        jobs: the attempts of each of its jobs, as positions in the batch.
        is_uncertain: it was perhaps submitted already.
        try_at: when it may be tried again (monotonic).
        pause: seconds before the try after that.
        is_written: the cluster is about to get it, or has it.
        num_lost: times it was submitted and never found again.
    """

    batch: BatchResponse
    name: str
    resources: dict[str, Any]
    max_running: int
    jobs: Jobs
    is_uncertain: bool = False
    try_at: float = 0.0
    pause: float = 5.0
    is_written: bool = False
    num_lost: int = 0

    @property
    def is_shared(self) -> bool:
        """Whether several attempts have a job together."""
        return len(self.jobs) < len(self.batch.task_instance_ids)

    def unshare(self) -> None:
        """Have a job for each attempt."""
        self.jobs = own_jobs(len(self.batch.task_instance_ids))

    @property
    def steps(self) -> Steps:
        """The attempts that each step of its job array runs."""
        ids = self.batch.task_instance_ids
        return [[ids[position] for position in job] for job in self.jobs]

    @property
    def job_resources(self) -> dict[str, Any]:
        """What each of its jobs asks for."""
        return shared_resources(self.resources, max(map(len, self.jobs), default=1))


class BatchWriter:
    """Makes jobs of submissions.

    Args:
        cluster_name: the cluster they are for.
        settings: what the attempts of the run have in common.
        shared: the directory the nodes share with this machine.
        config: says how the wrapper is started on the nodes.
    """

    def __init__(
        self, cluster_name: str, settings: RunSettings, shared: SharedDirectory, config: JobmonConfig
    ) -> None:
        self._cluster_name, self._settings, self._shared, self._config = (
            cluster_name,
            settings,
            shared,
            config,
        )

    def write(self, submission: Submission, excluded_nodes: Sequence[str]) -> BatchJob:
        """Write the batch file; the job that reads it.

        One that was perhaps submitted before gets another file: should it arrive after all, it finds nothing to run.

        Raises:
            SharedFileError: it cannot be written.
        """
        if submission.is_uncertain:
            withdraw_batch(self._shared, submission.name)
            submission.num_lost += 1
        job = self._job(submission, excluded_nodes)
        write_batch(job.batch_file, self._header(submission), self._elements(submission), job.sizes)
        return job

    def _job(self, submission: Submission, excluded_nodes: Sequence[str]) -> BatchJob:
        nth = f".{submission.num_lost}" if submission.num_lost else ""
        batch_file = self._shared.batches / f"{submission.name}{nth}{SUFFIX}"
        steps = submission.steps
        return BatchJob(
            name=submission.name,
            array_id=submission.batch.array_id,
            batch_num=submission.batch.batch_num,
            task_instance_ids=tuple(each for attempts in steps for each in attempts),
            batch_file=batch_file,
            wrapper=wrapper_words(batch_file, self._config),
            requested_resources=submission.job_resources,
            log_directory=self._shared.cluster_logs,
            max_running=submission.max_running,
            excluded_nodes=tuple(excluded_nodes),
            sizes=tuple(map(len, steps)) if submission.is_shared else (),
        )

    def _header(self, submission: Submission) -> BatchHeader:
        settings, resources = self._settings, submission.resources
        return BatchHeader(
            version=__version__,
            workflow_id=settings.workflow_id,
            workflow_run_id=settings.workflow_run_id,
            cluster_name=self._cluster_name,
            cluster_type=settings.cluster_type,
            user=settings.user,
            server_file=str(self._shared.server),
            spool=str(self._shared.spool_of(self._cluster_name)),
            stdout=str(resources.get("stdout") or settings.log_directory),
            stderr=str(resources.get("stderr") or settings.log_directory),
            working_dir=str(resources["working_dir"]),
            heartbeat_seconds=settings.heartbeat_seconds,
            report_seconds=settings.report_seconds,
            interrupt_seconds=settings.interrupt_seconds,
            start_wait_seconds=settings.start_wait_seconds,
            report_wait_seconds=settings.report_wait_seconds,
            runtime=int(resources.get("runtime") or 0),
            job_seconds=int(submission.job_resources["runtime"]) if submission.is_shared else 0,
            memory=memory_to_bytes(resources.get("memory") or 0),
            shell=shell_words(resources),
            environment={},
        )

    @staticmethod
    def _elements(submission: Submission) -> list[BatchElement]:
        batch = submission.batch
        elements = [
            BatchElement(*fields)
            for fields in zip(
                batch.task_instance_ids, batch.task_ids, batch.names, batch.commands, strict=True
            )
        ]
        return [elements[position] for job in submission.jobs for position in job]


def withdraw_batch(shared: SharedDirectory, name: str) -> None:
    """Have the steps of a batch find nothing to run, if the cluster starts them after all.

    Raises:
        SharedFileError: its file cannot be removed.
    """
    for path in _batch_files(shared, name):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise SharedFileError(
                f"The file {path} cannot be removed, so that jobs would still run what it says: {error.strerror}."
            ) from error


def steps_of_batch(shared: SharedDirectory, name: str) -> Steps:
    """The attempts of each step of a batch that was submitted, by its batch file; empty: it cannot be read."""
    for path in _batch_files(shared, name):
        try:
            return read_steps(path)
        except (OSError, ValueError) as error:
            logger.warning("the batch file %s cannot be read: %s", path, error)
    return []


def steps_of_members(shared: SharedDirectory, name: str, members: Sequence[LiveInstance]) -> Steps:
    """The attempts of each step of a batch of which these live, ended ones perhaps too.

    Where its batch file cannot be read, as if each had a job of its own.
    """
    ids = {each.task_instance_id for each in members}
    steps = steps_of_batch(shared, name) if name else []
    if ids <= {each for attempts in steps for each in attempts}:
        return steps
    size = max(max(each.array_step_id + 1, each.batch_size) for each in members)
    own: Steps = [[] for _ in range(size)]
    for each in members:
        if own[each.array_step_id]:
            own.append([])
        own[-1 if own[each.array_step_id] else each.array_step_id].append(each.task_instance_id)
    return own


def _batch_files(shared: SharedDirectory, name: str) -> list[Path]:
    later = shared.batches.glob(f"{glob.escape(name)}.*{SUFFIX}")
    return [each for each in (shared.batches / f"{name}{SUFFIX}", *later) if each.exists()]


def shell_words(resources: Mapping[str, Any]) -> tuple[str, ...]:
    """The words a command is put behind: a shell, in a container where one is asked for."""
    container = resources.get("container")
    if not container:
        return ("/bin/sh", "-c")
    program = str(resources.get("container_program") or "apptainer")
    arguments = resources.get("container_arguments") or ()
    return (program, "exec", *map(str, arguments), str(container), "/bin/sh", "-c")
