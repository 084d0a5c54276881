"""Inside a job of Slurm."""

from __future__ import annotations

import subprocess

import pytest

from jobmon.core.states import TaskInstanceStatus
from jobmon.plugins.slurm import get_cluster_worker_node_class
from jobmon.plugins.slurm.worker_node import SlurmWorkerNode


@pytest.mark.parametrize(
    ("environment", "distributor_id", "step"),
    [
        ({"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "14"}, "12_3", 2),
        ({"SLURM_JOB_ID": "14"}, "14", None),
        ({}, None, None),
    ],
)
def test_which_job_it_is(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], distributor_id: str | None, step: int | None
) -> None:
    """The same id the cluster's side gave it; steps count from 0."""
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    node = get_cluster_worker_node_class()()
    assert (node.distributor_id, node.array_step_id) == (distributor_id, step)


def test_what_its_commands_used() -> None:
    """In seconds and bytes."""
    subprocess.run(["/bin/true"], check=True)
    used = SlurmWorkerNode().get_usage_stats()
    assert used["maxrss"] > 2**18
    assert used["cpu"] >= 0


@pytest.mark.parametrize(
    ("exit_code", "said", "status"),
    [
        (1, "Traceback", TaskInstanceStatus.ERROR),
        (137, "slurmstepd: error: Detected 1 oom-kill event(s)", TaskInstanceStatus.RESOURCE_ERROR),
        (137, "", TaskInstanceStatus.ERROR),
        (1, "oom-kill", TaskInstanceStatus.ERROR),
    ],
)
def test_ends_of_commands(exit_code: int, said: str, status: TaskInstanceStatus) -> None:
    """A lack of memory only where the command was killed and it was said."""
    assert SlurmWorkerNode().get_exit_info(exit_code, said)[0] == status
