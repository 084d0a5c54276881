"""The plugin's methods over a connection that remembers what it is told to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from remembering import Cluster, accounted

from jobmon.core.batch_cluster import BatchJob, JobLook
from jobmon.core.exceptions import (
    ClusterBusy,
    ClusterUnreachable,
    RemoteExitInfoNotAvailable,
    SubmissionError,
)
from jobmon.core.states import TaskInstanceStatus
from jobmon.plugins.slurm import distributor as distributor_module
from jobmon.plugins.slurm.connection import ListedJob
from jobmon.plugins.slurm.distributor import SlurmDistributor

AWAY = ClusterUnreachable("away")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def slurm(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> SlurmDistributor:
    """The plugin over such a connection."""
    monkeypatch.setattr(distributor_module, "connection_for", lambda parameters: cluster)
    return SlurmDistributor("slurm")


def batch(directory: Path, name: str = "batch", steps: int = 3, **resources: Any) -> BatchJob:
    return BatchJob(name, 1, 1, tuple(range(steps)), Path("/b"), ("w",), resources, directory / "logs")


def test_submission(cluster: Cluster, slurm: SlurmDistributor, tmp_path: Path) -> None:
    """Ids count from 1 on the cluster; the directory of Slurm's logs is made, or the job would not start."""
    assert slurm.submit_batch(batch(tmp_path)) == {0: "7_1", 1: "7_2", 2: "7_3"}
    assert (tmp_path / "logs").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(SubmissionError, match="cannot be created"):
        slurm.submit_batch(batch(tmp_path / "file"))


