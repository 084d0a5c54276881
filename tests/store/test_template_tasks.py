"""The tasks of a template in pages, their attempts, and what stands around a task."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from scene import LAUNCH_AND_START, Scene

from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.core.states import TaskInstanceEvent, TaskStatus
from jobmon.server.web.store import failures, template_attempts, template_page
from jobmon.server.web.store.explain import task_read_row
from jobmon.server.web.store.neighbourhood import task_read_neighbourhood, upstream_read_size
from jobmon.server.web.store.task_page import (
    attempt_read_texts,
    failed_attempt_of,
    task_read_attempts,
    task_read_stamp,
)
from jobmon.server.web.store.template_attempts import array_read_usage_page, array_read_usage_sample
from jobmon.server.web.store.template_head import TemplateHead, template_read_head
from jobmon.server.web.store.template_page import (
    Order,
    TaskFilter,
    TaskPage,
    tasks_read_page,
)

FAIL = (*LAUNCH_AND_START, TaskInstanceEvent.FAIL)
FINISH = (*LAUNCH_AND_START, TaskInstanceEvent.FINISH)


@pytest.fixture
def ran(bound: Scene) -> Scene:
    """The first task is done at its second attempt, the second one runs."""
    bound.start_run()
    bound.ids["failed"] = bound.attempt(
        0, *FAIL, description="ValueError: no rows", stderr_log="x" * 30_000 + "end", wallclock=3.0, maxrss=7
    )
    bound.ids["done"] = bound.attempt(0, *FINISH, wallclock=5.0, maxrss=1 << 30, nodename="node1")
    bound.ids["running"] = bound.attempt(1, *LAUNCH_AND_START, nodename="node2")
    return bound


def head_of(scene: Scene) -> TemplateHead:
    return scene.read(lambda c: template_read_head(c, scene.workflow_id, scene.ids["array"]))


def page_of(scene: Scene, wanted: TaskFilter, after: int | None = None, limit: int = 10) -> TaskPage:
    head = head_of(scene)
    return scene.read(lambda c: tasks_read_page(c, head, wanted, after, limit))


def positions(scene: Scene, wanted: TaskFilter) -> list[int]:
    return [scene.task_ids.index(task.id) for task in page_of(scene, wanted).tasks]


def test_the_head_counts_by_the_counters(ran: Scene) -> None:
    head = head_of(ran)
    assert (head.name, head.command_template, head.workflow_name) == ("fit", "fit {n} {data}", "chain")
    assert set(head.node_args) == {"n"}
    assert head.progress.by_status == {"D": 1, "R": 1, "G": 2}
    with pytest.raises(NotFoundError):
        ran.read(lambda c: template_read_head(c, ran.workflow_id, 999))


FOUND = [
    (TaskFilter(), [0, 1, 2, 3]),
    (TaskFilter(order=Order.LAST_ID), [3, 2, 1, 0]),
    (TaskFilter(order=Order.NEWEST), [1, 0]),
    (TaskFilter(frozenset("G")), [2, 3]),
    (TaskFilter(frozenset("R"), order=Order.NEWEST), [1]),
    (TaskFilter(frozenset("D"), order=Order.NEWEST), [0]),
    (TaskFilter(frozenset("F"), order=Order.NEWEST), []),
    (TaskFilter(name="FIT_"), [0, 1, 2, 3]),
    (TaskFilter(name="t%1"), []),
    (TaskFilter(name="_1", order=Order.NEWEST), [1]),
    (TaskFilter(node_args={"n": "3"}), [3]),
    (TaskFilter(frozenset("D"), node_args={"n": "3"}), []),
]


def test_tasks_are_found(ran: Scene) -> None:
    for wanted, found in FOUND:
        assert positions(ran, wanted) == found, wanted


def test_a_task_has_its_args_and_its_latest_attempt(ran: Scene) -> None:
    first, second, third = page_of(ran, TaskFilter()).tasks[:3]
    assert (first.status, first.num_attempts, first.max_attempts) == (TaskStatus.DONE, 2, 3)
    assert first.node_args == {"n": "0"}
    assert first.attempt is not None
    assert (first.attempt.id, first.attempt.runtime, first.attempt.memory) == (ran.ids["done"], 5.0, 1 << 30)
    assert second.attempt is not None
    assert second.attempt.nodename == "node2"
    assert third.attempt is None


def test_pages_go_on_where_the_one_before_ended(ran: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where what is looked at in one go is less than a page."""
    monkeypatch.setattr(template_page, "WINDOW", 2)
    monkeypatch.setattr(template_page, "WINDOWS", 1)
    expected = {Order.ID: [0, 1, 2, 3], Order.LAST_ID: [3, 2, 1, 0], Order.NEWEST: [1, 0]}
    for order, name, limit in product(Order, ("", "fit_"), (1, 3)):
        found: list[int] = []
        after: int | None = None
        for _ in range(8):
            page = page_of(ran, TaskFilter(name=name, order=order), after, limit)
            found += [ran.task_ids.index(task.id) for task in page.tasks]
            after = page.next_after
            if after is None:
                break
        assert after is None
        assert found == expected[order]


