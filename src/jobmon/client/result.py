"""What became of a run, and the errors of tasks."""

from __future__ import annotations

from collections.abc import Callable
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
        error: what ended the run, where an error of the script's own functions or of Jobmon did; ``None`` otherwise.
        is_detached: whether another process works on the run; what is said of tasks is then as of the moment it was
            handed over, without ids. :meth:`wait` gives the result.
        log: path of the log of that process; empty otherwise.
        place: the job of a batch cluster that process is; empty otherwise.
        waits_for: what that job waits for in its queue, where it did not start yet; empty otherwise.
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
    error: BaseException | None = None
    is_detached: bool = False
    log: str = ""
    place: str = ""
    waits_for: str = ""
    _requester: Requester | None = None
    _take: Callable[[WorkflowRunResult], None] | None = None

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

    def wait(self, timeout: float | None = None) -> WorkflowRunResult:
        """Wait until a detached run has ended; its result. One that is not detached is the result itself.

        Where somebody resumed the workflow meanwhile, the run that goes on is waited for, and the result is of that one.

        Args:
            timeout: seconds to wait at most.

        Raises:
            WorkflowTimeoutError: (a RuntimeError) it goes on after that time; wait again.
            DistributorNotAlive: the process that works on it died; run the workflow again with ``resume=True``.
        """
        if not self.is_detached or self._requester is None:
            return self
        from jobmon.client.following import follow, result_of

        result = result_of(self._requester, follow(self._requester, self.workflow_id, timeout))
        if self._take is not None:
            self._take(result)
        return result

    def _repr_html_(self) -> str:
        """The result as notebooks show it."""
        from jobmon.client.notebook import result_html

        return result_html(self)


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


_ATTEMPT_FIELDS = (
    "attempt_number",
    "max_attempts",
    "cluster_name",
    "distributor_id",
    "nodename",
    "cause",
    "next_task_instance_id",
)


def errors_by_task(rows: list[TaskErrorRow]) -> dict[int, dict[str, Any]]:
    """For each task its latest failed attempt, the errors of that, and its story in words."""
    from jobmon.client.failures import describe_failure

    latest: dict[int, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row.task_instance_id, row.task_instance_error_log_id)):
        if row.task_id not in latest or latest[row.task_id]["task_instance_id"] != row.task_instance_id:
            latest[row.task_id] = {"task_instance_id": row.task_instance_id, "error_log": []}
        latest[row.task_id] |= {name: getattr(row, name) for name in _ATTEMPT_FIELDS}
        latest[row.task_id]["story"] = describe_failure(row)
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
