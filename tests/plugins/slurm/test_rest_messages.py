"""What slurmrestd answers: recorded of v0.0.38, and as the documentation of later versions has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import RECORDED

from jobmon.plugins.slurm.amounts import compress
from jobmon.plugins.slurm.connection import AccountedJob, RecentJob, SubmitLimit
from jobmon.plugins.slurm.rest_accounting import (
    AccountedAnswer,
    AccountedRow,
    accounted_halves,
    accounted_jobs,
    has_lost_code,
    waiting_elements,
    with_codes,
)
from jobmon.plugins.slurm.rest_facts import (
    NodesAnswer,
    PartitionsAnswer,
    VersionAnswer,
    node_facts,
    partition_facts,
    submit_limit_of,
    version_facts,
)
from jobmon.plugins.slurm.rest_messages import (
    Answer,
    JobRow,
    JobsAnswer,
    SubmitAnswer,
    completed_row,
    exit_halves,
    is_cut,
    listed_jobs,
    number_of,
    read,
    recent_jobs,
    waiting_indices,
    word_of,
    words_of,
)

MIB = 2**20
LATER = RECORDED.parent / "23.11"
A = TypeVar("A", bound=Answer)


def content(name: str, directory: Path = RECORDED) -> bytes:
    """A recorded answer, without the line that names the request."""
    return (directory / name).read_text().split("\n", 1)[1].encode()


def jobs_in(name: str, directory: Path = RECORDED) -> list[JobRow]:
    """Jobs of a recorded answer."""
    return read(content(name, directory), JobsAnswer).jobs or []


def accounted_in(name: str, directory: Path = RECORDED) -> dict[tuple[str, int | None], AccountedJob]:
    """Accounted jobs of a recorded answer."""
    jobs = accounted_jobs(read(content(name, directory), AccountedAnswer).jobs or [])
    return {(job.job_id, job.index): job for job in jobs}


def set_number(number: int) -> dict[str, Any]:
    """A number as later versions tell it."""
    return {"set": True, "infinite": False, "number": number}


# -- values ------------------------------------------------------------------------------------------
@given(st.integers(0, 2**31))
def test_numbers_in_both_forms(number: int) -> None:
    """Plain ones and those with signs beside them are the same."""
    assert number_of(number) == number_of(set_number(number)) == number


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "5",
        True,
        -1,
        2**32 - 1,
        2**32 - 2,
        2**64 - 2,
        {"set": False, "infinite": False, "number": 0},
        {"set": True, "infinite": True, "number": 0},
        {},
        [],
    ],
)
def test_what_is_no_number(value: object) -> None:
    """Not set, without end, Slurm's own signs for these, and what is none."""
    assert number_of(value) is None


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("RUNNING", "RUNNING"),
        (["RUNNING"], "RUNNING"),
        (["COMPLETED", "COMPLETING"], "COMPLETING"),
        (["PENDING", "REQUEUED"], "REQUEUED"),
        (["A_NEW_WORD"], "A_NEW_WORD"),
        ([], ""),
        (None, ""),
    ],
)
def test_states_in_both_forms(state: object, word: str) -> None:
    """Of a state with flags, the flag says what is going on."""
    assert word_of(state) == word


@pytest.mark.parametrize(
    ("value", "halves"),
    [
        (0, (0, 0)),
        (768, (3, 0)),
        (137 << 8, (137, 0)),
        (9, (0, 9)),
        (125, (0, 125)),
        (set_number(768), (3, 0)),
        (None, (None, None)),
        ({"status": "SUCCESS", "return_code": 0}, (0, 0)),
        ({"status": "SIGNALED", "return_code": 0, "signal": {"signal_id": 9, "name": "KILL"}}, (0, 9)),
        (
            {
                "status": ["ERROR"],
                "return_code": set_number(3),
                "signal": {"id": {"set": False, "infinite": False, "number": 0}, "name": ""},
            },
            (3, 0),
        ),
        (
            {
                "status": ["SIGNALED"],
                "return_code": {"set": False, "infinite": False, "number": 0},
                "signal": {"id": set_number(15), "name": "TERM"},
            },
            (0, 15),
        ),
    ],
)
def test_exit_codes_in_all_forms(value: object, halves: tuple[int | None, int | None]) -> None:
    """A raw wait status, and objects of several versions."""
    assert exit_halves(value) == halves


# -- jobs of the controller --------------------------------------------------------------------------
def test_an_array_that_runs() -> None:
    """A row for each element that has started, one for all others."""
    listed = {job.indices: job for job in listed_jobs(jobs_in("rest-job-array-pending.json"))}
    waiting = listed[tuple(range(12, 20))]
    assert (waiting.job_id, waiting.state, waiting.reason) == ("2596", "PENDING", "JobArrayTaskLimit")
    assert (listed[(11,)].state, listed[(11,)].nodes, listed[(11,)].name) == ("RUNNING", "n1", "record-array")


