"""Failures that are alike: which line tells, what is folded, what is merged, what they share."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import LAUNCH_AND_START, Scene

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.serializers.failures import SharedTrait
from jobmon.server.web.analysis.error_clusters import (
    ErrorCluster,
    FailedAttempt,
    cluster_errors,
    most_telling_first,
    shared_trait,
)
from jobmon.server.web.store.failures import workflow_read_error_clusters, workflow_read_latest_failures

NOON = datetime.fromisoformat("2026-05-01T12:00:00")
TRACEBACK = """starting
Traceback (most recent call last):
  File "/home/ada/fit.py", line {line}, in <module>
    main()
  File "/home/ada/fit.py", line 9, in load
    return table[key]
           ~~~~~^^^^^
{error}
"""


def failed(number: int = 1, text: str = "", **values: Any) -> FailedAttempt:
    return FailedAttempt(
        **{
            "task_instance_id": number,
            "task_id": number,
            "array_id": 1,
            "failed_at": NOON + timedelta(seconds=number),
            "nodename": f"c{number % 3}",
            "cause": Cause.CODE.value,
            "exit_code": 1,
            "noted": "The command exited with code 1.",
            "text": text,
            "stderr": f"/logs/{number}",
            **values,
        }
    )


def test_failures_that_are_alike_are_one_cluster() -> None:
    attempts = [failed(n, TRACEBACK.format(line=n, error=f"KeyError: {n}")) for n in range(1, 38)]
    attempts += [failed(n, "no room left\n") for n in range(100, 103)]
    first, second = cluster_errors(attempts)
    assert (first.title, first.where, first.num_tasks) == ("KeyError: <n>", "load", 37)
    assert (first.first_at, first.last_at) == (attempts[0].failed_at, attempts[36].failed_at)
    assert first.example is attempts[36]
    assert first.nodes[1] == {"c0": 12, "c1": 13, "c2": 12}
    assert (second.title, second.num_tasks) == ("no room left", 3)


def test_the_same_value_everywhere_is_shown() -> None:
    (cluster,) = cluster_errors([failed(n, "KeyError: 102") for n in range(5)])
    assert (cluster.title, cluster.pattern) == ("KeyError: 102", "KeyError: <n>")


def test_many_variants_of_a_word_are_data_and_few_are_different_faults() -> None:
    many = [
        failed(n, f"NameError: name '{name}' is gone") for n, name in enumerate(["a", "b", "c", "d", "e"])
    ]
    assert [c.title for c in cluster_errors(many)] == ["NameError: name <…> is gone"]
    assert [c.num_tasks for c in cluster_errors(many[:3])] == [1, 1, 1]


def test_texts_without_anything_in_common_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobmon.server.web.analysis.error_clusters.MAX_PATTERNS", 10)
    words = [f"{'x' * n} {'y' * n} failed" for n in range(1, 200)]
    clusters = cluster_errors([failed(n, text) for n, text in enumerate(words)])
    assert sum(c.num_attempts for c in clusters) == len(words)


@given(
    st.lists(
        st.sampled_from(["KeyError: 1", "KeyError: 2", "a b c", "a b d", "a b e", "a b f", "", "é\x00"])
    ),
    st.randoms(use_true_random=False),
)
def test_nothing_is_lost_and_the_order_does_not_matter(texts: list[str], random: Any) -> None:
    attempts = [failed(n, text) for n, text in enumerate(texts)]
    clusters = cluster_errors(attempts)
    assert sum(c.num_attempts for c in clusters) == len(texts)
    random.shuffle(attempts)

    def shown(found: list[ErrorCluster]) -> list[Any]:
        return [
            (c.title, c.num_tasks, c.example.task_id, c.first_at, c.last_at, dict(c.nodes)) for c in found
        ]

    assert shown(cluster_errors(attempts)) == shown(clusters)


# -- what they share ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("has", "done", "everything", "expected"),
    [
        ((37, 37), (0, 4000), (37, 4100), (0, 4000, True)),
        ((37, 37), (0, 0), (40, 437), (3, 400, False)),
        ((35, 37), (80, 4000), (0, 0), (80, 4000, True)),
        ((37, 37), (4000, 4000), (4100, 4100), None),  # all have it
        ((20, 37), (0, 4000), (37, 4100), None),  # half of them do not
        ((2, 2), (0, 4000), (2, 4100), None),  # chance
        ((5, 5), (0, 0), (5, 5), None),  # nothing to compare with
    ],
)
def test_a_trait_is_shared_when_the_others_lack_it(
    has: tuple[int, int], done: tuple[int, int], everything: tuple[int, int], expected: Any
) -> None:
    assert shared_trait(lambda *others: others, has, done, everything) == expected  # type: ignore[arg-type, return-value]


def test_the_rarest_trait_comes_first() -> None:
    def trait(name: str, others: int) -> SharedTrait:
        return SharedTrait("node_arg", name, "1", "fit", 10, 10, others, 100, True)

    assert [t.name for t in most_telling_first([trait("a", 30), trait("b", 0)])] == ["b", "a"]


# -- from the database ----------------------------------------------------------------------------------
@pytest.fixture
def failing(scene: Scene) -> Scene:
    """Ten tasks; the first one is done, after a failure, both on a good host."""
    scene.num_tasks = 10
    scene.bind()
    scene.start_run()
    scene.attempt(
        0,
        *LAUNCH_AND_START,
        TaskInstanceEvent.FAIL,
        cause=Cause.CODE,
        exit_code=1,
        description="The command exited with code 1.\nflaky",
        nodename="good",
    )
    scene.attempt(0, *LAUNCH_AND_START, TaskInstanceEvent.FINISH, nodename="good", wallclock=1.0)
    return scene


def fail_thrice(scene: Scene, position: int, text: str) -> None:
    """Three failures of the task at a position: it is given up."""
    for number in range(3):
        scene.attempt(
            position,
            *LAUNCH_AND_START,
            TaskInstanceEvent.FAIL,
            cause=Cause.CODE,
            exit_code=1,
            description=f"The command exited with code 1.\n{text} {number}",
            nodename="bad",
            stderr=f"/logs/{position}",
        )


def test_the_latest_failure_of_each_task_that_is_not_done(failing: Scene) -> None:
    fail_thrice(failing, 1, "ValueError: attempt")
    answer = failing.read(lambda c: workflow_read_error_clusters(c, failing.workflow_id, 10, is_recent=True))
    (row,) = answer.clusters
    assert (row.pattern, row.num_tasks, row.num_attempts) == ("ValueError: attempt 2", 1, 1)
    assert (row.example_task_name, row.example_stderr, row.nodes) == ("fit_1", "/logs/1", {"bad": 1})
    assert (answer.num_errors, answer.num_failed_tasks, answer.is_complete) == (1, 1, True)
    everything = failing.read(
        lambda c: workflow_read_error_clusters(c, failing.workflow_id, 1, is_recent=False)
    )
    assert [(row.pattern, row.num_attempts, row.num_tasks) for row in everything.clusters] == [
        ("ValueError: attempt <n>", 3, 1)
    ]
    assert (everything.num_clusters, everything.num_errors, everything.num_failed_tasks) == (2, 4, 2)


def test_a_host_that_failures_share(failing: Scene) -> None:
    fail_thrice(failing, 1, "no disk")
    everything = failing.read(
        lambda c: workflow_read_error_clusters(c, failing.workflow_id, 1, is_recent=False)
    )
    (trait,) = everything.clusters[0].shared
    assert (trait.kind, trait.value, trait.num_failed, trait.num_others) == ("node", "bad", 3, 0)
    assert (trait.num_others_in_all, trait.template) == (1, "fit")


def test_the_end_of_stderr_tells_where_the_note_does_not(failing: Scene) -> None:
    """Long texts are read by their end only."""
    for _ in range(3):
        failing.attempt(
            1,
            *LAUNCH_AND_START,
            TaskInstanceEvent.FAIL,
            cause=Cause.CODE,
            exit_code=1,
            description="The command exited with code 1.",
            stderr_log="x\n" * 5000 + "KeyError: 'age'\n",
        )
    answer = failing.read(lambda c: workflow_read_error_clusters(c, failing.workflow_id, 5, is_recent=True))
    assert answer.clusters[0].pattern == "KeyError: 'age'"
    assert len(answer.clusters[0].example.splitlines()) == 12


def test_latest_failures_newest_first(failing: Scene) -> None:
    fail_thrice(failing, 1, "no disk")
    rows = failing.read(lambda c: workflow_read_latest_failures(c, failing.workflow_id, 3))
    assert [row.description.splitlines()[-1] for row in rows] == ["no disk 2", "no disk 1", "no disk 0"]
    assert [(row.attempt_number, row.next_task_instance_id is None) for row in rows] == [
        (3, True),
        (2, False),
        (1, False),
    ]


def test_a_workflow_that_does_not_exist(scene: Scene) -> None:
    with pytest.raises(NotFoundError, match="no workflow 99"):
        scene.read(lambda c: workflow_read_error_clusters(c, 99, 5, is_recent=True))
