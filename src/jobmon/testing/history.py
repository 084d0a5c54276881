"""The history checker: reads what a database recorded of its runs and proves that all of it was legal.

The history is replayed line by line against the tables of :mod:`jobmon.core.states`. What it must show: no illegal
transition and no gap between two of one thing; at most one live attempt of a task and one alive run of a workflow at
any time; no attempt before every upstream task was done, and none in a run that was ordered to start nothing more; no
more attempts than allowed; and tables that say at the end what the history says. Call :func:`assert_history` at the
end of every test that ran anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, create_engine, select

from jobmon.core import states
from jobmon.core.states import (
    TASK,
    TASK_ACTIVE,
    TASK_EVENT_OF_INSTANCE_STATE,
    TASK_INSTANCE,
    TASK_INSTANCE_LIVE,
    TASK_TERMINAL,
    WORKFLOW,
    WORKFLOW_EVENT_OF_RUN_STATE,
    WORKFLOW_RUN,
    WORKFLOW_RUN_ALIVE,
    Budget,
    Cause,
    Charge,
    RetryPolicies,
    TaskEvent,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowEvent,
    WorkflowRunEvent,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.server.web.models import (
    Array,
    Edge,
    Task,
    TaskHistory,
    TaskInstance,
    Workflow,
    WorkflowHistory,
    WorkflowRun,
)
from jobmon.server.web.store.attempts import policies_decode
from jobmon.server.web.store.progress import Progress, workflows_progress

MAX_INFRASTRUCTURE_LOSSES = 10
DRAIN_EVENT = "drain"
ORDER_EVENTS = frozenset({"limit", DRAIN_EVENT})
"""Orders that change no state."""
SHOWN = 20


def check_history(
    source: Connection | Engine | str, max_infrastructure_losses: int = MAX_INFRASTRUCTURE_LOSSES
) -> list[str]:
    """Everything in the history that ought not to be, in words; empty when all is well.

    Args:
        source: the database: a URI, an engine or a connection.
        max_infrastructure_losses: ``task.max_infrastructure_losses`` of the server that wrote it.
    """
    with reading(source) as connection:
        problems = _check_runs(connection) + _check_drains(connection)
        replay = _Replay(connection, max_infrastructure_losses)
        problems += replay.run()
        problems += _check_cursors(connection)
        problems += _check_counts(connection)
    return problems


def assert_history(
    source: Connection | Engine | str, max_infrastructure_losses: int = MAX_INFRASTRUCTURE_LOSSES
) -> None:
    """Fail when the history of a database is not legal, saying what is wrong.

    Raises:
        AssertionError: it is not.
    """
    problems = check_history(source, max_infrastructure_losses)
    if problems:
        more = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        shown = "\n  ".join(problems[:SHOWN])
        raise AssertionError(f"The history has {len(problems)} problems:\n  {shown}{more}")


@contextmanager
def reading(source: Connection | Engine | str) -> Iterator[Connection]:
    """A connection to a database, given as a URI, an engine or a connection."""
    if isinstance(source, Connection):
        yield source
        return
    engine = create_engine(source) if isinstance(source, str) else source
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        if isinstance(source, str):
            engine.dispose()


# -- runs and workflows -------------------------------------------------------------------------------
def _check_runs(connection: Connection) -> list[str]:
    problems: list[str] = []
    workflows: dict[int, str] = defaultdict(lambda: WorkflowStatus.REGISTERING.value)
    runs: dict[int, str] = {}
    alive: dict[int, set[int]] = defaultdict(set)
    for row in connection.execute(select(WorkflowHistory.__table__).order_by(WorkflowHistory.id)):
        where = f"workflow_history {row.id} (workflow {row.workflow_id}, run {row.workflow_run_id})"
        if row.event in ORDER_EVENTS:
            continue
        if row.run_to is not None:
            before = runs.get(row.workflow_run_id, WorkflowRunStatus.REGISTERED.value)
            if row.run_from != before:
                problems.append(f"{where}: the run was {before}, the line says {row.run_from}")
            problems += _illegal_run_step(where, row)
            runs[row.workflow_run_id] = row.run_to
            is_alive = row.run_to in WORKFLOW_RUN_ALIVE
            (alive[row.workflow_id].add if is_alive else alive[row.workflow_id].discard)(row.workflow_run_id)
            if len(alive[row.workflow_id]) > 1:
                problems.append(f"{where}: runs {sorted(alive[row.workflow_id])} are alive at once")
        elif states.target(WORKFLOW, WorkflowStatus(row.workflow_from), WorkflowEvent(row.event)) != (
            row.workflow_to
        ):
            problems.append(f"{where}: {row.workflow_from} -{row.event}-> {row.workflow_to} is illegal")
        if row.workflow_from != workflows[row.workflow_id]:
            problems.append(
                f"{where}: it was {workflows[row.workflow_id]}, the line says {row.workflow_from}"
            )
        workflows[row.workflow_id] = row.workflow_to
    for run_id, status in connection.execute(select(WorkflowRun.id, WorkflowRun.status)):
        known = runs.get(run_id, WorkflowRunStatus.REGISTERED.value)
        if status != known:
            problems.append(f"workflow run {run_id} is {status}, its history ends with {known}")
    for workflow_id, status in connection.execute(select(Workflow.id, Workflow.status)):
        if status != workflows[workflow_id]:
            problems.append(f"workflow {workflow_id} is {status}, its history ends: {workflows[workflow_id]}")
    return problems


def _check_drains(connection: Connection) -> list[str]:
    """An order to drain is noted once, and after it the run creates no attempt."""
    problems: list[str] = []
    ordered: dict[int | None, int] = {}
    orders = select(WorkflowHistory.workflow_run_id, WorkflowHistory.cursor).where(
        WorkflowHistory.event == DRAIN_EVENT
    )
    for run_id, cursor in connection.execute(orders.order_by(WorkflowHistory.id)):
        if run_id in ordered:
            problems.append(f"workflow run {run_id} was ordered to drain twice")
        ordered.setdefault(run_id, cursor)
    for run_id, is_draining in connection.execute(select(WorkflowRun.id, WorkflowRun.is_draining)):
        if is_draining != (run_id in ordered):
            problems.append(f"workflow run {run_id}: draining is {is_draining}, its history differs")
    created = select(TaskHistory.workflow_run_id, TaskHistory.task_instance_id, TaskHistory.cursor).where(
        TaskHistory.workflow_run_id.in_(list(ordered)),
        TaskHistory.instance_to == TaskInstanceStatus.QUEUED.value,
    )
    problems += [
        f"attempt {attempt} was created at cursor {cursor}, after run {run_id} was ordered to drain"
        for run_id, attempt, cursor in connection.execute(created)
        if cursor > ordered[run_id]
    ]
    return problems


def _illegal_run_step(where: str, row: Any) -> list[str]:
    """What is wrong with one line about a run, by the tables."""
    run_to = WorkflowRunStatus(row.run_to)
    problems = []
    if (
        states.target(WORKFLOW_RUN, WorkflowRunStatus(row.run_from), WorkflowRunEvent(row.event))
        is not run_to
    ):
        problems.append(f"{where}: run {row.run_from} -{row.event}-> {row.run_to} is illegal")
    before = WorkflowStatus(row.workflow_from)
    event = WORKFLOW_EVENT_OF_RUN_STATE.get(run_to)
    after = before if event is None else states.target(WORKFLOW, before, event)
    if after is None:
        problems.append(f"{where}: a workflow that is {before} has no event {event}")
    expected = after if isinstance(after, WorkflowStatus) else before
    if row.workflow_to != expected:
        problems.append(f"{where}: run {row.event} took the workflow from {before} to {row.workflow_to}")
    return problems


# -- attempts and tasks -------------------------------------------------------------------------------
@dataclass
class _TaskState:
    """A task as the history tells it up to some line."""

    status: TaskStatus = TaskStatus.REGISTERED
    num_attempts: int = 0
    num_losses: int = 0
    live: set[int] = field(default_factory=set)
    registered_in_run: int | None = None  # the run in which an attempt brought it back to REGISTERED
    may_count_anew: bool = True  # it waits, or was completed by hand while it waited


class _Replay:
    """Goes through the history of attempts and tasks, line by line."""

    def __init__(self, connection: Connection, max_infrastructure_losses: int) -> None:
        self.max_losses = max_infrastructure_losses
        self.problems: list[str] = []
        self.tasks: dict[int, _TaskState] = defaultdict(_TaskState)
        self.instances: dict[int, TaskInstanceStatus] = {}
        self.failed: int | None = None  # the attempt whose failure the next line has to decide about
        self.connection = connection
        self.rows = {row.id: row for row in connection.execute(select(Task.__table__).order_by(Task.id))}
        instances = select(TaskInstance.__table__).order_by(TaskInstance.id)
        self.instance_rows = {row.id: row for row in connection.execute(instances)}
        self.upstream = _upstream_tasks(connection, self.rows)
        self.policies_of_array = {
            array_id: policies_decode(text)
            for array_id, text in connection.execute(select(Array.id, Array.retry_policy))
        }
        last_run: dict[int, int] = {}
        for run_id, workflow_id in connection.execute(select(WorkflowRun.id, WorkflowRun.workflow_id)):
            last_run[workflow_id] = max(run_id, last_run.get(workflow_id, 0))
        self.last_runs = set(last_run.values())

    def run(self) -> list[str]:
        """Everything that is wrong."""
        for row in self.connection.execute(select(TaskHistory.__table__).order_by(TaskHistory.id)):
            task = self.tasks[row.task_id]
            where = f"task_history {row.id} (task {row.task_id}, attempt {row.task_instance_id})"
            is_void = row.instance_to is not None and self._instance_step(where, row, task)
            if self.failed is not None and row.task_instance_id != self.failed:
                self._say(where, f"the failure of attempt {self.failed} was not decided about")
            if row.task_to is not None:
                self._task_step(where, row, task)
            elif row.instance_to is not None and not is_void:
                self._require_uncoupled(where, row, task)
        self._compare()
        return self.problems

    def _say(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    def _instance_step(self, where: str, row: Any, task: _TaskState) -> bool:
        """Follow an attempt; whether it is void, because its task is terminal."""
        after = TaskInstanceStatus(row.instance_to)
        known = self.instances.get(row.task_instance_id)
        is_void = False
        if known is None or row.instance_from is None:
            if known is not None or row.instance_from is not None or after is not TaskInstanceStatus.QUEUED:
                self._say(where, f"an attempt begins with {row.instance_from} to {row.instance_to}")
            self._require_upstream_done(where, row.task_id)
        else:
            if row.instance_from != known:
                self._say(where, f"the attempt was {known}, the line says {row.instance_from}")
            expected = states.target(TASK_INSTANCE, known, TaskInstanceEvent(row.event))
            is_void = task.status in TASK_TERMINAL
            if is_void and isinstance(expected, TaskInstanceStatus):
                expected = TaskInstanceStatus.ERROR_FATAL
            if expected is not after:
                self._say(where, f"attempt {known} -{row.event}-> {after} is illegal (task {task.status})")
        self.instances[row.task_instance_id] = after
        is_live = after in TASK_INSTANCE_LIVE
        (task.live.add if is_live else task.live.discard)(row.task_instance_id)
        if len(task.live) > 1:
            self._say(where, f"attempts {sorted(task.live)} are live at once")
        return is_void

    def _require_upstream_done(self, where: str, task_id: int) -> None:
        waiting = [i for i in self.upstream.get(task_id, ()) if self.tasks[i].status is not TaskStatus.DONE]
        if waiting:
            self._say(where, f"an attempt was created before its upstream tasks {waiting[:5]} were done")

    def _require_uncoupled(self, where: str, row: Any, task: _TaskState) -> None:
        """The line changed no task: the tables must agree."""
        event = TASK_EVENT_OF_INSTANCE_STATE.get(TaskInstanceStatus(row.instance_to))
        after = None if event is None else states.target(TASK, task.status, event)
        if isinstance(after, TaskStatus):
            self._say(where, f"the task is {task.status}: {event} ought to have made it {after}")

    def _task_step(self, where: str, row: Any, task: _TaskState) -> None:
        if row.task_from != task.status:
            self._say(where, f"the task was {task.status}, the line says {row.task_from}")
        before, after = TaskStatus(row.task_from), TaskStatus(row.task_to)
        event = self._task_event(where, row, task)
        if event is not None and states.target(TASK, before, event) is not after:
            self._say(where, f"task {before} -{event}-> {after} is illegal")
        if row.instance_to is not None and before in TASK_TERMINAL:
            self._say(where, f"an attempt reopened a task that was {before}")
        task.status = after
        waited = before is TaskStatus.REGISTERED and event is TaskEvent.COMPLETE
        task.may_count_anew = after is TaskStatus.REGISTERED or waited
        if after is TaskStatus.REGISTERED:
            task.registered_in_run = row.workflow_run_id
        if event is TaskEvent.FAIL:
            self.failed = row.task_instance_id

    def _task_event(self, where: str, row: Any, task: _TaskState) -> TaskEvent | None:
        """What happened to the task, by the event of its attempt or its own; counts attempts on the way."""
        if row.instance_to is None:
            event = TaskEvent(row.event)
            if row.task_instance_id is not None:
                self._decision(where, row, task, event)
            elif row.task_to == TaskStatus.REGISTERED:
                task.num_attempts = task.num_losses = 0
            return event
        if row.instance_from is None:
            if task.registered_in_run not in (None, row.workflow_run_id):
                task.num_attempts = task.num_losses = 0  # a new run counts anew
            return TaskEvent.QUEUE
        instance_to = TaskInstanceStatus(row.instance_to)
        if instance_to is TaskInstanceStatus.INSTANTIATED:
            task.num_attempts += 1
        event_or_none = TASK_EVENT_OF_INSTANCE_STATE.get(instance_to)
        if event_or_none is None:
            self._say(where, f"an attempt that becomes {instance_to} means nothing to its task")
        return event_or_none

    def _decision(self, where: str, row: Any, task: _TaskState, event: TaskEvent) -> None:
        """The line decides about a failure; right by the limits, as far as they are still known."""
        failed, self.failed = self.failed, None
        if failed is None:
            self._say(where, f"{event} without a failure before it")
            return
        instance = self.instance_rows.get(failed)
        cause = Cause(instance.cause) if instance is not None and instance.cause else None
        policies = self._policies(row.task_id)
        status = self.instances[failed]
        if states.policy_after(status, cause, policies).charge is Charge.INFRASTRUCTURE:
            task.num_losses += 1
        if row.workflow_run_id not in self.last_runs or row.task_id not in self.rows:
            return
        limit = self.rows[row.task_id].max_attempts
        budget = Budget(task.num_attempts, limit, task.num_losses, self.max_losses)
        expected = states.after_failure(status, cause, budget, policies)
        if expected is not event:
            self._say(where, f"{event} after {budget} and cause {cause}; it ought to be {expected}")

    def _policies(self, task_id: int) -> RetryPolicies:
        """What follows failures of a task, by the policy its array has now."""
        row = self.rows.get(task_id)
        return states.RETRY_POLICIES if row is None else self.policies_of_array[row.array_id]

    def _compare(self) -> None:
        """The tables at the end."""
        if self.failed is not None:
            self.problems.append(f"the failure of attempt {self.failed} was not decided about")
        for task_id, row in self.rows.items():
            task, where = self.tasks[task_id], f"task {task_id}"
            if row.status != task.status:
                self._say(where, f"it is {row.status}, its history ends with {task.status}")
            counted, told = (
                (row.num_attempts, row.num_infrastructure_losses),
                (task.num_attempts, task.num_losses),
            )
            # A new run and a reset count anew without a line for what waits already.
            was_reset = counted == (0, 0) and task.may_count_anew
            if counted != told and not was_reset:
                self._say(where, f"attempts and losses are {counted}, its history has {told}")
            if task.status in TASK_ACTIVE and len(task.live) != 1:
                self._say(where, f"it is {task.status}, but its live attempts are {sorted(task.live)}")
        for instance_id, row in self.instance_rows.items():
            known = self.instances.get(instance_id)
            if row.status != known:
                self._say(
                    f"task instance {instance_id}", f"it is {row.status}, its history ends with {known}"
                )
        for instance_id in self.instances.keys() - self.instance_rows.keys():
            self._say(f"task instance {instance_id}", "it has a history but no row")


def _upstream_tasks(connection: Connection, tasks: Mapping[int, Any]) -> dict[int, list[int]]:
    """Upstream tasks of each task, by the edges of its workflow's graph."""
    by_node = {(row.workflow_id, row.node_id): task_id for task_id, row in tasks.items()}
    dags = _pairs(connection.execute(select(Workflow.id, Workflow.dag_id)))
    edges = {
        (row.dag_id, row.node_id): msgspec.json.decode(row.upstream_node_ids, type=list[int])
        for row in connection.execute(select(Edge.dag_id, Edge.node_id, Edge.upstream_node_ids))
    }
    return {
        task_id: [
            by_node[row.workflow_id, node_id]
            for node_id in edges.get((dags[row.workflow_id], row.node_id), ())
            if (row.workflow_id, node_id) in by_node
        ]
        for task_id, row in tasks.items()
    }


