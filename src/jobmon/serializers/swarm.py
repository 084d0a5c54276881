"""Messages between a controller and the server."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.states import WorkflowRunEvent


class WorkflowRunRequest(Struct):
    """Create a run of a workflow.

    Attributes:
        run_key: chosen by the sender; the same key sent twice is the same run.
        user: who runs it.
        jobmon_version: version of the sender.
        controller: the process that hosts the controller.
        next_report_increment: seconds until its next sign of life is due.
        notify: who is to be told of its end; see :mod:`jobmon.core.notify_target`.
    """

    run_key: str
    user: str
    jobmon_version: str
    controller: ProcessIdentity
    next_report_increment: float
    notify: list[str] = []


class WorkerTokenRequest(Struct):
    """Have a token be good for reports of attempts of a run's workflow.

    Attributes:
        token_hash: SHA-256 of the token, which its maker keeps; the same one sent twice is the same token.
    """

    token_hash: str


class WorkerTokenResponse(Struct):
    """How long that token is good, in seconds from when it was made."""

    lifetime_seconds: float


class WorkflowRunResponse(Struct):
    """The run that was created; batches of its arrays are numbered from ``next_batch_num``."""

    workflow_run_id: int
    status: str
    next_batch_num: int
    cursor: int


class TakeRunRequest(Struct):
    """Take over a run that was created and that no controller works on yet.

    Attributes:
        run_key: chosen by the sender; the same key sent twice is the same taking.
        controller: the process that hosts the controller from now on.
        next_report_increment: seconds until its next sign of life is due.
    """

    run_key: str
    controller: ProcessIdentity
    next_report_increment: float


class RunEventsRequest(Struct):
    """Apply events to a run, one after the other."""

    events: list[WorkflowRunEvent]


class RunStateResponse(Struct):
    """Status letters of a run and of its workflow; ``is_draining``: it was ordered to start nothing more."""

    status: str
    workflow_status: str
    is_draining: bool = False


class RunWorkflowResponse(Struct):
    """The workflow a run is of, and the status letter of the run."""

    workflow_id: int
    status: str


class HeartbeatRequest(Struct):
    """A controller's sign of life, also for the attempts it runs itself."""

    next_report_increment: float
    covers_instances: bool = False


class BatchRequest(Struct):
    """Create the attempts of tasks of one array that ask for the same resources.

    Attributes:
        array_id: their array.
        batch_num: unique within the array; the same batch sent twice is created once.
        task_resources_id: what they ask for.
        task_ids: the tasks, in the order of the array steps.
        name: of the job on a batch cluster; empty where the controller runs the commands itself.
        notes: why tasks ask for something else than last time, by task id.
    """

    array_id: int
    batch_num: int
    task_resources_id: int
    task_ids: list[int]
    name: str = ""
    notes: dict[int, str] = {}


class ClusterCondition(Struct):
    """What a controller has to say of a cluster.

    Attributes:
        cluster_name: the cluster.
        since: when it began, in seconds since 1970.
        text: a sentence: "Cluster slurm is unreachable since …".
    """

    cluster_name: str
    since: float
    text: str


class QueueReason(Struct):
    """Why attempts wait in the queue of a batch cluster; an empty text: nothing holds them any more."""

    task_instance_ids: list[int]
    text: str


class SyncRequest(Struct):
    """What a controller tells and asks in one go: events of attempts, then new batches.

    Attributes:
        events: in the order in which they happened.
        batches: what to create after that.
        requires_done: tasks whose success is among the events and on which the batches count; unless all of them
            are done then, no batch is created.
        conditions: all there is to say of clusters now; null: what it was.
        queue_reasons: of attempts for which it has changed.
    """

    events: list[InstanceEvent] = []
    batches: list[BatchRequest] = []
    requires_done: list[int] = []
    conditions: list[ClusterCondition] | None = None
    queue_reasons: list[QueueReason] = []


class BatchResponse(Struct):
    """The attempts of a batch, one entry a task that could be queued (others are absent, and have no step)."""

    array_id: int
    batch_num: int
    task_ids: list[int]
    task_instance_ids: list[int]
    array_step_ids: list[int]
    names: list[str]
    commands: list[str]


class TaskChanges(Struct):
    """New states of tasks, columnar.

    Attributes:
        task_ids: the tasks.
        statuses: their status letters, one character each.
        num_attempts: attempts so far.
    """

    task_ids: list[int] = []
    statuses: str = ""
    num_attempts: list[int] = []


