"""Why a task is where it is: facts read from the database, and what is decided from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scene import LAUNCH_AND_START, Scene
from sqlalchemy import text, update

from jobmon.core.exceptions import NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    Cause,
    TaskInstanceEvent,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.serializers.explain import AttemptSummary, Past, Reason, Why
from jobmon.serializers.monitor import UpdateTasksRequest
from jobmon.serializers.swarm import LimitRequest, SyncRequest
from jobmon.server.web import dialect
from jobmon.server.web.analysis.explain import explain
from jobmon.server.web.analysis.past import command_difference
from jobmon.server.web.analysis.task_facts import LoadFacts, RunFacts, TaskFacts
from jobmon.server.web.models import Task, WorkflowRun
from jobmon.server.web.store import explain as store
from jobmon.server.web.store import orders, swarm_read
from jobmon.server.web.store.past import task_read_past
from jobmon.server.web.store.progress import progress_recount
from jobmon.testing.factory import MadeWorkflow, workflow_make

FAIL, FINISH = TaskInstanceEvent.FAIL, TaskInstanceEvent.FINISH


def reasons_of(scene: Scene, position: int, after: timedelta = timedelta()) -> list[Reason]:
    def read(connection: Any) -> list[Reason]:
        row = store.task_read_row(connection, scene.task_ids[position])
        return explain(store.task_read_facts(connection, row), dialect.utcnow(connection) + after)

    found = scene.read(read)
    assert all(reason.sentence.endswith((".", ".)")) or "\n    " in reason.sentence for reason in found)
    return found


def why(reasons: Sequence[Reason]) -> list[Why]:
    return [reason.why for reason in reasons]


def set_tasks(scene: Scene, positions: Sequence[int], status: TaskStatus, user: str = "ada") -> None:
    message = UpdateTasksRequest([scene.task_ids[p] for p in positions], status.value, False, True)
    scene.write(
        lambda c: orders.tasks_update_by_hand(
            c,
            scene.workflow_id,
            message,
            user=user,
            now=dialect.utcnow(c),
            max_infrastructure_losses=10,
        )
    )


def set_limit(scene: Scene, limit: int, version: int | None = None) -> None:
    message = LimitRequest(limit, version)
    scene.write(
        lambda c: swarm_read.workflow_set_limit(
            c, scene.workflow_id, message, now=dialect.utcnow(c), actor="user:ada"
        )
    )


def test_before_and_while_its_run_begins(scene: Scene) -> None:
    """A task of a workflow that is not registered, never run, just being started, and ordered to end."""
    scene.define()
    scene.add_graph()
    scene.add_workflow()
    scene.add_tasks()
    (reason,) = reasons_of(scene, 0)
    assert reason.why is Why.NOT_REGISTERED
    scene.mark_bound()
    (reason,) = reasons_of(scene, 0)
    assert reason.why is Why.NEVER_RUN
    assert f"workflow resume -w {scene.workflow_id}" in reason.command
    scene.start_run()
    assert why(reasons_of(scene, 0)) == [Why.WAITS_FOR_SLOT]
    late = reasons_of(scene, 0, after=timedelta(seconds=1000))
    assert why(late) == [Why.RUN_SILENT]
    assert 800 < late[0].numbers["overdue_seconds"] <= 1000
    scene.write(lambda c: c.execute(update(WorkflowRun).values(is_draining=True)))
    assert why(reasons_of(scene, 0)) == [Why.RUN_ENDING]
    scene.write(lambda c: c.execute(update(WorkflowRun).values(is_draining=False)))
    scene.run_events(WorkflowRunEvent.COLD_RESUME)
    assert why(reasons_of(scene, 0)) == [Why.RUN_ENDING]
    scene.run_events(WorkflowRunEvent.TERMINATE)
    (reason,) = reasons_of(scene, 0)
    assert (reason.why, "HALTED" in reason.sentence) == (Why.NO_RUN_ALIVE, True)


def test_what_it_waits_for(bound: Scene) -> None:
    """The task above, the failed task above, and a failed one further up."""
    bound.start_run()
    (reason,) = reasons_of(bound, 3)
    assert reason.why is Why.UPSTREAM_NOT_DONE
    assert [task.id for task in reason.tasks] == [bound.task_ids[2]]
    assert reason.numbers == {"total": 1, "not_done": 1, "failed": 0}
    for _ in range(3):
        bound.attempt(0, *LAUNCH_AND_START, FAIL, cause=Cause.CODE, exit_code=3, description="broken\nalas")
    (reason,) = reasons_of(bound, 1)
    assert reason.why is Why.UPSTREAM_FAILED
    assert reason.command == f"jobmon task explain {bound.task_ids[0]}"
    above, direct = reasons_of(bound, 3)
    assert (above.why, direct.why) == (Why.BLOCKED_FURTHER_UP, Why.UPSTREAM_NOT_DONE)
    assert above.tasks[0].id == bound.task_ids[0]
    (failed,) = reasons_of(bound, 0)
    assert failed.why is Why.FAILED_FOR_GOOD
    assert failed.numbers == {"counted": 3, "max_attempts": 3}
    assert "exit code 3" in failed.sentence
    assert failed.sentence.endswith("    broken\n    alas")


def test_a_search_further_up_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says that it did not look at everything."""
    scene.num_tasks = 40
    scene.bind()
    scene.start_run()
    assert len(reasons_of(scene, 39)) == 1
    monkeypatch.setattr(store, "MAX_LEVELS", 5)
    (reason,) = reasons_of(scene, 39)
    assert "not looked at" in reason.sentence