def test_a_job_that_is_no_array() -> None:
    """It has no index."""
    (job,) = listed_jobs(jobs_in("rest-job-held.json"))
    assert (job.job_id, job.indices, job.reason) == ("2598", (), "JobHeldUser")


def test_what_has_ended_is_remembered_but_not_listed() -> None:
    """Codes are raw wait statuses in v0.0.38."""
    rows = jobs_in("rest-job-array-done.json")
    assert listed_jobs(rows) == []
    recent = {job.index: job for job in recent_jobs(rows)}
    assert [recent[index].exit_code for index in (1, 2, 3)] == [0, 1, 2]
    assert (recent[2].state, recent[2].wallclock, recent[2].time_limit) == ("FAILED", 1, 300)
    assert (recent[2].memory_asked, recent[2].log) == (64 * MIB, "/dev/null")


def test_elements_that_wait_are_remembered_each() -> None:
    """With the log each will have."""
    recent = {job.index: job for job in recent_jobs(jobs_in("rest-job-array-pending.json"))}
    assert set(range(12, 20)) <= set(recent)
    assert recent[13].log.endswith("record-array-2596_13.log")
    assert recent[13].wallclock is None


def test_jobs_as_later_versions_tell_them() -> None:
    """The same facts in other forms."""
    rows = jobs_in("rest-jobs.json", LATER)
    listed = {(job.job_id, job.indices): job for job in listed_jobs(rows)}
    assert listed["500", tuple(range(4, 31))].reason == "JobArrayTaskLimit"
    assert listed["500", (1,)].state == "RUNNING"
    assert listed["506", ()].state == "COMPLETING"
    assert listed["507", ()].restarts == 1
    recent = {(job.job_id, job.index): job for job in recent_jobs(rows)}
    assert (recent["500", 3].state, recent["500", 3].exit_code) == ("FAILED", 3)
    assert (recent["504", None].state, recent["504", None].signal) == ("OUT_OF_MEMORY", 125)
    assert (recent["500", 2].wallclock, recent["500", 2].memory_asked) == (90, 64 * MIB)


def test_a_list_of_waiting_elements_that_was_cut() -> None:
    """Within a number, after 64 characters: the number before is the last that counts."""
    text = "3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33,35,37,39,41,43,4...%1"
    row = JobRow(job_id=9, array_job_id=9, array_task_string=text, job_state="PENDING")
    started = JobRow(job_id=10, array_job_id=9, array_task_id=47, job_state="RUNNING")
    assert is_cut(row)
    assert not is_cut(started)
    assert waiting_indices(row) == tuple(range(3, 44, 2))
    whole = completed_row(row, [row, started], range(1, 51))
    assert waiting_indices(whole) == (*range(3, 44, 2), 44, 45, 46, 48, 49, 50)
    assert not is_cut(whole)


@given(st.sets(st.integers(1, 2000), min_size=1))
def test_a_list_cut_anywhere_never_names_others(elements: set[int]) -> None:
    """Whatever the list was, what is left of it is true, and with a mask it is whole again."""
    text = compress(elements)
    for length in (1, 9, 64, 700):
        cut = text[:length] + "...%3" if len(text) > length else text
        row = JobRow(job_id=9, array_job_id=9, array_task_string=cut, job_state="PENDING")
        named = waiting_indices(row)
        assert set(named) <= elements
        if is_cut(row):
            row = completed_row(row, [row], waiting_elements(hex(sum(1 << element for element in elements))))
        assert set(waiting_indices(row)) == elements


@pytest.mark.parametrize("row", [{"job_state": "RUNNING"}, {"job_id": 5}])
def test_a_row_without_id_or_state_is_nonsense(row: dict[str, Any]) -> None:
    """Nothing is made of it."""
    with pytest.raises(ValueError):
        listed_jobs([JobRow(**row)])


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"Authentication failure", b'{"jobs": {"a": 1}}', b"\xff"]
)
def test_what_is_no_answer(text: bytes) -> None:
    """The message holds its beginning."""
    with pytest.raises(ValueError):
        read(text, JobsAnswer)


# -- errors -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "numbers", "word"),
    [
        ("rest-job-unknown.json", {2017}, "Invalid job id"),
        ("rest-cancel-unknown.json", {2017}, "Invalid job id"),
        ("rest-submit-bad-partition.json", {2000}, "Invalid partition"),
        ("rest-submit-no-environment.json", {2127, 9001}, "environment must be set"),
        ("rest-submit-bad-field.json", {9001}, "nosuchfield"),
        ("rest-bad-token.json", {-1}, "Unspecified"),
        ("rest-cancel-done.json", set(), ""),
    ],
)
def test_errors_in_answers(name: str, numbers: set[int], word: str) -> None:
    """The number stands under several names."""
    answer = read(content(name), Answer)
    assert answer.numbers == numbers
    assert word in words_of(answer.errors)


