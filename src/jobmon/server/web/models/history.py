"""Append-only history: one row for every change of a status."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Timestamp


class TaskHistory(Base):
    """An event of an attempt and what it did to attempt and task; pairs that are equal or null did not change.

    ``actor`` says who told: ``controller``, ``worker``, ``server`` or ``user:<name>``. ``cursor`` is the run's cursor of the
    transaction that wrote the row (0 outside of runs). ``note`` says why a task asks for something else than last time.
    """

    __tablename__ = "task_history"
    __table_args__ = (Index("ix_task_history_workflow_run_id_cursor", "workflow_run_id", "cursor"),)

    id: Mapped[BigPrimaryKey]
    workflow_run_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("workflow_run.id"))
    cursor: Mapped[int] = mapped_column(BigId)
    task_id: Mapped[int] = mapped_column(BigId, ForeignKey("task.id"), index=True)
    task_instance_id: Mapped[int | None] = mapped_column(BigId)
    event: Mapped[str] = mapped_column(String(20))
    instance_from: Mapped[str | None] = mapped_column(String(1))
    instance_to: Mapped[str | None] = mapped_column(String(1))
    task_from: Mapped[str | None] = mapped_column(String(1))
    task_to: Mapped[str | None] = mapped_column(String(1))
    occurred_at: Mapped[Timestamp]
    actor: Mapped[str] = mapped_column(String(160))
    note: Mapped[str | None] = mapped_column(String(500))


class WorkflowHistory(Base):
    """An event of a run and what it did to run and workflow; pairs that are equal or null did not change."""

    __tablename__ = "workflow_history"

    id: Mapped[BigPrimaryKey]
    workflow_id: Mapped[int] = mapped_column(BigId, ForeignKey("workflow.id"), index=True)
    workflow_run_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("workflow_run.id"), index=True)
    cursor: Mapped[int] = mapped_column(BigId)
    event: Mapped[str] = mapped_column(String(20))
    run_from: Mapped[str | None] = mapped_column(String(1))
    run_to: Mapped[str | None] = mapped_column(String(1))
    workflow_from: Mapped[str | None] = mapped_column(String(1))
    workflow_to: Mapped[str | None] = mapped_column(String(1))
    occurred_at: Mapped[Timestamp]
    actor: Mapped[str] = mapped_column(String(160))
