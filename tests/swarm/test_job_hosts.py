"""What a job that is to host a run decides, and what it asks its cluster for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.cluster_protocol import ClusterQueue
from jobmon.core.exceptions import InvalidMemoryFormat, UsageError
from jobmon.core.process_identity import ProcessIdentity, is_alive, this_process
from jobmon.core.states import WORKFLOW_RUN_TERMINAL, WorkflowRunStatus
from jobmon.serializers.swarm import RunProgressResponse
from jobmon.swarm.job import JobOptions, WaitingJob, resources_of, waiting_job
from jobmon.swarm.job_host import Beginning, JobAnswer, Ledger, Phase, answer_file, beginning, read_answer

CREATED = {WorkflowRunStatus.REGISTERED, WorkflowRunStatus.LINKING, WorkflowRunStatus.BOUND}
OURS = ProcessIdentity("node1", "boot/pid", 7, 1)
OTHER = ProcessIdentity("login", "boot/pid", 8, 2)


def latest(run_id: int | None, status: str, controller: ProcessIdentity | None) -> RunProgressResponse:
    return RunProgressResponse(1, "w", "R", 1, 0, 0, 0, 0, run_id, status, "u", controller)


answers = st.none() | st.builds(
    JobAnswer, phase=st.sampled_from(Phase), processes=st.sampled_from([(), (OURS,), (OTHER, OURS)])
)


@given(
    answers,
    st.sampled_from([5, 6, None]),
    st.sampled_from(WorkflowRunStatus),
    st.sampled_from([OURS, OTHER, None]),
)
def test_what_a_job_does_with_a_run(
    before: JobAnswer | None,
    run_id: int | None,
    status: WorkflowRunStatus,
    controller: ProcessIdentity | None,
) -> None:
    """It takes the run made for it, takes over only what an earlier start of it left, and leaves alone what was ended."""
    what = beginning(before, 5, latest(run_id, status.value, controller))
    if run_id == 5 and status in CREATED:
        assert what is Beginning.TAKE
        return
    if what is Beginning.LEAVE:
        return
    assert what is Beginning.TAKE_OVER
    assert before is not None
    assert before.phase is not Phase.ENDED
    assert controller in before.processes
    assert status not in {WorkflowRunStatus.DONE, WorkflowRunStatus.STOPPED, WorkflowRunStatus.ABORTED}
    assert status is not WorkflowRunStatus.TERMINATED or before.phase is Phase.HANDING_OVER


@pytest.mark.parametrize("status", sorted(set(WorkflowRunStatus) - WORKFLOW_RUN_TERMINAL - CREATED))
def test_a_run_whose_controller_died_is_taken_over(status: WorkflowRunStatus) -> None:
    """Also when the server has counted it as lost, and by whichever start of the job it was hosted."""
    for before in (JobAnswer(processes=(OURS,)), JobAnswer(phase=Phase.WORKING, processes=(OURS, OTHER))):
        for letter in (status.value, WorkflowRunStatus.ERROR.value):
            assert beginning(before, 5, latest(6, letter, OURS)) is Beginning.TAKE_OVER


def test_a_workflow_that_was_never_run_is_left_alone() -> None:
    """The run made for the job is gone with its database."""
    assert beginning(None, 5, latest(None, "", None)) is Beginning.LEAVE


def test_the_answer_lasts_and_the_request_does_not(tmp_path: Path) -> None:
    """Each start of the job adds itself; what cannot be understood is no answer."""
    request = tmp_path / "run_5.json"
    request.write_text("{}")
    assert read_answer(request) is None
    Ledger(request).note(Phase.WORKING)
    before = read_answer(request)
    assert before is not None
    assert (before.phase, before.processes) == (Phase.WORKING, (this_process(),))
    Ledger(request, before).note(Phase.ENDED, UsageError("no"))
    after = read_answer(request)
    assert after is not None
    assert (after.error, after.message, len(after.processes)) == ("UsageError", "no", 2)
    assert not request.exists()
    answer_file(request).write_bytes(msgspec.json.encode(JobAnswer(processes=(this_process(), OTHER))))
    Ledger(request).note(Phase.HANDING_OVER)  # a later start speaks for the job
    again = read_answer(request)
    assert again is not None
    assert again.phase is Phase.STARTING
    answer_file(request).write_text("{")
    assert read_answer(request) is None


@given(st.text(min_size=1), st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True))
def test_a_job_that_waits_stands_for_its_process(cluster_name: str, job_name: str) -> None:
    """It is told from every process, and counts neither as alive nor as dead."""
    waiting = WaitingJob(cluster_name, job_name)
    assert waiting_job(waiting.identity) == waiting
    assert is_alive(waiting.identity) is None


def test_a_process_is_no_job_that_waits() -> None:
    for identity in (
        this_process(),
        OURS,
        ProcessIdentity("a/b", "", 1, 0),
        ProcessIdentity("", "", 0, 0),
        None,
    ):
        assert waiting_job(identity) is None


class Queue(ClusterQueue):
    """Two GiB, an hour."""

    def validate_resources(self, strict: bool = False, **kwargs: Any) -> tuple[bool, str]:
        assert strict
        assert "requeue" not in kwargs
        return kwargs.get("memory", 0) <= 2, "too much memory"

    def coerce_resources(self, **kwargs: Any) -> dict[str, Any]:
        return {**kwargs, "runtime": min(kwargs["runtime"], 3600), "memory": min(kwargs["memory"], 2)}


def test_what_the_job_asks_for() -> None:
    """The usual is brought into the limits of the queue; what was said has to fit; units are the canonical ones."""
    queue = Queue(1, "q", {})
    usual = resources_of(JobOptions("c"), queue, 36000, "/d")
    expected = {"queue": "q", "cores": 1, "memory": 1, "runtime": 3600, "working_dir": "/d", "requeue": True}
    assert usual == expected
    said = resources_of(JobOptions("c", "q", "512M", "1m", "p"), queue, 36000, "/d")
    assert said == {**expected, "memory": 0.5, "runtime": 60, "project": "p"}
    with pytest.raises(UsageError, match="job of the controller: too much memory"):
        resources_of(JobOptions("c", memory="3"), queue, 36000, "/d")
    with pytest.raises(InvalidMemoryFormat):
        resources_of(JobOptions("c", memory="much"), queue, 36000, "/d")
