"""Batches on batch clusters."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Timestamp


class Batch(Base):
    """Attempts that were submitted to a batch cluster together, as one job array of ``num_steps`` steps.

    ``name`` is that of the job on the cluster: no other batch of any database has it. Attempts that a controller runs by
    itself have no batch. ``workflow_run_id`` is the run that submitted it; a later one may have adopted its attempts.
    """

    __tablename__ = "batch"
    __table_args__ = (UniqueConstraint("array_id", "batch_num"),)

    id: Mapped[BigPrimaryKey]
    array_id: Mapped[int] = mapped_column(BigId, ForeignKey("array.id"))
    batch_num: Mapped[int]
    workflow_run_id: Mapped[int] = mapped_column(BigId, ForeignKey("workflow_run.id"), index=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    num_steps: Mapped[int]
    created_date: Mapped[Timestamp]
