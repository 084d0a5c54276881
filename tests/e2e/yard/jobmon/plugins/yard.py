"""A batch cluster for tests: a directory whose jobs are processes of this machine; a file ``closed`` there holds jobs back.

Of each job there are ``<id>.json`` (name and command) and, once it was started, ``<id>.pid``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobmon.core.batch_cluster import (
    WRAPPER_ID_OPTION,
    WRAPPER_STEP_OPTION,
    BatchJob,
    ClusterDescription,
    JobLook,
    QueueDescription,
)
from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode
from jobmon.core.exceptions import ClusterUnreachable
from jobmon.plugins.multiprocess.worker_node import LocalWorkerNode

MOST_MEMORY = 4


class YardQueue(ClusterQueue):
    """Lets jobs have 4 GiB and ten minutes."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        memory = float(kwargs.get("memory", 1))
        return memory <= MOST_MEMORY, "" if memory <= MOST_MEMORY else f"{memory:g} GiB are too much here."

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        return {**kwargs, "runtime": min(int(kwargs.get("runtime", 600)), 600)}


class YardDistributor(ClusterDistributor):
    """Starts jobs when they are submitted, unless the yard is closed."""

    def __init__(self, cluster_name: str, *args: Any, **connection_parameters: Any) -> None:
        super().__init__(cluster_name)
        self.directory = Path(connection_parameters.get("directory") or os.environ["YARD"])

    def discover(self) -> ClusterDescription:
        queues = (QueueDescription("main", {}),)
        return ClusterDescription(queues, connection_parameters={"directory": str(self.directory)})

    def node_addresses(self) -> Sequence[str]:
        path = self.directory / "nodes"
        return path.read_text().split() if path.exists() else ["localhost"]

    def submit_batch(self, job: BatchJob) -> dict[int, str]:
        number = len(list(self.directory.glob("*.json"))) + 1
        what = {"name": job.name, "words": job.wrapper, "resources": dict(job.requested_resources)}
        (self.directory / f"{number}.json").write_text(json.dumps(what))
        if (self.directory / "loses").exists():
            (self.directory / "loses").unlink()
            start(self.directory, number)
            raise ClusterUnreachable("The yard did not answer.")
        if not (self.directory / "closed").exists():
            start(self.directory, number)
        return {0: str(number)}

    def find_batch(self, name: str, num_steps: int) -> dict[int, str]:
        for path in self.directory.glob("*.json"):
            if json.loads(path.read_text())["name"] == name:
                return {0: path.stem}
        return {}

    def look(self, distributor_ids: Sequence[str]) -> dict[str, JobLook]:
        looks = {}
        for number in distributor_ids:
            pid = pid_of(self.directory, number)
            if pid is None and (self.directory / f"{number}.json").exists():
                looks[number] = JobLook(False, "Closed: nothing starts in this yard.")
            elif pid is not None and is_alive(pid):
                looks[number] = JobLook(True)
        return looks

    def cancel(self, jobs: Mapping[str, str]) -> None:
        for number in jobs:
            pid = pid_of(self.directory, number)
            if pid is None:
                (self.directory / f"{number}.json").rename(self.directory / f"{number}.cancelled")
            elif is_alive(pid):
                os.kill(pid, signal.SIGTERM)

    def terminate_task_instances(self, distributor_ids: Sequence[str]) -> None:
        self.cancel(dict.fromkeys(distributor_ids, ""))


def start(directory: Path, number: int | str) -> int:
    """Start a job, or start it anew; its process id."""
    words = json.loads((directory / f"{number}.json").read_text())["words"]
    with open(directory / f"{number}.out", "ab") as output:
        process = subprocess.Popen(
            [*words, WRAPPER_STEP_OPTION, "0", WRAPPER_ID_OPTION, str(number)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (directory / f"{number}.pid").write_text(str(process.pid))
    process.returncode = 0  # it is not this process that waits for it
    return process.pid


def pid_of(directory: Path, number: int | str) -> int | None:
    """Process id of a job that was started."""
    path = directory / f"{number}.pid"
    return int(path.read_text()) if path.exists() else None


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def get_cluster_queue_class() -> type[ClusterQueue]:
    return YardQueue


def get_cluster_distributor_class() -> type[ClusterDistributor]:
    return YardDistributor


def get_cluster_worker_node_class() -> type[ClusterWorkerNode]:
    return LocalWorkerNode
