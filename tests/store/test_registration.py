"""Registering a workflow piece by piece: every piece twice, cut off, by two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from scene import LAUNCH_AND_START, Scene

from jobmon.core.exceptions import (
    EmptyWorkflowError,
    InvalidUsage,
    UsageError,
    WorkflowAlreadyExists,
)
from jobmon.core.states import TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.define import ArrayItem, WorkflowMatchRequest
from jobmon.server.web import dialect
from jobmon.server.web.store import attributes, bind, graph

COUNTED = (
    "node",
    "node_arg",
    "edge",
    "workflow",
    "array",
    "task",
    "task_arg",
    "task_attribute",
    "workflow_attribute",
)


def count_all(scene: Scene) -> dict[str, int]:
    return {table: scene.rows(f"SELECT count(*) FROM {table}")[0][0] for table in COUNTED}


def test_everything_sent_twice_changes_nothing_and_answers_the_same(scene: Scene) -> None:
    scene.define()
    answers = []
    for _ in range(2):
        scene.add_graph()
        workflow = scene.add_workflow(attributes={"country": "NO", "flag": None})
        tasks = scene.add_tasks(attributes=[{"n": str(n)} for n in range(4)])
        answers.append(
            (scene.ids["nodes"], scene.ids["dag"], workflow, scene.ids["array"], tasks, count_all(scene))
        )
    assert answers[0] == answers[1]
    assert answers[0][-1]["task"] == answers[0][-1]["node"] == answers[0][-1]["edge"] == 4
    scene.mark_bound()
    created = scene.rows("SELECT created_date FROM workflow")
    scene.mark_bound()
    assert scene.rows("SELECT created_date FROM workflow") == created != [(None,)]


def test_binders_of_the_same_workflow_at_once_end_right(scene: Scene) -> None:
    scene.define()

    def register(_: int) -> tuple[list[int], list[int]]:
        own = Scene(scene.database, ids=dict(scene.ids), num_tasks=50)
        own.add_graph()
        own.add_workflow()
        own.add_tasks()
        own.mark_bound()
        return own.ids["nodes"], own.task_ids

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(register, range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert count_all(scene)["task"] == count_all(scene)["node"] == 50


def test_nodes_are_shared_and_only_missing_ones_are_added(scene: Scene) -> None:
    scene.define()
    first = scene.write(lambda c: graph.nodes_get_or_create(c, [scene.node_group(["a", "b"])]))[0]
    both = scene.write(
        lambda c: graph.nodes_get_or_create(c, [scene.node_group(["b", "c", "c"]), scene.node_group(["a"])])
    )
    assert both[0][0] == first[1]
    assert both[0][1] == both[0][2]
    assert both[1] == [first[0]]
    assert scene.rows("SELECT val FROM node_arg ORDER BY node_id") == [("a",), ("b",), ("c",)]


def test_a_complete_graph_takes_no_more_edges(scene: Scene) -> None:
    scene.define()
    scene.add_graph()
    before = scene.rows("SELECT * FROM edge")
    scene.num_tasks = 6
    scene.add_graph()
    assert scene.rows("SELECT * FROM edge") == before


def test_too_long_args_are_refused_by_name_before_anything_is_stored(scene: Scene) -> None:
    scene.define()
    group = scene.node_group(["short", "x" * 2049])
    with pytest.raises(UsageError, match="node arg 'n' has 2049 characters"):
        scene.write(lambda c: graph.nodes_get_or_create(c, [scene.node_group(), group]))
    assert scene.rows("SELECT count(*) FROM node") == [(0,)]
    scene.add_graph()
    scene.add_workflow()
    with pytest.raises(UsageError, match="task arg 'data' has 3000 characters"):
        scene.add_tasks(task_arg_values=[["data"]] * 3 + [["x" * 3000]])
    with pytest.raises(UsageError, match="resource_scales of tasks like 'fit_0' take 1001 characters"):
        scene.add_tasks(resource_scales="x" * 1001)
    with pytest.raises(UsageError, match="attribute 'note' has 300 characters"):
        scene.add_tasks(attributes=[{}, {}, {}, {"note": "x" * 300}])
    assert scene.rows("SELECT count(*) FROM task") == [(0,)]


def test_long_names_are_cut_and_stay_equal(scene: Scene) -> None:
    scene.define()
    scene.add_graph()
    scene.add_workflow(name="w" * 300)
    scene.add_tasks(names=["t" * 300] * 4)
    scene.add_tasks(names=["t" * 300] * 4)
    assert scene.rows("SELECT DISTINCT length(name) FROM task") == [(255,)]
    assert scene.rows("SELECT length(name) FROM workflow") == [(255,)]


def test_columns_of_unequal_length_are_refused(scene: Scene) -> None:
    scene.define()
    scene.add_graph()
    scene.add_workflow()
    with pytest.raises(InvalidUsage, match="equal lengths"):
        scene.add_tasks(names=["one"])
    with pytest.raises(InvalidUsage, match="Array 99"):
        scene.add_tasks(array_id=99)


def test_same_args_but_other_content_is_refused(bound: Scene) -> None:
    with pytest.raises(WorkflowAlreadyExists, match=f"Workflow {bound.workflow_id} has .* other tasks"):
        bound.add_workflow(task_hash="changed")
    bound.add_graph("another dag")
    with pytest.raises(WorkflowAlreadyExists, match="other dependencies"):
        bound.add_workflow()


def test_a_bind_cut_off_is_completed_by_the_next_one(scene: Scene) -> None:
    scene.define()
    scene.add_graph()
    scene.add_workflow()
    nodes = scene.ids["nodes"]
    scene.ids["nodes"] = nodes[:2]
    first = scene.add_tasks(task_arg_values=[["data"]] * 2)
    assert not scene.add_workflow().is_bound
    scene.ids["nodes"] = nodes
    answer = scene.add_tasks()
    assert answer.task_ids[0][:2] == first.task_ids[0]
    assert answer.statuses == ["GGGG"]
    scene.mark_bound()
    assert scene.add_workflow().is_bound


def test_a_workflow_without_tasks_is_not_completed(scene: Scene) -> None:
    scene.define()
    scene.add_graph()
    scene.add_workflow()
    with pytest.raises(EmptyWorkflowError):
        scene.mark_bound()


def test_no_task_is_added_to_a_complete_workflow(bound: Scene) -> None:
    bound.num_tasks = 5
    bound.add_graph("larger")
    with pytest.raises(WorkflowAlreadyExists, match="registered completely"):
        bound.add_tasks()


def test_an_array_gets_name_and_limit_of_the_script_of_its_owner(bound: Scene) -> None:
    def bind_array(name: str, limit: int, user: str) -> list[int]:
        item = ArrayItem(bound.ids["template"].id, name, limit)
        return bound.write(
            lambda c: bind.arrays_get_or_create(
                c, bound.workflow_id, [item], now=dialect.utcnow(c), user=user
            )
        )

    assert bind_array("renamed", 4, bound.user) == [bound.ids["array"]]
    bound.start_run()  # whose run it is, whose workflow it is
    bind_array("stolen", 0, "somebody")
    assert bound.rows("SELECT name, max_concurrently_running FROM array") == [("renamed", 4)]


def test_the_next_script_updates_what_it_may(bound: Scene) -> None:
    bound.add_tasks(commands=["new"] * 4, max_attempts=7, names=["renamed"] * 4)
    bound.add_workflow(name="better", description="words", max_concurrently_running=3)
    assert bound.rows("SELECT DISTINCT command, max_attempts, name, status FROM task") == [
        ("new", 7, "renamed", "G")
    ]
    assert bound.rows("SELECT name, description, max_concurrently_running FROM workflow") == [
        ("better", "words", 3)
    ]


def test_while_a_run_is_alive_tasks_stay_as_they_are(bound: Scene) -> None:
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START, TaskInstanceEvent.FINISH)
    answer = bound.add_tasks(commands=["new"] * 4)
    assert answer.statuses == ["DGGG"]
    assert bound.rows("SELECT count(*) FROM task WHERE command = 'new'") == [(0,)]
    bound.run_events(WorkflowRunEvent.FAIL)
    assert bound.add_workflow().has_run
    bound.add_tasks(commands=["new"] * 4)
    assert bound.rows("SELECT count(*) FROM task WHERE command = 'new'") == [(4,)]


def test_a_stranger_changes_nothing(bound: Scene) -> None:
    bound.start_run()
    bound.run_events(WorkflowRunEvent.FAIL)
    bound.add_workflow(user="eve", name="mine", attributes={"a": "b"})
    bound.add_tasks(user="eve", commands=["rm"] * 4)
    assert bound.rows("SELECT name FROM workflow") == [("chain",)]
    assert bound.rows("SELECT count(*) FROM task WHERE command = 'rm'") == [(0,)]
    assert count_all(bound)["workflow_attribute"] == 0


def test_match_finds_the_workflow_of_the_same_args(bound: Scene) -> None:
    version = bound.ids["tool_version"]
    found = bound.read(lambda c: bind.workflow_match(c, WorkflowMatchRequest(version, "args")))
    assert (found.workflow_id, found.dag_hash, found.task_hash) == (bound.workflow_id, "dag", "tasks")
    missing = bound.read(lambda c: bind.workflow_match(c, WorkflowMatchRequest(version, "other")))
    assert missing.workflow_id is None


def test_attributes_are_set_and_changed(bound: Scene) -> None:
    for value in ("1", "2"):
        bound.write(
            lambda c, v=value: attributes.task_set_attributes(c, bound.task_ids[0], {"n": v, "flag": None})
        )  # type: ignore[misc]
    rows = bound.rows(
        "SELECT name, value FROM task_attribute JOIN task_attribute_type t ON t.id = type_id ORDER BY 1"
    )
    assert rows == [("flag", None), ("n", "2")]
    assert bound.write(lambda c: attributes.workflow_set_attributes(c, bound.workflow_id, {})) == 0


def test_ten_thousand_tasks_take_a_bounded_number_of_statements(scene: Scene) -> None:
    from sqlalchemy import event

    scene.define()
    statements: list[str] = []
    event.listen(scene.database.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    scene.num_tasks = 10_000
    scene.add_graph()
    scene.add_workflow()
    scene.add_tasks(
        task_arg_values=[["data"]] * 10_000,
    )
    assert len(statements) < 80
