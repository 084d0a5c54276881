"""Many tasks on a Slurm: few submissions, few questions, few orders."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_place import FakePlace, new_fake_place

from jobmon.testing.fake_slurm import Settings
from processes import wait_until

pytestmark = [pytest.mark.e2e]

SETTINGS = Settings(kill_wait_seconds=0.3, max_array_size=1001)
SIGNS_OF_LIFE = {"heartbeat__task_instance_interval": 10}
"""Not so often that many wrappers keep the machine busy."""


@pytest.fixture
def place(tmp_path: Path, database_template: Path) -> Iterator[FakePlace]:
    """A server, scripts and a fake Slurm of this test alone."""
    yield from new_fake_place(tmp_path / "place", database_template, SETTINGS, **SIGNS_OF_LIFE)


def many(place: FakePlace, count: int) -> list[str]:
    """Names of so many tasks."""
    return [f"t{number}" for number in range(count)]


def num_started(place: FakePlace) -> int:
    """How many tasks were started."""
    return len(list(place.work.glob("started.*")))


def options(place: FakePlace, command: str, option: str) -> list[str]:
    """The words of all calls of a command that begin so."""
    return [
        word
        for words in place.slurm.calls.words
        for word in words
        if words[0] == command and word.startswith(option)
    ]


def test_a_limit_becomes_a_throttle(place: FakePlace) -> None:
    """One submission for all of an array; a limit that is changed is told the cluster; nobody runs beyond it."""
    names = many(place, 8)
    script = place.start_flow(place.gated(names), template_limits={"step": 2})
    wait_until(lambda: num_started(place) == 2, "two tasks")
    assert options(place, "sbatch", "--array") == ["--array=1-8%2"]
    place.jobmon("workflow", "concurrency", 1, "-m", 4, "--template", "step")
    wait_until(lambda: num_started(place) == 4, "two more")
    assert options(place, "scontrol", "arraytaskthrottle") == ["arraytaskthrottle=4"]
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.num_starts(*names) == [1] * 8
    assert place.slurm.calls.count["sbatch"] == 1
    assert place.slurm.calls.count["sacct"] == 0, "they tell their ends themselves"


def test_a_pause_outlives_its_controller(place: FakePlace) -> None:
    """What was held back when a script died starts when another has taken over and the pause is lifted."""
    names = many(place, 4)
    script = place.start_flow(place.gated(names), template_limits={"step": 1})
    wait_until(lambda: num_started(place) == 1, "one task")
    place.jobmon("workflow", "concurrency", 1, "-m", 0)
    wait_until(lambda: ("scontrol", "uhold", "1") in place.slurm.calls.words, "the pause")
    script.kill()
    script.end()
    place.jobmon("workflow", "concurrency", 1, "-m", 100)
    place.open("go")
    tasks = [place.task(name, gate="go") for name in names]
    again = {"resume": True, "reset_running_jobs": False}
    result = place.start_flow(tasks, template_limits={"step": 1}, run=again).result()
    assert result["status"] == "D"
    assert place.num_starts(*names) == [1] * 4
    assert place.slurm.calls.count["sbatch"] == 1


def test_a_drain(place: FakePlace) -> None:
    """What runs finishes, what waits on the cluster is held back meanwhile, and nothing stays in the queue."""
    names = many(place, 6)
    script = place.start_flow(place.gated(names), template_limits={"step": 2})
    wait_until(lambda: num_started(place) == 2, "two tasks")
    for name in names[:2]:
        place.wait_task(name, "R")
    place.jobmon("workflow", "stop", 1, "--drain", "--no-wait")
    wait_until(lambda: ("scontrol", "uhold", "1") in place.slurm.calls.words, "the order to hold back")
    place.open("go")
    assert script.result()["status"] == "T"
    assert num_started(place) == 2
    assert place.ends(names[:2]) == [1, 1]
    assert sorted(place.task_status(name) for name in names) == ["D", "D", "G", "G", "G", "G"]


def test_hundreds_are_adopted_ended_and_stopped(place: FakePlace) -> None:
    """Whoever takes them over or ends them needs few commands, whatever their number."""
    names = many(place, 300)
    tasks = place.gated(names)
    limits = {"template_limits": {"step": 3}}
    first = place.start_flow(tasks, **limits)
    wait_until(lambda: num_started(place) == 3, "three tasks")
    for name in names[:3]:
        place.wait_task(name, "R")
    first.kill()
    first.end()
    before = place.slurm.calls.total
    hot = place.start_flow(tasks, **limits, run={"resume": True, "reset_running_jobs": False})
    place.wait_run("R")
    wait_until(lambda: place.runs()[:-1] != "R" and len(place.runs()) == 2, "the second run")
    place.wait_calls("squeue", 2)
    assert place.slurm.calls.count["sbatch"] == 1
    assert place.slurm.calls.total - before <= 12
    assert num_started(place) == 3
    hot.kill()
    hot.end()
    before = place.slurm.calls.count["scancel"]
    cold = place.start_flow(tasks, **limits, run={"resume": True, "reset_running_jobs": True})
    wait_until(lambda: place.slurm.calls.count["sbatch"] == 2, "the second submission")
    assert place.slurm.calls.count["scancel"] - before <= 2
    wait_until(lambda: place.num_starts(*names[:3]) == [2] * 3, "a second start")
    place.jobmon("workflow", "stop", 1)
    assert cold.result()["status"] == "T"
    assert place.waits_or_runs() == []
    assert place.slurm.calls.count["scancel"] - before <= 4
    assert num_started(place) == 3


def test_thousands_are_submitted_in_as_few_arrays_as_the_cluster_takes(place: FakePlace) -> None:
    """Its MaxArraySize decides; a stop ends them in few calls."""
    names = many(place, 2500)
    whole_nodes = {"queue": "short", "cores": 16, "memory": "64M", "runtime": "5m"}
    script = place.start_flow(place.gated(names, compute_resources=whole_nodes))
    wait_until(lambda: len(place.slurm.jobs()) == 2500, "all jobs", 60)
    assert place.slurm.calls.count["sbatch"] == 3
    assert sorted(word.partition("%")[0] for word in options(place, "sbatch", "--array")) == [
        "--array=1-1000",
        "--array=1-1000",
        "--array=1-500",
    ]
    place.jobmon("workflow", "stop", 1)
    assert script.result()["status"] == "T"
    assert num_started(place) <= 4
    assert place.slurm.calls.count["scancel"] <= 3


@pytest.mark.slow
def test_a_cluster_is_left_in_peace(tmp_path: Path, database_template: Path) -> None:
    """While tasks run and wait, two commands a minute at most, whatever their number; none when nothing is there."""
    intervals = {"distributor__poll_interval": 10, "distributor__steady_poll_interval": 30}
    for place in new_fake_place(
        tmp_path / "place", database_template, SETTINGS, **SIGNS_OF_LIFE, **intervals
    ):
        names = many(place, 200)
        script = place.start_flow(place.gated(names), template_limits={"step": 3})
        wait_until(lambda place=place: num_started(place) == 3, "three tasks")
        place.wait_calls("squeue", 2)
        calls = place.slurm.calls
        before = calls.total
        deadline = time.monotonic() + 62
        wait_until(lambda deadline=deadline: time.monotonic() > deadline, "a minute", 70)
        assert calls.total - before <= 3, calls.words[before:]
        place.jobmon("workflow", "stop", 1)
        assert script.result()["status"] == "T"
