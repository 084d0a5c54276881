"""What refusals of sbatch mean."""

from __future__ import annotations

import pytest
from recordings import RECORDED, recorded

from jobmon.core.exceptions import (
    BatchTooLarge,
    ClusterBusy,
    ClusterError,
    ClusterUnreachable,
    SubmissionError,
)
from jobmon.plugins.slurm.errors import Occupancy, refusal, tidy

POLICY = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size "
    "and/or time limits)"
)


def test_refusals_of_a_real_slurm() -> None:
    """Each is final, with Slurm's words, but for the limits on submitted jobs, which pass."""
    refused = [path for path in sorted(RECORDED.glob("sbatch-refused-*.txt")) if "error:" in path.read_text()]
    assert len(refused) > 12
    for path in refused:
        error = refusal(path.read_text().split("\n", 1)[1], 1)
        kind = ClusterBusy if "limit-submit" in path.name else SubmissionError
        assert type(error) is kind, path.name
        assert "sbatch:" not in str(error)


def test_a_job_that_is_larger_than_a_limit() -> None:
    """Slurm's words are the same as for too many jobs; the line before them tells which limit it was."""
    full = Occupancy(most=10, queued=10)
    for name in ("cpus", "wall"):
        assert type(refusal(recorded(f"sbatch-refused-qos-limit-{name}.txt"), 1, full)) is SubmissionError


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("bad-partition", "sinfo lists them (queue)"),
        ("array-too-large", "MaxArraySize"),
        ("bad-constraint", "(constraints)"),
        ("bad-gpus", "(gpus, gres)"),
        ("bad-reservation", "(reservation)"),
        ("bad-option", "sbatch_arguments"),
        ("time-too-long", "(runtime, queue)"),
        ("qos-limit-cpus", "(project, qos)"),
    ],
)
def test_what_to_do(name: str, what: str) -> None:
    """The message names the resource that is wrong."""
    assert what in str(refusal(recorded(f"sbatch-refused-{name}.txt"), 1))


@pytest.mark.parametrize(
    "text",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "sbatch: error: Batch job submission failed: Communication connection failure",
        "sbatch: error: Batch job submission failed: Protocol authentication error",
        "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode",
    ],
)
def test_an_unknown_outcome(text: str) -> None:
    """Whether the job was taken cannot be told."""
    assert type(refusal(text, 1)) is ClusterUnreachable


@pytest.mark.parametrize(
    "text",
    [
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "sbatch: error: Batch job submission failed: Resource temporarily unavailable",
        f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}",
        f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}",
        f"sbatch: error: AssocGrpSubmitJobsLimit\n{POLICY}",
    ],
)
def test_a_limit_on_submitted_jobs(text: str) -> None:
    """It passes when others of the user have ended; nothing was submitted."""
    assert type(refusal(text, 5)) is ClusterBusy


@pytest.mark.parametrize(
    ("occupancy", "kind"),
    [
        (None, SubmissionError),
        (Occupancy(), SubmissionError),
        (Occupancy(most=10, queued=8), ClusterBusy),
        (Occupancy(most=10, queued=2), SubmissionError),
        (Occupancy(most=10, queued=2, is_shared=True), ClusterBusy),
        (Occupancy(most=4), BatchTooLarge),
        (Occupancy(most=0), SubmissionError),
    ],
)
def test_words_for_both(occupancy: Occupancy | None, kind: type[ClusterError]) -> None:
    """Slurm has one sentence for too many jobs and for too large a job: the limits tell which it is."""
    assert type(refusal(POLICY, 5, occupancy)) is kind


def test_an_array_beyond_the_limit_never_passes() -> None:
    """However long it waits; a smaller one does, and the message says how to avoid the try."""
    error = refusal(f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}", 50, Occupancy(most=10))
    assert isinstance(error, BatchTooLarge)
    assert error.most_steps == 10
    assert "array_limit=10" in str(error)


def test_words_of_slurm_on_one_line() -> None:
    """Without the names of commands, and each sentence once."""
    text = "sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed: Invalid name\n"
    assert tidy(text + text) == "invalid partition specified: x; Invalid name."
    assert tidy("") == "it did not say why."
