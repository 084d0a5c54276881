"""Events of attempts in the database: fenced, counted, told twice without harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus, TaskStatus, WorkflowRunStatus
from jobmon.serializers.swarm import BatchRequest, SyncRequest, SyncResponse
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import Task, TaskHistory, TaskInstance, TaskInstanceErrorLog, WorkflowRun
from jobmon.server.web.store import attempts, resume, runs
from jobmon.server.web.store.attempts import Applied, attempts_apply_events
from jobmon.server.web.store.sync import run_sync
from jobmon.testing.factory import MadeWorkflow, attempts_make, run_make, workflow_make

Event = TaskInstanceEvent
MAX_LOSSES = 10


@dataclass
class Run:
    """A run of a chain of two tasks and a third beside it."""

    database: Database
    workflow: MadeWorkflow
    run_id: int
    batch_num: int = 0

    def now(self) -> datetime:
        with self.database.read() as connection:
            return dialect.utcnow(connection)

    def queue(self, *positions: int) -> list[int]:
        """New attempts of the tasks at these positions."""
        self.batch_num += 1
        with self.database.write() as connection:
            return attempts_make(
                connection, self.workflow, self.run_id, positions, batch_num=self.batch_num, now=self.now()
            )

    def tell(self, *events: InstanceEvent, losses: int = MAX_LOSSES) -> Applied:
        with self.database.write() as connection:
            return attempts_apply_events(
                connection, events, now=self.now(), actor="controller", max_infrastructure_losses=losses
            )

    def sync(self, message: SyncRequest) -> SyncResponse:
        with self.database.write() as connection:
            return run_sync(
                connection,
                self.run_id,
                message,
                now=self.now(),
                actor="controller",
                max_infrastructure_losses=MAX_LOSSES,
            )

    def scalar(self, statement: Any) -> Any:
        with self.database.read() as connection:
            return connection.scalar(statement)

    def task(self, position: int) -> Any:
        with self.database.read() as connection:
            table = Task.__table__
            return connection.execute(
                select(table).where(table.c.id == self.workflow.task_ids[position])
            ).one()

    def instance(self, task_instance_id: int) -> Any:
        with self.database.read() as connection:
            table = TaskInstance.__table__
            return connection.execute(select(table).where(table.c.id == task_instance_id)).one()


@pytest.fixture
def make_run(database: Database) -> Callable[..., Run]:
    """Makes runs."""

    def make(**more: Any) -> Run:
        with database.write() as connection:
            now = dialect.utcnow(connection)
            workflow = workflow_make(connection, [[], [0], []], now=now, **more)
            return Run(database, workflow, run_make(connection, workflow.workflow_id, now=now))

    return make


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    """A run."""
    return make_run()


def test_a_batch_is_created_once(run: Run) -> None:
    """Sent again it is answered with the same attempts."""
    batch = BatchRequest(run.workflow.array_id, 1, run.workflow.task_resources_id, run.workflow.task_ids[::2])
    first = run.sync(SyncRequest([], [batch]))
    again = run.sync(SyncRequest([], [batch]))
    assert first.batches == again.batches
    assert run.scalar(select(func.count()).select_from(TaskInstance)) == 2
    assert run.task(0).num_attempts == 1


def test_a_batch_whose_attempts_have_ended_is_not_created_again(run: Run) -> None:
    """Its answer was lost, and what became of it is known already."""
    batch = BatchRequest(run.workflow.array_id, 1, run.workflow.task_resources_id, run.workflow.task_ids[:1])
    (created,) = run.sync(SyncRequest([], [batch])).batches
    run.tell(InstanceEvent(created.task_instance_ids[0], Event.ABORT))
    (again,) = run.sync(SyncRequest([], [batch])).batches
    assert again.task_ids == []
    assert run.scalar(select(func.count()).select_from(TaskInstance)) == 1


def test_tasks_that_cannot_be_queued_are_left_out(run: Run) -> None:
    """They are active, done, or of another workflow."""
    assert len(run.queue(0, 2)) == 2
    assert run.queue(0, 2) == []
    batch = BatchRequest(run.workflow.array_id, 9, run.workflow.task_resources_id, [10**6])
    assert run.sync(SyncRequest([], [batch])).batches[0].task_ids == []


def test_every_event_may_come_twice(run: Run) -> None:
    """History, errors, attempts and cursor stay."""
    (attempt,) = run.queue(0)
    events = [
        InstanceEvent(attempt, Event.START, nodename="n1"),
        InstanceEvent(attempt, Event.FAIL, cause=Cause.CODE, description="broken", exit_code=3),
    ]
    first = run.tell(*events)
    lines = run.scalar(select(func.count()).select_from(TaskHistory))
    again = run.tell(*events)
    assert (first.num_changed, again.num_changed) == (2, 0)
    assert run.scalar(select(func.count()).select_from(TaskHistory)) == lines
    assert run.scalar(select(func.count()).select_from(TaskInstanceErrorLog)) == 1
    assert again.cursors == {}
    assert run.scalar(select(WorkflowRun.last_cursor)) == max(first.cursors.values())
    assert again.stop == {attempt}


def test_a_stale_attempt_changes_nothing(run: Run) -> None:
    """It is told to stop; the task belongs to the new attempt."""
    (old,) = run.queue(0)
    run.tell(InstanceEvent(old, Event.START), InstanceEvent(old, Event.FAIL, cause=Cause.CODE))
    (new,) = run.queue(0)
    run.tell(InstanceEvent(new, Event.START))
    applied = run.tell(InstanceEvent(old, Event.FINISH), InstanceEvent(old, Event.HEARTBEAT))
    assert applied.stop == {old}
    assert applied.num_changed == 0
    assert run.task(0).status == TaskStatus.RUNNING


def test_unknown_attempts_are_named(run: Run) -> None:
    """The others of the batch are taken."""
    (attempt,) = run.queue(0)
    applied = run.tell(InstanceEvent(10**9, Event.START), InstanceEvent(attempt, Event.START))
    assert applied.unknown == [10**9]
    assert run.instance(attempt).status == TaskInstanceStatus.RUNNING


def test_illegal_events_are_named_and_change_nothing(run: Run) -> None:
    """A success before the start."""
    (attempt,) = run.queue(0)
    event = InstanceEvent(attempt, Event.FINISH)
    applied = run.tell(event)
    assert applied.illegal == [event]
    assert applied.stop == set()
    assert run.instance(attempt).status == TaskInstanceStatus.INSTANTIATED


def test_what_is_told_of_an_attempt_is_kept(run: Run) -> None:
    """Zeros are values; what is not told stays as it was."""
    (attempt,) = run.queue(0)
    run.tell(
        InstanceEvent(
            attempt, Event.START, nodename="n1", process_group_id=5, distributor_id="77", stdout="/o"
        ),
        InstanceEvent(
            attempt,
            Event.FINISH,
            exit_code=0,
            wallclock=0.0,
            maxrss=0,
            cpu=0.5,
            io=0,
            stdout_log="",
            stderr_log="e",
        ),
    )
    row = run.instance(attempt)
    assert (row.nodename, row.process_group_id, row.distributor_id, row.stdout) == ("n1", 5, "77", "/o")
    assert (row.exit_code, row.wallclock, row.maxrss, row.cpu, row.io) == (0, 0.0, 0, 0.5, 0)
    assert (row.stdout_log, row.stderr_log, row.cause) == ("", "e", None)


def test_a_long_description_is_cut_at_its_beginning(run: Run) -> None:
    """The end of an error says most."""
    (attempt,) = run.queue(0)
    text = "x" * 30_000 + "the end"
    run.tell(InstanceEvent(attempt, Event.REFUSE, cause=Cause.LAUNCH, description=text))
    description = run.scalar(select(TaskInstanceErrorLog.description))
    assert len(description) == attempts.DESCRIPTION_CHARACTERS
    assert description.endswith("the end")


def test_attempts_end_with_their_limit(make_run: Callable[..., Run]) -> None:
    """Three failures of three; each attempt counts once."""
    run = make_run(max_attempts=3)
    for number in (1, 2, 3):
        (attempt,) = run.queue(0)
        run.tell(InstanceEvent(attempt, Event.START), InstanceEvent(attempt, Event.FAIL, cause=Cause.CODE))
        assert run.task(0).num_attempts == number
    assert run.task(0).status == TaskStatus.ERROR_FATAL
    assert run.queue(0) == []


def test_losses_are_charged_to_their_own_budget(make_run: Callable[..., Run]) -> None:
    """``num_attempts`` counts them too; the limit does not."""
    run = make_run(max_attempts=1)
    for _ in range(2):
        (attempt,) = run.queue(0)
        run.tell(
            InstanceEvent(attempt, Event.START),
            InstanceEvent(attempt, Event.LOSE, cause=Cause.INFRASTRUCTURE),
        )
    row = run.task(0)
    assert (row.status, row.num_attempts, row.num_infrastructure_losses) == (TaskStatus.REGISTERED, 2, 2)
    (attempt,) = run.queue(0)
    run.tell(InstanceEvent(attempt, Event.START), InstanceEvent(attempt, Event.FAIL, cause=Cause.CODE))
    assert run.task(0).status == TaskStatus.ERROR_FATAL


def test_a_heartbeat_moves_the_date_and_nothing_else(run: Run) -> None:
    """No history for signs of life."""
    (attempt,) = run.queue(0)
    run.tell(InstanceEvent(attempt, Event.START))
    lines = run.scalar(select(func.count()).select_from(TaskHistory))
    run.tell(InstanceEvent(attempt, Event.HEARTBEAT, next_report_increment=300))
    assert run.instance(attempt).report_by_date > run.now() + timedelta(seconds=200)
    assert run.scalar(select(func.count()).select_from(TaskHistory)) == lines


def test_a_local_controllers_heartbeat_covers_its_attempts(run: Run) -> None:
    """Those that live."""
    live, ended = run.queue(0, 2)
    run.tell(InstanceEvent(ended, Event.ABORT))
    with run.database.write() as connection:
        attempts.attempts_extend_reports(connection, run.run_id, run.now(), 300)
    assert run.instance(live).report_by_date > run.now() + timedelta(seconds=200)
    assert run.instance(ended).report_by_date is None


def test_every_change_of_a_status_is_dated(run: Run) -> None:
    """By the database's time; so a reader by date misses nothing."""
    dates = [run.task(0).status_date]
    (attempt,) = run.queue(0)
    dates.append(run.task(0).status_date)
    for event in (Event.LAUNCH, Event.START, Event.FINISH):
        run.tell(InstanceEvent(attempt, event))
        dates.append(run.task(0).status_date)
    assert dates == sorted(set(dates))


