"""Every attempt of a workflow, page by page; the facts about it."""

from __future__ import annotations

import json

import pytest
from scene import LAUNCH_AND_START, Scene

from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus, TaskStatus
from jobmon.serializers.trace import TraceResponse
from jobmon.server.web import dialect
from jobmon.server.web.store import attributes, trace

DONE, FAIL = TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL


@pytest.fixture
def tried(bound: Scene) -> Scene:
    """Task 0: failed, then done; task 1 done; task 2 runs; task 3 never tried."""
    bound.is_out_of_order = True
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START, FAIL, wallclock=0.5, cause=Cause.CODE, exit_code=3, nodename="n1")
    bound.attempt(1, *LAUNCH_AND_START, DONE, wallclock=1.5, cpu=1.0, maxrss=1000, io=10)
    bound.attempt(0, *LAUNCH_AND_START, DONE, wallclock=2.5)
    bound.attempt(2, *LAUNCH_AND_START)
    return bound


def read(scene: Scene, after: int | None = None, limit: int = 100) -> TraceResponse:
    return scene.read(lambda c: trace.workflow_read_trace(c, scene.workflow_id, after, limit))


def test_every_attempt_with_its_times(tried: Scene) -> None:
    page = read(tried)
    assert page.next_after is None
    assert page.task_name == ["fit_0", "fit_1", "fit_0", "fit_2"]
    assert page.attempt == [1, 1, 2, 1]
    assert [TaskInstanceStatus(letter).name for letter in page.status] == ["ERROR", "DONE", "DONE", "RUNNING"]
    assert [TaskStatus(letter).name for letter in page.task_status] == ["DONE", "DONE", "DONE", "RUNNING"]
    assert [json.loads(text) for text in page.node_args] == [{"n": "0"}, {"n": "1"}, {"n": "0"}, {"n": "2"}]
    assert (page.cause[0], page.exit_code[0], page.node[0]) == (Cause.CODE, 3, "n1")
    assert (page.wallclock[1], page.cpu[1], page.maxrss[1], page.io[1]) == (1.5, 1.0, 1000, 10)
    assert (page.requested_cores[1], page.requested_memory_gib[1]) == (1, None)
    assert set(page.template) == {"fit"}
    assert set(page.cluster) == {"dummy"}
    for queued, started, ended in zip(page.queued[:3], page.started, page.ended, strict=False):
        assert queued <= started <= ended
    assert page.started[3] >= page.queued[3] > ""
    assert page.ended[3] == ""


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_hold_every_attempt_once(tried: Scene, limit: int) -> None:
    """Whatever their size."""
    whole = read(tried).task_instance_id
    found, after = [], None
    for _ in range(10):
        page = read(tried, after, limit)
        assert len(page.task_instance_id) <= limit
        found += page.task_instance_id
        after = page.next_after
        if after is None:
            break
    assert found == whole


def test_what_is_refused(tried: Scene) -> None:
    with pytest.raises(NotFoundError, match="no workflow 999"):
        tried.read(lambda c: trace.workflow_read_trace(c, 999, None, 5))
    with pytest.raises(NotFoundError, match="no workflow 999"):
        tried.read(lambda c: trace.workflow_read_facts(c, 999, dialect.utcnow(c)))
    with pytest.raises(UsageError, match="999 is no attempt of workflow"):
        read(tried, 999)


def test_facts_of_a_workflow(tried: Scene) -> None:
    tried.write(lambda c: attributes.workflow_set_attributes(c, tried.workflow_id, {"release": "7"}))
    facts = tried.read(lambda c: trace.workflow_read_facts(c, tried.workflow_id, dialect.utcnow(c)))
    assert (facts.name, facts.tool_name, facts.attributes) == ("chain", "life", {"release": "7"})
    assert facts.num_attempts == 4
    (run,) = facts.runs
    assert (run.user, run.client_version) == ("ada", "4")
    assert run.pid > 0
    (template,) = facts.templates
    assert template.name == "fit"
    assert template.command_template == "fit {n} {data}"
    assert template.tasks_by_attempts == {2: 1, 1: 2, 0: 1}
    assert sum(template.tasks_by_status.values()) == 4
    assert [
        (asked.cluster, json.loads(asked.resources), asked.num_tasks) for asked in template.resources
    ] == [("dummy", {"cores": 1}, 4)]
