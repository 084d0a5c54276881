"""A batch cluster in memory that does what a test tells it, and a controller's end of the attempts on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jobmon.core.batch_cluster import BatchJob, JobLook, RemoteEnd
from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.configuration import JobmonConfig
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.distributor.batch import BatchAttempts
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.submission import RunSettings
from jobmon.distributor.watch import Watch
from jobmon.serializers.swarm import BatchResponse

WAIT_SECONDS = 20.0


class MemoryCluster(ClusterDistributor):
    """Keeps its jobs in a dictionary; every call may be made to raise, by name."""

    def __init__(self) -> None:
        super().__init__("memory")
        self.listed: dict[str, JobLook] = {}
        self.names: dict[str, str] = {}
        self.known_ends: dict[str, RemoteEnd] = {}
        self.jobs: list[BatchJob] = []
        self.calls: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        self.loses_replies = 0
        self.throttled: dict[str, int] = {}

    def _meet(self, call: str) -> None:
        self.calls.append(call)
        if self.faults.get(call):
            raise self.faults[call].pop(0)

    def submit_batch(self, job: BatchJob) -> dict[int, str]:
        self._meet("submit")
        self.jobs.append(job)
        ids = {step: f"{len(self.jobs)}_{step + 1}" for step in range(job.num_steps)}
        for distributor_id in ids.values():
            self.listed[distributor_id] = JobLook(False)
            self.names[distributor_id] = job.name
        if self.loses_replies:
            self.loses_replies -= 1
            from jobmon.core.exceptions import ClusterUnreachable

            raise ClusterUnreachable("the answer was lost")
        return ids

    def find_batch(self, name: str, num_steps: int) -> dict[int, str]:
        self._meet("find")
        return {
            int(distributor_id.split("_")[1]) - 1: distributor_id
            for distributor_id, other in self.names.items()
            if other == name
        }

    def look(self, distributor_ids: Sequence[str]) -> dict[str, JobLook]:
        self._meet("look")
        return {each: self.listed[each] for each in distributor_ids if each in self.listed}

    def ends(self, distributor_ids: Sequence[str]) -> dict[str, RemoteEnd]:
        self._meet("ends")
        return {each: self.known_ends[each] for each in distributor_ids if each in self.known_ends}

    def cancel(self, jobs: Mapping[str, str]) -> None:
        self._meet("cancel")
        for distributor_id, name in jobs.items():
            if self.names.get(distributor_id) == name:
                self.listed.pop(distributor_id, None)

    def throttle(self, limits: Mapping[str, int]) -> None:
        self._meet("throttle")
        self.throttled.update(limits)

    def terminate_task_instances(self, distributor_ids: Sequence[str]) -> None:
        raise AssertionError("jobs are cancelled by name")


class KnownServer:
    """The nodes can reach the server, or cannot."""

    def __init__(self, is_known: bool = True) -> None:
        self._is_known = is_known

    def renew(self) -> None:
        pass

    def is_known(self) -> bool:
        return self._is_known


class Run:
    """A run with attempts on the cluster; keeps what is reported, and takes note of it as the controller's loop does."""

    def __init__(
        self,
        cluster: MemoryCluster,
        directory: Path,
        is_server_known: bool = True,
        longest_shared_seconds: float = 0.0,
    ) -> None:
        self.cluster = cluster
        self.shared = SharedDirectory(directory / "shared", 5)
        self.shared.prepare()
        settings = RunSettings(
            5, 6, "0123456789abcdef", "ada", str(directory), self.shared.logs, 90, 279, 10, 10, 60
        )
        self.attempts = BatchAttempts(
            cluster,
            settings,
            self.shared,
            JobmonConfig(dict_config={}),
            lambda: (),
            Watch(0.2, 0.4),
            KnownServer(is_server_known),
            lambda resources: longest_shared_seconds,
        )
        self.events: list[InstanceEvent] = []
        self._told = threading.Condition()

    def open(self) -> None:
        self.attempts.open(self._take)

    def _take(self, events: Sequence[InstanceEvent]) -> None:
        with self._told:
            self.events += events
            self.attempts.note(events, time.monotonic())
            self._told.notify_all()

    def submit(
        self,
        *task_instance_ids: int,
        batch_num: int = 1,
        max_running: int = 0,
        repeated: Sequence[int] = (),
        **resources: object,
    ) -> str:
        """Hand over a batch; its job name. ``repeated`` are attempts of tasks that were attempted before."""
        ids = list(task_instance_ids)
        name = self.attempts.job_name("fit model", batch_num)
        batch = BatchResponse(
            3,
            batch_num,
            [1000 + i for i in ids],
            ids,
            list(range(len(ids))),
            ["t"] * len(ids),
            ["true"] * len(ids),
        )
        self.attempts.run(
            batch,
            {"queue": "q", **resources},
            name=name,
            max_running=max_running,
            repeated={1000 + i for i in repeated},
        )
        return name

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds, looked at whenever something is reported."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._told:
            while not condition():
                self._told.wait(0.05)
                assert time.monotonic() < deadline, f"waited in vain for {what}: {self.events}"

    def told(self, event: TaskInstanceEvent) -> list[int]:
        """Attempts of which this was reported, in order."""
        return [each.task_instance_id for each in self.events if each.event is event]