def test_an_error_without_a_number_is_none() -> None:
    """So v0.0.38 answers a change of an array that was carried out."""
    text = b'{"errors": [{"description": "job array update failed", "source": "x"}]}'
    assert read(text, Answer).numbers == set()


@pytest.mark.parametrize(("directory", "job_id"), [(RECORDED, 2726), (LATER, 500)])
def test_the_id_of_a_submission(directory: Path, job_id: int) -> None:
    """In both forms."""
    assert number_of(read(content("rest-submit.json", directory), SubmitAnswer).job_id) == job_id


# -- accounting ---------------------------------------------------------------------------------------
def test_a_code_that_the_accounting_lost_is_not_known() -> None:
    """v0.0.38 tells that a job that failed with code 3 succeeded with 0."""
    job = accounted_in("rest-db-failed-3.json")["2584", None]
    assert (job.state, job.exit_code, job.signal) == ("FAILED", None, None)
    assert has_lost_code(job)


def test_signals_are_not_lost() -> None:
    """Nor is the sign of a lack of memory."""
    assert accounted_in("rest-db-signal-kill.json")["2588", None].signal == 9
    job = accounted_in("rest-db-oom.json")["2580", None]
    assert (job.state, job.signal, job.memory_asked) == ("OUT_OF_MEMORY", 125, 64 * MIB)
    assert job.maxrss == 3362816


def test_figures_of_the_accounting() -> None:
    """Times in seconds, memory in bytes; who cancelled it."""
    timeout = accounted_in("rest-db-timeout.json")["2577", None]
    assert (timeout.state, timeout.wallclock, timeout.time_limit, timeout.exit_code) == ("TIMEOUT", 73, 60, 0)
    assert timeout.cpu == pytest.approx(0.0016)
    cancelled = accounted_in("rest-db-cancelled.json")["2594", None]
    assert (cancelled.state, cancelled.cancelled_by, cancelled.nodes) == ("CANCELLED", "root", "n2")


def test_the_accounting_as_later_versions_tell_it() -> None:
    """Codes are there again."""
    jobs = accounted_in("rest-db-jobs.json", LATER)
    failed = jobs["500", 3]
    assert (failed.state, failed.exit_code, failed.signal) == ("FAILED", 3, 0)
    assert (failed.maxrss, failed.cpu, failed.energy) == (50 * MIB, pytest.approx(80.4), 1200)
    assert jobs["504", None].signal == 125
    assert jobs["506", None].cancelled_by == "bob"


@pytest.mark.parametrize(
    ("state", "value", "halves"),
    [
        ("FAILED", {"status": "SUCCESS", "return_code": 0}, (None, None)),
        ("COMPLETED", {"status": "SUCCESS", "return_code": 0}, (0, 0)),
        ("TIMEOUT", None, (0, 0)),
        ("FAILED", {"status": ["ERROR"], "return_code": set_number(137)}, (9, 0)),
    ],
)
def test_codes_as_sacct_would_tell_them(
    state: str, value: object, halves: tuple[int | None, int | None]
) -> None:
    """Codes from 128 on lose 128, as they do in sacct: what is made of them is decided in one place."""
    assert accounted_halves(state, value) == halves


def test_lost_codes_come_from_the_controller() -> None:
    """For the element they belong to, as sacct would tell them; what the controller has forgotten stays unknown."""
    lost = [AccountedJob("7", index, state="FAILED") for index in (1, 2, 3)]
    recent = [
        RecentJob("7", 1, state="FAILED", exit_code=3, signal=0, reason="NonZeroExitCode"),
        RecentJob("7", 2, state="FAILED", exit_code=137, signal=0),
        RecentJob("8", 3, state="FAILED", exit_code=5, signal=0),
    ]
    found = with_codes(lost, recent)
    assert [job.exit_code for job in found] == [3, 9, None]
    assert found[0].reason == "NonZeroExitCode"


def row(**values: Any) -> AccountedRow:
    """An accounted element."""
    usual: dict[str, Any] = {
        "job_id": 71,
        "name": "name",
        "partition": "short",
        "array": {"job_id": 70, "task_id": 1, "task": None},
        "state": {"current": "COMPLETED", "reason": "None"},
        "time": {"submission": 100, "elapsed": 5},
    }
    return AccountedRow(**{**usual, **values})


@pytest.mark.parametrize("values", [{"name": "allocation"}, {"partition": ""}, {"partition": None}])
def test_half_a_story_is_none(values: dict[str, Any]) -> None:
    """A row that has not been told in whole is left out."""
    assert accounted_jobs([row(**values)]) == []


