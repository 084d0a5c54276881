"""Inside a job of Slurm: which one it is, and what its end means."""

from __future__ import annotations

import os
import resource
from typing import Any

from jobmon.core.cluster_protocol import ClusterWorkerNode
from jobmon.core.resources import BYTES_OF_UNIT
from jobmon.core.states import TaskInstanceStatus

KILLED_CODES = (137, -9)
"""Exit codes of a command ended by SIGKILL."""
_SIGNS_OF_MEMORY = ("oom-kill", "oom_kill", "exceeded job memory limit", "exceeded step memory limit")


class SlurmWorkerNode(ClusterWorkerNode):
    """What the environment of a job tells."""

    @property
    def distributor_id(self) -> str | None:
        """Array and index, ``123_4``; the plain id of a job that is no array; ``None`` outside of jobs."""
        array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID")

    @property
    def array_step_id(self) -> int | None:
        """Step of the batch, from 0: indices of Slurm count from 1 here."""
        index = os.environ.get("SLURM_ARRAY_TASK_ID", "")
        return int(index) - 1 if index.isdecimal() else None

    def get_usage_stats(self) -> dict[str, Any]:
        """CPU seconds and peak memory in bytes of the commands this process has run and waited for."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"cpu": used.ru_utime + used.ru_stime, "maxrss": used.ru_maxrss * BYTES_OF_UNIT["K"]}

    def get_exit_info(self, exit_code: int, error_msg: str) -> tuple[str, str]:
        """A failure is the command's own, unless it was killed and says that memory was the reason."""
        said = error_msg.lower()
        if exit_code in KILLED_CODES and any(sign in said for sign in _SIGNS_OF_MEMORY):
            words = "The command was killed because it needed more memory than it had asked for."
            return TaskInstanceStatus.RESOURCE_ERROR, f"{words} {error_msg}".strip()
        return TaskInstanceStatus.ERROR, f"The command exited with code {exit_code}. {error_msg}".strip()
