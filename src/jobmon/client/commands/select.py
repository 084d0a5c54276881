"""Choosing tasks of a workflow by template, status, node args or attributes, instead of by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from jobmon.client.commands.records import Record
from jobmon.client.commands.validation import chunk_ids, letters_of_statuses
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.core.states import TASK_USER_LABEL, TaskStatus
from jobmon.serializers.select import SelectRequest, SelectResponse

OneOrMany = Any
"""A value, or an iterable of values; a text is one value."""


def select_tasks(
    workflow_id: int,
    template: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
    node_args: Mapping[str, OneOrMany] | None = None,
    attributes: Mapping[str, OneOrMany] | Iterable[str] | None = None,
    task_ids: int | Iterable[int] | None = None,
    limit: int | None = None,
    requester: Requester | None = None,
) -> list[int]:
    """Ids of the tasks of a workflow for which all conditions hold that are given, oldest first.

    Args:
        workflow_id: the workflow.
        template: names of task templates; the task is of one of them.
        status: labels (PENDING, SCHEDULED, RUNNING, DONE, FATAL) or status letters; the task is in one of them.
        node_args: value or values by name of a node arg; the task has one of them.
        attributes: value or values by name; the task has one of them, or any value where that is ``None``. A list of
            names asks for any value of each.
        task_ids: the task is one of these, which must be tasks of the workflow.
        limit: at most so many.
        requester: how to reach the server.

    Raises:
        NotFoundError: there is no such workflow or task.
        UsageError: the workflow has no such template or node arg, or there is no such status.
    """
    request = _request(template, status, node_args, attributes, limit)
    answers = _pages(requester or Requester.from_defaults(), workflow_id, request, task_ids)
    return [task_id for answer in answers for task_id in answer.task_ids][:limit]


def selected_task_records(
    workflow_id: int,
    template: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
    node_args: Mapping[str, OneOrMany] | None = None,
    attributes: Mapping[str, OneOrMany] | Iterable[str] | None = None,
    limit: int | None = None,
    requester: Requester | None = None,
) -> list[Record]:
    """The tasks that :func:`select_tasks` finds as rows, with the columns of ``jobmon workflow tasks``."""
    request = msgspec.structs.replace(
        _request(template, status, node_args, attributes, limit), is_detailed=True
    )
    answers = _pages(requester or Requester.from_defaults(), workflow_id, request, None)
    return [
        {
            "TASK_ID": task.id,
            "TASK_NAME": task.name,
            "STATUS": TASK_USER_LABEL[TaskStatus(task.status)],
            "RETRIES": task.retries,
        }
        for answer in answers
        for task in answer.tasks
    ][:limit]


def _request(
    template: str | Sequence[str] | None,
    status: str | Sequence[str] | None,
    node_args: Mapping[str, OneOrMany] | None,
    attributes: Mapping[str, OneOrMany] | Iterable[str] | None,
    limit: int | None,
) -> SelectRequest:
    if limit is not None and limit < 1:
        raise UsageError(f"The limit must be at least 1, not {limit}.")
    if attributes is None or isinstance(attributes, Mapping):
        by_name = dict(attributes or {})
    else:
        by_name = dict.fromkeys(_values(attributes))
    return SelectRequest(
        templates=_values(template),
        statuses=letters_of_statuses(_values(status)),
        node_args=_of_node_args(node_args or {}),
        attributes={str(name): _values(value) for name, value in by_name.items()},
        limit=limit,
    )


def _of_node_args(node_args: Mapping[str, OneOrMany]) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for name, value in node_args.items():
        chosen[str(name)] = values = [str(value)] if value is None else _values(value)
        if not values:
            raise UsageError(f"No value is given for the node arg '{name}'.")
    return chosen


def _values(value: OneOrMany) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return [str(value)]
    return [str(one) for one in value]


def _pages(
    requester: Requester, workflow_id: int, request: SelectRequest, task_ids: int | Iterable[int] | None
) -> Iterator[SelectResponse]:
    if task_ids is None:
        parts: list[list[int]] = [[]]
    else:
        parts = chunk_ids(sorted({task_ids} if isinstance(task_ids, int) else set(task_ids)))
    path = f"/monitor/workflow/{workflow_id}/select"
    missing = request.limit
    for part in parts:
        after: int | None = 0
        while after is not None and (missing is None or missing > 0):
            page = msgspec.structs.replace(request, task_ids=part, after_task_id=after, limit=missing)
            answer = requester.send("POST", path, page, SelectResponse)
            yield answer
            after = answer.next_after
            missing = None if missing is None else missing - len(answer.task_ids)
