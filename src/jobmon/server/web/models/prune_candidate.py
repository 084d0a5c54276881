"""What pruning left over of deleted workflows."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, Timestamp


class PruneCandidate(Base):
    """A row that several workflows may share, of which one was pruned at ``noted_at``; it may be needed no more.

    ``kind`` is its table. Whoever finds such a row for a new workflow takes it off this list.
    """

    __tablename__ = "prune_candidate"

    kind: Mapped[str] = mapped_column(String(64), primary_key=True)
    row_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    noted_at: Mapped[Timestamp]
