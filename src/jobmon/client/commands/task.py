"""Tasks: their attempts and why they failed, what they wait for; setting their status by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobmon.client.commands.records import Record, to_frame, to_json
from jobmon.client.commands.validation import (
    NotOwnerError,
    RefusedError,
    letters_of_labels,
    letters_of_statuses,
)
from jobmon.core.exceptions import NotAllowedError, UsageError
from jobmon.core.requester import Requester
from jobmon.core.resources import bytes_to_gib, describe_memory
from jobmon.core.states import (
    SETTABLE_BY_HAND,
    TASK_INSTANCE_USER_LABEL,
    TASK_USER_LABEL,
    TaskInstanceStatus,
    TaskStatus,
    WorkflowStatus,
)
from jobmon.core.words import counted, describe_duration
from jobmon.serializers.monitor import (
    AttemptRow,
    NeighbourRow,
    TaskDependenciesResponse,
    TaskStatusRequest,
    TaskStatusResponse,
    UpdateTasksRequest,
    UpdateTasksResponse,
)
from jobmon.serializers.select import SubtreeRequest, SubtreeResponse

STATUS_COLUMNS = (
    "TASK_ID",
    "task_status",
    "TASK_INSTANCE_ID",
    "DISTRIBUTOR_ID",
    "STATUS",
    "RESOURCE_USAGE",
    "STDOUT",
    "STDERR",
    "ERROR_TRACE",
)


def task_status(
    task_ids: int | Sequence[int],
    status: str | Sequence[str] | None = None,
    json: bool = False,
    requester: Requester | None = None,
) -> Any:
    """Tasks with all of their attempts: outcome, resources used, log files, what went wrong.

    Args:
        task_ids: one id or several.
        status: only tasks of these labels (PENDING, SCHEDULED, RUNNING, DONE, FATAL).
        json: return JSON text.
        requester: how to reach the server.

    Returns:
        A data frame where pandas is installed, else a list of dictionaries; JSON text when asked for.
    """
    records = [status_record(row) for row in task_attempts(task_ids, status, requester=requester)]
    return to_json(records) if json else to_frame(records, STATUS_COLUMNS)


def task_attempts(
    task_ids: int | Sequence[int],
    status: str | Sequence[str] | None = None,
    limit: int | None = None,
    requester: Requester | None = None,
) -> list[AttemptRow]:
    """What :func:`task_status` tells, as the server says it."""
    requester = requester or Requester.from_defaults()
    ids = [task_ids] if isinstance(task_ids, int) else list(task_ids)
    labels = [status] if isinstance(status, str) else status
    message = TaskStatusRequest(ids, letters_of_labels(labels), limit)
    return requester.send("POST", "/monitor/task_status", message, TaskStatusResponse).attempts


def status_record(row: AttemptRow) -> Record:
    """An attempt as a plain row."""
    instance_label = ""
    if row.instance_status:
        instance_label = TASK_INSTANCE_USER_LABEL[TaskInstanceStatus(row.instance_status)]
    values = (
        row.task_id,
        TASK_USER_LABEL[TaskStatus(row.task_status)],
        row.task_instance_id,
        row.distributor_id,
        instance_label,
        resource_usage(row),
        row.stdout,
        row.stderr,
        row.error,
    )
    return dict(zip(STATUS_COLUMNS, values, strict=True))


def resource_usage(row: AttemptRow) -> str:
    """What an attempt used, in words."""
    words = []
    if row.wallclock is not None:
        words.append(describe_duration(row.wallclock))
    if row.cpu is not None:
        words.append(f"CPU {describe_duration(row.cpu)}")
    if row.maxrss is not None:
        words.append(f"memory {describe_memory(bytes_to_gib(row.maxrss))}")
    return ", ".join(words)


def next_commands(rows: Sequence[AttemptRow]) -> list[str]:
    """What to type next when tasks failed for good."""
    failed = {row.workflow_id for row in rows if row.task_status == TaskStatus.ERROR_FATAL.value}
    return [
        f"When the cause is mended:  jobmon workflow resume -w {workflow_id}  "
        "(or run(resume=True) in its script)"
        for workflow_id in sorted(failed)
    ]


def get_task_dependencies(task_id: int, requester: Requester | None = None) -> dict[str, list[Record]]:
    """What a task waits for (``up``) and what waits for it (``down``): ids, names and status letters."""
    requester = requester or Requester.from_defaults()
    path = f"/monitor/task/{task_id}/dependencies"
    answer = requester.send("GET", path, None, TaskDependenciesResponse)
    return {"up": [_neighbour(row) for row in answer.up], "down": [_neighbour(row) for row in answer.down]}


def _neighbour(row: NeighbourRow) -> Record:
    return {"id": row.id, "name": row.name, "status": row.status}


def get_sub_task_tree(
    task_ids: int | Sequence[int],
    task_status: str | Sequence[str] | None = None,
    requester: Requester | None = None,
) -> dict[int, str]:
    """Tasks of one workflow and all that wait for them, directly or not: status letter by task id.

    Args:
        task_ids: one id or several.
        task_status: only tasks with these labels or letters.
        requester: how to reach the server.
    """
    requester = requester or Requester.from_defaults()
    ids = [task_ids] if isinstance(task_ids, int) else list(task_ids)
    wanted = [task_status] if isinstance(task_status, str) else list(task_status or ())
    message = SubtreeRequest(ids, letters_of_statuses(wanted))
    return requester.send("POST", "/monitor/task_subtree", message, SubtreeResponse).statuses


def update_task_status(
    task_ids: Sequence[int],
    workflow_id: int,
    new_status: str,
    force: bool = False,
    recursive: bool = False,
    requester: Requester | None = None,
    *,
    downstream: bool = True,
) -> str:
    """Set tasks to done (D), or to registered (G) so that they, and all that waits for them, run again.

    Args:
        task_ids: at most 10 000 tasks of one workflow.
        workflow_id: that workflow.
        new_status: D, G, DONE or REGISTERED.
        force: also while the workflow runs and tasks that wait for these have started.
        recursive: with all that waits for them, directly or not.
        requester: how to reach the server.
        downstream: false sets just these to registered, which is refused when a task that waits for them is done or
            active.

    Raises:
        NotOwnerError: the workflow belongs to somebody else (also an AssertionError).
        RefusedError: the tasks or the status are not allowed, now or ever (also an AssertionError).
    """
    requester = requester or Requester.from_defaults()
    wanted = _new_status(new_status)
    message = UpdateTasksRequest(list(task_ids), wanted.value, recursive, force, not downstream)
    answer = _send_update(requester, workflow_id, message)
    more = answer.num_tasks - len(set(task_ids))
    waiting = f"{counted(more, 'task')} that {'waits' if more == 1 else 'wait'} for them"
    with_them = f" (with {waiting})" if more else ""
    return (
        f"{answer.num_changed} of {answer.num_tasks} tasks{with_them} were set to {wanted.name}; workflow "
        f"{workflow_id} is {WorkflowStatus(answer.workflow_status).name}."
    )


def count_update(
    task_ids: Sequence[int],
    workflow_id: int,
    new_status: str,
    force: bool = False,
    recursive: bool = False,
    requester: Requester | None = None,
    *,
    downstream: bool = True,
) -> int:
    """How many tasks :func:`update_task_status` would set, those that wait for the given ones included.

    Parameters and errors are those of :func:`update_task_status`; nothing is changed.
    """
    message = UpdateTasksRequest(
        list(task_ids), _new_status(new_status).value, recursive, force, not downstream, is_trial=True
    )
    return _send_update(requester or Requester.from_defaults(), workflow_id, message).num_tasks


def _new_status(new_status: str) -> TaskStatus:
    wanted = SETTABLE_BY_HAND.get(new_status.upper())
    if wanted is None:
        raise RefusedError(f"Tasks can be set to {', '.join(SETTABLE_BY_HAND)}, not to '{new_status}'.")
    return wanted


def _send_update(requester: Requester, workflow_id: int, message: UpdateTasksRequest) -> UpdateTasksResponse:
    if message.is_only and message.is_recursive:
        raise RefusedError("These tasks alone, or with all that wait for them? Not both.")
    path = f"/monitor/workflow/{workflow_id}/task_statuses"
    try:
        return requester.send("PUT", path, message, UpdateTasksResponse)
    except NotAllowedError as error:
        raise NotOwnerError(str(error)) from error
    except UsageError as error:
        raise RefusedError(str(error)) from error
