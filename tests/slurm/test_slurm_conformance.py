"""The conformance suite of batch clusters, on the real Slurm, by its commands and over its REST API."""

from __future__ import annotations

from typing import Any

import lab
import pytest

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.plugins.slurm.distributor import SlurmDistributor
from jobmon.testing.batch_conformance import BatchClusterConformance, BatchTraits

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

UNKNOWN_ID = "99999999_1"


class _SlurmConformance(BatchClusterConformance):
    @pytest.fixture
    def traits(self) -> BatchTraits:
        """Slurm can do all that is asked about."""
        return BatchTraits(unknown_id=UNKNOWN_ID)

    @pytest.fixture
    def resources(self) -> dict[str, Any]:
        """The partition without a limit of a minute."""
        return {"cores": 1, "memory": 64 / 1024, "runtime": 300, "queue": "short"}


class TestByCommands(_SlurmConformance):
    """sbatch, squeue, sacct, scancel."""

    @pytest.fixture
    def distributor(self) -> ClusterDistributor:
        """By the commands on PATH."""
        return SlurmDistributor("slurm")


class TestOverRest(_SlurmConformance):
    """slurmrestd."""

    @pytest.fixture
    def distributor(self) -> ClusterDistributor:
        """By the address the cluster of the tests listens at."""
        return SlurmDistributor("slurm", connection="rest", url=lab.REST_ADDRESS)
