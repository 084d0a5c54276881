"""What the reaper puts right: each rule by itself, its bound, and that it acts once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from database_clock import DatabaseClock
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select, update

import databases
from jobmon.core.configuration_keys import KEYS
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    TASK_INSTANCE,
    TASK_INSTANCE_LIVE,
    WORKFLOW,
    WORKFLOW_BEING_RUN,
    WORKFLOW_RUN,
    WORKFLOW_RUN_ALIVE,
    WORKFLOW_RUN_TERMINAL,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunEvent,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.server.services import rules
from jobmon.server.services.reaper import Reaper, ReaperResult, describe
from jobmon.server.services.rules import (
    RULES,
    AttemptFacts,
    ReaperLimits,
    disagrees,
    end_of_attempt,
    end_of_lost_run,
    event_without_run,
)
from jobmon.server.web.database import Database
from jobmon.server.web.models import Alarm, Batch, Task, TaskInstance, Workflow, WorkflowRun
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.runs import run_apply_event
from jobmon.testing.factory import MadeWorkflow, attempts_make, run_make, workflow_make
from jobmon.testing.history import check_history

NOW = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - UTC, as the database keeps it
HOUR = 3600.0
every_backend = pytest.mark.parametrize("backend", databases.parameters())

# -- decisions --------------------------------------------------------------------------------------------
FACTS = st.builds(
    AttemptFacts,
    st.just(1),
    st.just(1),
    st.sampled_from(sorted(TASK_INSTANCE_LIVE)),
    st.integers(0, 10**6).map(lambda s: NOW - timedelta(seconds=s)),
    st.none() | st.integers(-1000, 10**6).map(lambda s: NOW - timedelta(seconds=s)),
    st.booleans(),
    st.sampled_from(list(TaskStatus)),
    st.sampled_from(list(WorkflowRunStatus)),
    st.integers(0, 10**6).map(lambda s: NOW - timedelta(seconds=s)),
)
LIMITS = st.builds(
    ReaperLimits,
    st.just(60.0),
    st.floats(1, 1000),
    st.floats(1, 10**5),
    st.just(0.0) | st.floats(1, 10**5),
    st.just(3600.0),
)


@given(FACTS, LIMITS)
def test_the_end_of_an_attempt_is_one_the_tables_allow(facts: AttemptFacts, limits: ReaperLimits) -> None:
    end = end_of_attempt(facts, NOW, limits)
    if end is not None:
        assert end.event in TASK_INSTANCE[facts.status]
        assert facts.status_date < NOW
        assert end.rule in {rule.name for rule in RULES}


@given(FACTS, LIMITS)
def test_attempts_of_clusters_are_left_alone_unless_ordered_or_void_or_limited(
    facts: AttemptFacts, limits: ReaperLimits
) -> None:
    """The next run asks the cluster what became of them."""
    is_void = facts.task_status in (TaskStatus.DONE, TaskStatus.ERROR_FATAL)
    is_ordered = facts.status is TaskInstanceStatus.KILL_SELF
    if facts.is_remote and not is_ordered and not is_void and limits.silent_remote_seconds == 0:
        assert end_of_attempt(facts, NOW, limits) is None


@given(FACTS, LIMITS)
def test_nothing_of_a_run_that_is_over_stays_for_ever(facts: AttemptFacts, limits: ReaperLimits) -> None:
    """After the longest of the bounds, every attempt has an end, unless an operator wants the next run to ask."""
    if facts.run_status not in WORKFLOW_RUN_TERMINAL:
        return
    if facts.is_remote and limits.silent_remote_seconds == 0:
        return
    late = NOW + timedelta(
        seconds=1001 + max(limits.orphan_seconds, limits.ordered_remote_seconds, limits.silent_remote_seconds)
    )
    assert end_of_attempt(facts, late, limits) is not None


@given(FACTS, LIMITS)
def test_attempts_of_a_run_that_is_alive_are_its_controllers(
    facts: AttemptFacts, limits: ReaperLimits
) -> None:
    """But for those of tasks that have come to an end without them."""
    is_void = facts.task_status in (TaskStatus.DONE, TaskStatus.ERROR_FATAL)
    if facts.run_status in WORKFLOW_RUN_ALIVE and not is_void:
        assert end_of_attempt(facts, NOW, limits) is None


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("status", sorted(WORKFLOW_RUN_ALIVE))
def test_a_lost_run_ends_from_every_state(status: WorkflowRunStatus, is_done: bool) -> None:
    after = WORKFLOW_RUN[status][end_of_lost_run(status, is_done=is_done)]
    assert after in WORKFLOW_RUN_TERMINAL


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("last", [None, *sorted(WORKFLOW_RUN_TERMINAL)])
@pytest.mark.parametrize("status", list(WorkflowStatus))
def test_a_workflow_without_a_run_comes_to_rest(
    status: WorkflowStatus, last: WorkflowRunStatus | None, is_done: bool
) -> None:
    """In at most two looks, by the tables, and done only where all is done."""
    for _ in range(2):
        event = event_without_run(status, last, is_done=is_done)
        if event is None:
            break
        after = WORKFLOW[status][event]
        assert isinstance(after, WorkflowStatus)
        assert (after is WorkflowStatus.DONE) <= is_done
        status = after
    assert status not in WORKFLOW_BEING_RUN


def test_runs_and_workflows_that_go_together_do_not_disagree() -> None:
    together = {("L", "G"), ("B", "Q"), ("I", "I"), ("O", "O"), ("R", "R")}
    for run in WorkflowRunStatus:
        for workflow in WorkflowStatus:
            expected = run.value in "LBIOR" and (run.value, workflow.value) not in together
            assert disagrees(run, workflow) is expected, (run, workflow)


def test_the_bounds_name_keys_that_there_are() -> None:
    keys = {f"{key.section}.{key.name}" for key in KEYS}
    for rule in RULES:
        named = [word.strip(",;") for word in rule.bound.split() if "." in word.strip(".,;")]
        assert all(word in keys for word in named), rule


# -- the database -----------------------------------------------------------------------------------------
@dataclass
class Scene:
    """A workflow of three tasks, and a reaper."""

    database: Database
    clock: DatabaseClock
    workflow: MadeWorkflow
    reaper: Reaper
    batch_num: int = 0
    is_forced: bool = False

    def run(self, status: WorkflowRunStatus = WorkflowRunStatus.RUNNING) -> int:
        with self.database.write() as connection:
            return run_make(connection, self.workflow.workflow_id, now=self.clock.now, status=status)

    def attempt(self, run_id: int, position: int, *, is_remote: bool = False) -> int:
        """An attempt that runs."""
        self.batch_num += 1
        with self.database.write() as connection:
            (attempt,) = attempts_make(
                connection, self.workflow, run_id, [position], batch_num=self.batch_num, now=self.clock.now
            )
            if is_remote:
                connection.execute(
                    insert(Batch).values(
                        array_id=self.workflow.array_id,
                        batch_num=self.batch_num,
                        workflow_run_id=run_id,
                        name=f"b{self.batch_num}",
                        num_steps=1,
                        created_date=self.clock.now,
                    )
                )
            event = InstanceEvent(attempt, TaskInstanceEvent.START, next_report_increment=270)
            self.tell(connection, event)
        return attempt

    def tell(self, connection: Connection, *events: InstanceEvent) -> None:
        attempts_apply_events(
            connection, list(events), now=self.clock.now, actor="worker", max_infrastructure_losses=10
        )

    def end(self, run_id: int, event: WorkflowRunEvent) -> None:
        with self.database.write() as connection:
            run_apply_event(connection, run_id, event, now=self.clock.now, actor="controller")

    def force(self, table: type, row_id: int, **values: object) -> None:
        """Make the database inconsistent."""
        self.is_forced |= "status" in values
        with self.database.write() as connection:
            connection.execute(update(table).where(table.id == row_id).values(**values))  # type: ignore[attr-defined]

    def look(self, seconds: float = 0) -> ReaperResult:
        """Let time pass on both clocks, and look."""
        self.clock.pass_by(seconds)
        return self.reaper.run_once(monotonic=self.clock.now.timestamp())

    def letters(self, table: type) -> str:
        with self.database.read() as connection:
            return "".join(connection.scalars(select(table.status).order_by(table.id)))  # type: ignore[attr-defined]

    def alarms(self) -> list[tuple[str, str]]:
        with self.database.read() as connection:
            return [
                tuple(row) for row in connection.execute(select(Alarm.kind, Alarm.subject).order_by(Alarm.id))
            ]  # type: ignore[misc]


@pytest.fixture
def scene(database_uri: str, clock: DatabaseClock) -> Iterator[Scene]:
    """A registered workflow; at the end the history must be legal, unless the test made the database inconsistent."""
    database = Database(database_uri)
    with database.write() as connection:
        workflow = workflow_make(connection, [[], [], []], now=clock.now, name="flow")
    scene = Scene(database, clock, workflow, Reaper(database, 10))
    yield scene
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert scene.is_forced or check_history(database.engine) == []
    database.dispose()


def finish_all(scene: Scene, run_id: int) -> None:
    attempts = [scene.attempt(run_id, position) for position in range(3)]
    with scene.database.write() as connection:
        scene.tell(connection, *(InstanceEvent(i, TaskInstanceEvent.FINISH) for i in attempts))


@every_backend
def test_a_lost_run_ends_and_its_workflow_is_told_of(scene: Scene) -> None:
    """Overdue for the grace; its attempts of this machine end after their time; then nothing is left to do."""
    run_id = scene.run()
    scene.attempt(run_id, 0)
    remote = scene.attempt(run_id, 1, is_remote=True)
    assert scene.look(100).runs == {}
    result = scene.look(61)
    assert result.runs == {run_id: WorkflowRunStatus.ERROR}
    assert "lost_run: 1" in describe(result)
    assert scene.letters(Workflow) == WorkflowStatus.FAILED
    assert scene.alarms() == [("lost_run", f"run {run_id}")]
    assert scene.letters(TaskInstance) == "KR"
    assert scene.look(301).attempts == [1]
    assert scene.letters(TaskInstance) == "FR"
    for _ in range(3):
        result = scene.look(86400)
        assert (result.runs, result.attempts) == ({}, [])
        assert result.silent == {run_id: 1}
    assert scene.letters(TaskInstance)[remote - 1] == "R"
    assert scene.alarms()[1:] == [("stuck_order", f"run {run_id}"), ("silent_attempts", f"run {run_id}")]


@every_backend
@pytest.mark.parametrize(
    ("status", "order", "end", "workflow"),
    [
        (WorkflowRunStatus.LINKING, None, "A", "A"),
        (WorkflowRunStatus.BOUND, None, "E", "F"),
        (WorkflowRunStatus.RUNNING, WorkflowRunEvent.COLD_RESUME, "T", "H"),
        (WorkflowRunStatus.RUNNING, WorkflowRunEvent.HOT_RESUME, "T", "H"),
    ],
)
def test_lost_on_the_way(
    scene: Scene, status: WorkflowRunStatus, order: WorkflowRunEvent | None, end: str, workflow: str
) -> None:
    """Each state has its end."""
    run_id = scene.run(status)
    if order is not None:
        scene.end(run_id, order)
    scene.look(100)
    assert scene.look(61).runs == {run_id: end}
    assert scene.letters(Workflow) == workflow


@every_backend
def test_a_lost_run_whose_tasks_are_all_done_is_done(scene: Scene) -> None:
    """The controller died between the last task and its own last word."""
    run_id = scene.run()
    finish_all(scene, run_id)
    scene.look(100)
    assert scene.look(61).runs == {run_id: WorkflowRunStatus.DONE}
    assert scene.letters(Workflow) == WorkflowStatus.DONE


@every_backend
def test_a_sign_of_life_that_comes_during_the_watch_counts(scene: Scene) -> None:
    run_id = scene.run()
    scene.look(100)
    scene.force(WorkflowRun, run_id, heartbeat_date=scene.clock.now + timedelta(seconds=30))
    assert scene.look(61).runs == {}  # overdue again, and watched anew
    assert scene.look(30).runs == {}
    assert scene.look(31).runs == {run_id: WorkflowRunStatus.ERROR}


@every_backend
def test_what_a_hot_handover_left_on_a_dead_machine_ends(scene: Scene) -> None:
    """Its task waits for the next run."""
    run_id = scene.run()
    attempt = scene.attempt(run_id, 0)
    scene.end(run_id, WorkflowRunEvent.HOT_RESUME)
    scene.end(run_id, WorkflowRunEvent.TERMINATE)
    assert scene.look(200).attempts == []
    result = scene.look(101)
    assert result.attempts == [attempt]
    assert result.by_rule == {rules.ORPHAN: 1}
    assert scene.letters(Task) == "GGG"


@every_backend
def test_silent_attempts_of_clusters_are_lost_where_an_operator_says_so(scene: Scene) -> None:
    scene.reaper = Reaper(scene.database, 10, ReaperLimits(silent_remote_seconds=10 * HOUR))
    run_id = scene.run()
    attempt = scene.attempt(run_id, 0, is_remote=True)
    scene.end(run_id, WorkflowRunEvent.FAIL)
    assert scene.look(10 * HOUR).attempts == []
    assert scene.look(300).attempts == [attempt]
    assert scene.letters(TaskInstance) == "U"
    assert scene.letters(Task)[0] == "G"


@every_backend
def test_an_attempt_of_a_task_that_is_done_ends(scene: Scene) -> None:
    """Also of a run that is alive; the task stays."""
    run_id = scene.run()
    attempt = scene.attempt(run_id, 0)
    scene.force(Task, scene.workflow.task_ids[0], status=TaskStatus.DONE.value)
    assert scene.look(80).attempts == []
    scene.force(WorkflowRun, run_id, heartbeat_date=scene.clock.now + timedelta(days=1))
    result = scene.look(301)
    assert (result.attempts, result.by_rule) == ([attempt], {rules.VOID_ATTEMPT: 1})
    assert (scene.letters(Task), scene.letters(TaskInstance)) == ("DGG", "F")
    assert scene.look(301).attempts == []


@every_backend
def test_a_failed_workflow_of_which_everything_is_done_is_done(scene: Scene) -> None:
    run_id = scene.run()
    finish_all(scene, run_id)
    scene.end(run_id, WorkflowRunEvent.STOP)
    assert scene.letters(Workflow) == WorkflowStatus.FAILED
    assert scene.look(60).workflows == {}
    result = scene.look(301)
    assert result.workflows == {scene.workflow.workflow_id: WorkflowStatus.DONE}
    assert scene.letters(Workflow) == WorkflowStatus.DONE
    assert scene.alarms() == [("all_done", f"workflow {scene.workflow.workflow_id}")]
    assert scene.look(301).workflows == {}


@every_backend
def test_a_workflow_that_nobody_runs_comes_to_rest(scene: Scene) -> None:
    run_id = scene.run()
    scene.end(run_id, WorkflowRunEvent.FAIL)
    scene.force(Workflow, scene.workflow.workflow_id, status=WorkflowStatus.RUNNING.value)
    assert scene.look(299).workflows == {}
    result = scene.look(2)
    assert result.workflows == {scene.workflow.workflow_id: WorkflowStatus.FAILED}
    assert result.by_rule == {rules.NO_RUN: 1}


@every_backend
def test_a_run_and_a_workflow_that_disagree_are_told_of_once(scene: Scene) -> None:
    run_id = scene.run()
    scene.force(WorkflowRun, run_id, heartbeat_date=scene.clock.now + timedelta(days=1))
    scene.force(Workflow, scene.workflow.workflow_id, status=WorkflowStatus.FAILED.value)
    for _ in range(3):
        assert scene.look(301).by_rule == {rules.DISAGREEMENT: 1}
    assert scene.alarms() == [("disagreement", f"workflow {scene.workflow.workflow_id}")]


def test_all_ids_are_looked_at_in_bounded_steps(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the highest id, not by the number of rows."""
    from jobmon.server.services import reaper, workflow_rules

    monkeypatch.setattr(reaper, "RUNS_PER_STEP", 7)
    monkeypatch.setattr(reaper, "ATTEMPTS_PER_ACT", 2)
    monkeypatch.setattr(workflow_rules, "WORKFLOWS_PER_STEP", 3)
    made = []
    for number in range(30):
        with scene.database.write() as connection:
            workflow = workflow_make(connection, [[], []], now=scene.clock.now, name=f"w{number}")
        other = Scene(scene.database, scene.clock, workflow, scene.reaper)
        run_id = other.run()
        attempts = [other.attempt(run_id, position) for position in range(2)]
        with scene.database.write() as connection:
            scene.tell(connection, *(InstanceEvent(i, TaskInstanceEvent.FINISH) for i in attempts))
        other.end(run_id, WorkflowRunEvent.STOP)
        made.append(workflow.workflow_id)
    lost = scene.run()
    for position in range(3):
        scene.attempt(lost, position)
    scene.end(lost, WorkflowRunEvent.HOT_RESUME)
    scene.end(lost, WorkflowRunEvent.TERMINATE)
    result = scene.look(301)
    assert len(result.attempts) == 3
    assert sorted(result.workflows) == made


def test_the_page_of_the_documentation_shows_the_rules() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations" / "services.md").read_text()
    for rule in RULES:
        assert f"| `{rule.name}` | {rule.finds} | {rule.does} | {rule.bound} |" in page
