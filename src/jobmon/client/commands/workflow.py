"""Workflows: how far they are, their tasks and logs; limit, reset and stop them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobmon.client.commands.records import Record, local_time, share, to_frame, to_json
from jobmon.client.commands.run import stop_workflow as stop_workflow
from jobmon.client.commands.validation import letters_of_labels
from jobmon.client.progress import describe_eta
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Requester
from jobmon.core.states import TASK_USER_LABEL, USER_LABELS, TaskStatus, WorkflowStatus
from jobmon.serializers.monitor import (
    LogRow,
    ResetWorkflowRequest,
    ResetWorkflowResponse,
    WorkflowLogsResponse,
    WorkflowStatusResponse,
    WorkflowStatusRow,
    WorkflowTasksResponse,
)
from jobmon.serializers.swarm import (
    LimitRequest,
    LimitResponse,
)

if TYPE_CHECKING:
    pass

STATUS_COLUMNS = ("WF_ID", "WF_NAME", "WF_STATUS", "CREATED_DATE", "TASKS", *USER_LABELS, "RETRIES")
PROGRESS_COLUMNS = (*STATUS_COLUMNS, "PERCENT_DONE", "RATE_PER_MINUTE", "REMAINING_SECONDS")
"""Columns for programs; the last two are null unless the workflow is being run and so much is known."""
TASK_COLUMNS = ("TASK_ID", "TASK_NAME", "STATUS", "RETRIES")
LOG_COLUMNS = ("TASK_ID", "TASK_NAME", "ARRAY_NAME", "TASK_INSTANCE_ID", "OUTPUT_PATH", "ERROR_PATH")


# -- looking ------------------------------------------------------------------------------------------
def workflow_status(
    workflow_id: int | Sequence[int] | None = None,
    user: str | Sequence[str] | None = None,
    json: bool = False,
    limit: int | None = 5,
    requester: Requester | None = None,
) -> Any:
    """How far workflows are: those named, or the latest of the users named, or of the current user.

    Args:
        workflow_id: one id or several.
        user: one name or several.
        json: return JSON text, with counts as numbers.
        limit: at most so many workflows of users.
        requester: how to reach the server.

    Returns:
        A data frame where pandas is installed, else a list of dictionaries; JSON text when asked for.
    """
    rows = workflow_status_rows(workflow_id, user, limit, requester)
    if json:
        return to_json(workflow_progress_records(rows))
    return to_frame(workflow_status_records(rows), STATUS_COLUMNS)


def workflow_status_rows(
    workflow_id: int | Sequence[int] | None = None,
    user: str | Sequence[str] | None = None,
    limit: int | None = 5,
    requester: Requester | None = None,
) -> list[WorkflowStatusRow]:
    """What :func:`workflow_status` tells, as the server says it."""
    requester = requester or Requester.from_defaults()
    ids = [workflow_id] if isinstance(workflow_id, int) else list(workflow_id or ())
    users = [user] if isinstance(user, str) else list(user or ())
    params: dict[str, Any] = {"workflow_id": ids, "user": users}
    if limit is not None:
        params["limit"] = _positive(limit)
    return requester.send(
        "GET", "/monitor/workflow_status", None, WorkflowStatusResponse, params=params
    ).workflows


def workflow_status_records(rows: Sequence[WorkflowStatusRow]) -> list[Record]:
    """Rows for people."""
    return [_status_record(row, is_for_people=True) for row in rows]


def workflow_progress_records(rows: Sequence[WorkflowStatusRow]) -> list[Record]:
    """Rows for programs: counts as numbers, times in UTC, and how far the workflows are."""
    return [_status_record(row, is_for_people=False) for row in rows]


def _status_record(row: WorkflowStatusRow, *, is_for_people: bool) -> Record:
    counts = dict.fromkeys(USER_LABELS, 0)
    for letter, count in row.tasks_by_status.items():
        counts[TASK_USER_LABEL[TaskStatus(letter)]] += count
    total = sum(counts.values())
    return {
        "WF_ID": row.id,
        "WF_NAME": row.name,
        "WF_STATUS": WorkflowStatus(row.status).name,
        "CREATED_DATE": local_time(row.created_date) if is_for_people else row.created_date,
        "TASKS": total,
        **{name: share(count, total) if is_for_people else count for name, count in counts.items()},
        "RETRIES": row.retries,
        "PERCENT_DONE": round(100 * counts[TASK_USER_LABEL[TaskStatus.DONE]] / total, 1) if total else None,
        "RATE_PER_MINUTE": None if row.eta is None else row.eta.rate_per_minute,
        "REMAINING_SECONDS": None if row.eta is None else row.eta.remaining_seconds,
    }


def eta_lines(rows: Sequence[WorkflowStatusRow]) -> list[str]:
    """How far the workflows are that are being run, and when they may be done, a line for each."""
    return [f"workflow {row.id}: {describe_eta(row.eta)}" for row in rows if row.eta is not None]


def condition_lines(rows: Sequence[WorkflowStatusRow]) -> list[str]:
    """What is the matter with the clusters that workflows run on, a line for each."""
    return [f"workflow {row.id}: {text}" for row in rows for text in row.conditions]


def next_commands(rows: Sequence[WorkflowStatusRow]) -> list[str]:
    """What to type next for workflows that run, and for those with failed tasks."""
    failed = TaskStatus.ERROR_FATAL.value
    watch = [f"To watch it:  jobmon workflow watch {row.id}" for row in rows if row.eta is not None]
    errors = [
        f"What went wrong in workflow {row.id}:  jobmon workflow errors {row.id}"
        for row in rows
        if row.tasks_by_status.get(failed)
    ]
    return (
        watch[:1]
        + errors
        + [
            f"Which tasks of workflow {row.id} failed:  jobmon workflow tasks -w {row.id} "
            f"-s {TASK_USER_LABEL[TaskStatus.ERROR_FATAL]}"
            for row in rows
            if row.tasks_by_status.get(failed)
        ]
    )


def workflow_tasks(
    workflow_id: int,
    status: str | Sequence[str] | None = None,
    json: bool = False,
    limit: int | None = 5,
    requester: Requester | None = None,
) -> Any:
    """Tasks of a workflow.

    Args:
        workflow_id: the workflow.
        status: only tasks of these labels (PENDING, SCHEDULED, RUNNING, DONE, FATAL).
        json: return JSON text.
        limit: at most so many.
        requester: how to reach the server.

    Returns:
        A data frame where pandas is installed, else a list of dictionaries; JSON text when asked for.
    """
    records = workflow_task_records(workflow_id, status, limit, requester)
    return to_json(records) if json else to_frame(records, TASK_COLUMNS)


def workflow_task_records(
    workflow_id: int,
    status: str | Sequence[str] | None = None,
    limit: int | None = 5,
    requester: Requester | None = None,
) -> list[Record]:
    """What :func:`workflow_tasks` tells, as plain rows."""
    requester = requester or Requester.from_defaults()
    labels = [status] if isinstance(status, str) else status
    params: dict[str, Any] = {"status": letters_of_labels(labels)}
    if limit is not None:
        params["limit"] = _positive(limit)
    path = f"/monitor/workflow/{workflow_id}/tasks"
    tasks = requester.send("GET", path, None, WorkflowTasksResponse, params=params).tasks
    return [
        {
            "TASK_ID": task.id,
            "TASK_NAME": task.name,
            "STATUS": TASK_USER_LABEL[TaskStatus(task.status)],
            "RETRIES": task.retries,
        }
        for task in tasks
    ]


def get_filepaths(
    workflow_id: int,
    array_name: str = "",
    job_name: str = "",
    limit: int | None = 5,
    requester: Requester | None = None,
) -> list[Record]:
    """Log files of the attempts of a workflow, or of one array, or of one task of it."""
    requester = requester or Requester.from_defaults()
    params: dict[str, Any] = {"array_name": array_name, "task_name": job_name}
    if limit is not None:
        params["limit"] = _positive(limit)
    path = f"/monitor/workflow/{workflow_id}/logs"
    return [
        _log_record(row)
        for row in requester.send("GET", path, None, WorkflowLogsResponse, params=params).logs
    ]


def _log_record(row: LogRow) -> Record:
    values = (row.task_id, row.task_name, row.array_name, row.task_instance_id, row.stdout, row.stderr)
    return dict(zip(LOG_COLUMNS, values, strict=True))


def _positive(limit: int) -> int:
    if limit < 1:
        raise UsageError(f"The limit must be at least 1, not {limit}.")
    return limit


# -- changing -----------------------------------------------------------------------------------------
def concurrency_limit(
    workflow_id: int, max_tasks: int, requester: Requester | None = None, *, template: str = ""
) -> str:
    """Set how many tasks of a workflow may run at once, also while it runs; 0 pauses it.

    Args:
        workflow_id: the workflow.
        max_tasks: the limit.
        requester: how to reach the server.
        template: of the tasks of this task template only; the limit of the workflow holds as well.

    Raises:
        NotAllowedError: it belongs to somebody else.
        NotFoundError: it has no tasks of that template.
    """
    requester = requester or Requester.from_defaults()
    path = f"/swarm/workflow/{workflow_id}/limit"
    message = LimitRequest(max_tasks, template_name=template)
    limit = requester.send("PUT", path, message, LimitResponse).max_tasks
    tasks = f"tasks of '{template}'" if template else "tasks"
    if limit == 0:
        return f"Workflow {workflow_id} starts no more {tasks} until the limit is raised."
    return f"Workflow {workflow_id} now runs at most {limit} {tasks} at once."


def workflow_reset(workflow_id: int, partial_reset: bool = False, requester: Requester | None = None) -> str:
    """Make every task of a workflow ready to run again; ``partial_reset`` leaves those that are done.

    Raises:
        NotAllowedError: it belongs to somebody else.
        WorkflowRunStateError: it is being run.
    """
    requester = requester or Requester.from_defaults()
    path = f"/monitor/workflow/{workflow_id}/reset"
    answer = requester.send("PUT", path, ResetWorkflowRequest(partial_reset), ResetWorkflowResponse)
    status = WorkflowStatus(answer.workflow_status).name
    if not answer.num_to_run:
        return f"Workflow {workflow_id} has nothing left to run: its status is {status}."
    return (
        f"Workflow {workflow_id} was reset: {answer.num_to_run} of its tasks will run, its status is {status}. "
        f"To run it: jobmon workflow resume -w {workflow_id}"
    )
