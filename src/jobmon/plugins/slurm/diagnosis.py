"""Checks of the way to a Slurm cluster, for ``jobmon doctor``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobmon.core.exceptions import ClusterError, ConfigError
from jobmon.plugins.slurm.connection import SlurmConnection, connection_for

TIMEOUT_SECONDS = 5.0
Check = tuple[str, bool, str]


def diagnose(parameters: Mapping[str, Any]) -> list[Check]:
    """Ask a cluster for its queues and its configuration, with little patience.

    Args:
        parameters: connection parameters of the cluster.
    """
    try:
        connection = connection_for({**parameters, "command_timeout": TIMEOUT_SECONDS})
        partitions, config = connection.partitions(), connection.config()
    except (ClusterError, ConfigError) as error:
        return [("Slurm", False, str(error))]
    names = [facts.get("PartitionName", "") for facts in partitions]
    return [
        ("Slurm", True, f"version {config.get('SLURM_VERSION', 'not known')}, answers."),
        ("queues", bool(names), ", ".join(names) or "none that this user may see (sinfo)."),
        _accounting(connection, config),
    ]


def _accounting(connection: SlurmConnection, config: Mapping[str, str]) -> Check:
    """Whether the accounting answers, if there is one."""
    name = "accounting"
    kind = config.get("AccountingStorageType", "").rpartition("/")[2]
    if kind in ("none", "(null)"):
        return (
            name,
            True,
            "there is none: Slurm tells for some minutes only how jobs ended, and not what they used.",
        )
    try:
        limit = connection.submit_limit()
    except ClusterError as error:
        return name, False, f"{error} Slurm tells for some minutes only how jobs ended, until it is back."
    most = f"at most {limit.most} of your jobs at once." if limit.most else "no limit on your jobs."
    return name, True, f"answers; {most}"