class SyncResponse(Struct):
    """What became of a sync.

    Attributes:
        run_status: status letter of the run.
        cursor_before, cursor: event cursor of the run before and after; a controller whose cursor is
            ``cursor_before`` has missed nothing.
        tasks: states of the tasks of all attempts the events named.
        batches: attempts that were created.
        stop: attempts that are not live any more; what still runs of them must end.
        is_draining: the run was ordered to start nothing more; no batch was created.
    """

    run_status: str
    cursor_before: int
    cursor: int
    tasks: TaskChanges
    batches: list[BatchResponse]
    stop: list[int]
    is_draining: bool = False


class InstanceChanges(Struct):
    """New states of attempts, columnar.

    Attributes:
        task_instance_ids: the attempts.
        statuses: their status letters, one character each.
        maxrss: peak memory in bytes of those that lacked resources, where it is known.
    """

    task_instance_ids: list[int] = []
    statuses: str = ""
    maxrss: dict[int, int] = {}


class FeedResponse(Struct):
    """Events of a run after a cursor.

    Attributes:
        cursor: ask again from here.
        run_status: status letter of the run.
        max_concurrently_running: limit of the workflow.
        array_limits: limit of each array by array id.
        tasks: tasks that changed, each once, in its latest state.
        kill: attempts ordered to end (KILL_SELF).
        is_draining: the run was ordered to start nothing more.
        instances: attempts that changed, each once, in their latest state.
    """

    cursor: int
    run_status: str
    max_concurrently_running: int
    array_limits: dict[int, int]
    tasks: TaskChanges
    kill: list[int]
    is_draining: bool = False
    instances: InstanceChanges = field(default_factory=InstanceChanges)


class SerializeSwarmTask(Struct):
    """One page of the tasks of a workflow as a controller needs them, columnar.

    Attributes:
        task_ids: ids, ascending.
        statuses: status letters, one character a task.
        array_ids, node_ids, task_resources_ids, max_attempts, num_attempts: one entry a task.
        upstream_node_ids: nodes each task waits for.
        resource_scales, fallback_queues: JSON texts.
        next_task_id: pass as ``after_task_id`` for the next page; null at the end.
    """

    task_ids: list[int]
    statuses: str
    array_ids: list[int]
    node_ids: list[int]
    task_resources_ids: list[int]
    max_attempts: list[int]
    num_attempts: list[int]
    upstream_node_ids: list[list[int]]
    resource_scales: list[str]
    fallback_queues: list[str]
    next_task_id: int | None = None


class ArrayRow(Struct):
    """An array of a workflow."""

    id: int
    name: str
    task_template_version_id: int
    task_template_name: str
    max_concurrently_running: int


class TaskResourcesRow(Struct):
    """What tasks ask for, with the queue and the cluster it is asked of."""

    id: int
    type: str
    queue_id: int
    queue_name: str
    cluster_name: str
    requested_resources: dict[str, Any]


class WorkflowMetadataResponse(Struct):
    """A workflow without its tasks: what a controller needs to run it by id.

    ``key`` tells it from the workflows of other databases that have the same id.
    """

    id: int
    name: str
    status: str
    is_bound: bool
    tool_version_id: int
    tool_name: str
    user: str
    max_concurrently_running: int
    working_dir: str
    arrays: list[ArrayRow]
    task_resources: list[TaskResourcesRow]
    key: str = ""


class LiveInstance(Struct):
    """An attempt that may still exist on a cluster.

    Attributes:
        job_name: name of its batch on a batch cluster; empty where a controller ran it itself.
        batch_size: steps of that batch.
    """

    task_instance_id: int
    task_id: int
    workflow_run_id: int
    status: str
    cluster_name: str
    distributor_id: str
    nodename: str
    process_group_id: int
    run_key: str
    array_id: int = 0
    batch_num: int = 0
    array_step_id: int = 0
    task_resources_id: int = 0
    job_name: str = ""
    batch_size: int = 0


class LiveAttemptsResponse(Struct):
    """The attempts of a run that live: what a controller that took them over has to know."""

    attempts: list[LiveInstance]


class BadNode(Struct):
    """A node of a cluster that failed lately.

    Attributes:
        nodename: the node.
        reason: what happened there.
        expires_in_seconds: when it is forgiven.
    """

    nodename: str
    reason: str
    expires_in_seconds: float


