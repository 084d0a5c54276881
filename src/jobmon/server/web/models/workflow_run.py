"""Workflow runs: one controller's execution of a workflow."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Long, Timestamp


class WorkflowRun(Base):
    """One execution.

    ``heartbeat_date`` is when its next sign of life is due. ``run_key`` is chosen by the client: the same key is the same
    run. ``controller`` is the JSON of the hosting process's identity. ``last_cursor`` numbers the transactions that
    changed anything of the run; it is raised inside them. ``is_draining``: it was ordered to start nothing more and to end
    when what runs has ended. ``cluster_conditions`` is JSON: what the controller has to say of batch clusters.
    """

    __tablename__ = "workflow_run"
    __table_args__ = (Index("ix_workflow_run_status_heartbeat", "status", "heartbeat_date"),)

    id: Mapped[BigPrimaryKey]
    workflow_id: Mapped[int] = mapped_column(BigId, ForeignKey("workflow.id"), index=True)
    user: Mapped[str] = mapped_column(String(150), index=True)
    jobmon_version: Mapped[str] = mapped_column(String(150))
    jobmon_server_version: Mapped[str] = mapped_column(String(150))
    status: Mapped[str] = mapped_column(String(1), ForeignKey("workflow_run_status.id"))
    created_date: Mapped[Timestamp]
    status_date: Mapped[Timestamp]
    heartbeat_date: Mapped[Timestamp]
    run_key: Mapped[str] = mapped_column(String(64), unique=True)
    controller: Mapped[Long]
    last_cursor: Mapped[int] = mapped_column(BigId, default=0)
    is_draining: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    cluster_conditions: Mapped[str | None] = mapped_column(Text)
