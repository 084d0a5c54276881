"""Counters of ids that are given out before rows are inserted."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId


class IdBlock(Base):
    """The next free id of a table whose rows are inserted in bulk."""

    __tablename__ = "id_block"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    next_id: Mapped[int] = mapped_column(BigId)
