"""A Slurm that loses, delays, refuses or garbles its answers: nothing fails for it, and nothing runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_place import KILLS_ITS_WRAPPER, FakePlace, new_fake_place

from processes import wait_until

pytestmark = [pytest.mark.e2e]

COMMANDS = {"sbatch": 2, "squeue": 2, "sacct": 1, "": 2}
"""Commands, and how often each is waited for: where the accounting does not answer, the controller is asked at once."""
NONSENSE = "<html>504 Gateway Time-out</html>\n"


@pytest.fixture
def place(tmp_path: Path, database_template: Path) -> Iterator[FakePlace]:
    """A server, scripts and a fake Slurm of this test alone."""
    yield from new_fake_place(tmp_path / "place", database_template)


def sudden_death(place: FakePlace) -> list[dict[str, object]]:
    """A task that dies once without a word, one after it, and one beside them."""
    return [place.task("a", then=KILLS_ITS_WRAPPER), place.task("b", upstream=["a"]), place.task("c")]


def test_the_answer_to_a_submission_is_lost(place: FakePlace) -> None:
    """The array is found by its name and not submitted twice."""
    place.slurm.lose_reply()
    result = place.run_flow([place.task(name) for name in "abc"])
    assert result["status"] == "D"
    assert place.num_starts(*"abc") == [1, 1, 1]
    assert [place.attempts(name) for name in "abc"] == ["D", "D", "D"]
    assert place.slurm.calls.count["sbatch"] == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_hangs(place: FakePlace, command: str) -> None:
    """From the beginning, and until it was tried twice: then all goes its way."""
    place.jobmon("cluster", "sync", "slurm", "-p", "command_timeout=1")
    place.slurm.hang(command)
    script = place.start_flow(sudden_death(place))
    place.wait_calls(command or "scontrol", COMMANDS[command])
    place.slurm.recover()
    assert script.result()["status"] == "D"
    assert place.ends("abc") == [1, 1, 1]
    assert [place.attempts(name) for name in "bc"] == ["D", "D"]
    assert "unreachable" not in place.condition()


@pytest.mark.parametrize("command", ["sbatch", "squeue", "sacct"])
def test_a_command_talks_nonsense(place: FakePlace, command: str) -> None:
    """The same where it prints something else than an answer."""
    place.jobmon("cluster", "sync", "slurm")
    place.slurm.lie(**{command: NONSENSE})
    script = place.start_flow(sudden_death(place))
    place.wait_calls(command, COMMANDS[command])
    place.slurm.recover()
    assert script.result()["status"] == "D"
    assert place.ends("abc") == [1, 1, 1]
    assert [place.attempts(name) for name in "bc"] == ["D", "D"]


def test_it_is_away_when_the_last_task_on_it_ends(place: FakePlace) -> None:
    """Nothing is left there to ask about; what comes next starts all the same when it is back."""
    script = place.start_flow([*place.gated("a"), place.task("b", upstream=["a"])])
    place.wait_running("a")
    place.slurm.controller_away()
    wait_until(lambda: "unreachable since" in place.condition(), "the condition")
    place.open("go")
    place.wait_task("a", "D")
    place.slurm.recover()
    assert script.result()["status"] == "D"
    assert place.num_starts("a", "b") == [1, 1]
    assert place.condition() in ("", "[]")


def test_orders_hang_while_looks_do_not(place: FakePlace) -> None:
    """A throttle that cannot be told does not keep ends from being noticed."""
    place.jobmon("cluster", "sync", "slurm", "-p", "command_timeout=1")
    script = place.start_flow([place.task("a", gate="go", then=KILLS_ITS_WRAPPER), *place.gated("bcd")])
    place.wait_running("abcd")
    place.slurm.hang("scontrol")
    place.jobmon("workflow", "concurrency", 1, "-m", 2)
    place.wait_calls("scontrol")
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.attempts("a") == "ED"
    assert place.ends("abcd") == [1] * 4


def test_it_refuses_a_job(place: FakePlace) -> None:
    """Its words are in the error of each task, and others on it go on."""
    place.slurm.refuse("sbatch: error: Batch job submission failed: Invalid account or account/partition")
    result = place.run_flow([place.task("a", max_attempts=1), place.task("b", upstream=["a"])])
    assert result["status"] == "E"
    assert "Invalid account" in place.errors("a")
    assert (place.task_status("a"), place.task_status("b")) == ("F", "G")


def test_a_user_may_submit_few_jobs(place: FakePlace) -> None:
    """Tasks wait for one another; none is refused or tried twice."""
    place.slurm.submit_limit(2)
    names = [f"t{number}" for number in range(5)]
    result = place.run_flow([place.task(name) for name in names])
    assert (result["status"], result["done"]) == ("D", 5)
    assert place.num_starts(*names) == [1] * 5


def test_a_node_to_avoid_has_left_the_cluster(place: FakePlace) -> None:
    """Slurm refuses a job that names it: it is submitted without."""
    script = place.start_flow([*place.gated("a"), place.task("b", upstream=["a"])])
    place.wait_running("a")
    place.slurm.node_fail(place.slurm.job(place.job_of("a")).node)
    place.wait_started("a", times=2)
    first = place.slurm.job(place.job_of("a")).submission.excluded
    assert len(first) == 1, "the node that failed is avoided"
    place.slurm.remove_node(first[0])
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.slurm.job(place.job_of("b")).submission.excluded == ()
    assert place.attempts("b") == "D"