# -- all together -------------------------------------------------------------------------------------
def _check_cursors(connection: Connection) -> list[str]:
    """The cursor of a run grows from transaction to transaction; a transaction is known by its time."""
    problems: list[str] = []
    times: dict[tuple[int, int], datetime] = {}
    highest: dict[int, int] = defaultdict(int)
    for table in (WorkflowHistory, TaskHistory):
        reached: dict[int, int] = defaultdict(int)
        now: dict[int, tuple[datetime, int]] = {}
        columns = (table.id, table.workflow_run_id, table.cursor, table.occurred_at)
        rows = connection.execute(
            select(*columns).where(table.workflow_run_id.is_not(None)).order_by(table.id)
        )
        for row_id, maybe_run_id, cursor, occurred_at in rows:
            run_id = int(maybe_run_id or 0)
            where = f"{table.__tablename__} {row_id} (run {run_id}, cursor {cursor})"
            if run_id not in now or now[run_id][0] != occurred_at:
                now[run_id] = (occurred_at, reached[run_id])
            if cursor <= now[run_id][1]:
                problems.append(f"{where}: an earlier transaction had reached {now[run_id][1]}")
            reached[run_id] = max(reached[run_id], cursor)
            if times.setdefault((run_id, cursor), occurred_at) != occurred_at:
                problems.append(f"{where}: another transaction has the same cursor")
        for run_id, cursor in reached.items():
            highest[run_id] = max(highest[run_id], cursor)
    for run_id, last in connection.execute(select(WorkflowRun.id, WorkflowRun.last_cursor)):
        if highest[run_id] > last:
            problems.append(f"workflow run {run_id}: its cursor is {last}, its history has {highest[run_id]}")
    return problems


