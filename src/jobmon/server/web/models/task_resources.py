"""Task resources: what tasks ask of a queue."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Long


class TaskResources(Base):
    """One request; equal requests are one row, shared by all tasks that ask for the same, and never changed."""

    __tablename__ = "task_resources"

    id: Mapped[BigPrimaryKey]
    queue_id: Mapped[int] = mapped_column(BigId, ForeignKey("queue.id"))
    type: Mapped[str] = mapped_column(String(1), ForeignKey("task_resources_type.id"))
    requested_resources: Mapped[Long]
    resources_hash: Mapped[str] = mapped_column(String(150), unique=True)


class TaskResourcesTypeRow(Base):
    """Names of where a request comes from (``jobmon.core.constants.TaskResourcesType``)."""

    __tablename__ = "task_resources_type"

    id: Mapped[str] = mapped_column(String(1), primary_key=True)
    label: Mapped[str] = mapped_column(String(255))
