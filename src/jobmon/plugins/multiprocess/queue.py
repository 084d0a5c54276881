"""The queue of the local clusters."""

from __future__ import annotations

from typing import Any

from jobmon.core.cluster_protocol import ClusterQueue


class LocalQueue(ClusterQueue):
    """A queue with limits on cores only, where its parameters name any: ``{"cores": [1, 20]}``."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        """Whether the cores asked for are within the queue's limits."""
        limits = self.parameters.get("cores")
        cores = kwargs.get("cores")
        if limits is None or cores is None:
            return True, ""
        low, high = limits
        if low <= cores <= high:
            return True, ""
        return False, f"cores={cores} is outside the limits of queue {self.queue_name}: {low} to {high}."

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        """The resources with the cores brought within the limits."""
        limits = self.parameters.get("cores")
        if limits is None or kwargs.get("cores") is None:
            return kwargs
        low, high = limits
        return {**kwargs, "cores": min(max(kwargs["cores"], low), high)}
