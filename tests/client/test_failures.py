"""A failure told in words."""

from __future__ import annotations

from typing import Any

import pytest

from jobmon.client.failures import (
    cluster_headline,
    describe_cluster,
    describe_failure,
    describe_trait,
    failure_of,
    failure_stories,
    last_lines,
    what_followed,
)
from jobmon.client.result import errors_by_task
from jobmon.core.states import Cause
from jobmon.serializers.failures import ErrorClusterRow, SharedTrait
from jobmon.serializers.monitor import AttemptRow, TaskErrorRow


def row(**values: Any) -> TaskErrorRow:
    """A third attempt of three that failed for good, of a run that is over."""
    return TaskErrorRow(
        **{
            "task_id": 12,
            "task_name": "fit_7",
            "task_instance_id": 31,
            "task_instance_error_log_id": 5,
            "error_time": "2026-05-01T12:00:00.000",
            "description": "The command exited with code 1.\nTraceback\n  x\n  y\n  z\nKeyError: 'age'",
            "stderr_log": "",
            "stdout": "/logs/o",
            "stderr": "/logs/e",
            "workflow_id": 3,
            "workflow_status": "F",
            "task_status": "F",
            "instance_status": "E",
            "cause": "code",
            "attempt_number": 3,
            "max_attempts": 3,
            "cluster_name": "slurm",
            "distributor_id": "4711_2",
            "nodename": "c12",
            "requested_resources": {"memory": 2, "runtime": 60, "queue": "all.q"},
            "next_resources": {"memory": 2, "runtime": 60, "queue": "all.q"},
            **values,
        }
    )


def test_everything_about_a_failure() -> None:
    assert describe_failure(row()).splitlines() == [
        "fit_7 (task 12), attempt 3 of 3, slurm job 4711_2, node c12: its command failed",
        "    The command exited with code 1.",
        "      x",
        "      y",
        "      z",
        "    KeyError: 'age'",
        "  gave up after 3 attempts",
        "  stderr: /logs/e",
        "  look closer: jobmon task status -t 12",
        "  go on: jobmon workflow resume -w 3",
    ]


LARGER = {"memory": 3, "runtime": 60, "queue": "long.q"}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"attempt_number": 1, "next_task_instance_id": 40}, "ran again as attempt 2"),
        (
            {"attempt_number": 1, "next_task_instance_id": 40, "next_resources": LARGER},
            "asked for memory 3 GiB instead of 2 GiB and queue long.q instead of all.q and ran again as attempt 2",
        ),
        (
            {"attempt_number": 1, "task_status": "G", "workflow_status": "R"},
            "will run again as attempt 2",
        ),
        (
            {"attempt_number": 1, "task_status": "A", "workflow_status": "R", "cause": "resource"},
            "will ask for more and run again as attempt 2",
        ),
        (
            {
                "attempt_number": 1,
                "task_status": "Q",
                "workflow_status": "R",
                "next_resources": {"memory": 2.5, "runtime": 60, "queue": "all.q"},
            },
            "asks for memory 2.5 GiB instead of 2 GiB and will run again as attempt 2",
        ),
        (
            {"attempt_number": 1, "task_status": "G", "cause": Cause.INFRASTRUCTURE.value},
            "not counted against its attempts; will run again when the workflow is resumed",
        ),
        (
            {"cause": Cause.PREEMPTED.value, "num_infrastructure_losses": 11},
            "not counted against its attempts; gave up after 11 losses",
        ),
        ({"task_status": "D"}, "the task counts as done: it was set by hand"),
        ({"attempt_number": 1, "max_attempts": 1}, "gave up after the only attempt it had"),
        ({"attempt_number": 0}, "gave up"),
        ({"attempt_number": 0, "next_task_instance_id": 40}, "ran again later"),
    ],
)
def test_what_was_done_about_it(values: dict[str, Any], text: str) -> None:
    assert what_followed(row(**values)) == text


@pytest.mark.parametrize(
    ("values", "headline"),
    [
        (
            {
                "attempt_number": 4,
                "num_infrastructure_losses": 1,
                "cause": "resource",
                "distributor_id": "",
                "nodename": "",
            },
            "fit_7 (task 12), attempt 4 of 3 (1 loss not counted), slurm: it took more than it had asked for",
        ),
        (
            {"instance_status": "F", "cause": "", "distributor_id": "", "nodename": ""},
            "fit_7 (task 12), attempt 3 of 3, slurm: it was ended by order",
        ),
        (
            {"attempt_number": 0, "cause": "of tomorrow", "cluster_name": "", "nodename": ""},
            "fit_7 (task 12), an earlier attempt: it failed",
        ),
    ],
)
def test_where_and_why(values: dict[str, Any], headline: str) -> None:
    assert describe_failure(row(**values)).splitlines()[0] == headline


