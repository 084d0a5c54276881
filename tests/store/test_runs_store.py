"""Runs in the database: created once, one at a time, handed over, ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from jobmon.core.exceptions import (
    InvalidStateTransition,
    NotFoundError,
    WorkflowAlreadyComplete,
    WorkflowNotResumable,
)
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import ProcessIdentity, this_process
from jobmon.core.states import (
    Cause,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.serializers.monitor import UpdateTasksRequest
from jobmon.serializers.swarm import RunStateResponse, WorkflowRunRequest
from jobmon.server.services.reaper import Reaper
from jobmon.server.services.rules import ReaperLimits
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Task, TaskInstance, Workflow, WorkflowRun
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.orders import tasks_update_by_hand
from jobmon.server.web.store.resume import run_take_tasks, workflow_order_resume, workflow_resumable
from jobmon.server.web.store.runs import (
    run_apply_event,
    run_create_if_none_alive,
    run_heartbeat_if_alive,
)
from jobmon.testing.factory import NOWHERE, MadeWorkflow, attempts_make, run_make, workflow_make

LOSSES = 10


@dataclass
class Scene:
    """A workflow of three tasks."""

    database: Database
    workflow: MadeWorkflow
    batch_num: int = 0

    def now(self) -> datetime:
        with self.database.read() as connection:
            return dialect.utcnow(connection)

    def run(self, **more: object) -> int:
        with self.database.write() as connection:
            return run_make(connection, self.workflow.workflow_id, now=self.now(), **more)  # type: ignore[arg-type]

    def attempts(self, run_id: int, *positions: int) -> list[int]:
        with self.database.write() as connection:
            self.batch_num += 1
            return attempts_make(
                connection, self.workflow, run_id, positions, batch_num=self.batch_num, now=self.now()
            )

    def tell(self, attempt: int, *events: TaskInstanceEvent) -> None:
        with self.database.write() as connection:
            attempts_apply_events(
                connection,
                [InstanceEvent(attempt, event) for event in events],
                now=self.now(),
                actor="worker",
                max_infrastructure_losses=LOSSES,
            )

    def event(self, run_id: int, event: WorkflowRunEvent) -> RunStateResponse:
        with self.database.write() as connection:
            return run_apply_event(connection, run_id, event, now=self.now(), actor="controller")

    def order(self, *, cold: bool = True, dead: tuple[int, ...] = (), now: datetime | None = None) -> None:
        with self.database.write() as connection:
            workflow_order_resume(
                connection,
                self.workflow.workflow_id,
                cold=cold,
                dead_workflow_run_ids=dead,
                now=now or self.now(),
                actor="user:tester",
                losses=LOSSES,
            )

    def status(self, run_id: int) -> str:
        with self.database.read() as connection:
            return str(connection.scalar(select(WorkflowRun.status).where(WorkflowRun.id == run_id)))

    def workflow_status(self) -> str:
        with self.database.read() as connection:
            return str(connection.scalar(select(Workflow.status)))

    def instances(self) -> str:
        with self.database.read() as connection:
            return "".join(connection.scalars(select(TaskInstance.status).order_by(TaskInstance.id)))

    def tasks(self) -> str:
        with self.database.read() as connection:
            return "".join(connection.scalars(select(Task.status).order_by(Task.id)))


@pytest.fixture
def scene(database: Database) -> Scene:
    with database.write() as connection:
        return Scene(database, workflow_make(connection, [[], [], [0]], now=dialect.utcnow(connection)))


def request(key: str = "key", controller: ProcessIdentity = NOWHERE) -> WorkflowRunRequest:
    return WorkflowRunRequest(key, "tester", "4", controller, 90)


def create(scene: Scene, message: WorkflowRunRequest) -> int:
    with scene.database.write() as connection:
        return run_create_if_none_alive(
            connection, scene.workflow.workflow_id, message, scene.now()
        ).workflow_run_id


def test_the_same_key_is_the_same_run(scene: Scene) -> None:
    """The reply was lost; also after the run has ended."""
    run_id = create(scene, request())
    assert create(scene, request()) == run_id
    scene.event(run_id, WorkflowRunEvent.ABORT)
    assert create(scene, request()) == run_id
    assert create(scene, request("other")) != run_id


@pytest.mark.parametrize(
    "status",
    [
        WorkflowRunStatus.LINKING,
        WorkflowRunStatus.BOUND,
        WorkflowRunStatus.INSTANTIATED,
        WorkflowRunStatus.LAUNCHED,
        WorkflowRunStatus.RUNNING,
    ],
)
def test_while_a_run_is_alive_there_is_no_other(scene: Scene, status: WorkflowRunStatus) -> None:
    """In whatever state it is; the refusal names it and says what to do."""
    run_id = scene.run(status=status)
    with pytest.raises(
        WorkflowNotResumable, match=rf"run {run_id} of user tester is {status.name}.*resume=True"
    ):
        create(scene, request("other"))


def test_a_complete_workflow_is_not_run_again(scene: Scene) -> None:
    """Every task is done."""
    run_id = scene.run()
    for position in (0, 1, 2):
        (attempt,) = scene.attempts(run_id, position)
        scene.tell(attempt, TaskInstanceEvent.START, TaskInstanceEvent.FINISH)
    assert scene.event(run_id, WorkflowRunEvent.FINISH).workflow_status == WorkflowStatus.DONE
    with pytest.raises(WorkflowAlreadyComplete):
        create(scene, request("other"))


def test_a_run_is_not_done_before_its_tasks(scene: Scene) -> None:
    """A task was reopened while its controller saw the last one done: the run has failed."""
    run_id = scene.run()
    state = scene.event(run_id, WorkflowRunEvent.FINISH)
    assert (state.status, state.workflow_status) == (WorkflowRunStatus.ERROR, WorkflowStatus.FAILED)


def test_a_workflow_that_is_not_registered_completely_is_not_run(scene: Scene) -> None:
    """The script has to be run again."""
    with scene.database.write() as connection:
        connection.execute(update(Workflow).values(created_date=None))
    with pytest.raises(WorkflowNotResumable, match="not registered completely"):
        create(scene, request())


def test_what_does_not_exist_is_said(scene: Scene) -> None:
    """Workflows and runs."""
    with pytest.raises(NotFoundError, match="no workflow run 77"):
        scene.event(77, WorkflowRunEvent.BIND)
    with scene.database.write() as connection, pytest.raises(NotFoundError, match="no workflow 78"):
        run_create_if_none_alive(connection, 78, request(), scene.now())


def test_an_illegal_event_changes_nothing(scene: Scene) -> None:
    """It raises."""
    run_id = create(scene, request())
    with pytest.raises(InvalidStateTransition, match="is LINKING: 'start' is not allowed"):
        scene.event(run_id, WorkflowRunEvent.START)
    assert scene.status(run_id) == WorkflowRunStatus.LINKING


@pytest.mark.parametrize("event", [WorkflowRunEvent.FAIL, WorkflowRunEvent.STOP])
def test_a_run_that_ends_ends_its_attempts(scene: Scene, event: WorkflowRunEvent) -> None:
    """Those that did not start at once, the others are ordered to."""
    run_id = scene.run()
    running, _ = scene.attempts(run_id, 0, 1)
    scene.tell(running, TaskInstanceEvent.START)
    scene.event(run_id, event)
    assert scene.instances() == TaskInstanceStatus.KILL_SELF + TaskInstanceStatus.ERROR_FATAL
    scene.tell(running, TaskInstanceEvent.ABORT)
    assert scene.tasks() == TaskStatus.REGISTERED * 3


def test_a_cold_order_ends_all_a_hot_one_leaves_what_runs(scene: Scene) -> None:
    """The run has to obey; nothing is resumed before it did."""
    run_id = scene.run()
    running, _ = scene.attempts(run_id, 0, 1)
    scene.tell(running, TaskInstanceEvent.START)
    scene.order(cold=False)
    assert scene.status(run_id) == WorkflowRunStatus.HOT_RESUME
    assert scene.instances() == TaskInstanceStatus.RUNNING + TaskInstanceStatus.ERROR_FATAL
    scene.order(cold=True)
    assert scene.status(run_id) == WorkflowRunStatus.COLD_RESUME
    assert scene.instances() == TaskInstanceStatus.KILL_SELF + TaskInstanceStatus.ERROR_FATAL
    with scene.database.write() as connection:
        answer = workflow_resumable(connection, scene.workflow.workflow_id, scene.now(), True)
    assert (answer.is_resumable, answer.alive_workflow_run_id) == (False, run_id)
    scene.event(run_id, WorkflowRunEvent.TERMINATE)
    assert scene.workflow_status() == WorkflowStatus.HALTED
    with scene.database.write() as connection:
        answer = workflow_resumable(connection, scene.workflow.workflow_id, scene.now(), True)
    assert not answer.is_resumable
    assert [each.task_instance_id for each in answer.pending] == [running]
    scene.tell(running, TaskInstanceEvent.ABORT)
    with scene.database.write() as connection:
        assert workflow_resumable(connection, scene.workflow.workflow_id, scene.now(), True).is_resumable


def test_a_run_known_to_be_dead_ends_at_once(scene: Scene) -> None:
    """In any state; the next may begin."""
    for status in (WorkflowRunStatus.LINKING, WorkflowRunStatus.BOUND, WorkflowRunStatus.RUNNING):
        run_id = scene.run(status=status)
        scene.order(dead=(run_id,))
        assert scene.status(run_id) in (WorkflowRunStatus.TERMINATED, WorkflowRunStatus.ABORTED)


def test_a_run_without_a_sign_of_life_ends_with_the_order(scene: Scene) -> None:
    """Not before its time; and not while its process is seen to live, whatever the clock says."""
    run_id = scene.run()
    scene.order()
    assert scene.status(run_id) == WorkflowRunStatus.COLD_RESUME
    late = scene.now() + timedelta(hours=1)
    scene.order(now=late)
    assert scene.status(run_id) == WorkflowRunStatus.TERMINATED
    run_id = scene.run(controller=this_process())
    scene.order(now=late)
    assert scene.status(run_id) == WorkflowRunStatus.COLD_RESUME


def test_a_new_run_counts_anew_what_is_not_done(scene: Scene) -> None:
    """Tasks that failed for good are tried again; done ones stay done."""
    run_id = scene.run()
    first, second = scene.attempts(run_id, 0, 1)
    scene.tell(first, TaskInstanceEvent.START, TaskInstanceEvent.FINISH)
    with scene.database.write() as connection:
        connection.execute(update(Task).where(Task.id == scene.workflow.task_ids[1]).values(max_attempts=1))
        events = [
            InstanceEvent(second, TaskInstanceEvent.START),
            InstanceEvent(second, TaskInstanceEvent.FAIL, Cause.CODE),
        ]
        attempts_apply_events(
            connection, events, now=scene.now(), actor="worker", max_infrastructure_losses=LOSSES
        )
    assert scene.tasks() == TaskStatus.DONE + TaskStatus.ERROR_FATAL + TaskStatus.REGISTERED
    scene.event(run_id, WorkflowRunEvent.FAIL)
    scene.run()
    assert scene.tasks() == TaskStatus.DONE + TaskStatus.REGISTERED * 2
    with scene.database.read() as connection:
        assert list(connection.scalars(select(Task.num_attempts).order_by(Task.id))) == [1, 0, 0]


def test_a_hot_run_adopts_what_lives(scene: Scene) -> None:
    """The attempt belongs to the new run; its end counts."""
    old = scene.run()
    (running,) = scene.attempts(old, 0)
    scene.tell(running, TaskInstanceEvent.START)
    scene.order(cold=False, dead=(old,))
    with scene.database.write() as connection:
        made = run_create_if_none_alive(connection, scene.workflow.workflow_id, request(), scene.now())
        run_take_tasks(connection, made.workflow_run_id, adopt=True, now=scene.now(), actor="controller")
    with scene.database.read() as connection:
        assert connection.scalar(select(TaskInstance.workflow_run_id)) == made.workflow_run_id
    scene.tell(running, TaskInstanceEvent.FINISH)
    assert scene.tasks()[0] == TaskStatus.DONE


def test_signs_of_life_are_noted_while_there_is_life(scene: Scene) -> None:
    """And answered with what to obey."""
    run_id = scene.run()
    with scene.database.write() as connection:
        late = scene.now() + timedelta(seconds=500)
        assert (
            run_heartbeat_if_alive(connection, run_id, scene.now(), 600).status == WorkflowRunStatus.RUNNING
        )
        assert (connection.scalar(select(WorkflowRun.heartbeat_date)) or late) > late
    scene.event(run_id, WorkflowRunEvent.FAIL)
    with scene.database.write() as connection:
        assert run_heartbeat_if_alive(connection, run_id, scene.now(), 9999).status == WorkflowRunStatus.ERROR


def test_the_reaper_ends_what_is_lost_and_only_that(scene: Scene) -> None:
    """Overdue by the database's clock and watched for the grace by a clock that nobody can set."""
    run_id = scene.run()
    (running,) = scene.attempts(run_id, 0)
    scene.tell(running, TaskInstanceEvent.START)
    reaper = Reaper(scene.database, LOSSES, ReaperLimits(grace_seconds=60))
    late = scene.now() + timedelta(hours=1)

    def look(now: datetime, monotonic: float) -> dict[int, str]:
        return reaper.run_once(now, monotonic).runs

    assert look(scene.now(), 0) == {}  # not overdue
    assert look(late, 10) == {}  # overdue: from now on it is watched
    assert look(late, 50) == {}
    assert look(late, 71) == {run_id: WorkflowRunStatus.ERROR}
    assert scene.instances() == TaskInstanceStatus.KILL_SELF
    assert look(late, 200) == {}


