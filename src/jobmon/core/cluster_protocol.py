"""The interface between Jobmon and a cluster; a plugin implements these three classes.

A plugin is a module ``jobmon.plugins.<cluster type>`` (or one registered under the entry point group
``jobmon.plugins``) with the functions
``get_cluster_queue_class()``, ``get_cluster_distributor_class()`` and ``get_cluster_worker_node_class()``.

There are two kinds of clusters. A *batch* cluster takes jobs whose commands are wrapped by the worker node; it is asked
about them later. Its plugin implements the methods for single jobs (``submit_…``, ``get_…``), or overrides those for whole
batches (``submit_batch``, ``look``, ``ends`` …), which are made of them. A cluster that *runs commands itself*
(``capabilities.runs_commands``) lives inside the controller: it is opened with a callback, is handed commands, and
reports starts and ends of its own accord.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobmon.core.batch_cluster import (
    BatchJob,
    ClusterDescription,
    JobLook,
    RemoteEnd,
    RemoteUsage,
)
from jobmon.core.exceptions import ClusterError, RemoteExitInfoNotAvailable
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus


class ClusterQueue(ABC):
    """A queue of a cluster: what may be asked of it.

    Args:
        queue_id: id in the database.
        queue_name: its name on the cluster.
        parameters: its limits, as the plugin understands them.
    """

    def __init__(self, queue_id: int, queue_name: str, parameters: dict[str, Any]) -> None:
        self._queue_id, self._queue_name, self._parameters = queue_id, queue_name, parameters

    @abstractmethod
    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        """Whether the resources fit the queue, and if not, why; ``strict`` makes any excess invalid."""

    @abstractmethod
    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        """The resources brought into the queue's limits, with its defaults filled in."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Limits of the queue."""
        return self._parameters

    @property
    def queue_name(self) -> str:
        """Name of the queue on the cluster."""
        return self._queue_name

    @property
    def queue_id(self) -> int:
        """Id of the queue in the database."""
        return self._queue_id

    @property
    def required_resources(self) -> list[str]:
        """Names of resources that must be given."""
        return []

    def longest_shared_seconds(self, requested_resources: Mapping[str, Any]) -> float:
        """Longest run time a job may ask for that runs several attempts with these resources, one after the other.

        0, the default: each attempt has a job of its own. A cluster can have more only if its jobs run the wrapper as
        ``BatchJob.wrapper`` says, and if ``runtime`` is what limits their time.
        """
        return 0.0


@dataclass(frozen=True)
class ClusterCapabilities:
    """What a cluster can do.

    Attributes:
        runs_commands: it runs the command itself, inside the controller, and reports by itself.
        executes_nothing: it only pretends (load tests); limits of this machine do not apply.
    """

    runs_commands: bool = False
    executes_nothing: bool = False


ATTEMPT_VARIABLE = "JOBMON_ATTEMPT"
"""Environment variable that marks the processes of one attempt, on whatever database it is recorded."""


def attempt_mark(run_key: str, task_instance_id: int) -> str:
    """Value of :data:`ATTEMPT_VARIABLE`: unique over all databases, unlike the bare id."""
    return f"{run_key}/{task_instance_id}"


@dataclass(frozen=True)
class Command:
    """One attempt for a cluster that runs commands itself.

    Attributes:
        task_instance_id: the attempt; also its ``distributor_id``.
        name: task name, used for the names of log files.
        command: what the shell is given.
        environment: variables added to the controller's own.
        requested_resources: what the task asked for; ``stdout`` and ``stderr`` are directories.
    """

    task_instance_id: int
    name: str
    command: str
    environment: Mapping[str, str] = field(default_factory=dict)
    requested_resources: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Leftover:
    """An attempt that a dead controller may have left behind."""

    task_instance_id: int
    distributor_id: str
    nodename: str
    mark: str


Report = Callable[[Sequence[InstanceEvent]], None]
"""Takes events of attempts; may be called from any thread, returns at once."""


