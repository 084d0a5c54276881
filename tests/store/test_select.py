"""Tasks chosen by template, status, node args and attributes; and what may be done to them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scene import LAUNCH_AND_START, Scene
from sqlalchemy import event

from jobmon.core.exceptions import NotFoundError, UsageError, WorkflowRunStateError
from jobmon.core.states import TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.monitor import UpdateTasksRequest, UpdateTasksResponse
from jobmon.serializers.select import SelectRequest, SelectResponse, SubtreeRequest
from jobmon.server.web import dialect
from jobmon.server.web.store import attributes, downstream, orders
from jobmon.server.web.store import select as select_store


def choose(scene: Scene, **conditions: Any) -> SelectResponse:
    message = SelectRequest(**conditions)
    return scene.read(lambda c: select_store.tasks_select(c, scene.workflow_id, message))


def positions(scene: Scene, **conditions: Any) -> list[int]:
    return [scene.task_ids.index(task_id) for task_id in choose(scene, **conditions).task_ids]


def update(scene: Scene, chosen: list[int], status: str, **options: Any) -> UpdateTasksResponse:
    message = UpdateTasksRequest([scene.task_ids[i] for i in chosen], status, **options)
    return scene.write(
        lambda c: orders.tasks_update_by_hand(
            c, scene.workflow_id, message, user="ada", now=dialect.utcnow(c), max_infrastructure_losses=10
        )[0]
    )


@pytest.fixture
def half(bound: Scene) -> Scene:
    """Of a chain of four two tasks are done, the third failed; the first two have attributes."""
    bound.start_run()
    for position in (0, 1):
        bound.attempt(position, *LAUNCH_AND_START, TaskInstanceEvent.FINISH)
    for _ in range(3):
        bound.attempt(2, *LAUNCH_AND_START, TaskInstanceEvent.FAIL)
    bound.run_events(WorkflowRunEvent.FAIL)
    given_attributes = {bound.task_ids[0]: {"kind": "a", "note": None}, bound.task_ids[1]: {"kind": "b"}}
    bound.write(lambda c: attributes.tasks_set_attributes(c, given_attributes))
    return bound


def test_every_condition_must_hold(half: Scene) -> None:
    assert positions(half) == [0, 1, 2, 3]
    assert positions(half, templates=["fit"]) == [0, 1, 2, 3]
    assert positions(half, statuses=["D"]) == [0, 1]
    assert positions(half, statuses=["F", "G"]) == [2, 3]
    assert positions(half, node_args={"n": ["1", "2", "7"]}) == [1, 2]
    assert positions(half, node_args={"n": ["1", "2"]}, statuses=["F"]) == [2]
    assert positions(half, attributes={"kind": []}) == [0, 1]
    assert positions(half, attributes={"kind": ["b", "c"]}) == [1]
    assert positions(half, attributes={"kind": ["a"], "note": []}) == [0]
    assert positions(half, attributes={"unheard of": []}) == []
    assert positions(half, task_ids=half.task_ids[1:3], statuses=["D"]) == [1]
    answer = choose(half, statuses=["F"], is_detailed=True)
    assert [(row.name, row.status, row.retries) for row in answer.tasks] == [("fit_2", "F", 2)]


def test_pages(half: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select_store, "PAGE", 3)
    first = choose(half)
    assert (first.task_ids, first.next_after) == (half.task_ids[:3], half.task_ids[2])
    second = choose(half, after_task_id=first.next_after)
    assert (second.task_ids, second.next_after) == (half.task_ids[3:], None)
    assert len(choose(half, limit=2).task_ids) == 2


def test_what_the_workflow_does_not_have_is_named(half: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no tasks of the template 'fitt'. Its templates: fit"):
        choose(half, templates=["fitt"])
    with pytest.raises(UsageError, match=r"^data, year: no node arg of .* Their node args: n\."):
        choose(half, node_args={"year": ["1"], "data": ["1"]})
    with pytest.raises(NotFoundError, match="no task 12345"):
        choose(half, task_ids=[*half.task_ids, 12345])
    with pytest.raises(NotFoundError, match="no workflow 77"):
        half.read(lambda c: select_store.tasks_select(c, 77, SelectRequest()))
    stranger = half.task_ids[0]
    half.add_workflow(workflow_args_hash="second")
    half.add_tasks()
    with pytest.raises(UsageError, match=f"not of workflow {half.workflow_id}: {stranger}"):
        choose(half, task_ids=[stranger])
    assert positions(half) == [0, 1, 2, 3]  # of the second workflow
    monkeypatch.setattr(select_store, "MAX_VALUES", 2)
    with pytest.raises(UsageError, match="3 values"):
        choose(half, templates=["fit"], node_args={"n": ["1", "2"]})


VALUES = st.lists(st.sampled_from("0123456"), max_size=4, unique=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(VALUES, VALUES, st.lists(st.sampled_from("DFGQ"), max_size=3, unique=True))
def test_as_if_tasks_were_gone_through_one_by_one(
    half: Scene, wanted: list[str], kinds: list[str], letters: list[str]
) -> None:
    conditions: dict[str, Any] = {"statuses": letters}
    if wanted:
        conditions["node_args"] = {"n": wanted}
    if kinds:
        conditions["attributes"] = {"kind": [*kinds, "a"]}
    expected = [
        position
        for position, letter in enumerate("DDFG")
        if (not letters or letter in letters)
        and (not wanted or str(position) in wanted)
        and (not kinds or position == 0)
    ]
    assert positions(half, **conditions) == expected


# -- setting them by hand ---------------------------------------------------------------------------
def test_only_these_run_again_when_nothing_used_what_they_made(half: Scene) -> None:
    with pytest.raises(WorkflowRunStateError, match=rf"task {half.task_ids[1]} is DONE\).*--only"):
        update(half, [0], "G", is_only=True)
    assert half.statuses() == "DDFG"
    answer = update(half, [1], "G", is_only=True)
    assert (answer.num_tasks, answer.num_changed) == (1, 1)
    assert half.statuses() == "DGFG"
    assert update(half, [0, 1], "G", is_only=True).num_changed == 1
    assert half.statuses() == "GGFG"


def test_only_is_refused_while_a_task_behind_is_active(bound: Scene) -> None:
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START, TaskInstanceEvent.FINISH)
    bound.attempt(1, *LAUNCH_AND_START)
    with pytest.raises(WorkflowRunStateError, match="is RUNNING"):
        update(bound, [0], "G", is_only=True, is_forced=True)
    assert bound.statuses() == "DRGG"


def test_a_trial_checks_and_counts_and_changes_nothing(half: Scene) -> None:
    rows = half.rows("SELECT count(*) FROM task_history")
    assert update(half, [1], "G", is_trial=True).num_tasks == 3
    assert update(half, [1], "D", is_trial=True).num_tasks == 1
    assert half.statuses() == "DDFG"
    assert half.rows("SELECT count(*) FROM task_history") == rows
    with pytest.raises(UsageError, match="not to 'R'"):
        update(half, [1], "R", is_trial=True)


def test_too_many_explicit_ids_are_refused_before_anything_is_read(
    half: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downstream, "MAX_TASKS", 2)
    with pytest.raises(UsageError, match=f"More than 2 tasks.*workflow reset -w {half.workflow_id}"):
        update(half, [0, 1, 2], "D")


def test_subtree(half: Scene) -> None:
    def subtree(task_ids: list[int], *statuses: str) -> dict[int, str]:
        message = SubtreeRequest(task_ids, list(statuses))
        return half.read(lambda c: select_store.tasks_read_subtree(c, message)).statuses

    ids = half.task_ids
    assert subtree([ids[1]]) == {ids[1]: "D", ids[2]: "F", ids[3]: "G"}
    assert subtree([ids[0]], "D") == {ids[0]: "D", ids[1]: "D"}
    with pytest.raises(NotFoundError, match="No task is named"):
        subtree([])


@pytest.mark.slow
def test_a_hundred_thousand_tasks(scene: Scene) -> None:
    """Chosen by status, by template and by node arg with a handful of statements each, however many tasks there are."""
    scene.num_tasks, scene.is_out_of_order = 100_000, True
    scene.bind()
    few = scene.task_ids[5:8]
    scene.write(
        lambda c: c.exec_driver_sql(f"UPDATE task SET status = 'F' WHERE id IN ({','.join(map(str, few))})")
    )
    statements: list[str] = []
    event.listen(
        scene.database.engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, *_: statements.append(statement),
    )
    for conditions, expected in (
        ({"statuses": ["F"]}, 3),
        ({"templates": ["fit"], "statuses": ["G"]}, select_store.PAGE),
        ({"node_args": {"n": ["4711"]}}, 1),
        ({"attributes": {"kind": []}}, 0),
    ):
        statements.clear()
        assert len(choose(scene, **conditions).task_ids) == expected
        assert 0 < len(statements) <= 10
