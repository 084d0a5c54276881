"""Bearer tokens of people, services and wrappers."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Timestamp


class AccessToken(Base):
    """A bearer token, of which only the SHA-256 is kept: who shows it acts as ``user`` in ``role``.

    ``workflow_run_id`` is set for tokens of wrappers, which are good for reports of that run's attempts only.
    """

    __tablename__ = "access_token"

    id: Mapped[BigPrimaryKey]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user: Mapped[str] = mapped_column(String(150), index=True)
    role: Mapped[str] = mapped_column(String(20))
    label: Mapped[str] = mapped_column(String(255))
    workflow_run_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("workflow_run.id"), index=True)
    created_at: Mapped[Timestamp]
    expires_at: Mapped[Timestamp | None]
    revoked_at: Mapped[Timestamp | None]