def test_limits(bound: Scene) -> None:
    """Of the workflow and of the template, reached and zero."""
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START)
    bound.write(lambda c: c.execute(text("UPDATE edge SET upstream_node_ids = '[]'")))
    assert why(reasons_of(bound, 1)) == [Why.WAITS_FOR_SLOT]
    set_limit(bound, 1)
    (reason,) = reasons_of(bound, 1)
    assert (reason.why, reason.numbers) == (Why.WORKFLOW_LIMIT, {"limit": 1, "active": 1})
    set_limit(bound, 0)
    set_limit(bound, 0, bound.ids["template"].id)
    both = reasons_of(bound, 1)
    assert why(both) == [Why.WORKFLOW_LIMIT, Why.TEMPLATE_LIMIT]
    assert all("paused" in reason.sentence for reason in both)
    set_limit(bound, 5)
    assert why(reasons_of(bound, 1)) == [Why.TEMPLATE_LIMIT]


def test_from_the_first_attempt_to_the_end(bound: Scene) -> None:
    """Queued, running, failed, lost (not counted), and done."""
    bound.start_run()
    first = bound.attempt(0)
    assert why(reasons_of(bound, 0)) == [Why.WAITS_FOR_SLOT]
    bound.sync(SyncRequest([InstanceEvent(first, event) for event in LAUNCH_AND_START], []))
    assert why(reasons_of(bound, 0)) == [Why.RUNNING]
    bound.sync(SyncRequest([InstanceEvent(first, FAIL, cause=Cause.CODE, exit_code=-9)], []))
    waiting = reasons_of(bound, 0)
    assert why(waiting) == [Why.WAITS_FOR_SLOT, Why.FAILED_BEFORE]
    assert "by signal 9" in waiting[-1].sentence
    bound.attempt(0, *LAUNCH_AND_START, TaskInstanceEvent.LOSE, cause=Cause.INFRASTRUCTURE)
    waiting = reasons_of(bound, 0)
    assert why(waiting) == [Why.WAITS_FOR_SLOT, Why.LOST_BEFORE]
    assert waiting[-1].numbers == {"num_losses": 1}
    bound.attempt(0, *LAUNCH_AND_START, FINISH, wallclock=12.5)
    (done,) = reasons_of(bound, 0)
    assert done.why is Why.DONE
    assert done.numbers == {"workflow_run_id": bound.ids["run"], "num_attempts": 3, "duration_seconds": 12.5}


