"""Why a task is not running, runs again or failed."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import msgspec

from jobmon.client.commands.records import local_time
from jobmon.client.table import fitting_table
from jobmon.core.requester import Requester
from jobmon.core.states import TASK_INSTANCE_USER_LABEL, TASK_USER_LABEL, TaskInstanceStatus, TaskStatus
from jobmon.core.words import describe_duration, describe_resources
from jobmon.serializers.explain import AttemptSummary, ExplainResponse, Past, PastComparison

ATTEMPT_COLUMNS = ("ATTEMPT", "RUN", "STATUS", "NODE", "CAUSE", "RESOURCES", "DURATION")


class TaskExplanation(ExplainResponse):
    """Why a task is where it is; printed, it is a text for people.

    The fields are those of :class:`~jobmon.serializers.explain.ExplainResponse`: ``reasons`` (each with ``why``,
    ``sentence``, ``numbers``, ``tasks`` and ``command``), ``attempts``, ``past`` and those of the task.
    """

    @property
    def label(self) -> str:
        """Status of the task as users see it: PENDING, SCHEDULED, RUNNING, DONE or FATAL."""
        return TASK_USER_LABEL[TaskStatus(self.status)]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain dictionaries and lists."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Words for people.

        Args:
            width: columns the table of attempts may take; ``None``: as many as its cells need.
        """
        parts = [self._title(), *self._reasons(), *self.conditions]
        parts.append(_past_words(self.past))
        if self.attempts:
            parts.append(_attempts_table(self.attempts, width))
            parts += [f"Attempt {each.task_instance_id}: {each.note}" for each in self.attempts if each.note]
        return "\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def _title(self) -> str:
        name = f" '{self.workflow_name}'" if self.workflow_name else ""
        return (
            f"Task {self.task_id} ({self.name}), template {self.template_name}, workflow {self.workflow_id}{name}: "
            f"{self.label}"
        )

    def _reasons(self) -> list[str]:
        lines = []
        for reason in self.reasons:
            lines.append(f"- {_with_local_times(reason.sentence)}")
            lines += [
                f"    task {task.id} ({task.name}) is {TASK_USER_LABEL[TaskStatus(task.status)]}"
                for task in reason.tasks
            ]
            if reason.command:
                lines.append(f"  Next:  {reason.command}")
        return lines


def _with_local_times(sentence: str) -> str:
    """A sentence of the server with its moments as a clock on the wall here shows them."""
    return re.sub(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", lambda found: local_time(found[1]), sentence)


def explain_task(task_id: int, requester: Requester | None = None) -> TaskExplanation:
    """Why a task is not running yet, why it will run again, or why it failed for good.

    Args:
        task_id: the task.
        requester: how to reach the server.

    Raises:
        NotFoundError: there is no such task.
    """
    requester = requester or Requester.from_defaults()
    return requester.send("GET", f"/monitor/task/{task_id}/explain", None, TaskExplanation)


def _past_words(past: PastComparison) -> str:
    if past.past is Past.FIRST:
        return ""
    if past.past is Past.NEW:
        return "Against the past: new; no earlier workflow of its tool has a task with these node args."
    where = f"task {past.task_id} of workflow {past.workflow_id}"
    if past.past is Past.UNCHANGED:
        return f"Against the past: unchanged since {where}."
    lines = [f"Against the past: changed since {where}:"]
    for difference in past.differences:
        name = f"{difference.kind} {difference.name}".strip()
        if difference.before or difference.kind != "resources":
            lines.append(f"    {name} was {difference.before or 'empty'}, is {difference.after or 'empty'}")
        else:
            lines.append(f"    {name}: {difference.after}")
    return "\n".join(lines)


def _attempts_table(attempts: list[AttemptSummary], width: int | None) -> str:
    rows = [
        (
            str(attempt.task_instance_id),
            str(attempt.workflow_run_id),
            TASK_INSTANCE_USER_LABEL[TaskInstanceStatus(attempt.status)],
            attempt.nodename,
            attempt.cause,
            describe_resources(dict(sorted(attempt.requested_resources.items()))),
            "" if attempt.duration_seconds is None else describe_duration(attempt.duration_seconds),
        )
        for attempt in attempts
    ]
    return fitting_table(ATTEMPT_COLUMNS, rows, width)
