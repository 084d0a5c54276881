"""A workflow on Slurm that is ordered to start nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flow import SlurmPlace, new_slurm_place
from processes import wait_until

pytestmark = [pytest.mark.e2e]


@pytest.fixture
def place(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[SlurmPlace]:
    """A server and scripts of this test alone, whose tasks run on Slurm."""
    yield from new_slurm_place(tmp_path / "place", job_prefix, database_template)


def test_what_waits_is_held_back_and_then_cancelled(place: SlurmPlace) -> None:
    """What runs finishes; nothing else starts, and nothing stays in the queue."""
    names = list("abcdef")
    tasks = [place.task(name, gate="go") for name in names]
    script = place.start_flow(tasks, template_limits={f"{place.prefix}-step": 2})
    wait_until(lambda: sum(place.num_starts(*names)) == 2, "two tasks")
    ran = [name for name in names if place.starts(name)]
    for name in ran:
        place.wait_task(name, "R")
    place.jobmon("workflow", "stop", 1, "--drain", "--no-wait")
    wait_until(place.is_held, "the order to hold back what waits")
    place.open("go")
    assert script.result()["status"] == "T"
    assert [name for name in names if place.starts(name)] == ran
    assert [place.task_status(name) for name in ran] == ["D", "D"]
    assert place.jobs() == []
