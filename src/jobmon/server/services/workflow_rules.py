"""The reaper's look at workflows: statuses that no run will put right any more."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from sqlalchemy import Connection, Exists, exists, func, select

from jobmon.core.states import (
    WORKFLOW_BEING_RUN,
    WORKFLOW_RUN_ALIVE,
    TaskStatus,
    WorkflowEvent,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.server.services import rules
from jobmon.server.services.alarms import alarm_note
from jobmon.server.services.lease import Transactions
from jobmon.server.web import dialect
from jobmon.server.web.models import Task, Workflow, WorkflowRun
from jobmon.server.web.store.outside import workflow_apply
from jobmon.server.web.store.runs import workflow_lock

ACTOR = "server"
WORKFLOWS_PER_STEP = 100
LOOK_SECONDS = 2.0
"""How long a look goes through workflows that ended; the next one goes on from there."""
MOST_AT_ONCE = 200

ENDED_EARLY = (WorkflowStatus.FAILED, WorkflowStatus.HALTED, WorkflowStatus.ABORTED)


class WorkflowLook:
    """Looks at workflows again and again, in bounded steps.

    Args:
        database: what it reads and writes through.
        settle_seconds: how long a status must have stood.
        fold_seconds: within which the same alarm is counted, not told.
    """

    def __init__(self, database: Transactions, settle_seconds: float, fold_seconds: float) -> None:
        self.database, self.fold_seconds = database, fold_seconds
        self.settle = timedelta(seconds=settle_seconds)
        self._after = 0  # where the pass over all workflows stands

    def run_once(self, now: datetime | None, changed: dict[int, str], by_rule: dict[str, int]) -> None:
        """Put right what is wrong; ``changed`` gets workflows with their new state, ``by_rule`` is counted up."""
        for workflow_id in self._without_run(now):
            self._put_right(workflow_id, now, rules.NO_RUN, changed, by_rule)
        for workflow_id in self._done(now):
            self._put_right(workflow_id, now, rules.ALL_DONE, changed, by_rule)
        for words in self._disagreements(now):
            by_rule[rules.DISAGREEMENT] += 1
            self._tell_disagreement(words, now)

    # -- finding ------------------------------------------------------------------------------------------
    def _without_run(self, given_now: datetime | None) -> list[int]:
        with self.database.read() as connection:
            now = given_now or dialect.utcnow(connection)
            return list(
                connection.scalars(
                    select(Workflow.id)
                    .where(
                        Workflow.status.in_(WORKFLOW_BEING_RUN),
                        Workflow.status_date < now - self.settle,
                        ~_has_alive_run(),
                    )
                    .order_by(Workflow.id)
                    .limit(MOST_AT_ONCE)
                )
            )

    def _done(self, given_now: datetime | None) -> list[int]:
        """Workflows that ended early and are done all the same; as many are looked at as the time allows."""
        deadline = time.monotonic() + LOOK_SECONDS
        found: list[int] = []
        with self.database.read() as connection:
            last = connection.scalar(select(func.max(Workflow.id))) or 0
        steps = last // WORKFLOWS_PER_STEP + 1
        for _ in range(steps):
            if self._after >= last:
                self._after = 0
            with self.database.read() as connection:
                now = given_now or dialect.utcnow(connection)
                found += connection.scalars(
                    select(Workflow.id).where(
                        Workflow.id > self._after,
                        Workflow.id <= self._after + WORKFLOWS_PER_STEP,
                        Workflow.status.in_(ENDED_EARLY),
                        Workflow.status_date < now - self.settle,
                        Workflow.created_date.is_not(None),
                        exists().where(Task.workflow_id == Workflow.id),
                        ~exists().where(
                            Task.workflow_id == Workflow.id, Task.status != TaskStatus.DONE.value
                        ),
                    )
                )
            self._after += WORKFLOWS_PER_STEP
            if time.monotonic() > deadline or len(found) >= MOST_AT_ONCE:
                break
        return found

    def _disagreements(self, given_now: datetime | None) -> list[tuple[int, str]]:
        """Workflows whose run is alive and in a state that does not go with theirs, with a sentence for each."""
        with self.database.read() as connection:
            now = given_now or dialect.utcnow(connection)
            rows = connection.execute(
                select(WorkflowRun.id, WorkflowRun.status, Workflow.id, Workflow.status)
                .join(Workflow, Workflow.id == WorkflowRun.workflow_id)
                .where(
                    WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE),
                    WorkflowRun.status_date < now - self.settle,
                    Workflow.status_date < now - self.settle,
                )
            ).all()
        found = []
        for run_id, run, workflow_id, workflow in rows:
            run_status, status = WorkflowRunStatus(run), WorkflowStatus(workflow)
            if rules.disagrees(run_status, status):
                words = f"Run {run_id} is {run_status.name}, its workflow {workflow_id} is {status.name}."
                found.append((workflow_id, words))
        return found[:MOST_AT_ONCE]

    # -- putting right ------------------------------------------------------------------------------------
    def _put_right(
        self,
        workflow_id: int,
        given_now: datetime | None,
        rule: str,
        changed: dict[int, str],
        by_rule: dict[str, int],
    ) -> None:
        def work(connection: Connection) -> WorkflowStatus | None:
            status = workflow_lock(connection, workflow_id)
            now = given_now or dialect.utcnow(connection)
            event = self._event(connection, workflow_id, status)
            if event is None:
                return None
            after = workflow_apply(connection, workflow_id, status, event, now=now, actor=ACTOR)
            if after is status:
                return None
            why = "all of its tasks are done" if event is WorkflowEvent.FINISH else "no run of it is alive"
            message = f"Workflow {workflow_id} was {status.name} though {why}; it is {after.name} now."
            alarm_note(
                connection, rule, f"workflow {workflow_id}", message, now=now, fold_seconds=self.fold_seconds
            )
            return after

        after = self.database.retrying_write(work)
        if after is not None:
            changed[workflow_id] = after.value
            by_rule[rule] += 1

    @staticmethod
    def _event(connection: Connection, workflow_id: int, status: WorkflowStatus) -> WorkflowEvent | None:
        """What is to happen to a workflow, whose row is locked."""
        alive = select(_has_alive_run()).where(Workflow.id == workflow_id)
        undone = exists().where(Task.workflow_id == workflow_id, Task.status != TaskStatus.DONE.value)
        if connection.scalar(alive):
            return None
        any_task = exists().where(Task.workflow_id == workflow_id)
        is_done = bool(connection.scalar(select(~undone & any_task)))
        if status in ENDED_EARLY:
            return WorkflowEvent.FINISH if is_done else None
        last = connection.scalar(
            select(WorkflowRun.status)
            .where(WorkflowRun.workflow_id == workflow_id)
            .order_by(WorkflowRun.id.desc())
            .limit(1)
        )
        return rules.event_without_run(
            status, None if last is None else WorkflowRunStatus(last), is_done=is_done
        )

    def _tell_disagreement(self, found: tuple[int, str], given_now: datetime | None) -> None:
        workflow_id, words = found

        def work(connection: Connection) -> None:
            now = given_now or dialect.utcnow(connection)
            alarm_note(
                connection,
                rules.DISAGREEMENT,
                f"workflow {workflow_id}",
                words,
                now=now,
                fold_seconds=self.fold_seconds,
                is_condition=True,
            )

        self.database.retrying_write(work)


def _has_alive_run() -> Exists:
    return exists().where(WorkflowRun.workflow_id == Workflow.id, WorkflowRun.status.in_(WORKFLOW_RUN_ALIVE))
