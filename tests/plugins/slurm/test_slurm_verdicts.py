"""What Slurm's word about the end of a job means."""

from __future__ import annotations

from typing import Any

import pytest
from recordings import recorded

from jobmon.core.batch_cluster import RemoteEnd
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.plugins.slurm.accounting import read_accounting
from jobmon.plugins.slurm.connection import AccountedJob, RecentJob
from jobmon.plugins.slurm.listing import ENDED_STATES, read_recent
from jobmon.plugins.slurm.verdicts import end_of, needs_log, usage_of

E, MIB = TaskInstanceEvent, 2**20


def accounted(state: str, **values: Any) -> AccountedJob:
    """A job as the accounting tells of it."""
    usual: dict[str, Any] = {"nodes": "n1", "wallclock": 12.0, "exit_code": 0, "signal": 0}
    return AccountedJob("7", 1, state=state, **{**usual, **values})


def end(state: str, log: str = "", **values: Any) -> RemoteEnd:
    """How it ended."""
    found = end_of(accounted(state, **values), log)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("state", "event", "cause"),
    [
        ("COMPLETED", E.FINISH, None),
        ("FAILED", E.FAIL, Cause.CODE),
        ("OUT_OF_MEMORY", E.RESOURCE, Cause.RESOURCE),
        ("TIMEOUT", E.RESOURCE, Cause.RESOURCE),
        ("DEADLINE", E.FAIL, Cause.LAUNCH),
        ("NODE_FAIL", E.LOSE, Cause.INFRASTRUCTURE),
        ("BOOT_FAIL", E.LOSE, Cause.INFRASTRUCTURE),
        ("PREEMPTED", E.LOSE, Cause.PREEMPTED),
        ("CANCELLED", E.FAIL, Cause.CANCELLED),
        ("REVOKED", E.LOSE, Cause.INFRASTRUCTURE),
    ],
)
def test_each_word(state: str, event: TaskInstanceEvent, cause: Cause | None) -> None:
    """Every word for an end has its meaning, and a sentence."""
    found = end(state)
    assert (found.event, found.cause) == (event, cause)
    assert found.description.endswith(".")
    assert (found.nodename, found.wallclock) == ("n1", 12.0)


def test_no_word_is_forgotten() -> None:
    """Whatever counts as ended has a verdict."""
    assert all(end_of(accounted(state)) is not None for state in ENDED_STATES)


@pytest.mark.parametrize(
    "state", ["PENDING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED", "SOMETHING_NEW", ""]
)
def test_what_is_no_end(state: str) -> None:
    """A job that may go on, or that Slurm is about to start anew, has not ended; a new word is no failure."""
    assert end_of(accounted(state)) is None


def test_only_failures_of_nodes_blame_them() -> None:
    """And only where the node is known."""
    blamed = {state for state in ENDED_STATES if end(state).blames_node}
    assert blamed == {"NODE_FAIL", "BOOT_FAIL"}
    assert not end("BOOT_FAIL", nodes="").blames_node


def test_memory_with_its_numbers() -> None:
    """What was asked and what was used."""
    found = end("OUT_OF_MEMORY", memory_asked=2048 * MIB, maxrss=2048 * MIB)
    assert found.description == (
        "The job was killed on n1 because it needed more memory than it had asked for (asked 2 GiB, peak 2 GiB)."
    )
    sampled = end("OUT_OF_MEMORY", memory_asked=2048 * MIB, maxrss=3 * MIB).description
    assert "highest seen by Slurm's samples 3 MiB" in sampled


def test_a_time_limit_with_its_number() -> None:
    """The limit, and how long it ran."""
    found = end("TIMEOUT", time_limit=60, wallclock=73.0).description
    assert found == "The job ran into its time limit of 1 min after 1 min 13 s on n1; ask for more (runtime)."


def test_who_cancelled_it() -> None:
    """By name where Slurm tells it; before it started it ran nowhere."""
    assert end("CANCELLED", cancelled_by="ann").description == (
        "The job was cancelled by ann (scancel) after 12 s on n1."
    )
    waiting = end("CANCELLED", nodes="", wallclock=0.0).description
    assert waiting.endswith("by a person or the operators of the cluster (scancel) before it started.")
    at_once = end("CANCELLED", cancelled_by="ann", wallclock=0.0).description
    assert at_once == "The job was cancelled by ann (scancel) on n1."