def test_by_hand(bound: Scene) -> None:
    """Set done by somebody; reset by somebody, itself or with what it waits for."""
    bound.start_run()
    for position in range(2):
        bound.attempt(position, *LAUNCH_AND_START, FINISH)
    bound.run_events(WorkflowRunEvent.STOP)
    set_tasks(bound, [2], TaskStatus.DONE)
    (reason,) = reasons_of(bound, 2)
    assert reason.why is Why.SET_DONE_BY_HAND
    assert "user ada" in reason.sentence
    set_tasks(bound, [0], TaskStatus.REGISTERED)
    assert why(reasons_of(bound, 0)) == [Why.NO_RUN_ALIVE, Why.RESET_BY_HAND]
    reset = reasons_of(bound, 1)
    assert why(reset) == [Why.NO_RUN_ALIVE, Why.UPSTREAM_NOT_DONE, Why.UPSTREAM_RESET]
    assert reset[-1].tasks[0].id == bound.task_ids[0]
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START)
    assert why(reasons_of(bound, 0)) == [Why.RUNNING, Why.RESET_BY_HAND]
    bound.run_events(WorkflowRunEvent.COLD_RESUME)


def test_larger_resources(bound: Scene) -> None:
    """What the next attempt asks for, as far as the database tells."""
    bound.start_run()
    bound.write(
        lambda c: c.execute(text("""UPDATE task SET resource_scales = '{"memory": 0.5, "cores": "f"}'"""))
    )
    bound.attempt(0, *LAUNCH_AND_START, TaskInstanceEvent.RESOURCE, cause=Cause.RESOURCE)
    adjusting, before = reasons_of(bound, 0)
    assert (adjusting.why, before.why) == (Why.ADJUSTING_RESOURCES, Why.FAILED_BEFORE)
    assert adjusting.sentence.endswith("resources than before.")  # one scale is a function of the script
    bound.write(lambda c: c.execute(text("""UPDATE task SET resource_scales = '{"cores": 0.5}'""")))
    assert "cores 2 instead of 1" in reasons_of(bound, 0)[0].sentence


def test_an_unknown_task(bound: Scene) -> None:
    with pytest.raises(NotFoundError, match="no task 999"):
        bound.read(lambda c: store.task_read_row(c, 999))


# -- against the past -----------------------------------------------------------------------------------
def test_against_the_past(bound: Scene) -> None:
    """First, unchanged, another task arg, another command, new."""

    def past(position: int) -> Any:
        return bound.read(lambda c: task_read_past(c, store.task_read_row(c, bound.task_ids[position])))

    assert past(0).past is Past.FIRST
    before = list(bound.task_ids)
    bound.add_workflow(workflow_args_hash="second")
    bound.add_tasks(
        task_args_hashes=["h", "other", "h", "h"],
        task_arg_values=[["data"], ["2020"], ["data"], ["data"]],
        commands=["fit 0 data", "fit 1 2020", "fit 2 data --fast", "fit 3 data"],
    )
    assert (past(0).past, past(0).task_id) == (Past.UNCHANGED, before[0])
    (difference,) = past(1).differences
    assert (difference.kind, difference.name, difference.before, difference.after) == (
        "task arg",
        "data",
        "data",
        "2020",
    )
    (difference,) = past(2).differences
    assert (difference.kind, difference.before, difference.after) == ("command", "", "--fast")
    bound.write(lambda c: c.execute(text(f"DELETE FROM task_history WHERE task_id = {before[3]}")))
    bound.write(lambda c: c.execute(text(f"DELETE FROM task_arg WHERE task_id = {before[3]}")))
    bound.write(lambda c: c.execute(text(f"DELETE FROM task WHERE id = {before[3]}")))
    assert past(3).past is Past.NEW
    bound.write(lambda c: progress_recount(c, 1))


def test_the_words_that_differ() -> None:
    difference = command_difference("run --threads 2 --out x", "run --threads 4 --out x", ["threads", "out"])
    assert (difference.kind, difference.name) == ("op arg", "threads, out")
    assert (difference.before, difference.after) == ("2", "4")
    assert len(command_difference("a", "b" * 5000, []).after) == 200