class ClusterDistributor(ABC):
    """Drives one cluster.

    Args:
        cluster_name: name of the cluster in the database.
        connection_parameters: as stored with the cluster.
    """

    def __init__(self, cluster_name: str, *args: Any, **connection_parameters: Any) -> None:
        self._cluster_name = cluster_name

    @property
    def cluster_name(self) -> str:
        """Name of the cluster in the database."""
        return self._cluster_name

    @property
    def capabilities(self) -> ClusterCapabilities:
        """What this cluster can do."""
        return ClusterCapabilities()

    @property
    def worker_node_entry_point(self) -> str:
        """Command that starts the wrapper on a compute node."""
        return "worker_node_entry_point"

    # -- clusters that run commands themselves -----------------------------------------------------
    @property
    def slots(self) -> int:
        """Commands run at once."""
        raise ClusterError(f"Cluster {self._cluster_name} does not run commands itself.")

    def open(self, report: Report) -> None:
        """Get ready to run commands; everything that happens to them goes to ``report``."""
        raise ClusterError(f"Cluster {self._cluster_name} does not run commands itself.")

    def run_commands(self, commands: Sequence[Command]) -> None:
        """Run commands in the order given, as slots become free."""
        raise ClusterError(f"Cluster {self._cluster_name} does not run commands itself.")

    def kill_leftovers(self, leftovers: Sequence[Leftover]) -> list[int]:
        """End what a dead controller left behind; the attempts that are certain not to run any more."""
        self.terminate_task_instances([leftover.distributor_id for leftover in leftovers])
        return [leftover.task_instance_id for leftover in leftovers]

    # -- all clusters -------------------------------------------------------------------------------
    def diagnose(self) -> Sequence[tuple[str, bool, str]]:
        """Checks for ``jobmon doctor``: what was looked at, whether it is as it should be, and a sentence.

        Takes at most a few seconds, changes nothing, and works before ``start``.
        """
        return []

    def start(self) -> None:
        """Connect to the cluster."""

    def stop(self) -> None:
        """Let go of the cluster; a cluster that runs commands itself ends them all, with their descendants."""

    @abstractmethod
    def terminate_task_instances(self, distributor_ids: Sequence[str]) -> None:
        """End jobs, with all of their processes."""

    # -- batch clusters -----------------------------------------------------------------------------
    def get_queueing_errors(self, distributor_ids: Sequence[str]) -> dict[str, str]:
        """Jobs that can never start, with the reason."""
        return {}

    def get_submitted_or_running(self, distributor_ids: Sequence[str] | None = None) -> set[str]:
        """Jobs the cluster still knows as waiting or running."""
        return set()

    def get_remote_exit_info(self, distributor_id: str) -> tuple[str, str]:
        """State letter of the attempt and a sentence, for a job that ended without a word.

        Raises:
            RemoteExitInfoNotAvailable: the cluster does not know (yet).
        """
        raise ClusterError(f"Cluster {self._cluster_name} keeps no records of jobs.")

    def submit_to_batch_distributor(
        self, command: str, name: str, requested_resources: dict[str, Any]
    ) -> str:
        """Submit one job; the id the cluster gave it."""
        raise ClusterError(f"Cluster {self._cluster_name} takes no jobs.")

    def submit_array_to_batch_distributor(
        self, command: str, name: str, requested_resources: dict[str, Any], array_length: int
    ) -> dict[int, str]:
        """Submit a job array; the id of each step, from 0."""
        raise NotImplementedError  # callers submit one by one then

    # -- batch clusters, a whole batch at a time; what is not overridden is made of the methods above ----
    @property
    def array_limit(self) -> int:
        """Most steps of one batch."""
        return 500

    def room(self) -> int:
        """How many more jobs the cluster takes from this user now. Asked before each submission; must be cheap.

        Raises:
            ClusterUnreachable: it cannot be asked.
        """
        return 10_000

    def submit_batch(self, job: BatchJob) -> dict[int, str]:
        """Submit a batch; the id of each step, from 0.

        Raises:
            ClusterBusy: limits allow no more jobs for the moment; nothing was submitted.
            BatchTooLarge: it takes smaller batches only; nothing was submitted.
            ClusterUnreachable: whether it was submitted is not known; see :meth:`find_batch`.
            SubmissionError: the cluster will never take it, and says why.
        """
        resources = dict(job.requested_resources)
        where = f" --batch_file {shlex.quote(str(job.batch_file))}"
        command = self.build_worker_node_command(array_id=job.array_id, batch_number=job.batch_num) + where
        try:
            return self.submit_array_to_batch_distributor(command, job.name, resources, job.num_steps)
        except NotImplementedError:
            return {
                step: self.submit_to_batch_distributor(
                    self.build_worker_node_command(task_instance_id=task_instance_id) + where,
                    job.name,
                    resources,
                )
                for step, task_instance_id in enumerate(job.first_attempts)
            }

    def find_batch(self, name: str, num_steps: int) -> dict[int, str]:
        """The id of each step of a batch that was perhaps submitted; empty when it surely was not.

        Raises:
            ClusterUnreachable: it cannot be told.
        """
        return {}

    def look(self, distributor_ids: Sequence[str]) -> dict[str, JobLook]:
        """Those of the jobs that wait or run; one query, whatever their number.

        Raises:
            ClusterUnreachable: the cluster did not answer in time, or with nonsense.
        """
        held = self.get_queueing_errors(distributor_ids)
        listed = self.get_submitted_or_running(distributor_ids)
        return {
            distributor_id: JobLook(False, held.get(distributor_id, ""), distributor_id in held)
            for distributor_id in distributor_ids
            if distributor_id in listed or distributor_id in held
        }

    def ends(self, distributor_ids: Sequence[str]) -> dict[str, RemoteEnd]:
        """How jobs ended that are not listed any more; those it cannot tell of (yet) are absent.

        Raises:
            ClusterUnreachable: the cluster did not answer in time, or with nonsense.
        """
        found = {}
        for distributor_id in distributor_ids:
            try:
                letter, message = self.get_remote_exit_info(distributor_id)
            except RemoteExitInfoNotAvailable:
                continue
            event, cause = _END_OF_LETTER.get(
                TaskInstanceStatus(letter), (TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE)
            )
            found[distributor_id] = RemoteEnd(event, cause, message)
        return found

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """End jobs, in few calls; those that bear another name than the one given are somebody else's and are left alone.

        Args:
            jobs: name of the batch by distributor id.

        Raises:
            ClusterUnreachable: it cannot be told whether they were.
        """
        self.terminate_task_instances(list(jobs))

    def throttle(self, limits: Mapping[str, int]) -> None:
        """Change how many steps of submitted batches may run at once.

        Args:
            limits: by the distributor id of any step; 0 holds back all that has not started, -1 lifts the limit.
        """

    def describe_batch(self, job: BatchJob) -> str:
        """What :meth:`submit_batch` would hand to the cluster, as text for people; talks to nobody."""
        return self.build_worker_node_command(array_id=job.array_id, batch_number=job.batch_num)

    def discover(self) -> ClusterDescription:
        """Queues and limits, asked of the cluster.

        Raises:
            ClusterError: this kind of cluster cannot be asked.
            ClusterUnreachable: it did not answer.
        """
        raise ClusterError(f"Clusters of the type of {self._cluster_name} do not describe their queues.")

    def node_addresses(self) -> Sequence[str]:
        """Addresses of some compute nodes, to find the network interface that leads to them; empty: not known."""
        return ()

    def num_nodes(self) -> int:
        """How many compute nodes are up, as far as is known.

        Raises:
            ClusterUnreachable: it did not answer.
        """
        return len(self.node_addresses())

    def usage(self, distributor_ids: Sequence[str]) -> dict[str, RemoteUsage]:
        """What jobs that have ended used, by the cluster's accounting; those it does not know (yet) are absent.

        Raises:
            ClusterUnreachable: it did not answer.
        """
        return {}

    def build_worker_node_command(
        self,
        task_instance_id: int | None = None,
        array_id: int | None = None,
        batch_number: int | None = None,
    ) -> str:
        """Command line that runs the wrapper for one attempt, or for an element of a batch."""
        from jobmon.core import __version__

        if task_instance_id is not None:
            what = f"worker_node_job --task_instance_id {task_instance_id}"
        else:
            what = f"worker_node_array --array_id {array_id} --batch_number {batch_number}"
        return (
            f"{self.worker_node_entry_point} {what} --cluster_name {self._cluster_name} "
            f"--expected_jobmon_version {__version__}"
        )