def test_the_cursor_grows_with_every_change(run: Run) -> None:
    """Once a transaction; not where nothing changed."""

    def cursor() -> int:
        return int(run.scalar(select(WorkflowRun.last_cursor).where(WorkflowRun.id == run.run_id)))

    before = cursor()
    (attempt,) = run.queue(0)
    assert cursor() == before + 1
    run.tell(InstanceEvent(attempt, Event.LAUNCH), InstanceEvent(attempt, Event.START))
    assert cursor() == before + 2
    run.tell(InstanceEvent(attempt, Event.START))
    assert cursor() == before + 2


def test_a_run_that_may_not_go_on_queues_nothing(run: Run) -> None:
    """Its events are taken all the same."""
    (attempt,) = run.queue(0)
    with run.database.write() as connection:
        resume.workflow_order_resume(
            connection,
            run.workflow.workflow_id,
            cold=False,
            dead_workflow_run_ids=[],
            now=run.now(),
            actor="user:tester",
            losses=MAX_LOSSES,
        )
    batch = BatchRequest(run.workflow.array_id, 5, run.workflow.task_resources_id, run.workflow.task_ids[2:])
    answer = run.sync(SyncRequest([InstanceEvent(attempt, Event.START)], [batch]))
    assert answer.run_status == WorkflowRunStatus.HOT_RESUME
    assert answer.batches == []
    assert answer.stop == [attempt]  # it had not started: the order ended it


