"""What became of a run, and the errors of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobmon.core.requester import Requester

if TYPE_CHECKING:
    from jobmon.serializers.monitor import TaskErrorRow
    from jobmon.swarm.controller import RunOutcome

__all__ = ["WorkflowRunResult", "errors_by_task", "fetch_errors"]


class WorkflowRunResult(str):
    """Status letter of a run (``"D"``: every task is done) that also carries what became of it.

    Attributes:
        workflow_id: the workflow.
        workflow_run_id: the run.
        elapsed_time: seconds it took.
        total_tasks: tasks of the workflow.
        done_count: tasks that are done.
        failed_count: tasks that failed for good.
        num_previously_complete: tasks that were done before the run.
        num_newly_completed: tasks the run got done.
        task_final_statuses: status letters by task id.
        done_task_ids: tasks that are done.
        failed_task_ids: tasks that failed for good.
    """

    workflow_id: int
    workflow_run_id: int
    elapsed_time: float
    total_tasks: int
    done_count: int
    failed_count: int
    num_previously_complete: int
    num_newly_completed: int
    task_final_statuses: dict[int, str]
    done_task_ids: frozenset[int]
    failed_task_ids: frozenset[int]

    @classmethod
    def of_outcome(cls, workflow_id: int, workflow_run_id: int, outcome: RunOutcome) -> WorkflowRunResult:
        """The result of a run as its controller left it."""
        result = cls(outcome.final_status)
        result.workflow_id = workflow_id
        result.workflow_run_id = workflow_run_id
        result.elapsed_time = outcome.elapsed_time
        result.total_tasks = outcome.total_tasks
        result.done_count = outcome.done_count
        result.failed_count = outcome.failed_count
        result.num_previously_complete = outcome.num_previously_complete
        result.num_newly_completed = outcome.done_count - outcome.num_previously_complete
        result.task_final_statuses = outcome.task_final_statuses
        result.done_task_ids = frozenset(outcome.done_task_ids)
        result.failed_task_ids = frozenset(outcome.failed_task_ids)
        return result

    @property
    def final_status(self) -> str:
        """The status letter."""
        return str(self)


def fetch_errors(
    requester: Requester, workflow_id: int, limit: int = 1000, task_id: int | None = None
) -> list[TaskErrorRow]:
    """Errors of the attempts of a workflow, or of one of its tasks, latest first.

    Args:
        requester: how to reach the server.
        workflow_id: the workflow.
        limit: at most so many.
        task_id: only those of this task.
    """
    from jobmon.serializers.monitor import WorkflowErrorsResponse

    params: dict[str, Any] = {"limit": limit}
    if task_id is not None:
        params["task_id"] = task_id
    path = f"/monitor/workflow/{workflow_id}/errors"
    return requester.send("GET", path, None, WorkflowErrorsResponse, params=params).errors


def errors_by_task(rows: list[TaskErrorRow]) -> dict[int, dict[str, Any]]:
    """For each task its latest failed attempt and the errors of that."""
    latest: dict[int, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row.task_instance_id, row.task_instance_error_log_id)):
        if row.task_id not in latest or latest[row.task_id]["task_instance_id"] != row.task_instance_id:
            latest[row.task_id] = {"task_instance_id": row.task_instance_id, "error_log": []}
        latest[row.task_id]["error_log"].append(
            {
                "task_instance_error_log_id": row.task_instance_error_log_id,
                "error_time": row.error_time,
                "description": row.description,
                "stdout": row.stdout,
                "stderr": row.stderr,
            }
        )
    return latest
