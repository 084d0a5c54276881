"""Short tasks that share jobs of a Slurm that ends jobs in their middle and loses answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_place import ASKED, FakePlace, new_fake_place

from jobmon.testing.fake_slurm import FakeSlurm
from processes import wait_until

pytestmark = [pytest.mark.e2e]

NAMES = [f"t{number}" for number in range(10)]
"""Two a job: the first of a job is even."""
LEAST_JOBS = {"jobmon.distributor.sharing.LEAST_JOBS": 5}
BRIEF = {
    "default_cluster_name": "slurm",
    "default_compute_resources_set": {"slurm": {**ASKED, "runtime": "30s"}},
}
STATES = "SELECT t.name, i.distributor_id FROM task_instance i JOIN task t ON t.id = i.task_id ORDER BY i.id"


@pytest.fixture
def place(tmp_path: Path, database_template: Path) -> Iterator[FakePlace]:
    """A server, scripts and a fake Slurm of this test alone."""
    for place in new_fake_place(tmp_path / "place", database_template):
        place.haste |= LEAST_JOBS
        yield place


def wait_half_running(place: FakePlace) -> None:
    """Wait until the first task of each job runs."""
    place.wait_running(NAMES[::2])


def test_jobs_end_in_their_middle(place: FakePlace) -> None:
    """What ran has the verdict; what had not begun was lost, at no cost, and is tried again in a job of its own."""
    script = place.start_flow(place.gated(NAMES, max_attempts=2), workflow=BRIEF)
    wait_half_running(place)
    doomed = {
        "t0": FakeSlurm.out_of_memory,
        "t2": FakeSlurm.preempt,
        "t4": FakeSlurm.cancel,
        "t6": FakeSlurm.timeout,
    }
    for name, end in doomed.items():
        end(place.slurm, place.job_of(name))
    for name in doomed:
        place.wait_started(name, times=2)
    place.open("go")
    assert script.result()["status"] == "D"
    assert [place.attempts(name) for name in doomed] == ["ZD", "UD", "ED", "ZD"]
    assert [place.attempts(name) for name in ("t1", "t3", "t5", "t7")] == ["UD"] * 4
    assert {place.attempts(name) for name in NAMES[8:]} == {"D"}
    assert place.ends(NAMES) == [1] * len(NAMES)
    assert "Its job ended before its turn: The job was killed" in place.errors("t1")
    jobs = [job for _, job in place.sql(STATES)]
    assert sorted(jobs.count(job) for job in set(jobs)) == [1] * 8 + [2] * 5


def test_the_answer_is_lost_and_the_script_dies(place: FakePlace) -> None:
    """The array is found by its name; the next controller adopts what runs and what waits for its turn."""
    place.slurm.lose_reply()
    tasks = place.gated(NAMES)
    script = place.start_flow(tasks, workflow=BRIEF)
    wait_half_running(place)
    script.kill()
    script.end()
    again = place.start_flow(tasks, workflow=BRIEF, run={"resume": True, "reset_running_jobs": False})
    wait_until(lambda: place.scalar("SELECT count(*) FROM workflow_run") == 2, "the second run")
    place.open("go")
    assert again.result()["status"] == "D"
    assert place.slurm.calls.count["sbatch"] == 1
    assert {place.attempts(name) for name in NAMES} == {"D"}
    assert place.ends(NAMES) == [1] * len(NAMES)


def test_left_ones_are_ended_with_their_batch(place: FakePlace) -> None:
    """A cold resume cancels the jobs and takes away what they were to run."""
    script = place.start_flow(place.gated(NAMES), workflow=BRIEF)
    wait_half_running(place)
    script.kill()
    script.end()
    again = place.start_flow(place.gated(NAMES), workflow=BRIEF, run={"resume": True})
    place.wait_started("t0", times=2)
    place.open("go")
    assert again.result()["status"] == "D"
    assert {place.attempts(name)[-1] for name in NAMES} == {"D"}
    assert place.ends(NAMES) == [1] * len(NAMES)
    batches = list(place.shared.glob("workflow_*/batches/*.batch"))
    assert len(batches) == 1