def _check_counts(connection: Connection) -> list[str]:
    """What the tables must agree on, whatever the history says."""
    problems: list[str] = []
    statuses: dict[int, list[str]] = defaultdict(list)
    for workflow_id, status in connection.execute(select(Task.workflow_id, Task.status)):
        statuses[workflow_id].append(status)
    workflow_of: dict[int, int] = _pairs(connection.execute(select(WorkflowRun.id, WorkflowRun.workflow_id)))
    for workflow_id, status in connection.execute(select(Workflow.id, Workflow.status)):
        undone = sum(each != TaskStatus.DONE for each in statuses[workflow_id])
        if status == WorkflowStatus.DONE and undone:
            problems.append(f"workflow {workflow_id} is D, but {undone} of its tasks are not")
    rows = connection.execute(
        select(
            TaskInstance.id,
            TaskInstance.workflow_run_id,
            Task.workflow_id,
            Task.array_id,
            TaskInstance.array_id,
        ).join(Task, Task.id == TaskInstance.task_id)
    )
    for instance_id, run_id, workflow_id, task_array, instance_array in rows:
        if workflow_of.get(run_id) != workflow_id or task_array != instance_array:
            problems.append(f"task instance {instance_id} is of another workflow or array than its task")
    return problems + _check_progress(connection)


def _check_progress(connection: Connection) -> list[str]:
    """The counters of each array must be what counting gives."""
    counted: dict[int, Progress] = defaultdict(Progress)
    for array_id, status, num_attempts in connection.execute(
        select(Task.array_id, Task.status, Task.num_attempts)
    ):
        counted[array_id].add(Progress({status: 1}, max(0, num_attempts - 1)))
    kept: dict[int, Progress] = {}
    for of_workflow in workflows_progress(connection, list(connection.scalars(select(Workflow.id)))).values():
        kept |= of_workflow
    return [
        f"array {array_id}: its counters say {kept.get(array_id)}, its tasks {counted[array_id]}"
        for array_id in sorted(counted.keys() | kept.keys())
        if counted[array_id] != kept.get(array_id, Progress())
    ]


def _pairs(rows: Iterable[Any]) -> dict[int, int]:
    return {row[0]: row[1] for row in rows}
