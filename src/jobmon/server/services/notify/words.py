"""What is said: notices made of facts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jobmon.core.notify_target import NotifyTarget
from jobmon.core.states import TASK_USER_LABEL, USER_LABELS, TaskStatus, WorkflowRunStatus, WorkflowStatus
from jobmon.core.ui_link import page_address
from jobmon.server.services.alarms import DueAlarm
from jobmon.server.services.notify.notice import Notice

SAMPLE_CHARACTERS = 300

_HOW_IT_ENDED = {
    WorkflowRunStatus.DONE: "is done",
    WorkflowRunStatus.ERROR: "ended with an error",
    WorkflowRunStatus.STOPPED: "was stopped",
    WorkflowRunStatus.TERMINATED: "was ended by order",
    WorkflowRunStatus.ABORTED: "was given up before it began",
}


@dataclass(frozen=True)
class RunEndFacts:
    """What is told of the end of a run.

    Attributes:
        workflow_id, workflow_run_id, name, user: which.
        run_status, workflow_status: how they ended.
        counts: tasks by status letter.
        run_seconds: from its creation to its end.
        ended_at: by the clock of the database.
        was_reaped: its controller had died.
        failures: task name and the end of its error, of some that failed.
    """

    workflow_id: int
    workflow_run_id: int
    name: str
    user: str
    run_status: WorkflowRunStatus
    workflow_status: WorkflowStatus
    counts: Mapping[str, int]
    run_seconds: float
    ended_at: datetime
    was_reaped: bool = False
    failures: Sequence[tuple[str, str]] = field(default_factory=tuple)


def words_of_seconds(seconds: float) -> str:
    """A duration for people: ``2 h 5 min``."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def counts_by_label(counts: Mapping[str, int]) -> dict[str, int]:
    """Tasks by the label users see, in its order; labels without tasks are left out."""
    found = dict.fromkeys(USER_LABELS, 0)
    for letter, count in counts.items():
        found[TASK_USER_LABEL[TaskStatus(letter)]] += count
    return {label: count for label, count in found.items() if count}


def notice_of_end(
    facts: RunEndFacts, target: NotifyTarget, delivery_id: str, gui_url: str, max_tries: int = 1
) -> Notice:
    """The notice of the end of a run."""
    name = " ".join(facts.name.split())
    which = f"Workflow {facts.workflow_id}" + (f" '{name}'" if name else "")
    how = _HOW_IT_ENDED.get(facts.run_status, f"is {facts.run_status.name}")
    labels = counts_by_label(facts.counts)
    total = sum(labels.values())
    parts = ", ".join(f"{count} {label.lower()}" for label, count in labels.items())
    lines = [
        (
            f"Run {facts.workflow_run_id} of {facts.user}: {facts.run_status.name} after "
            f"{words_of_seconds(facts.run_seconds)}; the workflow is {facts.workflow_status.name}."
        ),
        f"Tasks: {total} ({parts or 'none'}).",
    ]
    if facts.was_reaped:
        lines.append("Its controller gave no sign of life any more; the server ended the run.")
    lines += [f"  {task}: {_last_line(text)}" for task, text in facts.failures]
    lines.append(f"To look closer: jobmon workflow status -w {facts.workflow_id}")
    if facts.failures:
        lines.append(f"                jobmon workflow errors {facts.workflow_id}")
    if facts.workflow_status is not WorkflowStatus.DONE:
        lines.append(f"To go on:       jobmon workflow resume {facts.workflow_id}")
    link = page_address(gui_url, f"/ui/workflow/{facts.workflow_id}")
    if link:
        lines.append(link)
    data: dict[str, Any] = {
        "event": "run_end",
        "delivery_id": delivery_id,
        "workflow_id": facts.workflow_id,
        "workflow_run_id": facts.workflow_run_id,
        "name": facts.name,
        "user": facts.user,
        "run_status": facts.run_status.name,
        "workflow_status": facts.workflow_status.name,
        "tasks": labels,
        "num_tasks": total,
        "run_seconds": facts.run_seconds,
        "ended_at": _iso(facts.ended_at),
        "was_reaped": facts.was_reaped,
        "link": link,
    }
    return Notice(delivery_id, target, f"{which} {how}", "\n".join(lines), data, max_tries)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:SAMPLE_CHARACTERS] if lines else ""


def _iso(moment: datetime) -> str:
    return moment.replace(tzinfo=UTC).isoformat()


def notice_of_alarm(alarm: DueAlarm, target: NotifyTarget, max_tries: int) -> Notice:
    """The notice of an alarm; the first time, or how often there was more of it."""
    subject = f"Jobmon {alarm.kind.replace('_', ' ')}: {alarm.subject}"
    text = alarm.message
    if alarm.num_more:
        subject += f" ({alarm.num_more} more)"
        text = f"{alarm.num_more} more since this was last told; the latest: {text}"
    data = {
        "event": "alarm",
        "kind": alarm.kind,
        "subject": alarm.subject,
        "message": alarm.message,
        "num_more": alarm.num_more,
        "first_seen_at": _iso(alarm.first_seen_at),
    }
    delivery_id = f"alarm-{alarm.alarm_id}-{alarm.first_seen_at:%Y%m%dT%H%M%S}-{alarm.num_more}"
    return Notice(delivery_id, target, subject, text, {**data, "delivery_id": delivery_id}, max_tries)
