"""Cluster type ``dummy``: nothing is executed, every attempt is done at once. For load tests and dry runs of graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobmon.core.cluster_protocol import (
    ClusterCapabilities,
    ClusterDistributor,
    ClusterQueue,
    ClusterWorkerNode,
    Command,
    Report,
)
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.plugins.multiprocess.worker_node import LocalWorkerNode

SLOTS = 2**31 - 1


class DummyQueue(ClusterQueue):
    """A queue without limits."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        """Everything fits."""
        return True, ""

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        """The resources as they are."""
        return kwargs


class DummyDistributor(ClusterDistributor):
    """Reports every command as done."""

    _report: Report | None = None

    @property
    def capabilities(self) -> ClusterCapabilities:
        """It pretends to run commands itself."""
        return ClusterCapabilities(runs_commands=True, executes_nothing=True)

    @property
    def slots(self) -> int:
        """No limit."""
        return SLOTS

    def open(self, report: Report) -> None:
        """Remember whom to tell."""
        self._report = report

    def run_commands(self, commands: Sequence[Command]) -> None:
        """Report start and success of each."""
        events = []
        for command in commands:
            instance = command.task_instance_id
            events.append(InstanceEvent(instance, TaskInstanceEvent.START, distributor_id=str(instance)))
            events.append(InstanceEvent(instance, TaskInstanceEvent.FINISH, wallclock=0.0, exit_code=0))
        if self._report is not None:
            self._report(events)

    def terminate_task_instances(self, distributor_ids: Sequence[str]) -> None:
        """Nothing runs, nothing to end."""


def get_cluster_queue_class() -> type[ClusterQueue]:
    """Class of the queue."""
    return DummyQueue


def get_cluster_distributor_class() -> type[ClusterDistributor]:
    """Class that drives the cluster."""
    return DummyDistributor


def get_cluster_worker_node_class() -> type[ClusterWorkerNode]:
    """Class for a worker node of it."""
    return LocalWorkerNode
