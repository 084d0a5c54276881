"""Arrays: the tasks of one template version in a workflow."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Timestamp


class Array(Base):
    """The tasks of one task template version in one workflow.

    ``retry_policy`` is JSON: what follows a failure, by its cause, where that is not the usual.
    """

    __tablename__ = "array"
    __table_args__ = (UniqueConstraint("workflow_id", "task_template_version_id"),)

    id: Mapped[BigPrimaryKey]
    name: Mapped[str] = mapped_column(String(255))
    task_template_version_id: Mapped[int] = mapped_column(BigId, ForeignKey("task_template_version.id"))
    workflow_id: Mapped[int] = mapped_column(BigId, ForeignKey("workflow.id"))
    max_concurrently_running: Mapped[int]
    created_date: Mapped[Timestamp]
    retry_policy: Mapped[str] = mapped_column(String(500), default="{}", server_default="{}")
