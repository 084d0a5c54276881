"""What an action is about: a workflow, its latest run and its limits, read with a few statements whatever its size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection, select

from jobmon.core.constants import MaxConcurrentlyRunning
from jobmon.core.exceptions import NotFoundError, UsageError
from jobmon.core.states import (
    TASK_ACTIVE,
    WORKFLOW_RUN_ALIVE,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.core.words import thousands
from jobmon.server.web.models import Array, Task, Workflow, WorkflowRun
from jobmon.server.web.store.downstream import MAX_TASKS
from jobmon.server.web.store.progress import Progress, together, workflows_progress
from jobmon.server.web.store.swarm_read import MAX_LIMIT
from jobmon.server.web.ui.page_router import Form, View
from jobmon.server.web.wire import RequestContext

T = TypeVar("T")

DEFAULT_LIMIT = int(MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING)
"""Limit of workflows that say nothing else."""


@dataclass(frozen=True)
class RunFacts:
    """The latest run of a workflow."""

    id: int
    status: WorkflowRunStatus
    user: str
    is_draining: bool

    @property
    def is_alive(self) -> bool:
        """Whether it goes on, as far as the database knows."""
        return self.status in WORKFLOW_RUN_ALIVE


@dataclass(frozen=True)
class WorkflowFacts:
    """A workflow as actions see it.

    Attributes:
        id, name, status: of the workflow.
        limit: tasks that may run at once; 0: it is paused.
        working_dir: where its script was started.
        is_bound: it is registered completely.
        run: its latest run; ``None``: it was never run.
        progress: its tasks by status.
    """

    id: int
    name: str
    status: WorkflowStatus
    limit: int
    working_dir: str
    is_bound: bool
    run: RunFacts | None
    progress: Progress = field(default_factory=Progress)

    @property
    def path(self) -> str:
        """Path of its page."""
        return f"/workflow/{self.id}"

    @property
    def title(self) -> str:
        """How it is spoken of."""
        return f"workflow {self.id} '{self.name}'" if self.name else f"workflow {self.id}"

    def count(self, *statuses: TaskStatus) -> int:
        """Its tasks in these states."""
        return sum(self.progress.by_status.get(status.value, 0) for status in statuses)

    @property
    def num_active(self) -> int:
        """Tasks with an attempt that has not ended."""
        return self.count(*TASK_ACTIVE)

    @property
    def not_running(self) -> str:
        """Why there is nothing to stop; empty: a run goes on."""
        if self.run is not None and self.run.is_alive:
            return ""
        return f"Workflow {self.id} is not being run; it is {self.status.name}."


@dataclass(frozen=True)
class ArrayFacts:
    """The tasks of one template in a workflow."""

    id: int
    name: str
    task_template_version_id: int
    limit: int
    workflow: WorkflowFacts

    @property
    def path(self) -> str:
        """Path of its page."""
        return f"{self.workflow.path}/template/{self.id}"


def workflow_facts(connection: Connection, workflow_id: int) -> WorkflowFacts:
    """Read a workflow.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = connection.execute(
        select(
            Workflow.name,
            Workflow.status,
            Workflow.max_concurrently_running,
            Workflow.working_dir,
            Workflow.created_date,
        ).where(Workflow.id == workflow_id)
    ).first()
    if row is None:
        raise NotFoundError(f"There is no workflow {workflow_id}.")
    run = connection.execute(
        select(WorkflowRun.id, WorkflowRun.status, WorkflowRun.user, WorkflowRun.is_draining)
        .where(WorkflowRun.workflow_id == workflow_id)
        .order_by(WorkflowRun.id.desc())
        .limit(1)
    ).first()
    return WorkflowFacts(
        workflow_id,
        row.name or "",
        WorkflowStatus(row.status),
        row.max_concurrently_running,
        row.working_dir or "",
        row.created_date is not None,
        None if run is None else RunFacts(run[0], WorkflowRunStatus(run[1]), run[2], bool(run[3])),
        together(workflows_progress(connection, [workflow_id])[workflow_id].values()),
    )


def array_facts(connection: Connection, workflow_id: int, array_id: int) -> ArrayFacts:
    """Read the tasks of one template of a workflow.

    Raises:
        NotFoundError: the workflow has no such array.
    """
    workflow = workflow_facts(connection, workflow_id)
    row = connection.execute(
        select(Array.name, Array.task_template_version_id, Array.max_concurrently_running).where(
            Array.id == array_id, Array.workflow_id == workflow_id
        )
    ).first()
    if row is None:
        raise NotFoundError(f"Workflow {workflow_id} has no task template with the number {array_id}.")
    return ArrayFacts(array_id, row[0], row[1], row[2], workflow)


def task_ids_of(
    connection: Connection,
    workflow_id: int,
    array_id: int | None = None,
    statuses: Sequence[TaskStatus] = (),
) -> list[int]:
    """Ids of the tasks of a workflow, or of one array of it; one more than may be set at once tells that they are too many.

    Args:
        connection: a transaction.
        workflow_id: the workflow.
        array_id: only those of this array.
        statuses: only those in these states.
    """
    where = [Task.workflow_id == workflow_id]
    if array_id is not None:
        where.append(Task.array_id == array_id)
    if statuses:
        where.append(Task.status.in_([status.value for status in statuses]))
    statement = select(Task.id).where(*where).order_by(Task.id).limit(MAX_TASKS + 1)
    return list(connection.scalars(statement))


# -- forms ----------------------------------------------------------------------------------------------
def context_of(view: View) -> RequestContext:
    """What the functions of the routes take: an action does what the command line has them do."""
    request_id = str(view.request.scope.get("jobmon_request_id", ""))
    return RequestContext(view.state, view.identity, request_id)


def look(view: View, read: Callable[..., T], *arguments: int) -> T:
    """Read facts in one transaction."""
    with view.read() as connection:
        return read(connection, *arguments)


def limit_of(form: Form, name: str = "limit") -> int:
    """The limit somebody typed.

    Raises:
        UsageError: it is none.
    """
    text = form.get(name, "").strip().replace("\u202f", "").replace(" ", "")
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > MAX_LIMIT:
        raise UsageError(f"A limit is a whole number from 0 (pause) to {MAX_LIMIT}, not '{text[:40]}'.")
    return int(text)


def is_ticked(form: Form, name: str) -> bool:
    """Whether a box was ticked."""
    return form.get(name, "") == "yes"


def words_of_limit(limit: int) -> str:
    """A limit in words."""
    if limit == 0:
        return "none (paused)"
    return "any number" if limit >= MAX_LIMIT else thousands(limit)
