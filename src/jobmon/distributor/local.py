"""Attempts on clusters that run commands themselves, inside the controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobmon.core.cluster_protocol import (
    ATTEMPT_VARIABLE,
    ClusterDistributor,
    Command,
    Leftover,
    Report,
    attempt_mark,
)
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.serializers.swarm import BatchResponse

LOCAL_ENDS = frozenset(set(TaskInstanceEvent) - {TaskInstanceEvent.START, TaskInstanceEvent.HEARTBEAT})
LOOK_AHEAD_SECONDS = 0.4
MAX_LOOK_AHEAD = 500
MEASURE_SECONDS = 0.01


class LocalAttempts:
    """The attempts one cluster holds for this controller.

    Args:
        plugin: drives the cluster.
        workflow_id: the workflow.
        workflow_run_id: its run.
        run_key: key of that run.
        log_directory: where logs go when a task does not say.
        working_dir: where commands run when a task does not say; empty: where the controller runs.
    """

    def __init__(
        self,
        plugin: ClusterDistributor,
        workflow_id: int,
        workflow_run_id: int,
        run_key: str,
        log_directory: Path,
        working_dir: str,
    ) -> None:
        self.plugin = plugin
        self.workflow_id, self.workflow_run_id, self.run_key = workflow_id, workflow_run_id, run_key
        self.log_directory, self.working_dir = log_directory, working_dir
        self.live: set[int] = set()
        self._rate = 0.0  # attempts that end per second
        self._num_ended, self._measured_at = 0, 0.0

    def open(self, report: Report) -> None:
        """Get the cluster ready; every event of its attempts goes to ``report``."""
        self.plugin.open(report)

    def room(self) -> int:
        """How many more attempts the cluster wants: its free slots, and as much ahead as it will need soon."""
        return self.plugin.slots + min(MAX_LOOK_AHEAD, int(self._rate * LOOK_AHEAD_SECONDS)) - len(self.live)

    @property
    def is_hungry(self) -> bool:
        """Whether slots stand empty, or will in a moment."""
        return len(self.live) <= 2 * self.plugin.slots

    def run(self, batch: BatchResponse, requested_resources: Mapping[str, Any]) -> None:
        """Hand the attempts of a batch to the cluster."""
        resources = dict(requested_resources)
        for stream in ("stdout", "stderr"):
            resources[stream] = str(resources.get(stream) or self.log_directory)
        resources["working_dir"] = resources.get("working_dir") or self.working_dir
        commands = [
            Command(
                task_instance_id=task_instance_id,
                name=name,
                command=command,
                environment={
                    "JOBMON_TASK_INSTANCE_ID": str(task_instance_id),
                    "JOBMON_WORKFLOW_RUN_ID": str(self.workflow_run_id),
                    "JOBMON_TASK_ID": str(task_id),
                    "JOBMON_WORKFLOW_ID": str(self.workflow_id),
                    ATTEMPT_VARIABLE: attempt_mark(self.run_key, task_instance_id),
                },
                requested_resources=resources,
            )
            for task_id, task_instance_id, name, command in zip(
                batch.task_ids, batch.task_instance_ids, batch.names, batch.commands, strict=True
            )
            if task_instance_id not in self.live
        ]
        self.live.update(command.task_instance_id for command in commands)
        self.plugin.run_commands(commands)

    def note(self, events: Sequence[InstanceEvent], now: float) -> None:
        """Take note of events the cluster reported at ``now`` (seconds, monotonic); learns how fast it works."""
        ended = [event.task_instance_id for event in events if event.event in LOCAL_ENDS]
        self.live.difference_update(ended)
        self._num_ended += len(ended)
        seconds = now - self._measured_at
        if seconds >= MEASURE_SECONDS:
            weight = min(1.0, seconds / LOOK_AHEAD_SECONDS)
            self._rate += weight * (self._num_ended / seconds - self._rate)
            self._num_ended, self._measured_at = 0, now

    def terminate(self, task_instance_ids: Sequence[int]) -> None:
        """End attempts, those that are live here."""
        ids = [str(i) for i in task_instance_ids if i in self.live]
        if ids:
            self.plugin.terminate_task_instances(ids)

    def terminate_all(self) -> None:
        """End all attempts."""
        self.terminate(sorted(self.live))

    def kill_all(self) -> None:
        """End all attempts at once, without asking them first."""
        self.plugin.kill_leftovers(
            [Leftover(i, str(i), "", attempt_mark(self.run_key, i)) for i in sorted(self.live)]
        )
