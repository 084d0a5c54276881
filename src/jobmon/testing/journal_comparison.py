"""Acknowledged changes beside a database: what is lost there, and what is there twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import (
    TASK_INSTANCE,
    TASK_INSTANCE_TERMINAL,
    TaskEvent,
    TaskInstanceEvent,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowRunStatus,
    target,
)
from jobmon.server.web.models import (
    Task,
    TaskHistory,
    TaskInstance,
    TaskInstanceErrorLog,
    Workflow,
    WorkflowHistory,
    WorkflowRun,
)
from jobmon.server.web.store.attempts import DESCRIPTION_CHARACTERS
from jobmon.testing.acknowledged import (
    AttemptEvent,
    BatchCreated,
    Change,
    RunCreated,
    RunTold,
    TasksRegistered,
    TasksTold,
    WorkflowBound,
)

RECORDED = ("exit_code", "wallclock", "maxrss", "cpu", "io")
"""What an event says of the end of an attempt and the attempt's row keeps."""


class Comparison:
    """The journal beside the database, read once."""

    def __init__(self, connection: Connection, changes: Iterable[Change]) -> None:
        self.connection, self.changes = connection, list(changes)
        self.history: dict[int, list[Any]] = defaultdict(list)
        self.task_states: dict[int, set[str]] = defaultdict(lambda: {TaskStatus.REGISTERED.value})
        for row in connection.execute(select(TaskHistory.__table__).order_by(TaskHistory.id)):
            if row.task_instance_id is not None:
                self.history[row.task_instance_id].append(row)
            self.task_states[row.task_id].add(row.task_to)
        columns = [TaskInstance.__table__.c[name] for name in ("id", "task_id", "status", *RECORDED)]
        self.attempts = {row.id: row for row in connection.execute(select(*columns))}
        self.errors = Counter(
            tuple(row)
            for row in connection.execute(
                select(TaskInstanceErrorLog.task_instance_id, TaskInstanceErrorLog.description)
            )
        )

    def problems(self) -> list[str]:
        """What is lost or there twice, in words."""
        found = self._doubled()
        for change in self.changes:
            found += self._lost(change)
        return found

    def _lost(self, change: Change) -> list[str]:
        match change:
            case AttemptEvent():
                return self._lost_event(change.event, change.status)
            case BatchCreated():
                pairs = zip(change.task_ids, change.task_instance_ids, strict=True)
                return [p for task_id, attempt in pairs for p in self._lost_attempt(task_id, attempt)]
            case TasksTold():
                told = zip(change.task_ids, change.statuses, strict=True)
                return [
                    f"task {task_id} was told to be {status}, its history has no such state"
                    for task_id, status in told
                    if status not in self.task_states[task_id]
                ]
            case _:
                return self._lost_definition(change)

    def _lost_event(self, event: InstanceEvent, status: str) -> list[str]:
        attempt = self.attempts.get(event.task_instance_id)
        where = f"{event.event} of attempt {event.task_instance_id}"
        if attempt is None:
            return [f"{where} is lost: there is no such attempt"]
        rows = self.history[event.task_instance_id]
        if status and status not in {row.instance_to for row in rows}:
            return [f"{where} is lost: it was answered with {status}, and the attempt never was {status}"]
        if not any(row.event == event.event and row.instance_to is not None for row in rows):
            current = TaskInstanceStatus(attempt.status)
            if isinstance(target(TASK_INSTANCE, current, event.event), TaskInstanceStatus):
                return [f"{where} is lost: the attempt is {current}, and its history has no such event"]
            return []  # it came too late, or what it said was known
        return self._lost_words(where, event, attempt)

    def _lost_words(self, where: str, event: InstanceEvent, attempt: Any) -> list[str]:
        """What an event said of the end of an attempt and of its error."""
        problems = []
        if status_after(event, attempt.status) in TASK_INSTANCE_TERMINAL:
            for name in RECORDED:
                said = getattr(event, name)
                if said is not None and getattr(attempt, name) != said:
                    problems.append(f"{where}: {name} was {said}, the database has {getattr(attempt, name)}")
        if event.description:
            times = self.errors[event.task_instance_id, event.description[-DESCRIPTION_CHARACTERS:]]
            if times != 1:
                problems.append(f"{where}: its error is recorded {times} times")
        return problems

    def _lost_attempt(self, task_id: int, task_instance_id: int) -> list[str]:
        attempt = self.attempts.get(task_instance_id)
        if attempt is None:
            return [f"attempt {task_instance_id} of task {task_id} is lost"]
        if attempt.task_id != task_id:
            return [f"attempt {task_instance_id} is of task {attempt.task_id}, not of task {task_id}"]
        queued = sum(row.event == TaskEvent.QUEUE for row in self.history[task_instance_id])
        return [] if queued == 1 else [f"attempt {task_instance_id} was queued {queued} times"]

    def _lost_definition(self, change: Change) -> list[str]:
        scalar = self.connection.scalar
        match change:
            case TasksRegistered():
                rows = self._commands(change.workflow_id)
                said = zip(change.task_ids, change.commands, strict=True)
                return [f"task {i} is lost: {command}" for i, command in said if rows.get(i) != command]
            case WorkflowBound():
                date = scalar(select(Workflow.created_date).where(Workflow.id == change.workflow_id))
                return [] if date else [f"workflow {change.workflow_id} is not bound"]
            case RunCreated():
                ids = list(
                    self.connection.scalars(
                        select(WorkflowRun.id).where(WorkflowRun.run_key == change.run_key)
                    )
                )
                if ids == [change.workflow_run_id]:
                    return []
                return [f"run {change.workflow_run_id}: runs of its key are {ids}"]
            case RunTold():
                return self._lost_run_state(change)
        raise AssertionError(f"unknown: {change}")

    def _lost_run_state(self, change: RunTold) -> list[str]:
        if change.status == WorkflowRunStatus.REGISTERED:
            return []
        statement = select(WorkflowHistory.id).where(
            WorkflowHistory.workflow_run_id == change.workflow_run_id, WorkflowHistory.run_to == change.status
        )
        is_there = self.connection.scalar(statement.limit(1)) is not None
        return [] if is_there else [f"run {change.workflow_run_id} never was {change.status}"]

    def _commands(self, workflow_id: int) -> dict[int, str]:
        rows = self.connection.execute(select(Task.id, Task.command).where(Task.workflow_id == workflow_id))
        return {row.id: row.command for row in rows}

    def _doubled(self) -> list[str]:
        """Lines of history that are there twice; only a sign of life may come again and again."""
        problems = []
        for task_instance_id, rows in self.history.items():
            lines = Counter(
                (row.event, row.instance_from)
                for row in rows
                if row.instance_to is not None
                and row.instance_from != TaskInstanceStatus.TRIAGING
                and row.event != TaskInstanceEvent.TRIAGE
            )
            problems += [
                f"{event} of attempt {task_instance_id} is recorded {times} times"
                for (event, _), times in lines.items()
                if times > 1
            ]
        return problems


def status_after(event: InstanceEvent, current: str) -> TaskInstanceStatus | None:
    """The state an attempt is in when this event was the last that changed it, else ``None``."""
    status = TaskInstanceStatus(current)
    leads_to = {each for row in TASK_INSTANCE.values() if (each := row.get(event.event)) is not None}
    return status if status in leads_to else None
