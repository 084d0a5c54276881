"""What ``jobmon workflow watch`` asks for, and what it says in plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jobmon.client.failures import attempt_words, last_lines
from jobmon.client.progress import eta_words, title
from jobmon.core.requester import Requester
from jobmon.core.states import (
    TASK_USER_LABEL,
    USER_LABELS,
    WORKFLOW_BEING_RUN,
    TaskStatus,
    WorkflowStatus,
)
from jobmon.core.words import describe_duration
from jobmon.serializers.monitor import TaskErrorRow, WorkflowOverviewResponse

_GOES_ON = WORKFLOW_BEING_RUN | {WorkflowStatus.REGISTERING}


def workflow_overview(
    workflow_id: int, failures: int = 5, running: int = 5, requester: Requester | None = None
) -> WorkflowOverviewResponse:
    """A workflow at a glance: its templates, the time it may need, what failed last, what runs longest.

    Args:
        workflow_id: the workflow.
        failures: at most so many failed attempts.
        running: at most so many running tasks.
        requester: how to reach the server.

    Raises:
        NotFoundError: there is no such workflow.
    """
    requester = requester or Requester.from_defaults()
    params: dict[str, Any] = {"failures": failures, "running": running}
    path = f"/monitor/workflow/{workflow_id}/overview"
    return requester.send("GET", path, None, WorkflowOverviewResponse, params=params)


def overviews(workflow_id: int, wait: Callable[[], None]) -> Iterator[WorkflowOverviewResponse]:
    """A workflow again and again, until it is over; the last one is of its end.

    Args:
        workflow_id: the workflow.
        wait: called before it is looked at again.
    """
    requester = Requester.from_defaults()
    while True:
        overview = workflow_overview(workflow_id, requester=requester)
        yield overview
        if WorkflowStatus(overview.status) not in _GOES_ON:
            return
        wait()


def is_done(overview: WorkflowOverviewResponse) -> bool:
    """Whether every task is done."""
    return overview.status == WorkflowStatus.DONE.value


def count_by_label(tasks_by_status: Mapping[str, int]) -> dict[str, int]:
    """Number of tasks by the labels people see."""
    counts = dict.fromkeys(USER_LABELS, 0)
    for letter, count in tasks_by_status.items():
        counts[TASK_USER_LABEL[TaskStatus(letter)]] += count
    return counts


def headline(overview: WorkflowOverviewResponse) -> str:
    """Which workflow, its status, and how long its latest run has taken."""
    text = f"{title(overview.id, overview.name)}: {WorkflowStatus(overview.status).name}"
    if overview.elapsed_seconds is not None:
        text += f", {describe_duration(overview.elapsed_seconds)}"
    return text


def failure_line(row: TaskErrorRow) -> str:
    """A failure in one line."""
    place = f"node {row.nodename}" if row.nodename else ""
    last = (last_lines(row, 2) or ["no text"])[-1].strip()
    details = ", ".join(words for words in (attempt_words(row), place) if words)
    return f"{row.task_name} (task {row.task_id}): {last}" + (f" ({details})" if details else "")


def next_words(overview: WorkflowOverviewResponse) -> list[str]:
    """What to type next when the workflow has ended."""
    if is_done(overview):
        return []
    lines = [f"  go on:        jobmon workflow resume -w {overview.id}"]
    if overview.tasks_by_status.get(TaskStatus.ERROR_FATAL.value):
        lines.insert(0, f"  look closer:  jobmon workflow errors {overview.id}")
    return lines


class PlainWatch:
    """Says what has changed, in lines: for files and pipes."""

    def __init__(self) -> None:
        self._last: tuple[Any, ...] = ()
        self._last_failure = 0
        self._last_conditions: list[str] = []

    def lines(self, overview: WorkflowOverviewResponse) -> list[str]:
        """What is new: failures, what is the matter with clusters, then the counts if they are others."""
        lines = []
        for row in reversed(overview.failures):
            if row.task_instance_error_log_id > self._last_failure:
                lines.append(f"failed: {failure_line(row)}")
                self._last_failure = row.task_instance_error_log_id
        lines += [text for text in overview.conditions if text not in self._last_conditions]
        self._last_conditions = overview.conditions
        counts = count_by_label(overview.tasks_by_status)
        state = (overview.status, *counts.values())
        if state != self._last:
            self._last = state
            words = [f"{count} {label.lower()}" for label, count in counts.items() if count]
            if overview.eta is not None:
                words += eta_words(overview.eta)
            lines.append(f"{headline(overview)}: {', '.join(words)}")
        return lines
