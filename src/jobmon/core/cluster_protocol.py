"""The interface between Jobmon and a cluster; a plugin implements these three classes.

A plugin is a module ``jobmon.plugins.<cluster type>`` (or one registered under the entry point group
``jobmon.plugins``) with the functions
``get_cluster_queue_class()``, ``get_cluster_distributor_class()`` and ``get_cluster_worker_node_class()``.

There are two kinds of clusters. A *batch* cluster takes jobs (``submit_…``) whose commands are wrapped by the worker
node; it is asked about them later. A cluster that *runs commands itself* (``capabilities.runs_commands``) lives inside the
controller: it is opened with a callback, is handed commands, and reports starts and ends of its own accord.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobmon.core.exceptions import ClusterError
from jobmon.core.instance_event import InstanceEvent


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
