"""The local clusters do what every cluster must that runs commands itself."""

from __future__ import annotations

import pytest

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.plugins.multiprocess.distributor import MultiprocessDistributor
from jobmon.plugins.sequential import SequentialDistributor
from jobmon.testing.conformance import LocalClusterConformance


class TestMultiprocess(LocalClusterConformance):
    @pytest.fixture
    def distributor(self) -> ClusterDistributor:
        return MultiprocessDistributor("multiprocess", parallelism=3)


class TestSequential(LocalClusterConformance):
    @pytest.fixture
    def distributor(self) -> ClusterDistributor:
        return SequentialDistributor("sequential")
