"""Checks before something is changed: whose a workflow is, to which workflow tasks belong."""

from __future__ import annotations

from collections.abc import Sequence

from jobmon.core.exceptions import NotAllowedError, NotFoundError, UsageError
from jobmon.core.requester import Requester
from jobmon.core.states import TASK_STATUSES_OF_USER_LABEL, USER_LABELS, TaskStatus
from jobmon.serializers.monitor import (
    TasksWorkflowsRequest,
    TasksWorkflowsResponse,
    WorkflowOwnerResponse,
)

CHUNK = 5000


class RefusedError(UsageError, AssertionError):
    """This may not be done to that workflow or those tasks."""


class NotOwnerError(NotAllowedError, AssertionError):
    """Only the owner of a workflow may change it."""


def chunk_ids(ids: Sequence[int], chunk_size: int = CHUNK) -> list[list[int]]:
    """Ids in pieces of at most ``chunk_size``."""
    return [list(ids[start : start + chunk_size]) for start in range(0, len(ids), chunk_size)]


_chunk_ids = chunk_ids


def validate_username(workflow_id: int, username: str, requester: Requester) -> None:
    """Refuse a workflow whose latest run is somebody else's.

    Raises:
        NotOwnerError: it is (also an AssertionError).
        NotFoundError: there is no such workflow.
    """
    path = f"/monitor/workflow/{workflow_id}/owner"
    owner = requester.send("GET", path, None, WorkflowOwnerResponse).user
    if owner and owner != username:
        raise NotOwnerError(
            f"Workflow {workflow_id} belongs to user {owner}; user {username} may not change it."
        )


def validate_workflow(task_ids: Sequence[int], requester: Requester) -> int:
    """The workflow all of these tasks belong to.

    Raises:
        NotFoundError: a task does not exist.
        RefusedError: they belong to several workflows (also an AssertionError).
    """
    found: dict[int, int] = {}
    for part in chunk_ids(list(task_ids)):
        message = TasksWorkflowsRequest(part)
        path = "/monitor/task_workflows"
        found.update(requester.send("POST", path, message, TasksWorkflowsResponse).workflow_ids)
    unknown = [str(task_id) for task_id in dict.fromkeys(task_ids) if task_id not in found]
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        raise NotFoundError(f"There is no task {', '.join(unknown[:10])}{more}.")
    workflows = sorted(set(found.values()))
    if len(workflows) != 1:
        named = ", ".join(str(workflow_id) for workflow_id in workflows) or "none"
        raise RefusedError(f"The tasks must belong to one workflow; these belong to workflows {named}.")
    return workflows[0]


def letters_of_labels(labels: Sequence[str] | None) -> list[str]:
    """Status letters of the labels users see (PENDING, SCHEDULED, RUNNING, DONE, FATAL).

    Raises:
        UsageError: a label is none of these.
    """
    letters: list[str] = []
    for label in labels or ():
        if label.upper() not in TASK_STATUSES_OF_USER_LABEL:
            raise UsageError(f"'{label}' is not a status; there are {', '.join(USER_LABELS)}.")
        letters += [status.value for status in TASK_STATUSES_OF_USER_LABEL[label.upper()]]
    return letters


def letters_of_statuses(statuses: Sequence[str]) -> list[str]:
    """Status letters of labels (see :func:`letters_of_labels`) and of status letters.

    Raises:
        UsageError: one is neither.
    """
    letters: list[str] = []
    for status in statuses:
        if status.upper() in TASK_STATUSES_OF_USER_LABEL:
            letters += letters_of_labels([status])
        elif status in {known.value for known in TaskStatus}:
            letters.append(status)
        else:
            raise UsageError(
                f"'{status}' is not a status; there are {', '.join(USER_LABELS)}, and the letters "
                f"{', '.join(known.value for known in TaskStatus)}."
            )
    return list(dict.fromkeys(letters))