def test_the_reaper_leaves_alone_what_it_sees_alive(scene: Scene) -> None:
    """The clock was set forward."""
    run_id = scene.run(controller=this_process())
    reaper = Reaper(scene.database, LOSSES, ReaperLimits(grace_seconds=1))
    late = scene.now() + timedelta(days=1)
    for monotonic in (0.0, 100.0):
        assert reaper.run_once(late, monotonic).runs == {}
    assert scene.status(run_id) == WorkflowRunStatus.RUNNING


def test_a_task_reopened_while_it_runs_waits_for_the_end_of_its_attempt(scene: Scene) -> None:
    """No second attempt begins while the first may still be running; its end does not touch the second."""
    run_id = scene.run()
    (old,) = scene.attempts(run_id, 0)
    scene.tell(old, TaskInstanceEvent.START)
    message = UpdateTasksRequest(scene.workflow.task_ids[:1], TaskStatus.REGISTERED.value, is_forced=True)
    with scene.database.write() as connection:
        tasks_update_by_hand(
            connection,
            scene.workflow.workflow_id,
            message,
            user="tester",
            now=scene.now(),
            max_infrastructure_losses=LOSSES,
        )
    assert scene.instances() == TaskInstanceStatus.KILL_SELF
    assert scene.attempts(run_id, 0) == []
    scene.tell(old, TaskInstanceEvent.ABORT)
    assert scene.tasks()[0] == TaskStatus.REGISTERED
    (new,) = scene.attempts(run_id, 0)
    scene.tell(new, TaskInstanceEvent.START)
    scene.tell(old, TaskInstanceEvent.FINISH)
    assert scene.tasks()[0] == TaskStatus.RUNNING
