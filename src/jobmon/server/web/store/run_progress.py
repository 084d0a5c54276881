"""Where a workflow and its latest run stand, for those who wait for its end."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection, func, select

from jobmon.core.exceptions import NotFoundError
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.states import TASK_ACTIVE, WORKFLOW_RUN_TERMINAL, TaskStatus
from jobmon.serializers.swarm import RunProgressResponse
from jobmon.server.web.models import TaskHistory, Workflow, WorkflowRun
from jobmon.server.web.store.progress import together, workflows_progress
from jobmon.server.web.store.remote import conditions_words


def workflow_run_progress(connection: Connection, workflow_id: int, now: datetime) -> RunProgressResponse:
    """Counts of tasks, and what is known of the latest run.

    Raises:
        NotFoundError: there is no such workflow.
    """
    workflow = connection.execute(
        select(Workflow.name, Workflow.status).where(Workflow.id == workflow_id)
    ).first()
    if workflow is None:
        raise NotFoundError(f"There is no workflow {workflow_id}.")
    # The run first: what its end made of the tasks is in the counts then.
    run = connection.execute(
        select(
            WorkflowRun.id,
            WorkflowRun.status,
            WorkflowRun.user,
            WorkflowRun.controller,
            WorkflowRun.heartbeat_date,
            WorkflowRun.created_date,
            WorkflowRun.status_date,
            WorkflowRun.is_draining,
            WorkflowRun.cluster_conditions,
        )
        .where(WorkflowRun.workflow_id == workflow_id)
        .order_by(WorkflowRun.id.desc())
        .limit(1)
    ).first()
    counted = together(workflows_progress(connection, [workflow_id])[workflow_id].values()).by_status
    counts = {TaskStatus(letter): number for letter, number in counted.items()}
    answer = RunProgressResponse(
        workflow_id,
        workflow.name or "",
        workflow.status,
        total=sum(counts.values()),
        done=counts.get(TaskStatus.DONE, 0),
        failed=counts.get(TaskStatus.ERROR_FATAL, 0),
        running=counts.get(TaskStatus.RUNNING, 0),
        active=sum(counts.get(status, 0) for status in TASK_ACTIVE),
    )
    if run is None:
        return answer
    has_ended = run.status in WORKFLOW_RUN_TERMINAL
    answer.workflow_run_id = run.id
    answer.run_status = run.status
    answer.run_user = run.user
    answer.controller = msgspec.json.decode(run.controller, type=ProcessIdentity)
    answer.lost_in_seconds = (run.heartbeat_date - now).total_seconds()
    answer.is_draining = run.is_draining
    answer.elapsed_seconds = ((run.status_date if has_ended else now) - run.created_date).total_seconds()
    if run.cluster_conditions and not has_ended:
        answer.conditions = conditions_words(run.cluster_conditions)
    if has_ended:
        answer.num_newly_done = _num_done_by(connection, run.id)
    return answer


def _num_done_by(connection: Connection, workflow_run_id: int) -> int:
    """Tasks that became done in a run, by an attempt or by hand."""
    found = connection.scalar(
        select(func.count(TaskHistory.task_id.distinct())).where(
            TaskHistory.workflow_run_id == workflow_run_id,
            TaskHistory.task_to == TaskStatus.DONE.value,
            TaskHistory.task_from != TaskStatus.DONE.value,
        )
    )
    return found or 0