def test_a_success_and_the_next_batch_in_one_turn(run: Run) -> None:
    """What waited for the success can be queued at once; the events come first."""
    (attempt,) = run.queue(0)
    batch = BatchRequest(run.workflow.array_id, 5, run.workflow.task_resources_id, [run.workflow.task_ids[1]])
    events = [InstanceEvent(attempt, Event.START), InstanceEvent(attempt, Event.FINISH)]
    answer = run.sync(SyncRequest(events, [batch]))
    assert answer.tasks.statuses == TaskStatus.DONE
    assert answer.batches[0].task_ids == [run.workflow.task_ids[1]]
    assert answer.cursor == answer.cursor_before + 1


def test_a_batch_that_counts_on_a_success_is_not_created_without_it(run: Run) -> None:
    """The controller counted on a success that was none: the next task is not queued, the truth is told."""
    (attempt,) = run.queue(0)
    first, second, _ = run.workflow.task_ids
    batch = BatchRequest(run.workflow.array_id, 5, run.workflow.task_resources_id, [second])
    run.tell(InstanceEvent(attempt, Event.START), InstanceEvent(attempt, Event.FAIL, cause=Cause.CODE))
    events = [InstanceEvent(attempt, Event.FINISH)]  # too late: it has failed
    answer = run.sync(SyncRequest(events, [batch], requires_done=[first]))
    assert answer.batches == []
    assert (answer.tasks.task_ids, answer.tasks.statuses) == ([first], TaskStatus.REGISTERED)
    assert run.task(1).num_attempts == 0