class BadNodesResponse(Struct):
    """Nodes of a cluster to be avoided, the latest first; seen by anybody's workflows."""

    nodes: list[BadNode]


class ForgiveNodeRequest(Struct):
    """Forget that a node of a cluster failed."""

    nodename: str


class SetResumeRequest(Struct):
    """Ask the run that is alive to hand over.

    Attributes:
        reset_running_jobs: true: cold, it kills what it runs; false: hot, what runs is adopted where possible.
        dead_workflow_run_ids: runs whose controller the sender knows to be dead; they are ended at once.
    """

    reset_running_jobs: bool = True
    dead_workflow_run_ids: list[int] = []


class ResumableResponse(Struct):
    """Whether a workflow can be resumed now, and what stands in the way.

    Attributes:
        is_resumable: no run is alive and no attempt waits to be killed.
        workflow_status: status letter.
        alive_workflow_run_id: the run that is alive.
        alive_run_status: its status letter.
        alive_run_user: whose it is.
        controller: the process that hosts it.
        lost_in_seconds: when that run will count as lost if it gives no sign of life.
        pending: attempts that must be killed or were left behind.
    """

    is_resumable: bool
    workflow_status: str
    alive_workflow_run_id: int | None = None
    alive_run_status: str = ""
    alive_run_user: str = ""
    controller: ProcessIdentity | None = None
    lost_in_seconds: float = 0
    pending: list[LiveInstance] = []


class RunProgressResponse(Struct):
    """Where a workflow and its latest run stand.

    Attributes:
        workflow_id: the workflow.
        workflow_name: its name.
        workflow_status: its status letter.
        total: its tasks.
        done, failed, running: tasks in these states.
        active: tasks with an attempt, running ones included.
        workflow_run_id: its latest run; null when it was never run.
        run_status: status letter of that run.
        run_user: whose run it is.
        controller: the process that hosts it.
        lost_in_seconds: when the run will count as lost if it gives no sign of life.
        is_draining: it was ordered to start nothing more.
        elapsed_seconds: since it was created, to its end where it has ended.
        num_newly_done: tasks the run got done; counted once it has ended, 0 before.
        conditions: what is the matter with the clusters it runs on, in sentences.
    """

    workflow_id: int
    workflow_name: str
    workflow_status: str
    total: int
    done: int
    failed: int
    running: int
    active: int
    workflow_run_id: int | None = None
    run_status: str = ""
    run_user: str = ""
    controller: ProcessIdentity | None = None
    lost_in_seconds: float = 0
    is_draining: bool = False
    elapsed_seconds: float = 0
    num_newly_done: int = 0
    conditions: list[str] = []


class InstanceEventsRequest(Struct):
    """Events of attempts from outside their run: a resume that cleans up behind a dead controller."""

    events: list[InstanceEvent]


class InstanceEventsResponse(Struct):
    """How many of the events changed something."""

    applied: int


class ResetTasksRequest(Struct):
    """Make the tasks of a workflow ready for a new run.

    Attributes:
        reset_running_jobs: also those whose attempts are alive (cold); false leaves them to be adopted.
        increase_resources: those whose latest attempt ended for want of resources are to ask for more; refused, with
            nothing changed, when one of them grows by a function, which the database cannot keep.
    """

    reset_running_jobs: bool = True
    increase_resources: bool = False


class UnscalableTask(Struct):
    """A task whose resources can be scaled by its script only, and its scales as the database has them."""

    task_id: int
    resource_scales: str


class ResetTasksResponse(Struct):
    """What was reset.

    Attributes:
        num_reset: tasks that were reset.
        num_done: tasks that were done before.
        to_increase: tasks that are to ask for more than last time, where that was asked for.
        unscalable: why nothing was done; else ``None``.
    """

    num_reset: int
    num_done: int
    to_increase: list[int] = []
    unscalable: UnscalableTask | None = None


class LimitRequest(Struct):
    """Set a limit of tasks running at once; 0 pauses.

    Attributes:
        max_tasks: the limit.
        task_template_version_id: of the tasks of this template version only.
        template_name: of the tasks of the template of this name only.
    """

    max_tasks: int
    task_template_version_id: int | None = None
    template_name: str = ""


class LimitResponse(Struct):
    """The limit in force."""

    max_tasks: int