def test_the_last_run_counts() -> None:
    """Earlier ones are counted as restarts; one that only waits outranks none."""
    first = row(state={"current": "NODE_FAIL"}, time={"submission": 100, "elapsed": 9})
    second = row(state={"current": "COMPLETED"}, time={"submission": 200, "elapsed": 5})
    for rows in ([first, second], [second, first]):
        (job,) = accounted_jobs(rows)
        assert (job.state, job.wallclock, job.restarts) == ("COMPLETED", 5, 1)
    (half,) = [accounted_jobs([first, row(name="allocation", time={"submission": 200})])]
    assert half == []


def test_elements_that_never_started_share_a_row() -> None:
    """As a mask in v0.0.38, as a list later."""
    for text in ("0x288", "3,7,9%2", "[3,7,9]"):
        array = {"job_id": 70, "task_id": None, "task": text}
        jobs = accounted_jobs([row(array=array, state={"current": "CANCELLED"}, kill_request_user="bob")])
        assert [(job.index, job.cancelled_by) for job in jobs] == [(3, "bob"), (7, "bob"), (9, "bob")]


@given(st.sets(st.integers(0, 5000), min_size=1))
def test_masks(elements: set[int]) -> None:
    """Every bit is an element."""
    mask = sum(1 << element for element in elements)
    assert waiting_elements(f"0x{mask:X}") == tuple(sorted(elements))


# -- partitions, nodes, limits -----------------------------------------------------------------------
def test_partitions_of_both_versions() -> None:
    """By the names that scontrol gives their limits."""
    answer = read(content("rest-partitions.json"), PartitionsAnswer)
    short = next(
        facts for facts in map(partition_facts, answer.partitions or ()) if facts["PartitionName"] == "short"
    )
    later = read(content("rest-partitions.json", LATER), PartitionsAnswer)
    its = {facts["PartitionName"]: facts for facts in map(partition_facts, later.partitions or ())}
    for facts in (short, its["short"]):
        assert (facts["MaxTime"], facts["DefaultTime"]) == ("0-00:10:00", "0-00:05:00")
        assert (facts["MaxMemPerNode"], facts["TotalNodes"], facts["State"]) == ("2048", "4", "UP")
        assert facts["AllowAccounts"] == "ALL"
    assert short["Default"] == "YES"
    assert its["unlimited"]["MaxTime"] == "UNLIMITED"


def test_nodes() -> None:
    """What limits are made of, and how to reach them."""
    answer = read(content("rest-nodes.json"), NodesAnswer)
    facts = node_facts((answer.nodes or [])[0])
    assert (facts["CPUTot"], facts["RealMemory"], facts["NodeAddr"]) == ("16", "4096", "127.0.0.1")
    assert facts["Partitions"].split(",")[0] == "short"
    drained = node_facts({"name": "n9", "state": ["IDLE", "DRAIN"], "effective_cpus": 14, "cpus": 16})
    assert (drained["State"], drained["CPUEfctv"]) == ("IDLE+DRAIN", "14")


@pytest.mark.parametrize(("directory", "release"), [(RECORDED, "22.05.8"), (LATER, "23.11.10")])
def test_the_version(directory: Path, release: str) -> None:
    """Of the Slurm behind slurmrestd."""
    assert version_facts(read(content("rest-ping.json", directory), VersionAnswer)) == {
        "SLURM_VERSION": release
    }


def association(user: str | None, account: str, **limits: int) -> dict[str, Any]:
    """What a user may do with an account."""
    jobs = {"total": limits.get("most"), "per": {"submitted": limits.get("shared")}}
    return {
        "user": user,
        "account": account,
        "max": {"jobs": jobs},
        "default": {"qos": None},
        "qos": ["normal"],
    }


def quality(name: str, most: int | None) -> dict[str, Any]:
    """A quality of service."""
    return {"name": name, "limits": {"max": {"jobs": {"per": {"user": most}}}}}


def test_limits_of_a_user() -> None:
    """The narrowest of the own ones counts; those of others and of qualities one must ask for do not."""
    own = association("me", "a", most=50)
    others = association("you", "a", most=5)
    assert submit_limit_of([own, others], [quality("fast", 3)], "me") == SubmitLimit(50, False)
    assert submit_limit_of([own, others], [quality("normal", 30)], "me") == SubmitLimit(30, False)
    assert submit_limit_of([association("me", "a", shared=20)], [], "me") == SubmitLimit(20, True)
    assert submit_limit_of([], [], "me") == SubmitLimit(None, False)
    both = [own, association("me", "b", most=7)]
    assert submit_limit_of(both, [], "me").most == 7
    assert submit_limit_of(both, [], "me", account="a").most == 50
    assert submit_limit_of(both, [quality("fast", 3)], "me", qos="fast").most == 3
