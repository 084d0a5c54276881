"""Orders of users: tasks set by hand, workflows reset."""

from __future__ import annotations

from typing import Any

import pytest
from scene import LAUNCH_AND_START, Scene

from jobmon.core.exceptions import NotFoundError, UsageError, WorkflowRunStateError
from jobmon.core.states import TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.monitor import ResetWorkflowResponse, UpdateTasksRequest, UpdateTasksResponse
from jobmon.server.web import dialect
from jobmon.server.web.store import downstream, orders


def update(
    scene: Scene, positions: list[int], status: str, user: str = "ada", **options: Any
) -> UpdateTasksResponse:
    message = UpdateTasksRequest([scene.task_ids[i] for i in positions], status, **options)
    return scene.write(
        lambda c: orders.tasks_update_by_hand(
            c,
            scene.workflow_id,
            message,
            user=user,
            now=dialect.utcnow(c),
            max_infrastructure_losses=10,
        )[0]
    )


def reset(scene: Scene, is_partial: bool = False, user: str = "ada") -> ResetWorkflowResponse:
    return scene.write(
        lambda c: orders.workflow_reset_if_quiet(
            c, scene.workflow_id, is_partial=is_partial, user=user, now=dialect.utcnow(c)
        )
    )


def finish(scene: Scene, *positions: int) -> None:
    for position in positions:
        scene.attempt(position, *LAUNCH_AND_START, TaskInstanceEvent.FINISH)


@pytest.fixture
def done(bound: Scene) -> Scene:
    """Every task is done."""
    bound.start_run()
    finish(bound, 0, 1, 2, 3)
    bound.run_events(WorkflowRunEvent.FINISH)
    return bound


@pytest.fixture
def half(bound: Scene) -> Scene:
    """Two tasks are done, the third failed, the run ended."""
    bound.start_run()
    finish(bound, 0, 1)
    for _ in range(3):
        bound.attempt(2, *LAUNCH_AND_START, TaskInstanceEvent.FAIL)
    bound.run_events(WorkflowRunEvent.FAIL)
    assert bound.statuses() == "DDFG"
    return bound


def test_reopening_a_task_reopens_what_waits_for_it_and_the_workflow(done: Scene) -> None:
    answer = update(done, [1], "G")
    assert (answer.num_changed, answer.num_tasks, answer.workflow_status) == (3, 3, "H")
    assert done.statuses() == "DGGG"
    assert done.rows("SELECT DISTINCT num_attempts FROM task WHERE status = 'G'") == [(0,)]
    history = done.rows("SELECT task_from, task_to, actor FROM task_history WHERE actor LIKE 'user:%'")
    assert history == [("D", "G", "user:ada")] * 3
    assert done.rows("SELECT workflow_from, workflow_to FROM workflow_history WHERE event = 'reopen'") == [
        ("D", "H")
    ]


def test_completing_by_hand_completes_the_workflow(half: Scene) -> None:
    assert update(half, [2], "D").workflow_status == "F"
    assert update(half, [3], "D").workflow_status == "D"
    assert half.statuses() == "DDDD"


def test_recursive_completes_what_waits_for_them(half: Scene) -> None:
    answer = update(half, [2], "D", is_recursive=True)
    assert (answer.num_tasks, answer.num_changed, answer.workflow_status) == (2, 2, "D")


def test_twice_changes_nothing_more(half: Scene) -> None:
    update(half, [2], "D")
    assert update(half, [2], "D").num_changed == 0


def test_only_tasks_of_the_workflow(half: Scene) -> None:
    half.task_ids.append(12345)
    with pytest.raises(NotFoundError, match="12345"):
        update(half, [2, 4], "D")
    with pytest.raises(UsageError, match="not to 'R'"):
        update(half, [2], "R")
    with pytest.raises(UsageError, match="not to 'nonsense'"):
        update(half, [2], "nonsense")
    with pytest.raises(UsageError, match="No task"):
        update(half, [], "D")
    assert half.statuses() == "DDFG"


def test_tasks_of_another_workflow_are_named(half: Scene) -> None:
    stranger = half.task_ids[0]
    half.add_workflow(workflow_args_hash="second")
    half.add_tasks()
    half.task_ids.append(stranger)
    with pytest.raises(UsageError, match=f"not of workflow {half.workflow_id}: {stranger}"):
        update(half, [0, 4], "D")


def test_in_a_live_run_only_what_nothing_started_behind(bound: Scene) -> None:
    run_id = bound.start_run()
    finish(bound, 0)
    running = bound.attempt(1, *LAUNCH_AND_START)
    with pytest.raises(WorkflowRunStateError, match="workflow stop"):
        update(bound, [0], "G")
    answer = update(bound, [1], "D")
    assert (answer.num_changed, answer.workflow_status) == (1, "R")
    assert bound.statuses() == "DDGG"
    assert bound.rows(f"SELECT status FROM task_instance WHERE id = {running}") == [("K",)]
    told = bound.rows("SELECT workflow_run_id, cursor > 0 FROM task_history WHERE actor = 'user:ada'")
    assert set(told) == {(run_id, 1)}


def test_force_overrides_that(bound: Scene) -> None:
    bound.start_run()
    finish(bound, 0)
    bound.attempt(1, *LAUNCH_AND_START)
    assert update(bound, [0], "G", is_forced=True).num_tasks == 4
    assert bound.statuses()[0] == "G"


def test_too_many_are_refused(half: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream, "MAX_TASKS", 2)
    with pytest.raises(UsageError, match="More than 2 tasks"):
        update(half, [1], "G")
    assert half.statuses() == "DDFG"


def test_long_chains_are_followed_to_their_end(done: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream, "SHALLOW", 1)
    assert update(done, [0], "G").num_tasks == 4


def test_full_reset(done: Scene) -> None:
    answer = reset(done)
    assert (answer.num_reset, answer.workflow_status) == (4, "G")
    assert done.statuses() == "GGGG"
    done.start_run()


def test_partial_reset_keeps_what_is_done(half: Scene) -> None:
    answer = reset(half, is_partial=True)
    assert (answer.num_reset, answer.num_to_run, answer.workflow_status) == (1, 2, "G")
    assert half.statuses() == "DDGG"
    assert half.rows("SELECT num_attempts FROM task ORDER BY id") == [(1,), (1,), (0,), (0,)]


def test_partial_reset_of_a_done_workflow_changes_nothing(done: Scene) -> None:
    assert reset(done, is_partial=True) == ResetWorkflowResponse(0, "D")


def test_reset_is_refused_while_something_lives(bound: Scene) -> None:
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START)
    with pytest.raises(WorkflowRunStateError, match="is RUNNING"):
        reset(bound)
    bound.run_events(WorkflowRunEvent.FAIL)
    with pytest.raises(WorkflowRunStateError, match="1 of its attempts may still be running"):
        reset(bound)
