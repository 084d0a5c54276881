"""A cluster of a site whose plugin ``hpc`` describes its queues."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobmon.core.cluster_type import plugin_module

PLUGIN = """
import json, pathlib
from jobmon.core.batch_cluster import ClusterDescription, QueueDescription
from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.exceptions import ClusterUnreachable
from jobmon.plugins.multiprocess.queue import LocalQueue
from jobmon.plugins.dummy import get_cluster_worker_node_class

ANSWER = pathlib.Path(__file__).with_name("answer.json")

class Distributor(ClusterDistributor):
    def __init__(self, cluster_name, host="here", port=1, **others):
        super().__init__(cluster_name)
        if others:
            raise TypeError(f"unknown: {', '.join(others)}")
        self.asked = {"host": host, "port": port}

    def terminate_task_instances(self, distributor_ids):
        pass

    def describe_batch(self, job):
        return f"submit {job.name} of {job.num_steps} to {job.requested_resources['queue']}, at once {job.max_running}"

    def discover(self):
        if not ANSWER.exists():
            raise ClusterUnreachable("the thing hpcinfo was not found on PATH; log in where the cluster's commands are.")
        queues = json.loads(ANSWER.read_text())
        found = tuple(QueueDescription(name, parameters) for name, parameters in queues.items())
        return ClusterDescription(found, {"asked": json.dumps(self.asked)})

def get_cluster_queue_class():
    return LocalQueue

def get_cluster_distributor_class():
    return Distributor
"""
QUEUES = {
    "short": {"cores": [1, 4], "memory": [0, 0.5], "runtime": [0, 60], "is_up": True, "default_runtime": 30},
    "long": {"cores": [1, 8], "is_default": True, "is_up": False},
}


class Site:
    """A site whose plugin ``hpc`` describes its queues."""

    def __init__(self, answer: Path) -> None:
        self._answer = answer

    def has(self, queues: dict[str, Any]) -> None:
        """What the cluster says from now on."""
        self._answer.write_text(json.dumps(queues))

    def is_away(self) -> None:
        """It does not answer from now on."""
        self._answer.unlink()


@contextmanager
def installed(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The plugin, installed beside ours as another wheel would be, and a cluster that answers."""
    portion = root / "portion" / "jobmon" / "plugins"
    portion.mkdir(parents=True)
    (portion / "hpc.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(root / "portion"))
    importlib.invalidate_caches()
    plugin_module.cache_clear()
    found = Site(portion / "answer.json")
    found.has(QUEUES)
    yield found
    plugin_module.cache_clear()
    sys.modules.pop("jobmon.plugins.hpc", None)
