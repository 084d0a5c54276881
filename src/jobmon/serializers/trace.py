"""Messages for those who analyse a workflow: every attempt with its times, and the facts about the workflow itself."""

from __future__ import annotations

from msgspec import Struct


class TraceResponse(Struct):
    """A page of attempts, by columns: the values at one position belong to one attempt.

    Attempts come template by template, within one in the order in which they were created.

    Attributes:
        task_instance_id, task_id, workflow_run_id: the attempt, its task, its run.
        task_name, template: names of task and template.
        node_args: JSON object of the node args.
        attempt: number of the attempt within its task, from 1.
        status, task_status: status letters of attempt and task.
        cause: why it did not succeed.
        exit_code: exit code; negative: the signal that ended the command.
        cluster, queue, node: where it ran.
        distributor_id: id the cluster gave the job.
        resource_type: where the request comes from: letter of ``TaskResourcesType``.
        requested_cores, requested_memory_gib, requested_runtime: the request; null: nothing was asked for.
        queued, started, ended: ISO text, UTC; empty: it did not happen (yet).
        wallclock, cpu: seconds.
        maxrss, io: bytes.
        energy: joules, where the cluster measures them.
        note: why it asked for something else than the attempt before.
        next_after: what to ask for after this page; null: this was the last one.
    """

    task_instance_id: list[int]
    task_id: list[int]
    workflow_run_id: list[int]
    task_name: list[str]
    template: list[str]
    node_args: list[str]
    attempt: list[int]
    status: list[str]
    task_status: list[str]
    cause: list[str]
    exit_code: list[int | None]
    cluster: list[str]
    queue: list[str]
    node: list[str]
    distributor_id: list[str]
    resource_type: list[str]
    requested_cores: list[float | None]
    requested_memory_gib: list[float | None]
    requested_runtime: list[float | None]
    queued: list[str]
    started: list[str]
    ended: list[str]
    wallclock: list[float | None]
    cpu: list[float | None]
    maxrss: list[int | None]
    io: list[int | None]
    energy: list[int | None] = []
    note: list[str] = []
    next_after: int | None = None


class RunFacts(Struct):
    """One run of a workflow.

    Attributes:
        id: the run.
        user: who ran it.
        status: its status letter.
        client_version, server_version: versions of Jobmon.
        hostname, pid: where its controller ran; empty and 0 where that is not known.
        created, changed: ISO text, UTC; ``changed`` is the end of a run that is over.
    """

    id: int
    user: str
    status: str
    client_version: str
    server_version: str
    hostname: str
    pid: int
    created: str
    changed: str


class ResourcesFacts(Struct):
    """What tasks of one template asked for at the beginning, and how many of them did.

    Attributes:
        cluster, queue: where they are to run.
        resources: JSON object.
        num_tasks: how many tasks.
    """

    cluster: str
    queue: str
    resources: str
    num_tasks: int


class TemplateFacts(Struct):
    """The tasks of one template in a workflow.

    Attributes:
        name: the template.
        task_template_version_id: its version.
        command_template: the command.
        max_concurrently_running: limit of its tasks at once.
        tasks_by_status: number of tasks by status letter.
        tasks_by_attempts: number of tasks by number of attempts, 0 and up.
        resources: what is asked for now, most frequent first; at most ten.
    """

    name: str
    task_template_version_id: int
    command_template: str
    max_concurrently_running: int
    tasks_by_status: dict[str, int]
    tasks_by_attempts: dict[int, int]
    resources: list[ResourcesFacts]


class WorkflowFactsResponse(Struct):
    """What a workflow is, who ran it and with what, template by template.

    Attributes:
        id, name, description, workflow_args: the workflow.
        tool_name, tool_version_id: whose it is.
        status: its status letter.
        created, changed: ISO text, UTC; empty while it is not registered completely.
        now: the same of the moment of the answer.
        max_concurrently_running: limit of tasks at once.
        attributes: its attributes.
        runs: its runs, oldest first.
        templates: its templates, in the order in which they were added.
        num_attempts: all attempts of all runs.
        conditions: what is the matter with the clusters it runs on, in sentences.
    """

    id: int
    name: str
    description: str
    workflow_args: str
    tool_name: str
    tool_version_id: int
    status: str
    created: str
    changed: str
    now: str
    max_concurrently_running: int
    attributes: dict[str, str | None]
    runs: list[RunFacts]
    templates: list[TemplateFacts]
    num_attempts: int
    conditions: list[str] = []
