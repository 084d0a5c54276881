"""Why jobs wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.plugins.slurm.reasons import explain


@pytest.mark.parametrize("reason", ["", "None", "Priority", "Resources", "JobArrayTaskLimit"])
def test_a_job_that_waits_its_turn(reason: str) -> None:
    """Nothing holds it."""
    assert explain(reason) == ("", False)


@pytest.mark.parametrize(
    "reason",
    [
        "PartitionTimeLimit",
        "MaxMemPerLimit",
        "DependencyNeverSatisfied",
        "BadConstraints",
        "InvalidQOS",
        "QOSMaxMemoryPerJob",
        "QOSMaxWallDurationPerJobLimit",
        "AssocMaxCpuPerJobLimit",
        "AssocMaxNodePerJobLimit",
        "QOSMaxGRESPerNode",
        "QOSMinCpuNotSatisfied",
        "launch failed requeued held",
    ],
)
def test_what_no_waiting_mends(reason: str) -> None:
    """The job itself is at fault."""
    sentence, can_never_start = explain(reason)
    assert can_never_start
    assert sentence.startswith(f"{reason}: ")


@pytest.mark.parametrize(
    "reason",
    [
        "BeginTime",
        "Dependency",
        "JobHeldUser",
        "JobHeldAdmin",
        "PartitionDown",
        "PartitionNodeLimit",
        "PartitionConfig",
        "ReqNodeNotAvail, UnavailableNodes:n[1-3]",
        "AssocMaxJobsLimit",
        "AssocGrpCpuLimit",
        "AssocGrpCPUMinutesLimit",
        "QOSMaxJobsPerUserLimit",
        "QOSMaxCpuPerUserLimit",
        "QOSGrpGRES",
        "Licenses",
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
    ],
)
def test_what_may_pass(reason: str) -> None:
    """It is told, and waited for."""
    sentence, can_never_start = explain(reason)
    assert not can_never_start
    assert sentence.startswith(f"{reason}: ")
    assert sentence.endswith(".")


@given(st.text(min_size=1))
def test_words_nobody_knows(reason: str) -> None:
    """A new word of Slurm never fails a task."""
    sentence, can_never_start = explain("New" + reason)
    assert not can_never_start
    assert sentence.startswith("New" + reason)
