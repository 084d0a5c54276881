"""The queue of the local clusters."""

from __future__ import annotations

import os
from typing import Any

from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.resources import BYTES_OF_UNIT, bytes_to_gib, describe_memory


def machine_gib() -> float:
    """Memory of this machine in GiB, rounded down to a whole MiB."""
    amount = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return bytes_to_gib(amount - amount % BYTES_OF_UNIT["M"])


class LocalQueue(ClusterQueue):
    """A queue with limits on cores, where its parameters name any (``{"cores": [1, 20]}``), and the machine's memory."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        """Whether the cores are within the queue's limits and, if ``strict``, the memory is there on this machine."""
        limits, cores, memory = self.parameters.get("cores"), kwargs.get("cores"), kwargs.get("memory")
        why = ""
        if limits is not None and cores is not None and not limits[0] <= cores <= limits[1]:
            low, high = limits
            why = f"cores={cores} is outside the limits of queue {self.queue_name}: {low} to {high}."
        elif strict and memory is not None and memory > machine_gib():
            asked, there = describe_memory(memory), describe_memory(machine_gib())
            why = f"memory={memory} asks for {asked}, but this machine has {there}."
        return not why, why

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        """The resources with the cores brought within the limits, and no more memory than the machine has."""
        resources = dict(kwargs)
        limits = self.parameters.get("cores")
        if limits is not None and resources.get("cores") is not None:
            low, high = limits
            resources["cores"] = min(max(resources["cores"], low), high)
        if resources.get("memory") is not None:
            resources["memory"] = min(resources["memory"], machine_gib())
        return resources
