"""Everything that can be told of attempts, late, twice and in any order, against the real store.

The machine keeps no state of its own worth the name: what must be true is what the tables of ``jobmon.core.states`` say,
and after every step the history checker goes through all that was recorded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, select, update

from databases import Backend
from jobmon.core.exceptions import JobmonError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.states import (
    RETRY_POLICY_CAUSES,
    RETRY_POLICY_WORDS,
    TASK_INSTANCE,
    TASK_INSTANCE_LIVE,
    TASK_INSTANCE_TERMINAL,
    WORKFLOW_RUN_ALIVE,
    WORKFLOW_RUN_TERMINAL,
    Cause,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
    target,
)
from jobmon.serializers.monitor import UpdateTasksRequest
from jobmon.serializers.swarm import (
    BatchRequest,
    SyncRequest,
    SyncResponse,
    TakeRunRequest,
    WorkflowRunRequest,
)
from jobmon.server.web.database import Database
from jobmon.server.web.models import Array, Task, TaskInstance, WorkflowRun
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.orders import tasks_update_by_hand, workflow_reset_if_quiet
from jobmon.server.web.store.outside import workflow_finish_if_done
from jobmon.server.web.store.remote import is_remote
from jobmon.server.web.store.resume import run_live_attempts, run_take_tasks, workflow_order_resume
from jobmon.server.web.store.runs import (
    run_apply_event,
    run_create_if_none_alive,
    run_order_drain_if_alive,
    run_state,
    run_take_if_waiting,
)
from jobmon.server.web.store.sync import run_sync
from jobmon.testing.factory import run_make, workflow_make
from jobmon.testing.history import check_history

MAX_LOSSES = 2
EXAMPLES = int(os.environ.get("JOBMON_TEST_EXAMPLES", "50"))
STEPS = 25
# A diamond, and a task that stands alone.
UPSTREAM: Sequence[Sequence[int]] = ((), (0,), (0,), (1, 2), ())
POSITIONS = st.lists(st.integers(0, len(UPSTREAM) - 1), min_size=1, max_size=4)
FAILING = (
    TaskInstanceEvent.FAIL,
    TaskInstanceEvent.RESOURCE,
    TaskInstanceEvent.LOSE,
    TaskInstanceEvent.REFUSE,
)
CAUSES = tuple(RETRY_POLICY_CAUSES)
POLICIES = st.dictionaries(
    st.sampled_from([cause.value for cause in RETRY_POLICY_CAUSES]), st.sampled_from(list(RETRY_POLICY_WORDS))
)
EVENTS = st.sampled_from(list(TaskInstanceEvent))
TAKERS = ("one", "another")


class AttemptsMachine(RuleBasedStateMachine):
    """Controllers, wrappers and people, all talking at once."""

    empty_database: Callable[[], str]  # the URI of an empty database, set by the test

    told = Bundle("told")

    def __init__(self) -> None:
        super().__init__()
        self.database = Database(type(self).empty_database())
        with self.database.write() as connection:
            made_at = datetime(2026, 1, 1)  # noqa: DTZ001 - times of the database are naive
            self.workflow = workflow_make(connection, UPSTREAM, now=made_at, name="model")
        self.clock = datetime.now(UTC).replace(tzinfo=None)
        self.batch_num = 0
        self.syncs: list[tuple[int, SyncRequest, SyncResponse]] = []
        self.terminal: dict[int, str] = {}
        self.run_ids: list[int] = []
        self.taken_by: dict[int, str] = {}

    def teardown(self) -> None:
        self.database.dispose()

    @property
    def now(self) -> datetime:
        self.clock += timedelta(seconds=1)
        return self.clock

    @initialize(max_attempts=st.integers(1, 3), policy=POLICIES)
    def begin(self, max_attempts: int, policy: dict[str, str]) -> None:
        with self.database.write() as connection:
            now = self.now
            connection.execute(update(Task).values(max_attempts=max_attempts))
            connection.execute(update(Array).values(retry_policy=msgspec.json.encode(policy).decode()))
            self.run_id = run_make(connection, self.workflow.workflow_id, now=now)
        self.run_ids.append(self.run_id)

    # -- controllers ------------------------------------------------------------------------------------
    @rule(positions=POSITIONS, is_remote=st.booleans())
    def queue_some(self, positions: list[int], is_remote: bool) -> None:
        """A controller keeps to the graph: it queues what is ready, perhaps by old knowledge, here or on a batch cluster."""
        self.queue(positions, is_remote)

    def queue(self, positions: list[int], is_remote: bool = False) -> None:
        with self.database.read() as connection:
            done = self.statuses(connection)
        ready = [
            position
            for position in dict.fromkeys(positions)
            if all(done[self.workflow.task_ids[i]] is TaskStatus.DONE for i in UPSTREAM[position])
        ]
        if ready:
            self.batch_num += 1
            tasks = [self.workflow.task_ids[position] for position in ready]
            batch = BatchRequest(
                self.workflow.array_id, self.batch_num, self.workflow.task_resources_id, tasks
            )
            if is_remote:
                batch.name = f"model-{self.batch_num}"
            self.sync(SyncRequest([], [batch]))

    def sync(self, message: SyncRequest) -> None:
        with self.database.write() as connection:
            answer = run_sync(
                connection,
                self.run_id,
                message,
                now=self.now,
                actor="controller",
                max_infrastructure_losses=MAX_LOSSES,
            )
        self.syncs.append((self.run_id, message, answer))

    @rule(data=st.data())
    def sync_again(self, data: st.DataObject) -> None:
        """The reply of a sync was lost: what is created by the second is what was created by the first."""
        created = [each for each in self.syncs if any(batch.task_ids for batch in each[2].batches)]
        if not created:
            return
        run_id, message, answer = data.draw(st.sampled_from(created))
        with self.database.write() as connection:
            before = len(connection.execute(select(TaskInstance.id)).all())
            again = run_sync(
                connection,
                run_id,
                SyncRequest([], message.batches),
                now=self.now,
                actor="controller",
                max_infrastructure_losses=MAX_LOSSES,
            )
            assert len(connection.execute(select(TaskInstance.id)).all()) == before
        known = {i for batch in answer.batches for i in batch.task_instance_ids}
        assert {i for batch in again.batches for i in batch.task_instance_ids} <= known

    @rule(data=st.data())
    def go_on_with_a_success(self, data: st.DataObject) -> None:
        """A success, perhaps one too late, and with it a batch that counts on it."""
        with self.database.read() as connection:
            rows = connection.execute(select(TaskInstance.id, TaskInstance.task_id)).all()
            done = {i for i, status in self.statuses(connection).items() if status is TaskStatus.DONE}
        if not rows:
            return
        instance, task_id = data.draw(st.sampled_from([tuple(row) for row in rows]))
        done.add(task_id)
        ids = self.workflow.task_ids
        ready = [
            ids[position]
            for position, waits_for in enumerate(UPSTREAM)
            if waits_for and all(ids[i] in done for i in waits_for)
        ]
        self.batch_num += 1
        batch = BatchRequest(self.workflow.array_id, self.batch_num, self.workflow.task_resources_id, ready)
        events = [
            InstanceEvent(instance, TaskInstanceEvent.START),
            InstanceEvent(instance, TaskInstanceEvent.FINISH),
        ]
        self.sync(SyncRequest(events, [batch], requires_done=[task_id]))

    @rule(data=st.data(), status=st.sampled_from([TaskStatus.DONE, TaskStatus.REGISTERED]))
    def set_what_runs_by_hand(self, data: st.DataObject, status: TaskStatus) -> None:
        """And have the controller queue it at once: the attempt that was ordered to end may still be running."""
        with self.database.read() as connection:
            live = connection.scalars(
                select(TaskInstance.task_id).where(TaskInstance.status.in_(TASK_INSTANCE_LIVE))
            ).all()
        if live:
            position = self.workflow.task_ids.index(data.draw(st.sampled_from(list(live))))
            self.set_by_hand([position], status, False, True)
            self.queue([position])

    # -- wrappers ---------------------------------------------------------------------------------------
    @rule(target=told, data=st.data(), kinds=st.lists(EVENTS, min_size=1, max_size=4))
    def tell(self, data: st.DataObject, kinds: list[TaskInstanceEvent]) -> object:
        """Anything is told of any attempt there ever was."""
        with self.database.read() as connection:
            ids = list(connection.scalars(select(TaskInstance.id)))
        if not ids:
            return multiple()
        events = []
        for kind in kinds:
            cause = data.draw(st.sampled_from(CAUSES)) if kind in FAILING else None
            event = InstanceEvent(data.draw(st.sampled_from(ids)), kind, cause=cause)
            self.apply([event])
            events.append(event)
        return events

    @rule(events=told, reverse=st.booleans())
    def tell_again(self, events: list[InstanceEvent], reverse: bool) -> None:
        """Events come twice, late, and in another order, in one batch."""
        self.apply(events[::-1] if reverse else events)

    @rule(data=st.data())
    def live_on(self, data: st.DataObject) -> None:
        """An attempt goes the usual way, so that runs get somewhere."""
        with self.database.read() as connection:
            live = connection.scalars(
                select(TaskInstance.id).where(TaskInstance.status.in_(TASK_INSTANCE_LIVE))
            ).all()
        if live:
            instance = data.draw(st.sampled_from(list(live)))
            end = data.draw(st.sampled_from([TaskInstanceEvent.FINISH, TaskInstanceEvent.FAIL]))
            cause = Cause.CODE if end is TaskInstanceEvent.FAIL else None
            self.apply(
                [
                    InstanceEvent(instance, TaskInstanceEvent.LAUNCH),
                    InstanceEvent(instance, TaskInstanceEvent.START),
                    InstanceEvent(instance, end, cause=cause),
                ]
            )

    def apply(self, events: list[InstanceEvent]) -> None:
        with self.database.write() as connection:
            before = self.instances(connection)
            applied = attempts_apply_events(
                connection, events, now=self.now, actor="worker", max_infrastructure_losses=MAX_LOSSES
            )
            for run_id in applied.outlived_runs:
                workflow_finish_if_done(connection, run_id, now=self.now, actor="worker")
            after = self.instances(connection)
            if len(events) == 1:
                self.compare(events[0], before, after, connection)
            for instance, status in after.items():
                if status in TASK_INSTANCE_TERMINAL and any(e.task_instance_id == instance for e in events):
                    told_to_stop = instance in applied.stop
                    ended_now = before[instance] not in TASK_INSTANCE_TERMINAL
                    assert told_to_stop or ended_now or applied.illegal

    def compare(
        self,
        event: InstanceEvent,
        before: dict[int, TaskInstanceStatus],
        after: dict[int, TaskInstanceStatus],
        connection: Connection,
    ) -> None:
        """One event moves one attempt, as the table says; a void attempt ends."""
        changed = {i for i in after if after[i] is not before[i]}
        assert changed <= {event.task_instance_id}
        was, is_now = before[event.task_instance_id], after[event.task_instance_id]
        expected = target(TASK_INSTANCE, was, event.event)
        if isinstance(expected, TaskInstanceStatus):
            assert is_now in (expected, TaskInstanceStatus.ERROR_FATAL)
        else:
            assert is_now is was

    # -- people and other controllers ---------------------------------------------------------------------
    @rule(cold=st.booleans(), is_dead=st.booleans())
    def order_resume(self, cold: bool, is_dead: bool) -> None:
        """A cold order reaches what lives on batch clusters, whatever run it is of; a hot one leaves it alone."""
        with self.database.write() as connection:
            before = self.live_remote(connection)
            workflow_order_resume(
                connection,
                self.workflow.workflow_id,
                cold=cold,
                dead_workflow_run_ids=[self.run_id] if is_dead else [],
                now=self.now,
                actor="user:tester",
                losses=MAX_LOSSES,
            )
            if cold:
                assert set(self.live_remote(connection).values()) <= {TaskInstanceStatus.KILL_SELF}
            else:
                assert self.live_remote(connection) == before

    @rule(event=st.sampled_from(list(WorkflowRunEvent)))
    def run_event(self, event: WorkflowRunEvent) -> None:
        """The controller says anything of its run; what is illegal is refused and changes nothing.

        Attempts on batch clusters outlive their run; those of this machine do not.
        """
        with self.database.read() as connection:
            before = self.live_remote(connection)
        state = self.try_to(
            lambda connection: run_apply_event(
                connection,
                self.run_id,
                event,
                now=self.now,
                actor="controller",
                max_infrastructure_losses=MAX_LOSSES,
            )
        )
        if state is not None and state.status != WorkflowRunStatus.DONE:
            with self.database.read() as connection:
                assert self.live_remote(connection) == before
                if state.status in WORKFLOW_RUN_TERMINAL - {WorkflowRunStatus.TERMINATED}:
                    live = self.instances(connection).items() - self.live_remote(connection).items()
                    mine = set(
                        connection.scalars(
                            select(TaskInstance.id).where(TaskInstance.workflow_run_id == self.run_id)
                        )
                    )
                    may_live = TASK_INSTANCE_TERMINAL | {
                        TaskInstanceStatus.KILL_SELF,
                        TaskInstanceStatus.NO_HEARTBEAT,
                    }
                    assert all(status in may_live for i, status in live if i in mine)

    def live_remote(self, connection: Connection) -> dict[int, TaskInstanceStatus]:
        """Live attempts on batch clusters."""
        rows = connection.execute(
            select(TaskInstance.id, TaskInstance.status).where(
                TaskInstance.status.in_(TASK_INSTANCE_LIVE), is_remote()
            )
        )
        return {row[0]: TaskInstanceStatus(row[1]) for row in rows}

    @rule()
    def new_run(self) -> None:
        """Another controller comes; while one is alive it is refused."""
        made = self.try_to(lambda connection: run_make(connection, self.workflow.workflow_id, now=self.now))
        if made is not None:
            self.run_id = made
            self.run_ids.append(made)

    @rule()
    def drain(self) -> None:
        """Somebody orders the run that is alive to start nothing more, in whatever state it is."""
        run_id = self.try_to(
            lambda connection: run_order_drain_if_alive(
                connection, self.workflow.workflow_id, now=self.now, actor="user:tester"
            )
        )
        with self.database.read() as connection:
            alive = connection.scalar(
                select(WorkflowRun.id).where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
            )
            assert run_id == alive
            assert run_id is None or run_state(connection, run_id).is_draining

    @rule()
    def create_for_another_process(self) -> None:
        """A run is created that a process of its own is to take over."""
        message = WorkflowRunRequest(
            f"{len(self.run_ids)}", "tester", "1", ProcessIdentity("here", "", 1, 1), 90
        )
        made = self.try_to(
            lambda connection: run_create_if_none_alive(
                connection, self.workflow.workflow_id, message, self.now
            )
        )
        if made is not None:
            self.run_id = made.workflow_run_id
            self.run_ids.append(self.run_id)

    @rule(data=st.data(), key=st.sampled_from(TAKERS), goes_on=st.booleans(), adopt=st.booleans())
    def take(self, data: st.DataObject, key: str, goes_on: bool, adopt: bool) -> None:
        """A process takes a run, perhaps one that is over or that another one has; one gets it, and may ask twice."""
        run_id = data.draw(st.sampled_from(self.run_ids))
        message = TakeRunRequest(f"{key}{run_id}", ProcessIdentity(key, "", 1, 1), 90)
        with self.database.read() as connection:
            before = run_state(connection, run_id).status
        taken = self.try_to(
            lambda connection: run_take_if_waiting(
                connection, run_id, message, now=self.now, actor="controller"
            )
        )
        if taken is None:
            assert self.taken_by.get(run_id) != key
            return
        assert self.taken_by.setdefault(run_id, key) == key
        if before in (WorkflowRunStatus.LINKING, WorkflowRunStatus.BOUND):
            assert taken.status == WorkflowRunStatus.INSTANTIATED
        if goes_on:
            self.prepare(run_id, adopt)

    def prepare(self, run_id: int, adopt: bool) -> None:
        """What a controller does with a run it took; a run that is over touches no task.

        Whatever lives on batch clusters then belongs to the new run; unless it adopts, it has been ordered to end.
        """
        with self.database.read() as connection:
            is_over = run_state(connection, run_id).status not in WORKFLOW_RUN_ALIVE
        done = self.try_to(
            lambda connection: run_take_tasks(
                connection, run_id, adopt=adopt, now=self.now, actor="controller"
            )
        )
        assert (done is None) == is_over
        if not is_over:
            with self.database.read() as connection:
                live = {each.task_instance_id: each for each in run_live_attempts(connection, run_id)}
                remote = self.live_remote(connection)
            assert live.keys() >= remote.keys()
            assert all(live[i].job_name for i in remote)
            assert adopt or set(remote.values()) <= {TaskInstanceStatus.KILL_SELF}
        for event in (WorkflowRunEvent.LAUNCH, WorkflowRunEvent.START):
            self.try_to(
                lambda connection, event=event: run_apply_event(
                    connection, run_id, event, now=self.now, actor="controller"
                )
            )

    @rule(
        positions=POSITIONS,
        status=st.sampled_from([TaskStatus.DONE, TaskStatus.REGISTERED]),
        is_recursive=st.booleans(),
        is_forced=st.booleans(),
    )
    def order_by_hand(
        self, positions: list[int], status: TaskStatus, is_recursive: bool, is_forced: bool
    ) -> None:
        """Somebody sets tasks done, or has them run again."""
        self.set_by_hand(positions, status, is_recursive, is_forced)

    def set_by_hand(
        self, positions: list[int], status: TaskStatus, is_recursive: bool, is_forced: bool
    ) -> None:
        message = UpdateTasksRequest(
            [self.workflow.task_ids[position] for position in positions],
            status.value,
            is_recursive,
            is_forced,
        )
        self.try_to(
            lambda connection: tasks_update_by_hand(
                connection,
                self.workflow.workflow_id,
                message,
                user="tester",
                now=self.now,
                max_infrastructure_losses=MAX_LOSSES,
            )
        )

    @rule(is_partial=st.booleans())
    def reset(self, is_partial: bool) -> None:
        self.try_to(
            lambda connection: workflow_reset_if_quiet(
                connection, self.workflow.workflow_id, is_partial=is_partial, user="tester", now=self.now
            )
        )

    def try_to(self, work):  # type: ignore[no-untyped-def]
        """Do it in a transaction; a refusal changes nothing and is no failure."""
        try:
            with self.database.write() as connection:
                return work(connection)
        except JobmonError:
            return None

    # -- what must be true ----------------------------------------------------------------------------------
    def statuses(self, connection: Connection) -> dict[int, TaskStatus]:
        return {row[0]: TaskStatus(row[1]) for row in connection.execute(select(Task.id, Task.status))}

    def instances(self, connection: Connection) -> dict[int, TaskInstanceStatus]:
        rows = connection.execute(select(TaskInstance.id, TaskInstance.status))
        return {row[0]: TaskInstanceStatus(row[1]) for row in rows}

    @invariant()
    def all_is_well(self) -> None:
        """The history is legal, terminal attempts stay, and at most one of each is live."""
        with self.database.read() as connection:
            assert check_history(connection, MAX_LOSSES) == []
            for instance, status in self.instances(connection).items():
                if instance in self.terminal:
                    assert status == self.terminal[instance]
                elif status in TASK_INSTANCE_TERMINAL:
                    self.terminal[instance] = status
            live = connection.scalars(
                select(TaskInstance.task_id).where(TaskInstance.status.in_(TASK_INSTANCE_LIVE))
            ).all()
            assert len(live) == len(set(live))
            alive = connection.scalars(
                select(WorkflowRun.id).where(WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
            ).all()
            assert len(alive) <= 1


@pytest.mark.timeout(600)
def test_whatever_is_told_the_history_is_legal(
    backend: Backend, empty_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hypothesis plays controllers, wrappers and users against the store."""
    monkeypatch.setattr(AttemptsMachine, "empty_database", staticmethod(empty_database), raising=False)
    run_state_machine_as_test(
        AttemptsMachine,
        settings=settings(
            max_examples=EXAMPLES if backend is Backend.SQLITE else max(1, EXAMPLES // 4),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
