"""Jobs of the real Slurm that do not start: why is told as long as they wait, and those that never can are failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lab
import pytest

from flow import SMALL, SlurmPlace, new_slurm_place
from processes import Script

pytestmark = [pytest.mark.e2e]


@pytest.fixture
def place(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[SlurmPlace]:
    """A server and scripts of this test alone, whose tasks run on Slurm."""
    yield from new_slurm_place(tmp_path / "place", job_prefix, database_template)


def start(place: SlurmPlace, *options: str, **task: object) -> Script:
    """Start a workflow of two tasks whose jobs get these options of sbatch."""
    asked = {**SMALL, "sbatch_arguments": list(options)}
    return place.start_flow([place.task(name, compute_resources=asked, **task) for name in ("a", "b")])


def wait_for_reason(place: SlurmPlace, words: str) -> str:
    """What ``task explain`` says of both tasks, as soon as these words are in it."""

    def told() -> str:
        rows = place.sql("SELECT queue_reason FROM task_instance WHERE status = 'O'")
        return " ".join(row[0] or "" for row in rows) if len(rows) == 2 else ""

    lab.wait_for(lambda: told().count(words) == 2, f"{words} of both tasks")
    return place.explain("a")


def test_a_held_job_says_so_and_starts_after_its_release(place: SlurmPlace) -> None:
    """Somebody holds jobs that wait; the reason is told, and gone as soon as they may start."""
    script = start(place, "--begin=now+1hour")
    explained = wait_for_reason(place, "BeginTime: its time to begin has not come")
    assert "It waits in queue short of cluster slurm as job " in explained
    array = place.wait_job().array_job_id
    lab.run("scontrol", "uhold", array)
    explained = wait_for_reason(place, "JobHeldUser: you hold it back; scontrol release lets it go")
    assert f"as job {array}_" in explained
    lab.run("scontrol", "release", array)
    lab.run("scontrol", "update", f"jobid={array}", "starttime=now")
    result = script.result(timeout_seconds=60)
    assert (result["status"], result["done"]) == ("D", 2)
    assert place.num_starts("a", "b") == [1, 1]
    assert place.attempts("a") == place.attempts("b") == "D"


def test_operators_hold_a_job(place: SlurmPlace) -> None:
    """The reason says whom to ask; the task does not fail, and runs when they let it go."""
    script = start(place, "--hold")
    array = place.wait_job().array_job_id
    lab.run("scontrol", "hold", array)
    wait_for_reason(place, "JobHeldAdmin: the operators of the cluster hold it back; ask them why")
    lab.run("scontrol", "release", array)
    assert script.result(timeout_seconds=60)["done"] == 2


def test_a_job_that_waits_for_others_has_no_trouble(place: SlurmPlace) -> None:
    """The limit of a quality of service is told as what it is; the jobs run one after the other."""
    with lab.quality_of_service(place.prefix, "MaxJobsPerUser=1"):
        asked = {**SMALL, "qos": place.prefix}
        tasks = [place.task(name, gate=name, compute_resources=asked) for name in ("a", "b")]
        script = place.start_flow(tasks)

        def told() -> str:
            return str(place.scalar("SELECT queue_reason FROM task_instance WHERE queue_reason != ''") or "")

        reason = lab.wait_for(told, "a reason of the task that waits")
        assert reason.startswith("QOSMaxJobsPerUserLimit: your quality of service has as much ")
        place.open("a")
        place.open("b")
        assert script.result(timeout_seconds=60)["done"] == 2
        lab.wait_for(lambda: not place.jobs(), "the end of all jobs")


def test_a_job_that_can_never_start(place: SlurmPlace) -> None:
    """Slurm takes it and would let it wait for ever; it is cancelled, and the task fails with a sentence."""
    script = start(place, "--time=2:00:00", max_attempts=1)
    result = script.result(timeout_seconds=60)
    assert (result["status"], result["done"], result["failed"]) == ("E", 0, 2)
    assert place.num_starts("a", "b") == [0, 0]
    told = place.errors("a")
    assert "The job can never start and was cancelled: PartitionTimeLimit: it asks for more run time" in told
    assert "PartitionTimeLimit" in place.explain("a")
    lab.wait_for(lambda: not place.jobs(), "the end of all jobs")
