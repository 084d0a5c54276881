"""Tasks, their args and attributes."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.core.constants import TASK_NAME_CHARACTERS
from jobmon.server.web.models.base import AllocatedKey, Base, BigId, BigPrimaryKey, Hash, Long, Timestamp


class Task(Base):
    """One command of a workflow, whatever the number of its attempts.

    ``num_attempts`` counts its task instances since the last reset, ``num_infrastructure_losses`` those of them that ended
    through no fault of the task.
    """

    __tablename__ = "task"
    __table_args__ = (
        UniqueConstraint("workflow_id", "node_id"),
        Index("ix_task_workflow_id_id", "workflow_id", "id"),
        Index("ix_task_array_id_id", "array_id", "id"),
    )

    id: Mapped[AllocatedKey]
    workflow_id: Mapped[int] = mapped_column(BigId, ForeignKey("workflow.id"))
    node_id: Mapped[int] = mapped_column(BigId, ForeignKey("node.id"), index=True)
    task_args_hash: Mapped[Hash]
    array_id: Mapped[int] = mapped_column(BigId, ForeignKey("array.id"))
    name: Mapped[str] = mapped_column(String(TASK_NAME_CHARACTERS))
    command: Mapped[Long]
    task_resources_id: Mapped[int] = mapped_column(BigId, ForeignKey("task_resources.id"), index=True)
    num_attempts: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]
    num_infrastructure_losses: Mapped[int] = mapped_column(default=0)
    resource_scales: Mapped[str] = mapped_column(String(1000), default="")
    fallback_queues: Mapped[str] = mapped_column(String(1000), default="")
    status: Mapped[str] = mapped_column(String(1), ForeignKey("task_status.id"))
    status_date: Mapped[Timestamp]


class TaskArg(Base):
    """The value of one task arg."""

    __tablename__ = "task_arg"

    task_id: Mapped[int] = mapped_column(BigId, ForeignKey("task.id"), primary_key=True, autoincrement=False)
    arg_id: Mapped[int] = mapped_column(BigId, ForeignKey("arg.id"), primary_key=True, autoincrement=False)
    val: Mapped[str] = mapped_column(String(2048))


class TaskAttributeType(Base):
    """The name of a task attribute."""

    __tablename__ = "task_attribute_type"

    id: Mapped[BigPrimaryKey]
    name: Mapped[str] = mapped_column(String(255), unique=True)


class TaskAttribute(Base):
    """The value of an attribute of a task."""

    __tablename__ = "task_attribute"

    task_id: Mapped[int] = mapped_column(BigId, ForeignKey("task.id"), primary_key=True, autoincrement=False)
    type_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("task_attribute_type.id"), primary_key=True, autoincrement=False
    )
    value: Mapped[str | None] = mapped_column(String(255))
