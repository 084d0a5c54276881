"""One of the tasks that failed alike, with what it wrote, and some of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from jobmon.core.states import TaskStatus
from jobmon.server.web.models import Task
from jobmon.server.web.store.task_page import Texts, attempt_read_texts, failed_attempt_of
from jobmon.server.web.ui.log_text import clean_log

LISTED = 100


@dataclass(frozen=True)
class Sample:
    """A task that failed.

    Attributes:
        number, total: which of the tasks it is, and how many there are to look at.
        task_id, task_name: the task.
        task_instance_id: its attempt that failed last.
        texts: what that wrote, as plain text.
    """

    number: int
    total: int
    task_id: int
    task_name: str
    task_instance_id: int | None
    texts: Texts


@dataclass(frozen=True)
class ListedTask:
    """A task in the list of those that failed alike; ``number`` is its place among them."""

    number: int
    id: int
    name: str
    status: TaskStatus


def plain(texts: Texts) -> Texts:
    """Texts that a page can show."""
    return Texts(clean_log(texts.stdout), clean_log(texts.stderr), clean_log(texts.error))


def sample_of(
    connection: Connection, workflow_id: int, task_ids: Sequence[int], number: int
) -> tuple[Sample | None, list[ListedTask]]:
    """A task of those given, and some of them around it.

    Args:
        connection: a transaction.
        workflow_id: their workflow.
        task_ids: tasks that failed alike, in their order.
        number: which of them, from 1; too large: the last.
    """
    if not task_ids:
        return None, []
    place = min(number, len(task_ids)) - 1
    first = max(0, min(place - LISTED // 2, len(task_ids) - LISTED))
    around = task_ids[first : first + LISTED]
    rows: dict[int, Any] = {
        row.id: row
        for row in connection.execute(
            select(Task.id, Task.name, Task.status).where(
                Task.workflow_id == workflow_id, Task.id.in_([*around, task_ids[place]])
            )
        )
    }
    listed = [
        ListedTask(first + offset + 1, task_id, rows[task_id].name, TaskStatus(rows[task_id].status))
        for offset, task_id in enumerate(around)
        if task_id in rows
    ]
    task_id = task_ids[place]
    if task_id not in rows:
        return None, listed
    attempt_id = failed_attempt_of(connection, task_id)
    texts = Texts("", "", "") if attempt_id is None else attempt_read_texts(connection, task_id, attempt_id)
    sample = Sample(place + 1, len(task_ids), task_id, rows[task_id].name, attempt_id, plain(texts))
    return sample, listed
