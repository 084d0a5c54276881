"""Drives a Slurm cluster: batches become job arrays; what Slurm says of them becomes looks and ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobmon.core.batch_cluster import BatchJob, ClusterDescription, JobLook, RemoteEnd, RemoteUsage
from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import (
    ClusterBusy,
    ClusterUnreachable,
    RemoteExitInfoNotAvailable,
    SubmissionError,
)
from jobmon.core.states import TaskInstanceEvent, TaskInstanceStatus
from jobmon.core.task_names import legal_task_name
from jobmon.plugins.slurm import discovery
from jobmon.plugins.slurm.amounts import split_id
from jobmon.plugins.slurm.connection import (
    Facts,
    ListedJob,
    SlurmConnection,
    Submission,
    connection_for,
)
from jobmon.plugins.slurm.diagnosis import diagnose
from jobmon.plugins.slurm.ends import Ends, arrays_of, asked_of_accounting, id_of
from jobmon.plugins.slurm.errors import names_unknown_node
from jobmon.plugins.slurm.limits import Capacity
from jobmon.plugins.slurm.listing import WAITING_STATES
from jobmon.plugins.slurm.reasons import HELD, explain
from jobmon.plugins.slurm.submission import (
    described_script,
    directory_of_log,
    submission_of,
    submission_of_command,
)
from jobmon.plugins.slurm.verdicts import usage_of

SETTLING_SECONDS = 15.0
"""A submission with an unknown outcome may still arrive when Slurm answers again; for so long its absence means nothing."""
NODES_NAMED = 3
AWAY_STATES = ("DOWN", "FUTURE", "NOT_RESPONDING", "POWERED", "*")
"""Parts of the state of a node that cannot be reached."""

_LETTERS = {
    TaskInstanceEvent.FINISH: TaskInstanceStatus.DONE,
    TaskInstanceEvent.FAIL: TaskInstanceStatus.ERROR,
    TaskInstanceEvent.RESOURCE: TaskInstanceStatus.RESOURCE_ERROR,
    TaskInstanceEvent.LOSE: TaskInstanceStatus.UNKNOWN_ERROR,
}


class SlurmDistributor(ClusterDistributor):
    """A Slurm cluster.

    Args:
        cluster_name: name of the cluster in the database.
        connection_parameters: see :mod:`jobmon.plugins.slurm`.
    """

    def __init__(self, cluster_name: str, *args: Any, **connection_parameters: Any) -> None:
        super().__init__(cluster_name, *args, **connection_parameters)
        self._parameters = connection_parameters
        self._connection: SlurmConnection = connection_for(connection_parameters)
        self._follows_restarts = bool(connection_parameters.get("requeue", False))
        limit = connection_parameters.get("array_limit")
        self._capacity = Capacity(self._connection, int(limit) if limit else None)
        self._ends = Ends(self._connection, self._capacity)
        self._held: set[str] = set()
        self._submitted: set[str] = set()
        self._doubtful: dict[str, float | None] = {}  # since when Slurm says that it does not know them
        self._unknown_nodes: set[str] = set()  # were to be avoided, and are not there any more

    @property
    def connection(self) -> SlurmConnection:
        """The way to the cluster."""
        return self._connection

    @property
    def worker_node_entry_point(self) -> str:
        """Command that starts the wrapper on a compute node."""
        return JobmonConfig().get("distributor", "worker_node_entry_point") or super().worker_node_entry_point

    def diagnose(self) -> Sequence[tuple[str, bool, str]]:
        """The way to the cluster, its version, its queues and its accounting."""
        return diagnose(self._parameters)

    # -- submission -----------------------------------------------------------------------------------
    @property
    def array_limit(self) -> int:
        """Most steps of one batch, by the cluster's own limits."""
        return self._capacity.array_limit()

    def room(self) -> int:
        """How many more jobs the cluster takes from this user now."""
        return self._capacity.room()

    def submit_batch(self, job: BatchJob) -> dict[int, str]:
        """Submit a batch as one job array; the id of each step is ``<array>_<step + 1>``."""
        known = tuple(node for node in job.excluded_nodes if node not in self._unknown_nodes)
        try:
            return self._submit_excluding(job, known)
        except SubmissionError as error:
            if not known or not names_unknown_node(str(error)):
                raise
        # A node that is to be avoided may have left the cluster; Slurm refuses the job for that.
        there = {node.get("NodeName", "") for node in self._connection.nodes()}
        self._unknown_nodes.update(set(known) - there)
        return self._submit_excluding(job, tuple(node for node in known if node in there))

    def _submit_excluding(self, job: BatchJob, nodes: tuple[str, ...]) -> dict[int, str]:
        return self._submit(submission_of(replace(job, excluded_nodes=nodes), requeue=self._follows_restarts))

    def _submit(self, submission: Submission) -> dict[int, str]:
        _make_log_directories(submission)
        try:
            job_id = self._connection.submit(submission)
        except ClusterUnreachable:
            self._doubtful[submission.name] = None
            raise
        except ClusterBusy:
            self._capacity.forget_count()
            raise
        self._capacity.submitted(submission.num_steps)
        self._doubtful.pop(submission.name, None)
        self._submitted.add(job_id)
        return _steps(job_id, submission.num_steps)

    def find_batch(self, name: str, num_steps: int) -> dict[int, str]:
        """The id of each step of a batch that was perhaps submitted; empty when it surely was not."""
        job_id = self._connection.find(name)
        if job_id is not None:
            self._doubtful.pop(name, None)
            return _steps(job_id, num_steps)
        if name not in self._doubtful:
            return {}
        now = time.monotonic()
        since = self._doubtful[name] = self._doubtful[name] or now
        if now - since < SETTLING_SECONDS:
            raise ClusterUnreachable(
                f"Slurm does not know {name}, whose submission had no answer; it may still arrive, and is looked for again."
            )
        return {}

    def describe_batch(self, job: BatchJob) -> str:
        """The script with its options: what a person may hand to sbatch to get the same job."""
        return described_script(submission_of(job, requeue=self._follows_restarts))

    # -- what became of jobs ------------------------------------------------------------------------
    def look(self, distributor_ids: Sequence[str]) -> dict[str, JobLook]:
        """Those of the jobs that wait or run, by one question to the cluster."""
        wanted = frozenset(distributor_ids)
        looks: dict[str, JobLook] = {}
        for row in self._connection.listing(arrays_of(distributor_ids)):
            look = self._look_of(row)
            looks |= {each: look for each in _ids(row) if each in wanted}
        self._ends.note_listed(looks)
        return looks

    def _look_of(self, row: ListedJob) -> JobLook:
        is_running = row.state not in WAITING_STATES
        is_ours = row.reason in HELD and row.job_id in self._held
        reason, can_never_start = ("", False) if is_running or is_ours else explain(row.reason)
        nodes = row.nodes if is_running else ""
        return JobLook(is_running, reason, can_never_start, nodes, row.restarts, row.name)

    def ends(self, distributor_ids: Sequence[str]) -> dict[str, RemoteEnd]:
        """How jobs ended that are not listed any more; see :mod:`jobmon.plugins.slurm.ends`."""
        return self._ends.of(distributor_ids) if distributor_ids else {}

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """End jobs; those that are not listed under the name given are left alone."""
        rows = self._connection.listing(arrays_of(jobs))
        self._cancel_listed(rows, lambda row, each: jobs.get(each) == row.name)

    def _cancel_listed(self, rows: Sequence[ListedJob], is_meant: Callable[[ListedJob, str], bool]) -> None:
        """Cancel what is listed and meant; an array of which all is meant, by its own id."""
        listed: dict[str, list[str]] = {}
        meant: dict[str, list[str]] = {}
        for row in rows:
            ids = _ids(row)
            listed.setdefault(row.job_id, []).extend(ids)
            meant.setdefault(row.job_id, []).extend(each for each in ids if is_meant(row, each))
        ids = []
        for job_id, elements in meant.items():
            ids += [job_id] if elements and len(elements) == len(listed[job_id]) else elements
        if ids:
            self._connection.cancel(ids)

    def throttle(self, limits: Mapping[str, int]) -> None:
        """Change how many elements of arrays may run at once; 0 holds back those that have not started."""
        for job_id, limit in {split_id(each)[0]: limit for each, limit in limits.items()}.items():
            if limit == 0:
                self._connection.hold(job_id)
                self._held.add(job_id)
                continue
            is_perhaps_held = job_id in self._held or job_id not in self._submitted
            if is_perhaps_held:  # an earlier controller may have done it
                self._connection.release(job_id)
                self._held.discard(job_id)
            self._connection.throttle(job_id, max(0, limit))

    def usage(self, distributor_ids: Sequence[str]) -> dict[str, RemoteUsage]:
        """What jobs used that have ended, by the accounting."""
        wanted = frozenset(distributor_ids)
        jobs = self._connection.accounting(asked_of_accounting(distributor_ids)) if wanted else []
        return {
            each: used
            for job in jobs
            if (each := id_of(job)) in wanted and (used := usage_of(job)) is not None
        }

    # -- the cluster itself ---------------------------------------------------------------------------
    def discover(self) -> ClusterDescription:
        """Queues and limits, asked of the cluster."""
        return discovery.discover(self._connection)

    def node_addresses(self) -> Sequence[str]:
        """Addresses of some nodes that are up."""
        addresses = (node.get("NodeAddr", "") for node in self._nodes_up())
        return list(dict.fromkeys(filter(None, addresses)))[:NODES_NAMED]

    def num_nodes(self) -> int:
        """How many nodes are up."""
        return len(self._nodes_up())

    def _nodes_up(self) -> list[Facts]:
        nodes = self._connection.nodes()
        return [node for node in nodes if not any(word in node.get("State", "") for word in AWAY_STATES)]

    # -- jobs one by one, and arrays of command lines ---------------------------------------------------
    def get_submitted_or_running(self, distributor_ids: Sequence[str] | None = None) -> set[str]:
        """Jobs the cluster lists; of all submitted by this object where none are named."""
        if distributor_ids is not None:
            return set(self.look(distributor_ids))
        return {each for row in self._connection.listing(sorted(self._submitted)) for each in _ids(row)}

    def get_queueing_errors(self, distributor_ids: Sequence[str]) -> dict[str, str]:
        """Jobs that can never start, with the reason."""
        return {
            each: look.reason for each, look in self.look(distributor_ids).items() if look.can_never_start
        }

    def get_remote_exit_info(self, distributor_id: str) -> tuple[str, str]:
        """State letter of the attempt and a sentence, for a job that ended without a word."""
        end = self.ends([distributor_id]).get(distributor_id)
        if end is None:
            raise RemoteExitInfoNotAvailable(f"Slurm does not tell (yet) how job {distributor_id} ended.")
        return _LETTERS[end.event], end.description

    def submit_to_batch_distributor(
        self, command: str, name: str, requested_resources: dict[str, Any]
    ) -> str:
        """Submit one job; its id."""
        return self.submit_array_to_batch_distributor(command, name, requested_resources, 1)[0]

    def submit_array_to_batch_distributor(
        self, command: str, name: str, requested_resources: dict[str, Any], array_length: int
    ) -> dict[int, str]:
        """Submit a command line as an array; the id of each step, from 0."""
        shared = Path(JobmonConfig().get("distributor", "shared_directory")).expanduser()
        logs = str(shared.absolute() / "cluster_logs")
        submission = submission_of_command(
            command, legal_task_name(name), array_length, requested_resources, logs
        )
        return self._submit(submission)

    def terminate_task_instances(self, distributor_ids: Sequence[str]) -> None:
        """End jobs, as far as they are listed."""
        wanted = frozenset(distributor_ids)
        rows = self._connection.listing(arrays_of(distributor_ids))
        self._cancel_listed(rows, lambda row, each: each in wanted)


def _steps(job_id: str, num_steps: int) -> dict[int, str]:
    return {step: f"{job_id}_{step + 1}" for step in range(num_steps)}


def _ids(row: ListedJob) -> list[str]:
    return [f"{row.job_id}_{index}" for index in row.indices] or [row.job_id]


def _make_log_directories(submission: Submission) -> None:
    """Create the directories of Slurm's own logs: a job whose log cannot be written is not started at all.

    Raises:
        SubmissionError: they cannot be created.
    """
    base = submission.settings.get("working_dir", "")
    for setting in ("standard_output", "standard_error"):
        directory = directory_of_log(submission.settings[setting])
        if not directory:
            continue
        try:
            Path(base, directory).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SubmissionError(
                f"The directory of Slurm's logs, {Path(base, directory)}, cannot be created: {error.strerror}."
            ) from error