def test_killed_without_control_groups() -> None:
    """FAILED by signal 9 is a lack of memory where its figures or its log say so, and else the command's own failure."""
    full = {"exit_code": 0, "signal": 9, "memory_asked": 64 * MIB}
    assert end("FAILED", **full, maxrss=80 * MIB).event is E.RESOURCE
    assert end("FAILED", **full, log="slurmstepd: error: Exceeded job memory limit").event is E.RESOURCE
    assert end("FAILED", **full, log="error: Detected 1 oom-kill event(s)").event is E.RESOURCE
    killed = end("FAILED", **full, maxrss=5 * MIB)
    assert (killed.event, killed.cause, killed.exit_code) == (E.FAIL, Cause.CODE, -9)
    assert "SIGKILL" in killed.description
    assert needs_log(accounted("FAILED", **full, maxrss=5 * MIB))
    assert not needs_log(accounted("FAILED", **full, maxrss=80 * MIB))


def test_memory_is_no_reason_for_other_failures() -> None:
    """A command that used all of its memory and then failed by itself is not asked to take more."""
    assert end("FAILED", exit_code=1, memory_asked=MIB, maxrss=2 * MIB, log="out of memory").event is E.FAIL


def test_codes_above_128() -> None:
    """The accounting tells 137 as 9, and so the sentence tells both; the controller tells it as it was."""
    found = end("FAILED", exit_code=9)
    assert "code 9" in found.description
    assert "may have been 137" in found.description
    assert needs_log(accounted("FAILED", exit_code=9))
    exact = end_of(RecentJob("7", 1, state="FAILED", exit_code=137, signal=0))
    assert exact is not None
    assert exact.exit_code == 137
    assert "SIGKILL" in exact.description
    assert "another version" in end("FAILED", exit_code=70).description
    assert not needs_log(accounted("FAILED", exit_code=3))


def test_a_failure_with_code_0() -> None:
    """The accounting tells that for a moment: the controller is asked, and no code is made up."""
    assert needs_log(accounted("FAILED", exit_code=0, signal=0))
    found = end("FAILED", exit_code=0, signal=0)
    assert (found.event, found.cause, found.exit_code) == (E.FAIL, Cause.CODE, None)
    assert "not with which code" in found.description


def test_a_job_that_was_not_started() -> None:
    """Signal 53: lost for a fault of the launch, with the likely reason."""
    found = end("FAILED", signal=53, exit_code=0)
    assert (found.event, found.cause) == (E.LOSE, Cause.LAUNCH)
    assert "standard_output" in found.description


def test_an_environment_that_could_not_be_prepared() -> None:
    """Its script says so with a code of its own; the log goes with it."""
    found = end("FAILED", exit_code=97, log="jobmon: the environment could not be prepared: module load R\n")
    assert (found.event, found.cause) == (E.FAIL, Cause.LAUNCH)
    assert found.description.endswith("module load R")


def test_real_stories() -> None:
    """What was recorded of a real cluster."""
    jobs = {job.job_id: end_of(job) for job in read_accounting(recorded("plugin-sacct.txt"))}
    events = {job_id: found.event for job_id, found in jobs.items() if found is not None}
    assert events["2577"] is events["2580"] is events["2581"] is E.RESOURCE
    assert events["2584"] is events["2585"] is events["2587"] is E.FAIL
    assert events["2591"] is events["2723"] is E.LOSE
    assert events["2607"] is E.FINISH
    assert events["2725"] is E.FAIL  # the run after the one that was requeued


def test_real_memories_of_the_controller() -> None:
    """The same from the controller."""
    ends = {(job.name, job.index): end_of(job) for job in read_recent(recorded("plugin-squeue-ended.txt"))}
    found = {key: each.exit_code for key, each in ends.items() if each is not None}
    assert found["s2rec-array", 2] == 3
    assert found["s2rec|pipe", 1] == -9
    assert found["s2rec-held", 3] is None


def test_usage() -> None:
    """Only of what has ended."""
    used = usage_of(accounted("COMPLETED", maxrss=5, cpu=1.5, energy=7))
    assert used is not None
    assert (used.wallclock, used.maxrss, used.cpu, used.energy) == (12.0, 5, 1.5, 7)
    assert usage_of(accounted("RUNNING", maxrss=5)) is None
