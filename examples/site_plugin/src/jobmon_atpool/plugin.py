"""What Jobmon needs to drive the pool: its queue, its distributor, and its worker node."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobmon.core.batch_cluster import ClusterDescription, QueueDescription
from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode
from jobmon.core.exceptions import RemoteExitInfoNotAvailable, SubmissionError
from jobmon.core.states import TaskInstanceStatus
from jobmon_atpool.pool import Pool, UnknownJob

DIRECTORY = "~/.atpool"
SLOTS = 2


class PoolQueue(ClusterQueue):
    """The one queue of a pool; its parameters limit the run time: ``{"runtime": [0, 3600]}``."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        """Whether they fit."""
        lowest, highest = self.parameters.get("runtime", (0, float("inf")))
        runtime = kwargs.get("runtime")
        if runtime is not None and not lowest <= runtime <= highest:
            return (
                False,
                f"runtime={runtime} is outside the limits of queue {self.queue_name}: {lowest} to {highest}.",
            )
        return True, ""

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        """The resources brought within the limits."""
        lowest, highest = self.parameters.get("runtime", (0, float("inf")))
        runtime = kwargs.get("runtime")
        return kwargs if runtime is None else {**kwargs, "runtime": min(max(runtime, lowest), highest)}


class PoolDistributor(ClusterDistributor):
    """Submits jobs to a pool, asks for them and ends them.

    Args:
        cluster_name: name of the cluster in Jobmon.
        directory: where the pool lives.
        slots: jobs it runs at once.
    """

    def __init__(
        self,
        cluster_name: str,
        *args: Any,
        directory: str = DIRECTORY,
        slots: int | str = SLOTS,
        **connection_parameters: Any,
    ) -> None:
        super().__init__(cluster_name)
        self._directory, self._slots = Path(directory).expanduser(), int(slots)

    @property
    def _pool(self) -> Pool:
        return Pool(self._directory, self._slots)

    def discover(self) -> ClusterDescription:
        """The one queue there is."""
        queue = QueueDescription("pool", {"runtime": [0, 86_400]})
        return ClusterDescription(
            (queue,), facts={"slots": str(self._slots), "directory": str(self._directory)}
        )

    def submit_to_batch_distributor(
        self, command: str, name: str, requested_resources: dict[str, Any]
    ) -> str:
        """Start a job in the background; its id."""
        try:
            where = Path(requested_resources.get("working_dir") or ".")
            return self._pool.submit(command, name, where)
        except OSError as exc:
            raise SubmissionError(f"The pool does not take {name}: {exc}") from exc

    def find_batch(self, name: str, num_steps: int) -> dict[int, str]:
        """Jobs of a batch that was perhaps submitted; they were submitted one by one, in the order of its steps."""
        return dict(enumerate(self._pool.named(name)[:num_steps]))

    def get_submitted_or_running(self, distributor_ids: Sequence[str] | None = None) -> set[str]:
        """Those that wait or run; by default of all there are."""
        pool, alive = self._pool, set()
        for job_id in pool.job_ids() if distributor_ids is None else distributor_ids:
            try:
                if pool.state(job_id).is_alive:
                    alive.add(job_id)
            except UnknownJob:
                continue
        return alive

    def get_remote_exit_info(self, distributor_id: str) -> tuple[str, str]:
        """How a job ended."""
        try:
            state = self._pool.state(distributor_id)
        except UnknownJob as exc:
            raise RemoteExitInfoNotAvailable(f"The pool has no job {distributor_id}.") from exc
        if state.is_alive:
            raise RemoteExitInfoNotAvailable(f"Job {distributor_id} has not ended.")
        if state.exit_code is None:
            return TaskInstanceStatus.UNKNOWN_ERROR, f"Job {distributor_id} was killed, or its machine died."
        if state.exit_code == 0:
            return TaskInstanceStatus.DONE, ""
        return TaskInstanceStatus.ERROR, f"Job {distributor_id} ended with exit code {state.exit_code}."

    def terminate_task_instances(self, distributor_ids: Sequence[str]) -> None:
        """End jobs with all of their processes."""
        pool = self._pool
        for job_id in distributor_ids:
            pool.end(job_id)


class PoolWorkerNode(ClusterWorkerNode):
    """What the wrapper asks where a job runs."""

    @property
    def distributor_id(self) -> str | None:
        """Id of this job."""
        return os.environ.get("ATPOOL_JOB_ID")

    @property
    def array_step_id(self) -> int | None:
        """A pool has no job arrays."""
        return None

    def get_usage_stats(self) -> dict[str, Any]:
        """What the job's processes have used; memory in bytes."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"maxrss": used.ru_maxrss * 1024, "cpu": used.ru_utime + used.ru_stime}

    def get_exit_info(self, exit_code: int, error_msg: str) -> tuple[str, str]:
        """A command that was killed has perhaps wanted too much memory."""
        if exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return TaskInstanceStatus.RESOURCE_ERROR, f"The command was killed. {error_msg}"
        return TaskInstanceStatus.ERROR, f"The command ended with exit code {exit_code}. {error_msg}"