# -- pure -----------------------------------------------------------------------------------------------
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC).replace(tzinfo=None)
RUN = RunFacts(7, WorkflowRunStatus.RUNNING, "ada", NOW, NOW + timedelta(seconds=60))
FACTS = TaskFacts(
    id=1,
    name="fit",
    status=TaskStatus.LAUNCHED,
    status_at=NOW - timedelta(seconds=90),
    num_attempts=2,
    max_attempts=3,
    num_losses=0,
    workflow_id=5,
    workflow_status=WorkflowStatus.RUNNING,
    template_name="fit",
    cluster="slurm",
    queue="long.q",
    is_local=False,
    load=LoadFacts(100, 1, 100, 1),
    run=RUN,
    attempts=[
        AttemptSummary(1, 7, "Z", cause="resource", requested_resources={"memory": 2}),
        AttemptSummary(2, 7, "O", requested_resources={"memory": 3}, distributor_id="4711"),
    ],
)


def test_in_the_queue_of_a_batch_cluster() -> None:
    """With the queue's reason where it is known, and the larger request."""
    queued, before = explain(replace(FACTS, queue_reason="Priority"), NOW)
    assert queued.why is Why.IN_QUEUE
    assert "queue long.q of cluster slurm as job 4711" in queued.sentence
    assert "Priority" in queued.sentence
    assert queued.numbers == {"waited_seconds": 90}
    assert before.sentence == (
        "It runs again because it took more than it had asked for the last time. This is attempt 2 of 3, "
        "which asks for memory 3 GiB instead of 2 GiB."
    )
    handed, _ = explain(replace(FACTS, status=TaskStatus.INSTANTIATING), NOW)
    assert handed.why is Why.HANDED_OVER
    local, _ = explain(replace(FACTS, is_local=True, load=LoadFacts(9, 4, 9, 4, slots=4, num_running=4)), NOW)
    assert "4 of 4 tasks" in local.sentence


def test_lost_too_often_and_unexplained() -> None:
    lost = AttemptSummary(3, 7, "U", cause="infrastructure", nodename="n1")
    facts = replace(FACTS, status=TaskStatus.ERROR_FATAL, attempts=[lost], num_attempts=11, num_losses=11)
    (reason,) = explain(facts, NOW)
    assert reason.why is Why.LOST_TOO_OFTEN
    assert "11 losses" in reason.sentence
    assert "node n1" in reason.sentence
    assert why(explain(replace(facts, attempts=[]), NOW)) == [Why.FAILED_FOR_GOOD]
    assert why(explain(replace(facts, status=TaskStatus.DONE, attempts=[]), NOW)) == [Why.DONE]
    stopped = AttemptSummary(3, 7, "F", cause="ordered")
    again = explain(replace(facts, status=TaskStatus.ERROR_RECOVERABLE, attempts=[stopped]), NOW)
    assert why(again) == [Why.BEING_DECIDED, Why.ENDED_BY_ORDER]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (WorkflowRunStatus.STOPPED, "stopped by user ada"),
        (WorkflowRunStatus.ABORTED, "given up"),
        (WorkflowRunStatus.DONE, "is over"),
    ],
)
def test_runs_that_are_over(status: WorkflowRunStatus, words: str) -> None:
    facts = replace(FACTS, status=TaskStatus.REGISTERED, attempts=[], run=replace(RUN, status=status))
    (reason,) = explain(facts, NOW)
    assert words in reason.sentence
    facts = replace(facts, run=replace(RUN, status=WorkflowRunStatus.LINKING))
    assert why(explain(facts, NOW)) == [Why.RUN_STARTING]


def test_wide_upstreams_are_counted_not_listed(scene: Scene) -> None:
    """Ten are shown, the failed ones first."""

    def make(connection: Any) -> MadeWorkflow:
        width = 6000
        upstream: list[list[int]] = [[] for _ in range(width)] + [list(range(width))]
        return workflow_make(connection, upstream, now=dialect.utcnow(connection), name="wide")

    scene.is_out_of_order = True
    made = scene.write(make)
    last = made.task_ids[5000]
    scene.write(
        lambda c: c.execute(update(Task).where(Task.id == last).values(status=TaskStatus.ERROR_FATAL.value))
    )
    scene.task_ids = made.task_ids
    *_, reason = reasons_of(scene, 6000)
    assert reason.numbers == {"total": 6000, "not_done": 6000, "failed": 1}
    assert len(reason.tasks) == 10
    assert reason.tasks[0].id == last
