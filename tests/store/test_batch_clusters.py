"""What the server keeps of batch clusters: batches, attempts that outlive their run, reasons to wait, conditions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from scene import LAUNCH_AND_START, Scene

from jobmon.core.exceptions import NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    Cause,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowStatus,
)
from jobmon.serializers.monitor import UpdateTasksRequest
from jobmon.serializers.swarm import (
    BatchRequest,
    BatchResponse,
    ClusterCondition,
    FeedResponse,
    LiveInstance,
    QueueReason,
    ResumableResponse,
    SyncRequest,
)
from jobmon.server.services.reaper import Reaper
from jobmon.server.web import dialect
from jobmon.server.web.store import attempts, resume
from jobmon.server.web.store.feed import run_feed
from jobmon.server.web.store.monitor import workflows_read_status
from jobmon.server.web.store.orders import tasks_update_by_hand
from jobmon.server.web.store.outside import workflow_finish_if_done
from jobmon.server.web.store.run_progress import workflow_run_progress
from jobmon.server.web.store.trace import workflow_read_trace

KILL_SELF = TaskInstanceStatus.KILL_SELF.value
INSTANTIATED = TaskInstanceStatus.INSTANTIATED.value
LAUNCHED = TaskInstanceStatus.LAUNCHED.value
RUNNING = TaskInstanceStatus.RUNNING.value
ENDED_BY_ORDER = TaskInstanceStatus.ERROR_FATAL.value
NAME = "fit-1.key"


def batch_of(scene: Scene, *positions: int, name: str = NAME, **more: Any) -> BatchRequest:
    """A batch of tasks; a name makes it one of a batch cluster."""
    tasks = [scene.task_ids[position] for position in positions]
    request = BatchRequest(
        scene.ids["array"], scene.ids["batch"], scene.ids["resources"], tasks, name, **more
    )
    scene.ids["batch"] += 1
    return request


def submit(scene: Scene, *positions: int, name: str = NAME, **more: Any) -> BatchResponse:
    """Attempts of a batch, as the controller is told of them."""
    answer = scene.sync(SyncRequest([], [batch_of(scene, *positions, name=name, **more)]))
    created: BatchResponse = answer.batches[0]
    return created


def tell(scene: Scene, *events: InstanceEvent, actor: str = "worker") -> attempts.Applied:
    """Events by another than the controller."""
    return scene.write(
        lambda c: attempts.attempts_apply_events(
            c, events, now=dialect.utcnow(c), actor=actor, max_infrastructure_losses=10
        )
    )


def instances(scene: Scene) -> str:
    return "".join(row[0] for row in scene.rows("SELECT status FROM task_instance ORDER BY id"))


def order(scene: Scene, *, cold: bool) -> ResumableResponse:
    def work(connection: Any) -> ResumableResponse:
        now = dialect.utcnow(connection)
        resume.workflow_order_resume(
            connection,
            scene.workflow_id,
            cold=cold,
            dead_workflow_run_ids=[scene.ids["run"]],
            now=now,
            actor="user:ada",
            losses=10,
        )
        return resume.workflow_resumable(connection, scene.workflow_id, now, cold)

    return scene.write(work)


def feed(scene: Scene, after: int) -> FeedResponse:
    return scene.read(lambda c: run_feed(c, scene.ids["run"], after, "controller"))


@pytest.fixture
def running(bound: Scene) -> Scene:
    """A run that works on it; the graph does not matter here."""
    bound.is_out_of_order = True
    bound.start_run()
    return bound


# -- batches ------------------------------------------------------------------------------------------
def test_a_batch_has_one_row_however_often_it_is_sent(running: Scene) -> None:
    """Its name, its steps and the run that submitted it."""
    request = batch_of(running, 0, 1)
    first = running.sync(SyncRequest([], [request])).batches[0]
    again = running.sync(SyncRequest([], [request])).batches[0]
    assert again == first
    assert running.rows("SELECT array_id, batch_num, workflow_run_id, name, num_steps FROM batch") == [
        (request.array_id, request.batch_num, running.ids["run"], NAME, 2)
    ]


def test_a_local_batch_has_none(running: Scene) -> None:
    """The controller runs its commands itself."""
    submit(running, 0, name="")
    assert running.rows("SELECT * FROM batch") == []


def test_steps_of_a_batch_have_no_gaps(running: Scene) -> None:
    """A task that could not be queued leaves none: a job array has as many steps as attempts."""
    submit(running, 1, name="")
    created = submit(running, 0, 1, 2)
    assert created.task_ids == [running.task_ids[0], running.task_ids[2]]
    assert created.array_step_ids == [0, 1]
    assert running.rows("SELECT num_steps FROM batch") == [(2,)]


def test_notes_are_kept_with_the_queueing_of_their_task(running: Scene) -> None:
    """And are in the trace."""
    submit(running, 0, 1, notes={running.task_ids[1]: "its peak was 1.9 GiB of 2 GiB"})
    rows = running.rows("SELECT task_id, event, note FROM task_history WHERE note IS NOT NULL")
    assert rows == [(running.task_ids[1], "queue", "its peak was 1.9 GiB of 2 GiB")]
    trace = running.read(lambda c: workflow_read_trace(c, running.workflow_id, None, 10))
    assert trace.note == ["", "its peak was 1.9 GiB of 2 GiB"]


def test_live_attempts_tell_where_they_are_on_the_cluster(running: Scene) -> None:
    """By name and step of their batch, also before the cluster has given them an id."""
    first, second = submit(running, 0, 1).task_instance_ids
    (local,) = submit(running, 2, name="").task_instance_ids
    running.sync(SyncRequest([InstanceEvent(second, TaskInstanceEvent.LAUNCH, distributor_id="7_2")]))
    run_id = running.ids["run"]
    found = running.read(lambda c: resume.run_live_attempts(c, run_id))
    assert [(a.task_instance_id, a.job_name, a.batch_size, a.array_step_id) for a in found] == [
        (first, NAME, 2, 0),
        (second, NAME, 2, 1),
        (local, "", 0, 0),
    ]
    assert [(a.status, a.distributor_id) for a in found[:2]] == [(INSTANTIATED, ""), (LAUNCHED, "7_2")]
    assert {a.task_resources_id for a in found} == {running.ids["resources"]}
    with pytest.raises(NotFoundError):
        running.read(lambda c: resume.run_live_attempts(c, 10**6))


# -- the ends of runs -----------------------------------------------------------------------------------
def three_of_each(scene: Scene) -> None:
    """Attempts here and on the cluster: handed over; accepted; running."""
    for position, name in ((0, NAME), (2, "")):
        created = submit(scene, position, position + 1, name=name).task_instance_ids
        scene.sync(SyncRequest([InstanceEvent(created[1], event) for event in LAUNCH_AND_START]))
    assert instances(scene) == INSTANTIATED + RUNNING + INSTANTIATED + RUNNING


@pytest.mark.parametrize("event", [WorkflowRunEvent.FAIL, WorkflowRunEvent.STOP])
def test_remote_attempts_outlive_their_run(running: Scene, event: WorkflowRunEvent) -> None:
    """Local ones end with it."""
    three_of_each(running)
    running.run_events(event)
    assert instances(running) == INSTANTIATED + RUNNING + ENDED_BY_ORDER + KILL_SELF


def test_remote_attempts_outlive_a_run_that_is_lost(running: Scene) -> None:
    """The reaper ends the run, and never them, however long they are silent."""
    three_of_each(running)
    running.write(lambda c: c.exec_driver_sql("UPDATE workflow_run SET controller = '{}'"))
    reaper = Reaper(running.database, 10)
    later = running.write(dialect.utcnow) + timedelta(days=30)
    for monotonic in (0.0, 61.0):
        result = reaper.run_once(later, monotonic)
    assert list(result.runs) == [running.ids["run"]]
    assert instances(running)[:2] == INSTANTIATED + RUNNING


def test_a_hot_order_leaves_them_to_be_adopted(running: Scene) -> None:
    """Also those that nobody knows whether they were submitted."""
    three_of_each(running)
    answer = order(running, cold=False)
    assert instances(running) == INSTANTIATED + RUNNING + ENDED_BY_ORDER + RUNNING
    assert answer.is_resumable
    assert [each.job_name for each in answer.pending] == [NAME, NAME, ""]


def test_a_cold_order_reaches_all_of_them(running: Scene) -> None:
    """What may have been submitted is waited for, and found by the name of its batch."""
    three_of_each(running)
    answer = order(running, cold=True)
    assert instances(running) == KILL_SELF + KILL_SELF + ENDED_BY_ORDER + KILL_SELF
    assert not answer.is_resumable
    assert [each.job_name for each in answer.pending] == [NAME, NAME, ""]


def test_a_cold_order_reaches_what_outlived_its_run(running: Scene) -> None:
    """No run is alive any more: stopping the workflow ends it all the same."""
    three_of_each(running)
    running.run_events(WorkflowRunEvent.STOP)
    answer = order(running, cold=True)
    assert instances(running)[:2] == KILL_SELF * 2
    assert not answer.is_resumable
    ended = [
        InstanceEvent(each.task_instance_id, TaskInstanceEvent.ABORT, cause=Cause.ORDERED)
        for each in answer.pending
    ]
    tell(running, *ended)
    assert order(running, cold=True).is_resumable


def take(scene: Scene, *, adopt: bool) -> list[LiveInstance]:
    """A new run takes the tasks; the attempts that are its own then."""
    run_id = scene.start_run()
    scene.write(
        lambda c: resume.run_take_tasks(c, run_id, adopt=adopt, now=dialect.utcnow(c), actor="controller")
    )
    return scene.read(lambda c: resume.run_live_attempts(c, run_id))


def test_a_new_run_adopts_them(running: Scene) -> None:
    """And hears what their wrappers tell, in its own feed."""
    _, second = submit(running, 0, 1).task_instance_ids
    running.sync(SyncRequest([InstanceEvent(second, event) for event in LAUNCH_AND_START]))
    running.run_events(WorkflowRunEvent.FAIL)
    adopted = take(running, adopt=True)
    assert [each.status for each in adopted] == [INSTANTIATED, RUNNING]
    tell(running, InstanceEvent(second, TaskInstanceEvent.FINISH))
    news = feed(running, 0)
    assert news.instances.task_instance_ids == [second]
    assert news.tasks.task_ids == [running.task_ids[1]]


def test_a_new_run_that_does_not_adopt_sees_to_their_end(running: Scene) -> None:
    """A task with a live attempt cannot be queued; so somebody has to know of it."""
    submit(running, 0, 1)
    running.run_events(WorkflowRunEvent.FAIL)
    assert [each.status for each in take(running, adopt=False)] == [KILL_SELF, KILL_SELF]
    assert sorted(feed(running, 10**9).kill) == [1, 2]


def test_setting_a_task_by_hand_orders_its_remote_attempt_to_end(running: Scene) -> None:
    """It may have been submitted: its controller cancels it, and says so."""
    submit(running, 0)
    message = UpdateTasksRequest([running.task_ids[0]], TaskStatus.DONE.value, False, True)
    running.write(
        lambda c: tasks_update_by_hand(
            c, running.workflow_id, message, user="ada", now=dialect.utcnow(c), max_infrastructure_losses=10
        )
    )
    assert instances(running) == KILL_SELF
    assert feed(running, 0).kill == [1]


def test_the_last_success_of_an_attempt_that_outlived_its_run_makes_the_workflow_done(bound: Scene) -> None:
    """No controller is there to say so."""
    bound.start_run()
    for position in range(4):
        last = bound.attempt(position, *LAUNCH_AND_START)
        if position < 3:
            bound.sync(SyncRequest([InstanceEvent(last, TaskInstanceEvent.FINISH)]))
    bound.write(
        lambda c: c.exec_driver_sql(
            "INSERT INTO batch (array_id, batch_num, workflow_run_id, name, num_steps, created_date)"
            " SELECT array_id, array_batch_num, workflow_run_id, 'n', 1, status_date FROM task_instance"
            f" WHERE id = {last}"
        )
    )
    bound.run_events(WorkflowRunEvent.FAIL)
    assert bound.workflow_status() == WorkflowStatus.FAILED
    applied = tell(bound, InstanceEvent(last, TaskInstanceEvent.FINISH))
    assert applied.outlived_runs == {bound.ids["run"]}
    for _ in range(2):
        status = bound.write(
            lambda c: workflow_finish_if_done(c, bound.ids["run"], now=dialect.utcnow(c), actor="worker")
        )
        assert status == WorkflowStatus.DONE


def test_nobody_cancels_them_they_are_given_up_after_a_day(running: Scene) -> None:
    """Attempts of this machine after minutes; jobs of a cluster may still wait in its queue."""
    three_of_each(running)
    order(running, cold=True)
    reaper = Reaper(running.database, 10)
    now = running.write(dialect.utcnow)
    assert reaper.run_once(now + timedelta(seconds=400), 0).attempts == [4]
    later = now + timedelta(seconds=reaper.limits.ordered_remote_seconds + 60)
    assert reaper.run_once(later, 0).attempts == [1, 2]


# -- what controllers tell ------------------------------------------------------------------------------
def test_conditions_are_replaced_and_shown_while_the_run_is_alive(running: Scene) -> None:
    """A sync that says nothing of them leaves them; an empty list clears them."""

    def shown() -> list[str]:
        (row,) = running.read(lambda c: workflows_read_status(c, [running.workflow_id], [], None))
        progress = running.read(lambda c: workflow_run_progress(c, running.workflow_id, dialect.utcnow(c)))
        assert progress.conditions == row.conditions
        return row.conditions

    text = "Cluster slurm is unreachable since 12:00: timed out."
    condition = ClusterCondition("slurm", 1e9, text)
    assert shown() == []
    running.sync(SyncRequest(conditions=[condition]))
    running.sync(SyncRequest())
    assert shown() == [text]
    stored = running.rows("SELECT cluster_conditions FROM workflow_run")[0][0]
    assert msgspec.json.decode(stored, type=list[ClusterCondition]) == [condition]
    running.sync(SyncRequest(conditions=[]))
    assert shown() == []
    running.sync(SyncRequest(conditions=[condition]))
    running.run_events(WorkflowRunEvent.FAIL)
    assert shown() == []


def test_reasons_to_wait_change_no_state(running: Scene) -> None:
    """Nor the history; they are cut to their column, and an empty one clears them."""
    ids = submit(running, 0, 1).task_instance_ids
    before = running.rows("SELECT id FROM task_history"), running.rows("SELECT last_cursor FROM workflow_run")
    running.sync(SyncRequest(queue_reasons=[QueueReason(ids, "x" * 600), QueueReason(ids[:1], "held")]))
    reasons = "SELECT queue_reason FROM task_instance ORDER BY id"
    assert running.rows(reasons) == [("held",), ("x" * 500,)]
    running.sync(SyncRequest(queue_reasons=[QueueReason(ids, "")]))
    assert running.rows(reasons) == [(None,), (None,)]
    after = running.rows("SELECT id FROM task_history"), running.rows("SELECT last_cursor FROM workflow_run")
    assert after == before


def test_the_feed_tells_of_attempts_others_changed(running: Scene) -> None:
    """Each once, in its latest state; with the peak of those that lacked resources."""
    first, second, third = submit(running, 0, 1, 2).task_instance_ids
    told = [InstanceEvent(i, TaskInstanceEvent.LAUNCH) for i in (first, second, third)]
    cursor = running.sync(SyncRequest(told)).cursor
    assert feed(running, cursor).instances.task_instance_ids == []
    tell(running, InstanceEvent(first, TaskInstanceEvent.START))
    tell(running, InstanceEvent(first, TaskInstanceEvent.RESOURCE, Cause.RESOURCE, maxrss=7))
    tell(running, InstanceEvent(second, TaskInstanceEvent.START, maxrss=8))
    news = feed(running, cursor)
    assert dict(zip(news.instances.task_instance_ids, news.instances.statuses, strict=True)) == {
        first: TaskInstanceStatus.RESOURCE_ERROR.value,
        second: RUNNING,
    }
    assert news.instances.maxrss == {first: 7}
    assert dict(zip(news.tasks.task_ids, news.tasks.statuses, strict=True)) == {
        running.task_ids[0]: TaskStatus.ADJUSTING_RESOURCES.value,
        running.task_ids[1]: TaskStatus.RUNNING.value,
    }
    assert feed(running, news.cursor).instances.task_instance_ids == []


def test_a_run_that_is_over_tells_no_task_done_to_itself(running: Scene) -> None:
    """Only attempts of runs that are over are looked at for the workflow's end."""
    (attempt,) = submit(running, 0).task_instance_ids
    applied = tell(
        running, *(InstanceEvent(attempt, e) for e in (*LAUNCH_AND_START, TaskInstanceEvent.FINISH))
    )
    assert applied.outlived_runs == set()
    state = running.write(
        lambda c: workflow_finish_if_done(c, running.ids["run"], now=dialect.utcnow(c), actor="worker")
    )
    assert state == WorkflowStatus.RUNNING
