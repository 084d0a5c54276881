"""Attempts on clusters that run commands themselves, inside the controller."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
from jobmon.distributor.attempts import ENDS, News, Room
from jobmon.distributor.watch import NEVER
from jobmon.serializers.swarm import BatchResponse, InstanceChanges, LiveInstance

LOOK_AHEAD_SECONDS = 0.4
MAX_LOOK_AHEAD = 500
MEASURE_SECONDS = 0.01
MAX_BATCH = 500
SHUTDOWN_MARGIN_SECONDS = 10.0


class LocalAttempts:
    """The attempts one cluster holds for this controller.

    Args:
        plugin: drives the cluster.
        workflow_id: the workflow.
        workflow_run_id: its run.
        run_key: key of that run.
        log_directory: where logs go when a task does not say.
        working_dir: where commands run when a task does not say; empty: where the controller runs.
        interrupt_seconds: how long a command has to end after it was asked to.
    """

    def __init__(
        self,
        plugin: ClusterDistributor,
        workflow_id: int,
        workflow_run_id: int,
        run_key: str,
        log_directory: Path,
        working_dir: str,
        interrupt_seconds: float,
    ) -> None:
        self.plugin = plugin
        self._interrupt_seconds = interrupt_seconds
        self.workflow_id, self.workflow_run_id, self.run_key = workflow_id, workflow_run_id, run_key
        self.log_directory, self.working_dir = log_directory, working_dir
        self.live: set[int] = set()
        self._rate = 0.0  # attempts that end per second
        self._num_ended, self._measured_at = 0, 0.0

    def open(self, report: Report) -> None:
        """Get the cluster ready; every event of its attempts goes to ``report``."""
        self.plugin.open(report)

    def close(self) -> None:
        """End all of them, with their descendants."""
        self.plugin.stop()

    @property
    def outlives_controller(self) -> bool:
        """They end with it."""
        return False

    @property
    def end_seconds(self) -> float:
        """How long they may take to end after they were ordered to."""
        return self._interrupt_seconds + SHUTDOWN_MARGIN_SECONDS

    @property
    def is_submitting(self) -> bool:
        """They are here already."""
        return False

    @property
    def opens_at(self) -> float:
        """An end of an attempt tells."""
        return NEVER

    def room(self) -> Room:
        """The free slots of the cluster, and as much ahead as it will need soon."""
        ahead = min(MAX_LOOK_AHEAD, int(self._rate * LOOK_AHEAD_SECONDS))
        return Room(max(0, self.plugin.slots + ahead - len(self.live)), MAX_BATCH)

    @property
    def is_hungry(self) -> bool:
        """Whether slots stand empty, or will in a moment."""
        return len(self.live) <= 2 * self.plugin.slots

    def held(self) -> Mapping[int, int]:
        """None: what may not run yet is not handed over."""
        return {}

    def job_name(self, array_name: str, batch_num: int) -> str:
        """None: there are no jobs."""
        return ""

    def run(
        self,
        batch: BatchResponse,
        requested_resources: Mapping[str, Any],
        *,
        name: str = "",
        max_running: int = 0,
        repeated: Collection[int] = (),
    ) -> None:
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
        ended = [event.task_instance_id for event in events if event.event in ENDS]
        self.live.difference_update(ended)
        self._num_ended += len(ended)
        seconds = now - self._measured_at
        if seconds >= MEASURE_SECONDS:
            weight = min(1.0, seconds / LOOK_AHEAD_SECONDS)
            self._rate += weight * (self._num_ended / seconds - self._rate)
            self._num_ended, self._measured_at = 0, now

    def adopt(self, attempts: Sequence[LiveInstance]) -> None:
        """None can be: they ended with their controller."""

    def note_acknowledged(self, events: Sequence[InstanceEvent]) -> None:
        """Nothing is kept for that."""

    def note_changes(self, changes: InstanceChanges) -> None:
        """Nobody else tells of these attempts."""

    def note_limits(self, workflow_limit: int, array_limits: Mapping[int, int]) -> None:
        """What runs, runs."""

    def drain(self) -> None:
        """What was handed over is about to run."""

    @property
    def num_drained(self) -> int:
        """None: all of them run."""
        return 0

    def take_news(self) -> News | None:
        """A cluster on this machine has none."""
        return None

    def leave_all(self) -> None:
        """They cannot be left alone: all end."""
        self.terminate_all()

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
