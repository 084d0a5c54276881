"""Lookup tables of the four state machines; their rows come from :mod:`jobmon.core.states`."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base


class _Status:
    id: Mapped[str] = mapped_column(String(1), primary_key=True)
    label: Mapped[str] = mapped_column(String(150))
    description: Mapped[str] = mapped_column(String(150))


class WorkflowStatusRow(_Status, Base):
    """States of workflows."""

    __tablename__ = "workflow_status"


class WorkflowRunStatusRow(_Status, Base):
    """States of workflow runs."""

    __tablename__ = "workflow_run_status"


class TaskStatusRow(_Status, Base):
    """States of tasks."""

    __tablename__ = "task_status"


class TaskInstanceStatusRow(_Status, Base):
    """States of task instances."""

    __tablename__ = "task_instance_status"
