"""The reaper: ends what nobody else will end, so that nothing is "running" for ever. Its rules are in :mod:`.rules`.

A run is lost when its sign of life is overdue by the database's clock *and* this process has watched it stay so
for a while by a clock that nobody can set. A suspended laptop or a corrected clock therefore loses nothing.

Attempts on batch clusters do not die with their controller: they are left alone, unless an operator set a limit, for the server
cannot ask their cluster. The next run adopts them and asks, or an order ends them.

A look reads in bounded steps over all ids; what is found is decided again under the locks of the transaction that acts.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, select

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    TASK_INSTANCE_LIVE,
    TASK_TERMINAL,
    WORKFLOW_RUN_ALIVE,
    WORKFLOW_RUN_TERMINAL,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
)
from jobmon.server.services import rules
from jobmon.server.services.alarms import alarm_note
from jobmon.server.services.lease import Transactions
from jobmon.server.services.rules import AttemptFacts, ReaperLimits
from jobmon.server.services.workflow_rules import WorkflowLook
from jobmon.server.web import dialect
from jobmon.server.web.models import Batch, Task, TaskInstance, Workflow, WorkflowRun
from jobmon.server.web.store.attempts import CHUNK, attempts_apply_events, runs_lock
from jobmon.server.web.store.remote import of_its_batch
from jobmon.server.web.store.resume import controller_lives
from jobmon.server.web.store.runs import run_apply_event

logger = logging.getLogger("jobmon.server.reaper")

ACTOR = "server"
RUNS_PER_STEP = 1000
ATTEMPTS_PER_ACT = 200


@dataclass
class ReaperResult:
    """What one look did.

    Attributes:
        runs: runs ended, with their new state.
        attempts: attempts ended.
        by_rule: how often each rule acted.
        workflows: workflows put right, with their new state.
        silent: attempts on batch clusters without a sign of life, by the run that is over.
    """

    runs: dict[int, str] = field(default_factory=dict)
    attempts: list[int] = field(default_factory=list)
    by_rule: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    workflows: dict[int, str] = field(default_factory=dict)
    silent: dict[int, int] = field(default_factory=lambda: defaultdict(int))


class Reaper:
    """Looks for what is lost, stuck or inconsistent.

    Args:
        database: what it reads and writes through.
        max_infrastructure_losses: budget of losses that are not a task's fault.
        limits: how long it waits before it acts.
        fold_seconds: within which the same alarm is counted, not told.
    """

    def __init__(
        self,
        database: Transactions,
        max_infrastructure_losses: int,
        limits: ReaperLimits | None = None,
        fold_seconds: float = 3600.0,
    ) -> None:
        self.database, self.losses, self.fold_seconds = database, max_infrastructure_losses, fold_seconds
        self.limits = limits or ReaperLimits()
        self._overdue_since: dict[int, tuple[datetime, float]] = {}
        self._workflows = WorkflowLook(database, self.limits.orphan_seconds, fold_seconds)

    def forget(self) -> None:
        """Begin to watch anew: another process may have led meanwhile."""
        self._overdue_since.clear()

    def run_once(self, now: datetime | None = None, monotonic: float | None = None) -> ReaperResult:
        """Put right what is wrong.

        Args:
            now: time of the database; by default what its clock says.
            monotonic: seconds on a clock that nobody can set.

        Raises:
            LeaseLost: another process does this by now.
        """
        result = ReaperResult()
        monotonic = time.monotonic() if monotonic is None else monotonic
        for run_id in self._lost_runs(now, monotonic):
            self._end_run(run_id, now, result)
        for run_ids in self._steps():
            self._look_at_attempts(run_ids, now, result)
        self._workflows.run_once(now, result.workflows, result.by_rule)
        self._tell_silent(now, result)
        return result

    # -- runs ---------------------------------------------------------------------------------------------
    def _lost_runs(self, now: datetime | None, monotonic: float) -> list[int]:
        """Runs that were overdue for as long as they are to be watched."""
        with self.database.read() as connection:
            overdue = connection.execute(
                select(WorkflowRun.id, WorkflowRun.heartbeat_date, WorkflowRun.controller)
                .where(
                    WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE),
                    WorkflowRun.heartbeat_date < (now or dialect.utcnow(connection)),
                )
                .order_by(WorkflowRun.id)
            ).all()
        watched, lost = {}, []
        for run_id, heartbeat_date, controller in overdue:
            if controller_lives(controller):
                continue
            known = self._overdue_since.get(run_id)
            since = known[1] if known is not None and known[0] == heartbeat_date else monotonic
            watched[run_id] = (heartbeat_date, since)
            if monotonic - since >= self.limits.grace_seconds:
                lost.append(run_id)
        self._overdue_since = watched
        return lost

    def _end_run(self, run_id: int, given_now: datetime | None, result: ReaperResult) -> None:
        def work(connection: Connection) -> str | None:
            row = connection.execute(
                select(
                    WorkflowRun.status,
                    WorkflowRun.heartbeat_date,
                    WorkflowRun.workflow_id,
                    WorkflowRun.user,
                    Workflow.name,
                )
                .join(Workflow, Workflow.id == WorkflowRun.workflow_id)
                .where(WorkflowRun.id == run_id)
            ).one()
            now = given_now or dialect.utcnow(connection)
            status = WorkflowRunStatus(row.status)
            if status in WORKFLOW_RUN_TERMINAL or row.heartbeat_date >= now:
                return None  # it said something meanwhile
            event = rules.end_of_lost_run(status, is_done=not _is_undone(connection, row.workflow_id))
            state = run_apply_event(
                connection, run_id, event, now=now, actor=ACTOR, max_infrastructure_losses=self.losses
            )
            after = WorkflowRunStatus(state.status)
            message = (
                f"Workflow {row.workflow_id} '{row.name or ''}' of {row.user} disappeared: the controller of its run "
                f"{run_id} gave no sign of life, and the run was ended ({status.name} → {after.name}). To go on: jobmon "
                f"workflow resume {row.workflow_id}"
            )
            self._alarm(connection, rules.LOST_RUN, f"run {run_id}", message, now)
            return after.value

        after = self.database.retrying_write(work)
        if after is not None:
            result.runs[run_id] = after
            result.by_rule[rules.LOST_RUN] += 1

    # -- attempts -----------------------------------------------------------------------------------------
    def _steps(self) -> Iterator[range]:
        """All runs there are, in steps."""
        with self.database.read() as connection:
            last = connection.scalar(select(func.max(WorkflowRun.id))) or 0
        for start in range(1, last + 1, RUNS_PER_STEP):
            yield range(start, start + RUNS_PER_STEP)

    def _look_at_attempts(self, run_ids: range, given_now: datetime | None, result: ReaperResult) -> None:
        """Find attempts of these runs that nobody else will end, and end them."""
        with self.database.read() as connection:
            ids = connection.scalars(_SUSPECTS, {"first": run_ids.start, "last": run_ids.stop - 1}).all()
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            with self.database.read() as connection:
                now = given_now or dialect.utcnow(connection)
                facts = _facts(connection, part)
            for each in facts:
                if rules.is_told_silent(each, now, self.limits):
                    result.silent[each.workflow_run_id] += 1
            found = [each for each in facts if rules.end_of_attempt(each, now, self.limits) is not None]
            for begin in range(0, len(found), ATTEMPTS_PER_ACT):
                self._end_attempts(found[begin : begin + ATTEMPTS_PER_ACT], given_now, result)

    def _end_attempts(
        self, found: Sequence[AttemptFacts], given_now: datetime | None, result: ReaperResult
    ) -> None:
        def work(connection: Connection) -> dict[int, str]:
            runs_lock(connection, {each.workflow_run_id for each in found})
            now = given_now or dialect.utcnow(connection)
            events, ended = [], {}
            for facts in _facts(connection, [each.task_instance_id for each in found]):
                end = rules.end_of_attempt(facts, now, self.limits)
                if end is None:
                    continue
                events.append(
                    InstanceEvent(
                        facts.task_instance_id, end.event, cause=end.cause, description=end.description
                    )
                )
                ended[facts.task_instance_id] = end.rule
            attempts_apply_events(
                connection, events, now=now, actor=ACTOR, max_infrastructure_losses=self.losses
            )
            self._alarm_of_attempts(connection, found, ended, now)
            return ended

        for task_instance_id, rule in self.database.retrying_write(work).items():
            result.attempts.append(task_instance_id)
            result.by_rule[rule] += 1

    def _alarm_of_attempts(
        self, connection: Connection, found: Sequence[AttemptFacts], ended: dict[int, str], now: datetime
    ) -> None:
        """One alarm for each rule and run, not for each attempt."""
        together: dict[tuple[str, int], list[int]] = defaultdict(list)
        for facts in found:
            if facts.task_instance_id in ended:
                key = (ended[facts.task_instance_id], facts.workflow_run_id)
                together[key].append(facts.task_instance_id)
        for (rule, run_id), ids in together.items():
            why = next(each.finds for each in rules.RULES if each.name == rule)
            few = ", ".join(map(str, ids[:5])) + (" …" if len(ids) > 5 else "")
            message = (
                f"{len(ids)} task instances of run {run_id} were ended ({few}): {why[0].lower()}{why[1:]}."
            )
            self._alarm(connection, rule, f"run {run_id}", message, now)

    def _tell_silent(self, given_now: datetime | None, result: ReaperResult) -> None:
        if not result.silent:
            return

        def work(connection: Connection) -> None:
            now = given_now or dialect.utcnow(connection)
            for run_id, count in result.silent.items():
                message = (
                    f"{count} attempts on batch clusters outlived their run {run_id} and give no sign of life. The "
                    "next run of the workflow asks the cluster what became of them."
                )
                self._alarm(connection, rules.SILENT, f"run {run_id}", message, now, is_condition=True)

        self.database.retrying_write(work)

    def _alarm(
        self,
        connection: Connection,
        kind: str,
        subject: str,
        message: str,
        now: datetime,
        *,
        is_condition: bool = False,
    ) -> None:
        alarm_note(
            connection,
            kind,
            subject,
            message,
            now=now,
            fold_seconds=self.fold_seconds,
            is_condition=is_condition,
        )


def _is_undone(connection: Connection, workflow_id: int) -> bool:
    undone = exists().where(Task.workflow_id == workflow_id, Task.status != TaskStatus.DONE.value)
    return bool(connection.scalar(select(undone)))


def _suspects() -> Any:
    """Live attempts of a range of runs that are over, and those of tasks that are terminal; their ids."""
    is_void = Task.status.in_(TASK_TERMINAL) & (TaskInstance.status != TaskInstanceStatus.KILL_SELF.value)
    return (
        select(TaskInstance.id)
        .join(WorkflowRun, WorkflowRun.id == TaskInstance.workflow_run_id)
        .join(Task, Task.id == TaskInstance.task_id)
        .where(
            WorkflowRun.id.between(bindparam("first"), bindparam("last")),
            TaskInstance.status.in_(TASK_INSTANCE_LIVE),
            WorkflowRun.status.in_(WORKFLOW_RUN_TERMINAL) | is_void,
        )
    )


_SUSPECTS = _suspects()

_FACTS = (
    select(
        TaskInstance.id,
        TaskInstance.workflow_run_id,
        TaskInstance.status,
        TaskInstance.status_date,
        TaskInstance.report_by_date,
        Batch.id,
        Task.status,
        WorkflowRun.status,
        WorkflowRun.status_date,
    )
    .join(WorkflowRun, WorkflowRun.id == TaskInstance.workflow_run_id)
    .join(Task, Task.id == TaskInstance.task_id)
    .outerjoin(Batch, of_its_batch())
    .where(TaskInstance.status.in_(TASK_INSTANCE_LIVE))
    .order_by(TaskInstance.id)
)


def _facts(connection: Connection, task_instance_ids: Sequence[int]) -> list[AttemptFacts]:
    rows = connection.execute(_FACTS.where(TaskInstance.id.in_(list(task_instance_ids))))
    return [
        AttemptFacts(
            row[0],
            row[1],
            TaskInstanceStatus(row[2]),
            row[3],
            row[4],
            row[5] is not None,
            TaskStatus(row[6]),
            WorkflowRunStatus(row[7]),
            row[8],
        )
        for row in rows
    ]


def describe(result: ReaperResult) -> str:
    """What a look did, in words; empty when it did nothing."""
    parts = [f"{rule}: {count}" for rule, count in sorted(result.by_rule.items())]
    if result.runs:
        parts.append(f"ended lost runs {dict(result.runs)}")
    return "; ".join(parts)
