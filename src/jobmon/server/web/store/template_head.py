"""A template in a workflow: what its pages have at their top. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from jobmon.core.constants import ArgType
from jobmon.core.exceptions import NotFoundError
from jobmon.core.states import WorkflowStatus
from jobmon.server.web.models import (
    Arg,
    Array,
    TaskTemplate,
    TaskTemplateVersion,
    TemplateArgMap,
    Workflow,
)
from jobmon.server.web.store.progress import Progress, workflows_progress

COMMAND_CHARACTERS: Final = 2000


@dataclass(frozen=True)
class TemplateHead:
    """A template in a workflow.

    Attributes:
        array_id, workflow_id, workflow_name, workflow_status: which one, of which workflow.
        name, command_template: the template; a long command is cut.
        task_template_version_id: its version.
        limit: tasks of it that may run at once.
        node_args: id by name of its node args.
        progress: its tasks by status.
    """

    array_id: int
    workflow_id: int
    workflow_name: str
    workflow_status: WorkflowStatus
    name: str
    command_template: str
    task_template_version_id: int
    limit: int
    node_args: Mapping[str, int]
    progress: Progress


def template_read_head(connection: Connection, workflow_id: int, array_id: int) -> TemplateHead:
    """A template in a workflow.

    Raises:
        NotFoundError: there is no such workflow, or it has no such array.
    """
    row = connection.execute(
        select(
            Workflow.name,
            Workflow.status,
            TaskTemplate.name.label("template"),
            func.substr(TaskTemplateVersion.command_template, 1, COMMAND_CHARACTERS).label("command"),
            TaskTemplateVersion.id,
            Array.max_concurrently_running,
        )
        .select_from(Array)
        .join(Workflow, Workflow.id == Array.workflow_id)
        .join(TaskTemplateVersion, TaskTemplateVersion.id == Array.task_template_version_id)
        .join(TaskTemplate, TaskTemplate.id == TaskTemplateVersion.task_template_id)
        .where(Array.id == array_id, Array.workflow_id == workflow_id)
    ).first()
    if row is None:
        raise NotFoundError(f"Workflow {workflow_id} has no tasks of a template under the number {array_id}.")
    args = connection.execute(
        select(Arg.name, Arg.id)
        .join(TemplateArgMap, TemplateArgMap.arg_id == Arg.id)
        .where(
            TemplateArgMap.task_template_version_id == row.id,
            TemplateArgMap.arg_type_id == ArgType.NODE_ARG.value,
        )
        .order_by(Arg.name)
    )
    progress = workflows_progress(connection, [workflow_id])[workflow_id]
    return TemplateHead(
        array_id=array_id,
        workflow_id=workflow_id,
        workflow_name=row.name or "",
        workflow_status=WorkflowStatus(row.status),
        name=row.template,
        command_template=row.command,
        task_template_version_id=row.id,
        limit=row.max_concurrently_running,
        node_args={each.name: each.id for each in args},
        progress=progress.get(array_id, Progress()),
    )
