"""The accounting as sacct prints it, with its half-told stories."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import recorded

from jobmon.plugins.slurm.accounting import FIELDS, read_accounting
from jobmon.plugins.slurm.connection import AccountedJob

MIB = 2**20


def row(**values: str) -> str:
    """A row of a job, as sacct prints it."""
    usual = {
        "JobID": "7_1",
        "State": "FAILED",
        "ExitCode": "3:0",
        "Partition": "short",
        "Submit": "2026-11-21T10:00:00",
    }
    usual |= {"ElapsedRaw": "5", "TimelimitRaw": "10", "TotalCPU": "00:01.5", "ReqMem": "64M", "NNodes": "1"}
    usual |= {"NCPUS": "1", "Reason": "None", "NodeList": "n1", "JobName": "name"}
    return "|".join({**dict.fromkeys(FIELDS, ""), **usual, **values}.values())


def read(*rows: str) -> dict[str, AccountedJob]:
    """What is read, by id."""
    jobs = read_accounting("\n".join(rows))
    return {job.job_id + (f"_{job.index}" if job.index is not None else ""): job for job in jobs}


def test_real_jobs() -> None:
    """Figures come from all steps; memory in bytes, limits in seconds."""
    jobs = read(*recorded("plugin-sacct.txt").splitlines())
    timeout = jobs["2577"]
    assert (timeout.state, timeout.wallclock, timeout.time_limit) == ("TIMEOUT", 73, 60)
    assert (timeout.maxrss, timeout.memory_asked, timeout.nodes) == (3228 * 1024, 64 * MIB, "n1")
    assert (jobs["2585"].exit_code, jobs["2585"].signal) == (9, 0)  # exit 137
    assert (jobs["2588"].exit_code, jobs["2588"].signal) == (0, 9)
    assert (jobs["2594"].state, jobs["2594"].cancelled_by) == ("CANCELLED", "0")
    assert (jobs["2595"].nodes, jobs["2595"].wallclock) == ("", 0)
    assert jobs["2607"].name == "record|pipe name"
    assert jobs["2723"].state == "NODE_FAIL"
    assert jobs["2581_2"].state == "OUT_OF_MEMORY"


def test_a_requeued_job() -> None:
    """The last run counts, with its own steps; how often it was started anew is counted."""
    job = read(*recorded("plugin-sacct.txt").splitlines())["2725"]
    assert (job.state, job.exit_code, job.restarts) == ("FAILED", 6, 1)
    assert (job.wallclock, job.maxrss) == (20, 2952 * 1024)


def test_elements_cancelled_while_they_waited() -> None:
    """They are one row; each of them ended so, unless it has a row of its own."""
    jobs = read(*recorded("plugin-sacct-cancelled.txt").splitlines())
    assert [each for each in jobs if each.startswith("3883")] == ["3883_1", "3883_2", "3883_3"]
    assert jobs["3882_6"].state == jobs["3882_12"].state == "CANCELLED"
    assert jobs["3882_1"].state == "FAILED"
    assert "3882_5" not in jobs


@pytest.mark.parametrize(
    "half",
    [
        {"JobName": "allocation", "Partition": ""},
        {"JobName": "allocation"},
        {"Partition": ""},
    ],
)
def test_half_a_story_is_left_out(half: dict[str, str]) -> None:
    """A row without a partition, or called allocation, is no ground for anything; nor is an older run beside it."""
    assert read(row(**half)) == {}
    assert read(row(State="REQUEUED"), row(**half)) == {}


def test_an_array_as_one_row() -> None:
    """A row with the bare id of the array says nothing about its elements."""
    assert set(read(row(JobID="18", State="COMPLETED"))) == {"18"}


def test_a_waiting_range_does_not_hide_an_element() -> None:
    """An element that has a row of its own is not taken for waiting because it is still in the range."""
    waiting = row(JobID="7_[1-3%2]", State="PENDING")
    ended = row(JobID="7_1")
    for rows in ((waiting, ended), (ended, waiting)):
        assert {each: job.state for each, job in read(*rows).items()} == {
            "7_1": "FAILED",
            "7_2": "PENDING",
            "7_3": "PENDING",
        }


def test_an_id_that_was_used_before() -> None:
    """Slurm starts its ids anew some day: the later submission counts, wherever it stands."""
    old, new = row(Submit="2020-01-01T00:00:00", State="COMPLETED"), row(State="TIMEOUT")
    assert read(old, new)["7_1"].state == read(new, old)["7_1"].state == "TIMEOUT"


@pytest.mark.parametrize(
    ("text", "nodes", "cpus", "mib"),
    [
        ("64M", "1", "4", 64),
        ("128M", "2", "8", 64),
        ("64Mn", "2", "8", 64),
        ("16Mc", "2", "8", 64),
        ("16?", "1", "1", None),
        ("", "1", "1", None),
    ],
)
def test_memory_that_was_asked_for(text: str, nodes: str, cpus: str, mib: int | None) -> None:
    """Of one node, whatever the version of Slurm tells: of all nodes, of a node, of a CPU."""
    job = read(row(ReqMem=text, NNodes=nodes, NCPUS=cpus))["7_1"]
    assert job.memory_asked == (None if mib is None else mib * MIB)


def test_the_peak_is_that_of_the_largest_step() -> None:
    """Steps of MPI programs have rows of their own."""
    steps = [
        row(JobID=f"7_1.{step}", MaxRSS=peak, Partition="") for step, peak in (("batch", "10M"), ("0", "2G"))
    ]
    job = read(row(), *steps, row(JobID="7_1.extern", Partition="", MaxRSS=""))["7_1"]
    assert (job.maxrss, job.cpu) == (2 * 1024 * MIB, 1.5)


@given(st.text(max_size=60))
def test_nonsense_is_refused(text: str) -> None:
    """Text that is no accounting raises, or is empty."""
    try:
        assert read_accounting(text) == []
    except ValueError as error:
        assert "is no" in str(error)  # noqa: PT017 - either outcome is right