_END_OF_LETTER: Mapping[TaskInstanceStatus, tuple[TaskInstanceEvent, Cause | None]] = {
    TaskInstanceStatus.DONE: (TaskInstanceEvent.FINISH, None),
    TaskInstanceStatus.ERROR: (TaskInstanceEvent.FAIL, Cause.CODE),
    TaskInstanceStatus.ERROR_FATAL: (TaskInstanceEvent.FAIL, Cause.CODE),
    TaskInstanceStatus.RESOURCE_ERROR: (TaskInstanceEvent.RESOURCE, Cause.RESOURCE),
    TaskInstanceStatus.UNKNOWN_ERROR: (TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE),
}
"""What the state letters mean that ``get_remote_exit_info`` gives; others: nothing is known of the end."""


class ClusterWorkerNode(ABC):
    """What the wrapper on a compute node asks of its cluster."""

    @property
    @abstractmethod
    def distributor_id(self) -> str | None:
        """Id the cluster gave this job."""

    @property
    @abstractmethod
    def array_step_id(self) -> int | None:
        """Position in the job array, from 0."""

    @abstractmethod
    def get_usage_stats(self) -> dict[str, Any]:
        """Resources the job has used so far."""

    @abstractmethod
    def get_exit_info(self, exit_code: int, error_msg: str) -> tuple[str, str]:
        """State letter of the attempt and a sentence, from exit code and end of stderr."""

    def initialize_logfile(self, log_type: str, log_dir: str, name: str) -> str:
        """Path of the log file of this job: ``log_type`` is ``stdout`` or ``stderr``."""
        letter = {"stdout": "o", "stderr": "e"}[log_type]
        return f"{log_dir}/{name}.{letter}{self.distributor_id}"