def test_nodes_whose_hash_is_unknown_are_found_by_their_values(ran: Scene) -> None:
    """An older recipe may have made them."""
    head = head_of(ran)
    wanted = TaskFilter(node_args={"n": "2"})
    strange = replace(head, task_template_version_id=0)
    page = ran.read(lambda c: tasks_read_page(c, strange, wanted, None, 10))
    assert [task.id for task in page.tasks] == [ran.task_ids[2]]
    with pytest.raises(UsageError, match="no node arg location; it has n"):
        page_of(ran, TaskFilter(node_args={"location": "7"}))


# -- attempts --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sampled", [0, 10])
def test_what_attempts_used_is_read_in_columns(
    ran: Scene, monkeypatch: pytest.MonkeyPatch, sampled: int
) -> None:
    """All of few, some of many; those that have not ended do not count."""
    monkeypatch.setattr(template_attempts, "SAMPLED", sampled)
    array_id = ran.ids["array"]
    head = head_of(ran)
    sample = ran.read(lambda c: array_read_usage_sample(c, array_id, head.progress))
    assert sample.is_complete == bool(sampled)
    if sampled:
        assert list(sample.runtime) == [3.0, 5.0]
        assert list(sample.attempt) == [1, 2]
        assert bytes(sample.status) == b"ED"
        assert {request.cluster for request in sample.requests.values()} == {"dummy"}


def test_attempts_of_an_array_that_has_none(bound: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_attempts, "SAMPLED", 0)
    head = head_of(bound)
    assert len(bound.read(lambda c: array_read_usage_sample(c, bound.ids["array"], head.progress))) == 0


def test_all_attempts_are_read_page_by_page(ran: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_attempts, "PAGE", 2)
    array_id = ran.ids["array"]
    rows, after = ran.read(lambda c: array_read_usage_page(c, array_id, None))
    more, end = ran.read(lambda c: array_read_usage_page(c, array_id, after))
    assert end is None
    assert [row[3] for row in rows + more] == [ran.ids["failed"], ran.ids["done"], ran.ids["running"]]
    assert [row[4] for row in rows + more] == [1, 2, 1]


def test_the_attempts_of_a_task_with_their_moments(ran: Scene) -> None:
    found = ran.read(lambda c: task_read_attempts(c, ran.task_ids[0]))
    assert [(each.number, each.status.value) for each in found.shown] == [(1, "E"), (2, "D")]
    for each in found.shown:
        assert each.queued is not None
        assert each.started is not None
        assert each.ended is not None
        assert each.queued <= each.started <= each.ended
    assert found.total == 2
    assert found.history[-1].task_to is TaskStatus.DONE


def test_the_end_of_what_an_attempt_wrote_is_read(ran: Scene) -> None:
    task_id = ran.task_ids[0]
    texts = ran.read(lambda c: attempt_read_texts(c, task_id, ran.ids["failed"]))
    assert texts.error == "ValueError: no rows"
    assert texts.stderr.endswith("xend")
    assert len(texts.stderr) == 20_000
    assert ran.read(lambda c: failed_attempt_of(c, task_id)) == ran.ids["failed"]
    assert ran.read(lambda c: failed_attempt_of(c, ran.task_ids[3])) is None
    with pytest.raises(NotFoundError):
        ran.read(lambda c: attempt_read_texts(c, task_id, ran.ids["running"]))


def test_the_errors_of_a_template_have_their_tasks(ran: Scene) -> None:
    """Those that were made good only where all are asked for."""
    array_id = ran.ids["array"]
    read = failures.array_read_errors
    recent = ran.read(lambda c: read(c, ran.workflow_id, array_id, 10, is_recent=True))
    assert recent.clusters == []
    every = ran.read(lambda c: read(c, ran.workflow_id, array_id, 10, is_recent=False))
    ((row, task_ids),) = every.clusters
    assert (row.num_tasks, task_ids) == (1, [ran.task_ids[0]])
    other = ran.read(lambda c: read(c, ran.workflow_id, array_id + 1, 10, is_recent=False))
    assert (other.num_errors, other.is_complete) == (0, True)


# -- around a task ---------------------------------------------------------------------------------------
def test_the_tasks_around_one(ran: Scene) -> None:
    row = ran.read(lambda c: task_read_row(c, ran.task_ids[1]))
    around = ran.read(lambda c: task_read_neighbourhood(c, row, 2, 2, 15))
    by_level = {task.level: task.id for task in around.tasks}
    assert by_level == {-1: ran.task_ids[0], 0: ran.task_ids[1], 1: ran.task_ids[2], 2: ran.task_ids[3]}
    assert around.edges == sorted(zip(ran.task_ids, ran.task_ids[1:], strict=False))
    assert (around.num_up, around.num_down, around.hidden) == (1, 1, {})
    assert ran.read(lambda c: upstream_read_size(c, row.dag_id, row.node_id)) > 2


def test_the_stamp_changes_with_the_task(ran: Scene) -> None:
    before = ran.read(lambda c: task_read_stamp(c, ran.task_ids[2]))
    assert before == ran.read(lambda c: task_read_stamp(c, ran.task_ids[2]))
    assert before != ran.read(lambda c: task_read_stamp(c, ran.task_ids[1]))
    assert ran.read(lambda c: task_read_stamp(c, 999)) == ()
