"""The one rule of who may change a workflow: its owner, the user of its latest run."""

from __future__ import annotations

from sqlalchemy import Connection, select

from jobmon.core.exceptions import NotAllowedError, NotFoundError
from jobmon.server.web.models import Workflow, WorkflowRun


def require_owner(connection: Connection, workflow_id: int, user: str) -> None:
    """Refuse anybody but the user of the latest run; a workflow that never ran belongs to nobody yet.

    Raises:
        NotFoundError: there is no such workflow.
        NotAllowedError: it belongs to somebody else.
    """
    owner = connection.scalar(
        select(WorkflowRun.user)
        .where(WorkflowRun.workflow_id == workflow_id)
        .order_by(WorkflowRun.id.desc())
        .limit(1)
    )
    if owner is None:
        if connection.scalar(select(Workflow.id).where(Workflow.id == workflow_id)) is None:
            raise NotFoundError(f"There is no workflow {workflow_id}.")
        return
    require_same_user(owner, user, workflow_id)


def require_same_user(owner: str, user: str, workflow_id: int) -> None:
    """Refuse anybody but the owner, where it is known who that is.

    Raises:
        NotAllowedError: the workflow belongs to somebody else.
    """
    if owner != user:
        raise NotAllowedError(
            f"Workflow {workflow_id} belongs to user {owner}; user {user or '(unknown)'} may not change it."
        )