def test_the_last_lines_of_what_is_there() -> None:
    long = "\n".join(f"line {n}" for n in range(50))
    assert last_lines(row(description=long), 3) == ["line 0", "line 48", "line 49"]
    assert last_lines(row(description="", stderr_log=long), 2) == ["line 48", "line 49"]
    assert last_lines(row(description="exited", stderr_log=long), 3) == ["exited", "line 48", "line 49"]
    assert last_lines(row(description="exited", stderr_log="oh"), 3) == ["exited", "oh"]
    assert last_lines(row(description="Ended by order.", stderr_log=long, instance_status="F")) == [
        "Ended by order."
    ]
    assert last_lines(row(description="", stderr_log="")) == []


def test_a_server_that_says_less_is_understood() -> None:
    """Fields of a newer server are left out by an older one."""
    text = describe_failure(TaskErrorRow(1, "fit", 2, 3, "", "broke", "", "", "/dev/null"))
    assert (
        text
        == "fit (task 1): it failed\n    broke\n  will run again later\n  look closer: jobmon task status -t 1"
    )


def test_the_attempts_of_a_task_tell_their_stories() -> None:
    attempts = [
        AttemptRow(1, "fit", 3, "D", 7, instance_status="E", cause="code", error="no", attempt_number=1,
                   max_attempts=2, next_task_instance_id=8),
        AttemptRow(1, "fit", 3, "D", 8, instance_status="D"),
        AttemptRow(2, "fit", 3, "G"),
    ]  # fmt: skip
    assert failure_stories(attempts) == [
        "fit (task 1), attempt 1 of 2: its command failed\n    ran again as attempt 2"
    ]
    assert failure_of(attempts[1]) is None


def test_errors_for_scripts_carry_the_story() -> None:
    (found,) = errors_by_task([row()]).values()
    assert found["task_instance_id"] == 31
    assert (found["attempt_number"], found["nodename"], found["cause"]) == (3, "c12", "code")
    assert found["story"] == describe_failure(row())
    assert [entry["task_instance_error_log_id"] for entry in found["error_log"]] == [5]


# -- failures that are alike ----------------------------------------------------------------------------
def trait(*numbers: int, kind: str = "node_arg", value: str = "102", are_done: bool = True) -> SharedTrait:
    name = "location_id" if kind == "node_arg" else ""
    return SharedTrait(kind, name, value, "fit", *numbers, are_done)


@pytest.mark.parametrize(
    ("shared", "text"),
    [
        (trait(37, 37, 0, 4000), "all 37 have location_id 102; none of the 4 000 that are done have it"),
        (
            trait(35, 37, 1, 400, are_done=False),
            "35 of 37 have location_id 102; 1 of the 400 others has it",
        ),
        (
            trait(35, 37, 80, 4000, kind="node", value="c12"),
            "35 of 37 were on node c12, which ran 2 % of those that succeeded",
        ),
        (
            trait(3, 3, 1, 4000, kind="node", value="c12"),
            "all 3 were on node c12, which ran less than 1 % of those that succeeded",
        ),
    ],
)
def test_what_they_share(shared: SharedTrait, text: str) -> None:
    assert describe_trait(shared) == text


def test_failures_that_are_alike() -> None:
    cluster = ErrorClusterRow(
        pattern="KeyError: <n>",
        where="load",
        cause="code",
        num_attempts=1040,
        num_tasks=1037,
        example="Traceback\nKeyError: 7",
        example_task_id=12,
        example_task_name="fit_7",
        example_task_instance_id=31,
        example_stderr="/logs/e",
        first_seen="2026-05-01T12:00:00.000",
        last_seen="2026-05-01T13:00:00.000",
        templates={"fit": 1000, "plot": 37},
        nodes={"c12": 1000, "c1": 37},
        shared=[trait(37, 37, 0, 4000)],
    )
    assert cluster_headline(cluster) == "1 037 tasks: KeyError: <n> (in load)"
    assert describe_cluster(cluster).splitlines()[1:] == [
        "  1 040 attempts; of fit (1 000), plot (37), on 2 nodes, most on c12 (1 000)",
        "  all 37 have location_id 102; none of the 4 000 that are done have it",
        "  for example fit_7 (task 12):",
        "      Traceback",
        "      KeyError: 7",
        "  stderr: /logs/e",
        "  look closer: jobmon task status -t 12",
    ]
