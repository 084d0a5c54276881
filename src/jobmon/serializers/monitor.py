"""Messages for people who look: the command line, notebooks, the GUI."""

from __future__ import annotations

from typing import Any

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


class RootResponse(Struct):
    """What answers here.

    Attributes:
        service, version: what this is.
        api: prefix of the routes.
        docs: where they are described.
    """

    service: str
    version: str
    api: str
    docs: str


class TimeResponse(Struct):
    """The database's clock: ISO text, UTC."""

    time: str


class ApiVersionResponse(Struct):
    """Version of the routes (the last part of their prefix), their prefix, version of the server."""

    api_version: str
    prefix: str
    version: str


class LeaseRow(Struct):
    """Who has a lease, how often it changed hands, and for how long it is good (negative: it has run out)."""

    name: str
    holder: str
    term: int
    remaining_seconds: float


class ReadyResponse(Struct):
    """Whether requests should be sent to this server.

    Attributes:
        is_ready: whether they should.
        version: version of the server.
        reasons: why not.
        leases: who does the work of the services.
    """

    is_ready: bool
    version: str
    reasons: list[str] = []
    leases: list[LeaseRow] = []


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
        workflow_id, workflow_status: the workflow, and its status letter now.
        task_status: status letter of the task now.
        instance_status: status letter of the attempt.
        cause: why the attempt did not succeed.
        attempt_number: which attempt of its task it was since the task was last reset, from 1; 0: before that.
        max_attempts: attempts the task may have of its own fault.
        num_infrastructure_losses: attempts of the task that were lost through no fault of its own.
        cluster_name: cluster of the attempt.
        distributor_id: id the cluster gave the job.
        nodename: host it ran on.
        requested_resources: what it asked for.
        next_task_instance_id: the attempt that followed; null: none (yet).
        next_resources: what that one, or the task now, asks for.
        is_blameless: it is charged to the infrastructure; null: the server does not tell.
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
    workflow_id: int = 0
    workflow_status: str = ""
    task_status: str = ""
    instance_status: str = ""
    cause: str = ""
    attempt_number: int = 0
    max_attempts: int = 0
    num_infrastructure_losses: int = 0
    cluster_name: str = ""
    distributor_id: str = ""
    nodename: str = ""
    requested_resources: dict[str, Any] = {}
    next_task_instance_id: int | None = None
    next_resources: dict[str, Any] = {}
    is_blameless: bool | None = None


class WorkflowErrorsResponse(Struct):
    """Errors of the attempts of a workflow, newest first."""

    errors: list[TaskErrorRow]


class EtaRow(Struct):
    """How far a workflow that is being run is, and when it may be done.

    Attributes:
        percent_done: share of its tasks that are done.
        rate_per_minute: tasks done per minute of late; null while none was.
        remaining_seconds: estimate of the time until all are done; null while too little is known.
        low_seconds, high_seconds: the range in which that time lies, nine times of ten or so.
        how: where the estimate comes from, or why there is none: the end of a sentence.
    """

    percent_done: float
    rate_per_minute: float | None
    remaining_seconds: float | None
    low_seconds: float | None
    high_seconds: float | None
    how: str


class WorkflowStatusRow(Struct):
    """How far a workflow is.

    Attributes:
        id, name: the workflow.
        status: its status letter.
        created_date: ISO text, UTC; empty while it is not registered completely.
        tasks_by_status: number of tasks by status letter.
        retries: attempts beyond the first, of all tasks together.
        eta: when it may be done; null unless it is being run.
        conditions: what is the matter with the clusters it runs on, in sentences.
    """

    id: int
    name: str
    status: str
    created_date: str
    tasks_by_status: dict[str, int]
    retries: int
    eta: EtaRow | None = None
    conditions: list[str] = []


class WorkflowStatusResponse(Struct):
    """Workflows, newest first."""

    workflows: list[WorkflowStatusRow]


class TemplateProgressRow(Struct):
    """How far the tasks of one template of a workflow are.

    Attributes:
        array_id, name: the array, named after its template.
        tasks_by_status: number of its tasks by status letter.
        mean_seconds: mean run time of its attempts that succeeded of late; null: none did.
    """

    array_id: int
    name: str
    tasks_by_status: dict[str, int]
    mean_seconds: float | None = None


class RunningTaskRow(Struct):
    """A task whose command runs, where, and for how many seconds."""

    task_id: int
    task_name: str
    task_instance_id: int
    nodename: str
    seconds: float


class WorkflowOverviewResponse(Struct):
    """A workflow at a glance, for people who watch it.

    Attributes:
        id, name: the workflow.
        status: its status letter.
        elapsed_seconds: how long its latest run has taken; null: it never ran.
        tasks_by_status: number of tasks by status letter.
        templates: the same for each template, in the order in which they were made.
        eta: when it may be done; null unless it is being run.
        failures: latest attempts that failed, newest first.
        running: tasks that have run longest.
        conditions: what is the matter with the clusters it runs on, in sentences.
    """

    id: int
    name: str
    status: str
    elapsed_seconds: float | None
    tasks_by_status: dict[str, int]
    templates: list[TemplateProgressRow]
    eta: EtaRow | None = None
    failures: list[TaskErrorRow] = []
    running: list[RunningTaskRow] = []
    conditions: list[str] = []


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
        workflow_status, attempt_number, max_attempts, num_infrastructure_losses, cluster_name, requested_resources,
        next_task_instance_id, next_resources, is_blameless: see :class:`TaskErrorRow`.
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
    workflow_status: str = ""
    attempt_number: int = 0
    max_attempts: int = 0
    num_infrastructure_losses: int = 0
    cluster_name: str = ""
    requested_resources: dict[str, Any] = {}
    next_task_instance_id: int | None = None
    next_resources: dict[str, Any] = {}
    is_blameless: bool | None = None


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
        is_only: G for these alone; refused when a task that waits for them is done or active.
        is_trial: only check, and count what would be meant.
    """

    task_ids: list[int]
    new_status: str
    is_recursive: bool = False
    is_forced: bool = False
    is_only: bool = False
    is_trial: bool = False


class UpdateTasksResponse(Struct):
    """How many tasks changed; how many were meant, with those pulled in; status letter of the workflow."""

    num_changed: int
    num_tasks: int
    workflow_status: str


class ResetWorkflowRequest(Struct):
    """Make a workflow ready to run from the beginning; ``is_partial`` keeps what is done."""

    is_partial: bool = False


class ResetWorkflowResponse(Struct):
    """How many tasks were reset, how many will run when the workflow does; status letter of the workflow."""

    num_reset: int
    workflow_status: str
    num_to_run: int = 0
