"""What becomes of jobs on a Slurm that ends, loses or forgets them: each task is done once all the same."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_place import KILLS_ITS_WRAPPER, FakePlace, new_fake_place

from jobmon.testing.fake_slurm import FakeSlurm, Settings, State
from processes import wait_until

pytestmark = [pytest.mark.e2e]


@pytest.fixture
def place(tmp_path: Path, database_template: Path) -> Iterator[FakePlace]:
    """A server, scripts and a fake Slurm of this test alone."""
    yield from new_fake_place(tmp_path / "place", database_template)


@pytest.fixture
def forgetful_place(tmp_path: Path, database_template: Path) -> Iterator[FakePlace]:
    """The same; the controller of this Slurm forgets jobs as soon as they have ended."""
    settings = Settings(kill_wait_seconds=0.3, min_job_age_seconds=0)
    yield from new_fake_place(tmp_path / "place", database_template, settings)


def test_the_cluster_ends_jobs(place: FakePlace) -> None:
    """Each is tried again for its own reason: with more of what it lacked, or as it was."""
    names = ["preempted", "memory", "time", "requeued"]
    script = place.start_flow(place.gated(names))
    place.wait_running(names)
    ends: list[Callable[[FakeSlurm, str], None]] = [
        FakeSlurm.preempt,
        FakeSlurm.out_of_memory,
        FakeSlurm.timeout,
        FakeSlurm.requeue,
    ]
    for name, end in zip(names, ends, strict=True):
        end(place.slurm, place.job_of(name))
    for name in names:
        place.wait_started(name, times=2)
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.ends(names) == [1] * 4
    assert [place.attempts(name) for name in names[:3]] == ["UD", "ZD", "ZD"]
    first, second = (place.slurm.jobs(job)[0].submission for job in jobs_of(place, "memory"))
    assert second.memory > first.memory
    first, second = (place.slurm.jobs(job)[0].submission for job in jobs_of(place, "time"))
    assert second.time_seconds > first.time_seconds


def jobs_of(place: FakePlace, name: str) -> list[str]:
    """Ids on the cluster of the attempts of a task, oldest first."""
    rows = place.sql(
        "SELECT i.distributor_id FROM task_instance i JOIN task t ON t.id = i.task_id WHERE t.name = ? ORDER BY i.id",
        name,
    )
    return [row[0] for row in rows]


def test_accounting_lags_and_nobody_else_remembers(forgetful_place: FakePlace) -> None:
    """A wrapper that was killed tells nothing: its task waits for the accounting, and loses no attempt to the lag."""
    place = forgetful_place
    place.slurm.lag_accounting(4)
    place.slurm.half_told()
    script = place.start_flow([place.task("a", then=KILLS_ITS_WRAPPER), place.task("b", upstream=["a"])])
    wait_until(lambda: place.slurm.calls.count["sacct"] >= 2, "questions")
    place.slurm.half_told(False)
    assert script.result()["status"] == "D"
    assert (place.attempts("a"), place.attempts("b")) == ("ED", "D")
    assert "signal 9" in place.errors("a")


def test_there_is_no_accounting(place: FakePlace) -> None:
    """What the controller remembers is enough."""
    place.slurm.no_accounting()
    assert place.run_flow([place.task("a", then=KILLS_ITS_WRAPPER)])["status"] == "D"
    assert place.attempts("a") == "ED"


def test_a_restart_loses_jobs(place: FakePlace) -> None:
    """They are nowhere, which is believed after a while: they run again at nobody's cost."""
    script = place.start_flow([*place.gated("ab"), place.task("c", upstream=["a"])])
    place.wait_running("ab")
    place.slurm.restart_controller(lose_seconds=600)
    for name in "ab":
        place.wait_started(name, times=2)
    place.open("go")
    assert script.result()["status"] == "D"
    assert [place.attempts(name) for name in "abc"] == ["UD", "UD", "D"]
    assert place.ends("abc") == [1, 1, 1]
    assert "neither in the queue of the cluster nor in its records" in place.errors("a")