def test_a_submission_that_may_still_arrive(
    cluster: Cluster, slurm: SlurmDistributor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after an unknown outcome, its absence means nothing; later it was surely not submitted."""
    cluster.answers["submit"] = AWAY
    assert slurm.find_batch("batch", 3) == {}
    with pytest.raises(ClusterUnreachable):
        slurm.submit_batch(batch(tmp_path))
    with pytest.raises(ClusterUnreachable, match="may still arrive"):
        slurm.find_batch("batch", 3)
    monkeypatch.setattr(distributor_module, "SETTLING_SECONDS", 0.0)
    assert slurm.find_batch("batch", 3) == {}
    cluster.answers["find"] = "9"
    assert slurm.find_batch("batch", 2) == {0: "9_1", 1: "9_2"}


def test_a_refusal_has_the_jobs_counted_anew(
    cluster: Cluster, slurm: SlurmDistributor, tmp_path: Path
) -> None:
    """Others of the same user may have filled the room."""
    assert slurm.room() == 4999
    cluster.answers["submit"], cluster.answers["count_jobs"] = ClusterBusy("full"), 4999
    with pytest.raises(ClusterBusy):
        slurm.submit_batch(batch(tmp_path))
    assert slurm.room() == 0


def rows(*states: str, **values: Any) -> list[ListedJob]:
    return [ListedJob("7", (index,), "batch", state, **values) for index, state in enumerate(states, 1)]


def test_a_look(cluster: Cluster, slurm: SlurmDistributor) -> None:
    """One question; those asked for, whether they run, and why not."""
    cluster.answers["listing"] = [
        ListedJob("7", (3, 4, 5), "batch", "PENDING", "PartitionTimeLimit"),
        ListedJob("7", (1,), "batch", "RUNNING", "", "n2", 1),
        ListedJob("7", (2,), "batch", "COMPLETING", "", "n1"),
    ]
    looks = slurm.look(["7_1", "7_2", "7_4", "8_1"])
    assert looks["7_1"] == JobLook(True, nodename="n2", restarts=1, name="batch")
    assert looks["7_2"].is_running
    assert looks["7_4"].can_never_start
    assert set(looks) == {"7_1", "7_2", "7_4"}
    assert cluster.asked == [("listing", "7", "8")]
    assert set(slurm.get_queueing_errors(["7_1", "7_4"])) == {"7_4"}
    assert slurm.get_submitted_or_running(["7_1", "8_1"]) == {"7_1"}


def test_what_is_held_by_a_limit_of_its_own_has_no_reason(cluster: Cluster, slurm: SlurmDistributor) -> None:
    """A limit of 0 holds the array; a person who holds it is named as the reason."""
    cluster.answers["listing"] = rows("PENDING", reason="JobHeldUser")
    assert slurm.look(["7_1"])["7_1"].reason.startswith("JobHeldUser: ")
    slurm.throttle({"7_1": 0})
    assert slurm.look(["7_1"])["7_1"].reason == ""


@pytest.mark.parametrize(
    ("limits", "orders"),
    [
        ([{"7_1": 0}], [("hold", "7")]),
        ([{"7_1": 5, "7_2": 5}], [("release", "7"), ("throttle", "7", 5)]),
        ([{"7_1": 0}, {"7_1": -1}], [("hold", "7"), ("release", "7"), ("throttle", "7", 0)]),
    ],
)
def test_throttling(
    cluster: Cluster, slurm: SlurmDistributor, limits: list[Mapping[str, int]], orders: list[Any]
) -> None:
    """By any element of an array; 0 holds it, any other limit lets it go, -1 lifts the limit."""
    for each in limits:
        slurm.throttle(each)
    assert cluster.asked == orders


def test_an_array_of_its_own_is_not_released_for_nothing(
    cluster: Cluster, slurm: SlurmDistributor, tmp_path: Path
) -> None:
    """Only what this controller held, or an earlier one may have held, is released."""
    slurm.submit_batch(batch(tmp_path))
    slurm.throttle({"7_1": 2})
    assert ("release", "7") not in cluster.asked


def test_cancelling_looks_at_names(cluster: Cluster, slurm: SlurmDistributor) -> None:
    """A job that bears another name is somebody else's; an array of which all is meant goes by its own id."""
    cluster.answers["listing"] = [*rows("RUNNING", "RUNNING"), ListedJob("8", (1, 2), "other", "PENDING")]
    cluster.answers["listing"].append(ListedJob("9", (1, 2, 3), "batch", "PENDING"))
    mine = dict.fromkeys(["7_1", "8_1", "9_1", "9_2", "9_3"], "batch")
    slurm.cancel(mine)
    assert cluster.asked[-1] == ("cancel", "7_1", "9")
    cluster.answers["listing"] = []
    slurm.cancel(mine)
    assert cluster.asked[-1][0] == "listing"


def test_single_job_methods(cluster: Cluster, slurm: SlurmDistributor) -> None:
    """The older methods are made of the same."""
    cluster.answers["accounting"] = [accounted(1), accounted(2, "TIMEOUT"), accounted(3, "NODE_FAIL")]
    letters = [TaskInstanceStatus(slurm.get_remote_exit_info(f"7_{index}")[0]) for index in (1, 2, 3)]
    assert letters == [
        TaskInstanceStatus.DONE,
        TaskInstanceStatus.RESOURCE_ERROR,
        TaskInstanceStatus.UNKNOWN_ERROR,
    ]
    with pytest.raises(RemoteExitInfoNotAvailable):
        slurm.get_remote_exit_info("7_4")
    cluster.answers["listing"] = rows("RUNNING", "RUNNING")
    slurm.terminate_task_instances(["7_1", "7_9"])
    assert cluster.asked[-1] == ("cancel", "7_1")


def test_usage_of_what_has_ended(cluster: Cluster, slurm: SlurmDistributor) -> None:
    """Only that."""
    cluster.answers["accounting"] = [accounted(1, maxrss=5), replace(accounted(2), state="RUNNING")]
    assert {each: used.maxrss for each, used in slurm.usage(["7_1", "7_2"]).items()} == {"7_1": 5}


def test_addresses_of_nodes(cluster: Cluster, slurm: SlurmDistributor) -> None:
    """Some of those that are up."""
    cluster.answers["nodes"] = [
        {"NodeAddr": "10.0.0.1", "State": "DOWN*"},
        *({"NodeAddr": f"10.0.0.{number}", "State": "IDLE"} for number in range(2, 9)),
    ]
    assert slurm.node_addresses() == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert slurm.num_nodes() == 7
