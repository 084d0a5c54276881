"""A submission as each version of slurmrestd takes it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.exceptions import SubmissionError
from jobmon.plugins.slurm.connection import Submission
from jobmon.plugins.slurm.rest_submission import EXTRA_FIELDS, environment_of_job, submission_body
from jobmon.plugins.slurm.submission import SETTINGS

SCRIPT = "#!/bin/sh\ntrue\n"
ENVIRONMENT = {"HOME": "/home/me", "SLURM_JWT": "secret"}
EVERYTHING = {
    "partition": "short",
    "cores": 2,
    "memory_mib": 64,
    "minutes": 5,
    "account": "a",
    "constraints": "fast",
    "gres": ("gpu:2", "disk:1"),
    "qos": "q",
    "nodes": 3,
    "ntasks": 6,
    "reservation": "r",
    "working_dir": "/tmp",
    "standard_output": "/tmp/%x.log",
    "standard_error": "/tmp/%x.log",
    "excluded_nodes": ("n1", "n2"),
    "requeue": False,
    "open_mode": "append",
}


def submission(**values: Any) -> Submission:
    """An array of four with everything a job may ask for."""
    usual: dict[str, Any] = {"name": "name", "script": SCRIPT, "num_steps": 4, "settings": EVERYTHING}
    return Submission(**{**usual, **values})


def test_everything_a_job_may_ask_for_is_tried_here() -> None:
    """A new setting must be thought of."""
    assert set(EVERYTHING) == set(SETTINGS)


def test_the_first_version() -> None:
    """As slurmrestd of Slurm 22.05 was seen to take it: ``requeue: false`` alone is ignored there."""
    assert submission_body(submission(max_running=2), 38, ENVIRONMENT) == {
        "script": SCRIPT,
        "job": {
            "name": "name",
            "array": "1-4%2",
            "partition": "short",
            "cpus_per_task": 2,
            "memory_per_node": 64,
            "time_limit": 5,
            "account": "a",
            "constraints": "fast",
            "gres": "gpu:2,disk:1",
            "qos": "q",
            "nodes": 3,
            "tasks": 6,
            "reservation": "r",
            "current_working_directory": "/tmp",
            "standard_output": "/tmp/%x.log",
            "standard_error": "/tmp/%x.log",
            "exclude_nodes": "n1,n2",
            "no_requeue": True,
            "open_mode": "append",
            "environment": {"HOME": "/home/me"},
        },
    }


@pytest.mark.parametrize("version", [39, 40, 43])
def test_later_versions(version: int) -> None:
    """Numbers with their signs, lists as lists, and the script within the job from v0.0.40 on."""
    body = submission_body(submission(), version, ENVIRONMENT)
    job = body["job"]
    assert (body if version == 39 else job)["script"] == SCRIPT
    assert job["array"] == "1-4"
    assert job["memory_per_node"] == {"set": True, "infinite": False, "number": 64}
    assert job["time_limit"] == {"set": True, "infinite": False, "number": 5}
    assert (job["nodes"], job["tasks"], job["cpus_per_task"]) == ("3", 6, 2)
    assert (job["excluded_nodes"], job["requeue"], job["open_mode"]) == (["n1", "n2"], False, ["APPEND"])
    assert job["tres_per_node"] == "gres:gpu:2,gres:disk:1"
    assert job["environment"] == ["HOME=/home/me"]


@pytest.mark.parametrize("version", [38, 40])
def test_no_token_goes_with_a_job(version: int) -> None:
    """Whatever else of the environment does."""
    assert "secret" not in str(submission_body(submission(), version, ENVIRONMENT))


@pytest.mark.parametrize("version", [38, 40])
def test_a_clean_environment(version: int) -> None:
    """Nothing of the submitting one; not empty, as slurmrestd refuses that."""
    body = submission_body(submission(keeps_environment=False), version, {"MINE": "b"})
    assert "MINE" not in str(body["job"]["environment"])
    assert "PATH" in str(body["job"]["environment"])


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_any_environment_can_be_told(environment: dict[str, str]) -> None:
    """What is no text is left out, everything else is there."""
    environment |= {"ODD": "\udcff"}
    told = environment_of_job(environment)
    assert told
    for name, value in told.items():
        (name + value).encode()
    assert "ODD" not in told


def test_defaults_of_the_environment() -> None:
    """As sbatch takes them; what the job says itself comes before."""
    environment = {"SBATCH_ACCOUNT": "usual", "SBATCH_QOS": "usual"}
    job = submission_body(submission(settings={"qos": "q"}), 38, environment)["job"]
    assert (job["account"], job["qos"]) == ("usual", "q")


def test_further_arguments() -> None:
    """With the value behind a sign or in the next word."""
    words = ("--comment=a b", "--nice", "5", "--licenses=x:1")
    job = submission_body(submission(extra_arguments=words), 38, ENVIRONMENT)["job"]
    assert (job["comment"], job["nice"], job["licenses"]) == ("a b", 5, "x:1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--exclusive",), "--exclusive"),
        (("-n", "4"), "-n"),
        (("--comment",), "without a value"),
        (("--nice=high",), "no whole number"),
    ],
)
def test_further_arguments_without_a_field(words: tuple[str, ...], said: str) -> None:
    """They are refused with what there is, not left out."""
    with pytest.raises(SubmissionError, match=said) as caught:
        submission_body(submission(extra_arguments=words), 40, ENVIRONMENT)
    assert "comment" in str(caught.value) or "number" in str(caught.value)


def test_fields_of_further_arguments_are_no_settings() -> None:
    """There is one way for each."""
    assert not {field("1")[0] for field in EXTRA_FIELDS.values()} & {each.rest for each in SETTINGS.values()}
