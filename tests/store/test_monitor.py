"""What people ask about workflows, tasks and attempts."""

from __future__ import annotations

import pytest
from scene import LAUNCH_AND_START, Scene

from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.serializers.monitor import TaskStatusRequest
from jobmon.server.web.store import monitor


@pytest.fixture
def failed(bound: Scene) -> Scene:
    """The first task is done, the second failed twice and then for good."""
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START, TaskInstanceEvent.FINISH)
    for n in range(3):
        bound.attempt(
            1,
            *LAUNCH_AND_START,
            TaskInstanceEvent.FAIL,
            cause=Cause.CODE,
            description=f"broken {n}",
            stderr="/logs/e",
            stdout="/logs/o",
        )
    return bound


def test_status_counts_tasks_and_retries(failed: Scene) -> None:
    (row,) = failed.read(lambda c: monitor.workflows_read_status(c, [failed.workflow_id], [], None))
    assert row.tasks_by_status == {"D": 1, "F": 1, "G": 2}
    assert (row.retries, row.status, row.name) == (2, "R", "chain")
    assert row.created_date.startswith("20")


def test_status_by_user_shows_the_latest(failed: Scene) -> None:
    assert [row.id for row in failed.read(lambda c: monitor.workflows_read_status(c, [], ["ada"], 5))] == [
        failed.workflow_id
    ]
    assert failed.read(lambda c: monitor.workflows_read_status(c, [], ["eve"], 5)) == []
    assert failed.read(lambda c: monitor.workflows_read_status(c, [failed.workflow_id], ["eve"], 5)) == []


def test_unknown_things_are_named(failed: Scene) -> None:
    with pytest.raises(NotFoundError, match="no workflow 98, 99"):
        failed.read(lambda c: monitor.workflows_read_status(c, [failed.workflow_id, 98, 99], [], 5))
    with pytest.raises(NotFoundError, match="no task 77"):
        failed.read(lambda c: monitor.tasks_read_status(c, TaskStatusRequest([failed.task_ids[0], 77])))
    for work in (monitor.workflow_read_owner, lambda c, w: monitor.workflow_read_tasks(c, w, [], None)):
        with pytest.raises(NotFoundError, match="no workflow 99"):
            failed.read(lambda c, w=work: w(c, 99))  # type: ignore[misc]


def test_tasks_by_status(failed: Scene) -> None:
    rows = failed.read(lambda c: monitor.workflow_read_tasks(c, failed.workflow_id, ["F"], 5))
    assert [(row.name, row.status, row.retries) for row in rows] == [("fit_1", "F", 2)]
    assert len(failed.read(lambda c: monitor.workflow_read_tasks(c, failed.workflow_id, [], 3))) == 3


def test_attempts_carry_the_latest_error(failed: Scene) -> None:
    rows = failed.read(lambda c: monitor.tasks_read_status(c, TaskStatusRequest(failed.task_ids[1:3])))
    assert [row.error for row in rows] == ["broken 0", "broken 1", "broken 2", ""]
    assert (rows[0].instance_status, rows[0].stderr, rows[0].cause) == ("E", "/logs/e", "code")
    assert rows[-1].task_instance_id is None
    some = failed.read(lambda c: monitor.tasks_read_status(c, TaskStatusRequest(failed.task_ids, ["F"], 2)))
    assert [row.error for row in some] == ["broken 0", "broken 1"]


def test_errors_newest_first(failed: Scene) -> None:
    rows = failed.read(lambda c: monitor.workflow_read_errors(c, failed.workflow_id, None, 2))
    assert [row.description for row in rows] == ["broken 2", "broken 1"]
    assert (
        failed.read(lambda c: monitor.workflow_read_errors(c, failed.workflow_id, failed.task_ids[0], 2))
        == []
    )


def test_logs(failed: Scene) -> None:
    rows = failed.read(lambda c: monitor.workflow_read_logs(c, failed.workflow_id, "fit", "fit_1", None))
    assert [(row.stdout, row.stderr) for row in rows] == [("/logs/o", "/logs/e")] * 3
    assert failed.read(lambda c: monitor.workflow_read_logs(c, failed.workflow_id, "other", "", None)) == []


def test_dependencies(failed: Scene) -> None:
    found = failed.read(lambda c: monitor.task_read_dependencies(c, failed.task_ids[1]))
    assert [row.name for row in found.up] == ["fit_0"]
    assert [(row.name, row.status) for row in found.down] == [("fit_2", "G")]


def test_owner(failed: Scene) -> None:
    assert failed.read(lambda c: monitor.workflow_read_owner(c, failed.workflow_id)) == "ada"
