"""Local clusters without a controller; nothing of their commands may be left after a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.plugins.multiprocess.distributor import MultiprocessDistributor
from jobmon.testing.conformance import LocalCluster

GRACE = "JOBMON__WORKER_NODE__COMMAND_INTERRUPT_TIMEOUT"


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second between SIGTERM and SIGKILL."""
    monkeypatch.setenv(GRACE, "0.5")


@pytest.fixture
def open_cluster(tmp_path: Path) -> Iterator[Callable[[ClusterDistributor], LocalCluster]]:
    """Opens clusters, which are checked and closed after the test."""
    opened: list[LocalCluster] = []

    def make(distributor: ClusterDistributor) -> LocalCluster:
        directory = tmp_path / f"cluster{len(opened)}"
        directory.mkdir()
        cluster = LocalCluster(distributor, directory)
        opened.append(cluster)
        cluster.open()
        return cluster

    try:
        yield make
    finally:
        for cluster in opened:
            cluster.close()


@pytest.fixture
def cluster(open_cluster: Callable[[ClusterDistributor], LocalCluster]) -> LocalCluster:
    """Cluster ``multiprocess`` with two slots."""
    return open_cluster(MultiprocessDistributor("multiprocess", parallelism=2))