def test_a_lost_answer_is_given_again_in_full(run: Run) -> None:
    """The same request sent again changes nothing and tells the same states and attempts."""
    (attempt,) = run.queue(0)
    first, second, _ = run.workflow.task_ids
    batch = BatchRequest(run.workflow.array_id, 5, run.workflow.task_resources_id, [second])
    events = [InstanceEvent(attempt, Event.START), InstanceEvent(attempt, Event.FINISH)]
    message = SyncRequest(events, [batch], requires_done=[first])
    answer, again = run.sync(message), run.sync(message)
    assert again.tasks.statuses == answer.tasks.statuses == TaskStatus.DONE
    assert again.batches == answer.batches
    assert run.task(1).num_attempts == 1


def test_many_attempts_at_once(database: Database) -> None:
    """More than fit one statement."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [[]] * 2500, now=now)
        run = Run(database, workflow, run_make(connection, workflow.workflow_id, now=now))
    ids = run.queue(*range(2500))
    run.tell(*(InstanceEvent(i, Event.START) for i in ids))
    applied = run.tell(*(InstanceEvent(i, Event.FINISH) for i in ids))
    assert applied.num_changed == 2500
    with database.write() as connection:
        state = runs.run_apply_event(
            connection, run.run_id, runs.WorkflowRunEvent.FINISH, now=run.now(), actor="controller"
        )
    assert state.status == WorkflowRunStatus.DONE


def test_a_sign_of_life_is_no_news(run: Run) -> None:
    """Its controller is not woken for it, whatever else is committed with it."""
    alive, ended = run.queue(0, 2)
    run.tell(InstanceEvent(alive, Event.START), InstanceEvent(ended, Event.START))
    beat = InstanceEvent(alive, Event.HEARTBEAT, next_report_increment=90)
    assert run.tell(beat).cursors == {}
    told = run.tell(beat, InstanceEvent(ended, Event.FINISH))
    assert list(told.cursors) == [run.run_id]
