"""The local clusters' answer to what a wrapper would ask; their commands run without one."""

from __future__ import annotations

import os
from typing import Any

from jobmon.core.cluster_protocol import ClusterWorkerNode
from jobmon.core.states import TaskInstanceStatus


class LocalWorkerNode(ClusterWorkerNode):
    """Inside a command of a local cluster: its attempt by the environment."""

    @property
    def distributor_id(self) -> str | None:
        """The attempt's id."""
        return os.environ.get("JOBMON_TASK_INSTANCE_ID")

    @property
    def array_step_id(self) -> int | None:
        """Local clusters have no job arrays."""
        return None

    def get_usage_stats(self) -> dict[str, Any]:
        """Nothing: the launcher measures commands from outside."""
        return {}

    def get_exit_info(self, exit_code: int, error_msg: str) -> tuple[str, str]:
        """Every failure is the command's own."""
        return TaskInstanceStatus.ERROR, f"The command exited with code {exit_code}. {error_msg}".strip()
