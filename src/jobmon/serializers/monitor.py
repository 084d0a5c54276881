"""Messages for people who look: the command line, notebooks, the GUI."""

from __future__ import annotations

from msgspec import Struct


class HealthResponse(Struct):
    """The server answers.

    Attributes:
        status: ``ok``.
        version: version of the server.
        database: kind of database.
    """

    status: str
    version: str
    database: str = ""


class TaskErrorRow(Struct):
    """Something that went wrong in an attempt.

    Attributes:
        task_id, task_name: the task.
        task_instance_id: the attempt.
        task_instance_error_log_id: identifies the row; grows with time.
        error_time: ISO text, UTC.
        description: what went wrong.
        stderr_log: end of the attempt's stderr.
        stdout, stderr: paths of its log files.
    """

    task_id: int
    task_name: str
    task_instance_id: int
    task_instance_error_log_id: int
    error_time: str
    description: str
    stderr_log: str
    stdout: str
    stderr: str


class WorkflowErrorsResponse(Struct):
    """Errors of the attempts of a workflow, newest first."""

    errors: list[TaskErrorRow]


class WorkflowStatusRow(Struct):
    """How far a workflow is.

    Attributes:
        id, name: the workflow.
        status: its status letter.
        created_date: ISO text, UTC; empty while it is not registered completely.
        tasks_by_status: number of tasks by status letter.
        retries: attempts beyond the first, of all tasks together.
    """

    id: int
    name: str
    status: str
    created_date: str
    tasks_by_status: dict[str, int]
    retries: int


class WorkflowStatusResponse(Struct):
    """Workflows, newest first."""

    workflows: list[WorkflowStatusRow]


class TaskRow(Struct):
    """A task; ``retries`` counts its attempts beyond the first."""

    id: int
    name: str
    status: str
    retries: int


class WorkflowTasksResponse(Struct):
    """Tasks of a workflow, oldest first."""

    tasks: list[TaskRow]


class TaskStatusRequest(Struct):
    """Ask for the attempts of tasks.

    Attributes:
        task_ids: the tasks.
        statuses: only tasks with these status letters; empty: all.
        limit: at most so many rows; null: all.
    """

    task_ids: list[int]
    statuses: list[str] = []
    limit: int | None = None


class AttemptRow(Struct):
    """A task and one of its attempts; the fields of the attempt are null or empty where there was none.

    Attributes:
        task_id, task_name, workflow_id: the task.
        task_status: its status letter.
        task_instance_id: the attempt.
        instance_status: its status letter.
        cause: why it did not succeed.
        distributor_id: id the cluster gave the job.
        nodename: host it ran on.
        exit_code: exit code; negative: the signal that ended the command.
        wallclock, cpu: seconds.
        maxrss, io: bytes.
        stdout, stderr: paths of its log files.
        error: what went wrong last.
        stderr_log: end of its stderr.
    """

    task_id: int
    task_name: str
    workflow_id: int
    task_status: str
    task_instance_id: int | None = None
    instance_status: str = ""
    cause: str = ""
    distributor_id: str = ""
    nodename: str = ""
    exit_code: int | None = None
    wallclock: float | None = None
    cpu: float | None = None
    maxrss: int | None = None
    io: int | None = None
    stdout: str = ""
    stderr: str = ""
    error: str = ""
    stderr_log: str = ""


class TaskStatusResponse(Struct):
    """Tasks with their attempts, oldest first."""

    attempts: list[AttemptRow]


class LogRow(Struct):
    """Log files of an attempt; the attempt is null where there was none."""

    task_id: int
    task_name: str
    array_name: str
    task_instance_id: int | None
    stdout: str
    stderr: str


class WorkflowLogsResponse(Struct):
    """Log files of a workflow."""

    logs: list[LogRow]


class NeighbourRow(Struct):
    """A task next to another one in the graph."""

    id: int
    name: str
    status: str


class TaskDependenciesResponse(Struct):
    """What a task waits for (``up``) and what waits for it (``down``)."""

    up: list[NeighbourRow]
    down: list[NeighbourRow]


class WorkflowOwnerResponse(Struct):
    """User of the latest run of a workflow; empty when it never ran."""

    user: str


class TasksWorkflowsRequest(Struct):
    """Ask to which workflows tasks belong."""

    task_ids: list[int]


class TasksWorkflowsResponse(Struct):
    """Workflow id by task id; tasks that do not exist are absent."""

    workflow_ids: dict[int, int]


class UpdateTasksRequest(Struct):
    """Set the status of tasks by hand.

    Attributes:
        task_ids: the tasks.
        new_status: status letter, D (count them as done) or G (run them again, and all that waits for them).
        is_recursive: with all that waits for them, directly or not.
        is_forced: also where it might confuse a run that is alive.
    """

    task_ids: list[int]
    new_status: str
    is_recursive: bool = False
    is_forced: bool = False


class UpdateTasksResponse(Struct):
    """How many tasks changed; how many were meant, with those pulled in; status letter of the workflow."""

    num_changed: int
    num_tasks: int
    workflow_status: str


class ResetWorkflowRequest(Struct):
    """Make a workflow ready to run from the beginning; ``is_partial`` keeps what is done."""

    is_partial: bool = False


class ResetWorkflowResponse(Struct):
    """How many tasks were reset; status letter of the workflow."""

    num_reset: int
    workflow_status: str
