"""The queue of the local clusters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.resources import BYTES_OF_UNIT, bytes_to_gib, describe_memory


def machine_gib() -> float:
    """Memory of this machine in GiB, rounded down to a whole MiB."""
    amount = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return bytes_to_gib(amount - amount % BYTES_OF_UNIT["M"])


LIMITED = ("cores", "memory", "runtime")
"""Resources that the parameters of a queue may limit; memory in GiB, run time in seconds."""


class LocalQueue(ClusterQueue):
    """A queue with the limits its parameters name (``{"cores": [1, 20], "runtime": [0, 3600]}``), and the machine's memory."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        """Whether they are within the queue's limits and, if ``strict``, the memory is there on this machine."""
        for name, (low, high) in self._limits(kwargs):
            if not low <= kwargs[name] <= high:
                return (
                    False,
                    f"{name}={kwargs[name]} is outside the limits of queue {self.queue_name}: {low} to {high}.",
                )
        memory = kwargs.get("memory")
        if strict and memory is not None and memory > machine_gib():
            asked, there = describe_memory(memory), describe_memory(machine_gib())
            return False, f"memory={memory} asks for {asked}, but this machine has {there}."
        return True, ""

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        """The resources brought within the queue's limits, and no more memory than the machine has."""
        resources = dict(kwargs)
        for name, (low, high) in self._limits(kwargs):
            resources[name] = min(max(resources[name], low), high)
        if resources.get("memory") is not None:
            resources["memory"] = min(resources["memory"], machine_gib())
        return resources

    def _limits(self, resources: dict[str, Any]) -> Iterator[tuple[str, tuple[float, float]]]:
        """Lowest and highest amount of what is asked for and limited."""
        for name in LIMITED:
            limits = self.parameters.get(name)
            if limits is not None and resources.get(name) is not None:
                yield name, (limits[0], limits[1])
