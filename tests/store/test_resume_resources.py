"""A resume names the tasks whose latest attempt lacked resources."""

from __future__ import annotations

import pytest
from scene import LAUNCH_AND_START, Scene
from sqlalchemy import text

from jobmon.core.states import Cause, TaskInstanceEvent, TaskStatus, WorkflowRunEvent
from jobmon.serializers.swarm import ResetTasksResponse, UnscalableTask
from jobmon.server.web import dialect
from jobmon.server.web.store.resume import run_take_tasks

LACKING = (*LAUNCH_AND_START, TaskInstanceEvent.RESOURCE)
FAILING = (*LAUNCH_AND_START, TaskInstanceEvent.FAIL)


def take(scene: Scene, increase: bool = True) -> ResetTasksResponse:
    return scene.write(
        lambda c: run_take_tasks(
            c,
            scene.ids["run"],
            adopt=False,
            now=dialect.utcnow(c),
            actor="controller",
            increase_resources=increase,
        )
    )


@pytest.fixture
def ended(bound: Scene) -> Scene:
    """A run that ended; of its tasks the first is done at last, the second lacks resources, the third failed after that."""
    bound.is_out_of_order = True
    bound.start_run()
    bound.attempt(0, *LACKING, cause=Cause.RESOURCE)
    bound.attempt(0, *LAUNCH_AND_START, TaskInstanceEvent.FINISH)
    bound.attempt(1, *FAILING, cause=Cause.CODE)
    for _ in range(2):
        bound.attempt(1, *LACKING, cause=Cause.RESOURCE)
    bound.attempt(2, *LACKING, cause=Cause.RESOURCE)
    bound.attempt(2, *FAILING, cause=Cause.CODE)
    bound.run_events(WorkflowRunEvent.FAIL)
    bound.start_run()
    return bound


def test_the_latest_attempt_counts(ended: Scene) -> None:
    """Of tasks that are not done; asked twice, because an answer was lost, the same is answered."""
    assert ended.statuses() == "DFGG"
    answer = take(ended)
    assert (answer.to_increase, answer.num_done, answer.unscalable) == ([ended.task_ids[1]], 1, None)
    assert ended.statuses() == "DGGG"
    again = take(ended)
    assert (again.to_increase, again.num_reset) == ([ended.task_ids[1]], 0)


def test_nobody_is_named_unasked(ended: Scene) -> None:
    assert take(ended, increase=False).to_increase == []


def test_once_it_was_tried_again_it_is_not_named(ended: Scene) -> None:
    """Neither while the next attempt lives nor when that failed otherwise."""
    take(ended)
    instance = ended.attempt(1, *LAUNCH_AND_START)
    assert take(ended).to_increase == []
    assert instance
    assert ended.statuses()[1] == TaskStatus.RUNNING


def test_functions_of_the_script_stand_in_the_way(ended: Scene) -> None:
    """Of the tasks concerned only; then nothing is changed."""
    scales = '{"memory": "my_scale", "runtime": 0.5}'

    def give(position: int) -> None:
        ended.write(
            lambda c: c.execute(
                text("UPDATE task SET resource_scales = :scales WHERE id = :id"),
                {"id": ended.task_ids[position], "scales": scales},
            )
        )

    give(2)
    assert take(ended).unscalable is None
    give(1)
    before = ended.rows("SELECT * FROM task"), ended.rows("SELECT * FROM task_history")
    answer = take(ended)
    assert answer.unscalable == UnscalableTask(ended.task_ids[1], scales)
    assert answer.to_increase == []
    assert (ended.rows("SELECT * FROM task"), ended.rows("SELECT * FROM task_history")) == before
    assert take(ended, increase=False).unscalable is None
