"""The queue as squeue prints it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import recorded

from jobmon.plugins.slurm.connection import ListedJob
from jobmon.plugins.slurm.listing import ENDED_STATES, log_path, read_listing, read_recent


def test_a_real_queue() -> None:
    """The waiting rest of an array is one row with all of its elements; restarts, holds and reasons are read."""
    rows = {(row.name, row.indices): row for row in read_listing(recorded("plugin-squeue.txt"))}
    rest = rows["s2rec-array", (3, 4, 6, 7, 9, 10, 11, 12)]
    assert (rest.state, rest.reason, rest.nodes) == ("PENDING", "JobArrayTaskLimit", "")
    assert rows["s2rec-array", (1,)] == ListedJob("3882", (1,), "s2rec-array", "RUNNING", "", "n1")
    assert rows["s2rec-requeued", (1,)].restarts == 1
    assert rows["s2rec-held", (1, 2, 3)].reason == "JobHeldUser"
    assert rows["s2rec-never", (1, 2)].reason == "PartitionTimeLimit"


def test_what_has_ended_is_not_listed() -> None:
    """Slurm shows ended jobs for a while if asked; none of them waits or runs."""
    lines = [f"7_1|{state}|None|n1|0|name|" for state in sorted(ENDED_STATES)]
    assert read_listing("\n".join(lines)) == []
    assert len(read_listing("\n".join(lines), with_ended=True)) == len(lines)


@given(st.sampled_from(["COMPLETING", "SUSPENDED", "EXPEDITING", "SIGNALING", "STAGE_OUT", "X"]))
def test_a_state_nobody_knows_is_listed(state: str) -> None:
    """Unknown is not ended: a word of a newer Slurm leaves the job where it is."""
    assert [row.state for row in read_listing(f"7_1|{state}|None|n1|0|name|")] == [state]


@pytest.mark.parametrize(
    "text", ["<html>504</html>", "7_1|RUNNING|None", "7_[1,2,...]|PENDING|None||0|name|", "|||||"]
)
def test_nonsense_is_refused(text: str) -> None:
    """Text that is no list of jobs is not taken for an empty one."""
    with pytest.raises(ValueError, match="is no"):
        read_listing(text)


def test_a_name_may_hold_the_separator() -> None:
    """The name stands last because it alone may."""
    assert [row.name for row in read_listing("7_1|RUNNING|None|n1|0|a|b|c|")] == ["a|b|c"]


def test_what_the_controller_remembers() -> None:
    """Exact exit codes, limits, and elements that were cancelled while they waited, one by one."""
    jobs = {(job.name, job.index): job for job in read_recent(recorded("plugin-squeue-ended.txt"))}
    failed = jobs["s2rec-array", 1]
    assert (failed.state, failed.exit_code, failed.signal, failed.wallclock) == ("FAILED", 3, 0, 4)
    assert (failed.time_limit, failed.memory_asked) == (300, 64 * 2**20)
    assert (jobs["s2rec|pipe", 1].exit_code, jobs["s2rec|pipe", 1].signal) == (0, 9)
    assert jobs["s2rec-oom", 1].state == "OUT_OF_MEMORY"
    assert [index for name, index in jobs if name == "s2rec-held"] == [1, 2, 3]
    assert ("s2rec-array", 5) not in jobs  # cancelled by itself while it waited: Slurm forgets it


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/logs/%x-%A_%a.log", "/logs/name-12_3.log"),
        ("/100%%/%A", "/100%/12"),
        ("/dev/null", "/dev/null"),
        ("/logs/%N.log", ""),
        ("/logs/%", ""),
        ("", ""),
    ],
)
def test_the_path_of_a_log(pattern: str, path: str) -> None:
    """Slurm tells the pattern; where it holds something else than array, index and name, the path is not known."""
    assert log_path(pattern, "12", 3, "name") == path
