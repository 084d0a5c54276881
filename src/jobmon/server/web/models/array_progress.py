"""How many tasks of each array are in which state."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId


class ArrayProgress(Base):
    """Numbers of tasks of an array by their status, kept by every transaction that changes one (``store.progress``).

    A column for each status is named after it. ``num_retries`` counts attempts beyond the first, of all of its tasks together.
    """

    __tablename__ = "array_progress"

    array_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("array.id"), primary_key=True, autoincrement=False
    )
    workflow_id: Mapped[int] = mapped_column(BigId, ForeignKey("workflow.id"), index=True)
    registered: Mapped[int] = mapped_column(BigId, default=0)
    queued: Mapped[int] = mapped_column(BigId, default=0)
    instantiating: Mapped[int] = mapped_column(BigId, default=0)
    launched: Mapped[int] = mapped_column(BigId, default=0)
    running: Mapped[int] = mapped_column(BigId, default=0)
    done: Mapped[int] = mapped_column(BigId, default=0)
    error_recoverable: Mapped[int] = mapped_column(BigId, default=0)
    adjusting_resources: Mapped[int] = mapped_column(BigId, default=0)
    error_fatal: Mapped[int] = mapped_column(BigId, default=0)
    num_retries: Mapped[int] = mapped_column(BigId, default=0)
