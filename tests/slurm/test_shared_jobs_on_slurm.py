"""Short tasks that share jobs of the real Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lab
import pytest

from flow import QUICK, SlurmPlace, new_slurm_place
from processes import wait_until

pytestmark = [pytest.mark.e2e]

NAMES = [f"t{number}" for number in range(32)]
"""Two a job: the first of a job is even."""
BRIEF = {"runtime": "30s"}
EATS_MEMORY = "python3 -c 'x = bytearray(300 << 20); x[::4096] = bytes([1]) * len(x[::4096])'"
EATS_MEMORY_ONCE = f"[ -e {{0}} ] || {{{{ touch {{0}}; exec {EATS_MEMORY}; }}}}"


@pytest.fixture
def place(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[SlurmPlace]:
    """A server and scripts of this test alone, whose tasks run on Slurm."""
    yield from new_slurm_place(tmp_path / "place", job_prefix, database_template, **QUICK)


def gated(place: SlurmPlace) -> list[dict[str, object]]:
    """Tasks that wait for the gate ``go``."""
    return [place.task(name, gate="go") for name in NAMES]


def wait_half_running(place: SlurmPlace) -> None:
    """Wait until the first task of each job runs, and the server knows it."""
    place.wait_started(*NAMES[::2])
    for name in NAMES[::2]:
        place.wait_task(name, "R")


def num_ends(place: SlurmPlace) -> list[int]:
    """How often the command of each task came to its end."""
    return [len((place.work / f"ended.{name}").read_text().splitlines()) for name in NAMES]


def test_a_thousand_short_tasks(place: SlurmPlace) -> None:
    """All are done, each once, in a twelfth of as many jobs, by one submission."""
    count = 1000
    path = place.work / "started"
    tasks = [{"name": f"s{number}", "command": f"echo {number} >> {path}"} for number in range(count)]
    script = place.start_flow(tasks, asked={"runtime": "5s"})
    assert script.result(timeout_seconds=100)["status"] == "D"
    assert sorted(map(int, path.read_text().split())) == list(range(count))
    assert place.num_commands("sbatch") == 1
    assert place.scalar("SELECT count(DISTINCT distributor_id) FROM task_instance") == 84
    assert place.scalar("SELECT count(*) FROM task_instance WHERE maxrss > 0 AND wallclock > 0") == count


def test_one_lacks_memory(place: SlurmPlace) -> None:
    """It is told so, and asks for more; who shares its job runs in it all the same."""
    tasks = [{"name": name, "command": "true"} for name in NAMES]
    tasks[0]["command"] = EATS_MEMORY_ONCE.format(place.work / "eaten")
    tasks[0]["resource_scales"] = {"memory": 10.0}  # type: ignore[assignment]
    assert place.run_flow(tasks, asked=BRIEF)["status"] == "D"
    assert (place.attempts("t0"), place.attempts("t1")) == ("ZD", "D")
    first, again = place.of_attempts("t0", "distributor_id")
    assert place.of_attempts("t1", "distributor_id") == [first]
    assert again != first
    assert "for want of memory" in place.errors("t0")


def test_a_person_cancels_a_job(place: SlurmPlace) -> None:
    """The one that ran was cancelled; the one that had not begun was not, and has a job of its own now."""
    script = place.start_flow(gated(place), asked=BRIEF)
    wait_half_running(place)
    lab.run("scancel", *place.of_attempts("t0", "distributor_id"))
    place.wait_started("t0", times=2)
    place.open("go")
    assert script.result()["status"] == "D"
    assert [place.attempts(name) for name in NAMES[:3]] == ["ED", "UD", "D"]
    assert "Its job ended before its turn: The job was cancelled by root (scancel)" in place.errors("t1")
    assert num_ends(place) == [1] * len(NAMES)


def test_a_killed_script_and_the_next_one(place: SlurmPlace) -> None:
    """Adopted in the middle of shared jobs: nothing begins twice, and nothing is submitted again."""
    script = place.start_flow(gated(place), asked=BRIEF)
    wait_half_running(place)
    script.kill()
    script.end()
    again = place.start_flow(gated(place), asked=BRIEF, run={"resume": True, "reset_running_jobs": False})
    wait_until(lambda: len(place.runs()) == 2, "the second run")
    place.open("go")
    assert again.result()["status"] == "D"
    assert {place.attempts(name) for name in NAMES} == {"D"}
    assert place.num_starts(*NAMES) == [1] * len(NAMES)
    assert place.num_commands("sbatch") == 1