def test_an_id_is_somebody_elses_now(place: FakePlace) -> None:
    """What is told of it is not believed, and a stop leaves it alone."""
    script = place.start_flow(place.gated("ab"))
    place.wait_running("ab")
    assert place.job_of("a").startswith("1_")
    place.slurm.restart_controller(lose_seconds=600)
    place.slurm.recycle_ids(1)
    words = ["--parsable", "--array=1-4", "--job-name=other", "--wrap=sleep 600"]
    said = subprocess.run(
        [place.slurm.bin / "sbatch", *words], stdout=subprocess.PIPE, text=True, check=True, cwd=place.root
    )
    assert said.stdout.strip() == "1"
    for name in "ab":
        place.wait_started(name, times=2)
    place.jobmon("workflow", "stop", 1)
    assert script.result()["status"] == "T"
    wait_until(lambda: len(place.waits_or_runs()) == 4, "the end of ours")
    assert {job.submission.name for job in place.slurm.jobs() if job.is_active} == {"other"}
    assert [place.attempts(name)[0] for name in "ab"] == ["U", "U"]
    place.slurm.cancel("1")


def test_no_node_reaches_the_server_and_wrappers_die(tmp_path: Path, database_template: Path) -> None:
    """Words come by the shared directory; of one that left none, and of one that is torn, the cluster tells."""
    configured = {"embedded__node_interface": "none"}
    for place in new_fake_place(tmp_path / "place", database_template, **configured):
        tasks = [place.task("a", then=KILLS_ITS_WRAPPER), place.task("b", gate="go", upstream=["a"])]
        script = place.start_flow(tasks)
        place.wait_started("b")
        attempt = int(place.scalar("SELECT max(id) FROM task_instance"))
        (spool,) = place.shared.glob("workflow_1*/spool/slurm")
        (spool / f"{attempt}.1.json").write_text('{"task_instance_id":')
        place.open("go")
        assert script.result()["status"] == "D"
        assert (place.attempts("a"), place.attempts("b")) == ("ED", "D")
        assert place.ends("ab") == [1, 1]


# -- anything at any time -----------------------------------------------------------------------------------
def _ends_one(slurm: FakeSlurm, dice: random.Random) -> None:
    running = [job.shown_id for job in slurm.jobs() if job.state is State.RUNNING]
    if running:
        fault = dice.choice([FakeSlurm.preempt, FakeSlurm.requeue, FakeSlurm.cancel, FakeSlurm.out_of_memory])
        fault(slurm, dice.choice(running))


def _loses_much(slurm: FakeSlurm, dice: random.Random) -> None:
    slurm.restart_controller(lose_seconds=dice.choice([0.0, 1.0, 5.0]))


FAULTS: list[Callable[[FakeSlurm, random.Random], None]] = [
    _ends_one,
    _ends_one,
    _loses_much,
    lambda slurm, _: slurm.lose_reply(),
    lambda slurm, _: slurm.controller_away(),
    lambda slurm, _: slurm.accounting_away(),
    lambda slurm, _: slurm.half_told(),
    lambda slurm, _: slurm.lag_accounting(2),
    lambda slurm, _: slurm.purge(),
    lambda slurm, _: slurm.submit_limit(3),
    lambda slurm, _: slurm.lie(squeue="?\n", sacct="?\n"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [int(text) for text in os.environ.get("JOBMON_TEST_SEEDS", "1,2").split(",")]
)
def test_faults_of_any_kind_in_any_order(place: FakePlace, seed: int) -> None:
    """In the end every task is done, its command came to its end once, and the history is legal."""
    dice = random.Random(seed)
    names = [f"t{number}" for number in range(6)]
    tasks = [
        place.task(name, gate=f"g{dice.randrange(3)}", upstream=dice.sample(names[:number], min(number, 1)))
        for number, name in enumerate(names)
    ]
    script = place.start_flow([{**task, "max_attempts": 20} for task in tasks])
    place.wait_started("t0")
    for turn in range(9):
        dice.choice(FAULTS)(place.slurm, dice)
        if turn % 3 == 2:
            place.open(f"g{turn // 3}")
        time.sleep(dice.uniform(0.1, 1))  # a part of what happens; nothing is waited for
        if dice.random() < 0.6:
            place.slurm.recover()
    place.slurm.recover()
    assert script.result(80)["status"] == "D"
    assert place.ends(names) == [1] * len(names)
