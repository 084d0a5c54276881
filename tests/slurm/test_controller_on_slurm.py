"""A run whose controller is a job of the real Slurm, like its tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import lab
import pytest

from flow import SlurmPlace, new_slurm_place

pytestmark = [pytest.mark.e2e]


@pytest.fixture
def place(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[SlurmPlace]:
    """A server and scripts of this test alone, whose tasks run on Slurm."""
    yield from new_slurm_place(tmp_path / "place", job_prefix, database_template)


def begin(place: SlurmPlace, *names: str, gate: str) -> str:
    """Register tasks that wait for a gate, and have a job of Slurm run them; the id of the job."""
    assert place.start_flow([place.task(name, gate=gate) for name in names], run=None).end() == 0
    words = ("--detach", "--on", "slurm", "--queue", "short", "--memory", "500M", "--runtime", "5m")
    said = place.jobmon("workflow", "run", 1, *words)
    assert "goes on by itself, in job" in said
    return said.partition("in job ")[2].partition("_")[0]


def log(place: SlurmPlace) -> str:
    (found,) = place.shared.glob("workflow_1*/logs/controller.log")
    return found.read_text()


def test_a_controller_and_its_tasks_on_the_cluster(place: SlurmPlace) -> None:
    """It ends with its run; the nodes reach the local server; secrets are in no file that others can read."""
    begin(place, "a", "b", gate="go")
    place.wait_started("a", "b")
    place.open("go")
    assert "2 of 2 tasks done" in place.jobmon("workflow", "wait", 1)
    assert place.runs() == "D"
    assert place.num_starts("a", "b") == [1, 1]
    token = place.server().token.encode()
    holders = [path for path in place.shared.rglob("*") if path.is_file() and token in path.read_bytes()]
    assert holders == []  # on this machine the job finds the server by itself
    assert place.scalar("SELECT count(*) FROM task_history WHERE actor = 'worker'")


def test_stopped_from_elsewhere(place: SlurmPlace) -> None:
    """Controller and tasks are gone from the cluster."""
    begin(place, "a", gate="never")
    place.wait_started("a")
    assert "was stopped" in place.jobmon("workflow", "stop", 1)
    assert place.runs() == "T"
    lab.wait_for(lambda: not place.jobs(), "the end of all jobs")


@pytest.mark.slow
def test_slurm_starts_the_controller_anew(place: SlurmPlace) -> None:
    """As after the end of its node: meanwhile the tasks go on, then they are adopted; each is run once."""
    job_id = begin(place, "a", "b", gate="go")
    place.wait_started("a", "b")
    lab.run("scontrol", "requeue", job_id)
    lab.wait_for(lambda: place.runs() == "T", "the run to be handed over")
    assert len(place.jobs()) == 3
    lab.wait_for(lambda: place.runs() == "TR", "the controller to be started anew", 100)
    place.open("go")
    assert "2 of 2 tasks done" in place.jobmon("workflow", "wait", 1)
    assert place.runs() == "TD"
    assert place.num_starts("a", "b") == [1, 1]
    assert "takes its run over" in log(place)
    first, second = json.loads(next(place.shared.glob("*/controller/*.answer")).read_text())["processes"]
    assert first["pid"] != second["pid"]
