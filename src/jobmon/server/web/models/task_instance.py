"""Task instances: the attempts of tasks."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Double, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import (
    AllocatedKey,
    Base,
    BigId,
    BigPrimaryKey,
    Instant,
    Long,
    LongText,
    Timestamp,
)


class TaskInstance(Base):
    """One attempt.

    ``maxrss``, ``maxpss`` and ``io`` are bytes, ``wallclock`` and ``cpu`` seconds. ``report_by_date`` is when its next sign of
    life is due. ``cause`` says why it did not succeed (``jobmon.core.states.Cause``). ``queue_reason`` says why a batch
    cluster had not started it, ``energy`` is what it used, in joules.
    """

    __tablename__ = "task_instance"
    __table_args__ = (
        UniqueConstraint("array_id", "array_batch_num", "array_step_id"),
        Index("ix_task_instance_workflow_run_id_status_id", "workflow_run_id", "status", "id"),
    )

    id: Mapped[AllocatedKey]
    workflow_run_id: Mapped[int] = mapped_column(BigId, ForeignKey("workflow_run.id"))
    array_id: Mapped[int] = mapped_column(BigId, ForeignKey("array.id"))
    task_id: Mapped[int] = mapped_column(BigId, ForeignKey("task.id"), index=True)
    distributor_id: Mapped[str | None] = mapped_column(String(20))
    task_resources_id: Mapped[int] = mapped_column(BigId, ForeignKey("task_resources.id"), index=True)
    array_batch_num: Mapped[int]
    array_step_id: Mapped[int]
    nodename: Mapped[str | None] = mapped_column(String(150))
    process_group_id: Mapped[int | None]
    usage_str: Mapped[str | None] = mapped_column(String(250))
    wallclock: Mapped[float | None] = mapped_column(Double)
    maxrss: Mapped[int | None] = mapped_column(BigId)
    maxpss: Mapped[int | None] = mapped_column(BigId)
    cpu: Mapped[float | None] = mapped_column(Double)
    io: Mapped[int | None] = mapped_column(BigId)
    exit_code: Mapped[int | None]
    cause: Mapped[str | None] = mapped_column(String(20))
    stdout: Mapped[str | None] = mapped_column(Text)
    stderr: Mapped[str | None] = mapped_column(Text)
    stdout_log: Mapped[str | None] = mapped_column(LongText)
    stderr_log: Mapped[str | None] = mapped_column(LongText)
    status: Mapped[str] = mapped_column(String(1), ForeignKey("task_instance_status.id"))
    submitted_date: Mapped[datetime | None] = mapped_column(Instant)
    status_date: Mapped[Timestamp]
    report_by_date: Mapped[datetime | None] = mapped_column(Instant)
    queue_reason: Mapped[str | None] = mapped_column(String(500))
    energy: Mapped[int | None] = mapped_column(BigId)


class TaskInstanceErrorLog(Base):
    """What went wrong in an attempt, in words."""

    __tablename__ = "task_instance_error_log"

    id: Mapped[BigPrimaryKey]
    task_instance_id: Mapped[int] = mapped_column(BigId, ForeignKey("task_instance.id"), index=True)
    error_time: Mapped[Timestamp]
    description: Mapped[Long]
