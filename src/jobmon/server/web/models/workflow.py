"""Workflows and their attributes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Hash, Instant, Long, Timestamp


class Workflow(Base):
    """A set of tasks in a graph.

    ``created_date`` is null until all of it is registered. ``owner`` is who registered it; null where nobody knows, until
    somebody runs it.
    """

    __tablename__ = "workflow"
    __table_args__ = (
        UniqueConstraint("tool_version_id", "workflow_args_hash"),
        Index("ix_workflow_status_date", "status", "status_date"),
    )

    id: Mapped[BigPrimaryKey]
    tool_version_id: Mapped[int] = mapped_column(BigId, ForeignKey("tool_version.id"))
    dag_id: Mapped[int] = mapped_column(BigId, ForeignKey("dag.id"), index=True)
    workflow_args_hash: Mapped[Hash]
    task_hash: Mapped[Hash]
    description: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(String(255), index=True)
    workflow_args: Mapped[Long]
    max_concurrently_running: Mapped[int]
    working_dir: Mapped[str | None] = mapped_column(Text)
    owner: Mapped[str | None] = mapped_column(String(150))
    created_date: Mapped[datetime | None] = mapped_column(Instant)
    status: Mapped[str] = mapped_column(String(1), ForeignKey("workflow_status.id"))
    status_date: Mapped[Timestamp]


class WorkflowAttributeType(Base):
    """The name of a workflow attribute."""

    __tablename__ = "workflow_attribute_type"

    id: Mapped[BigPrimaryKey]
    name: Mapped[str] = mapped_column(String(255), unique=True)


class WorkflowAttribute(Base):
    """The value of an attribute of a workflow."""

    __tablename__ = "workflow_attribute"

    workflow_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("workflow.id"), primary_key=True, autoincrement=False
    )
    type_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("workflow_attribute_type.id"), primary_key=True, autoincrement=False
    )
    value: Mapped[str | None] = mapped_column(String(255))
