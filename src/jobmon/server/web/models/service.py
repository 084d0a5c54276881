"""What the services beside the web service keep: who leads, what was alarmed about, and who wants to be told."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Timestamp


class Lease(Base):
    """The right to act in a role, which one process has at a time until ``expires_at``.

    ``term`` grows whenever the holder changes: who acts under an older one has lost the lease.
    """

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(255))
    term: Mapped[int] = mapped_column(BigId)
    acquired_at: Mapped[Timestamp]
    expires_at: Mapped[Timestamp]


class Alarm(Base):
    """Something operators are told about; the same again, while it lasts, is counted here and told once."""

    __tablename__ = "alarm"
    __table_args__ = (Index("ix_alarm_kind_subject", "kind", "subject"),)

    id: Mapped[BigPrimaryKey]
    kind: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(255))
    message: Mapped[str] = mapped_column(Text)
    num_seen: Mapped[int]
    first_seen_at: Mapped[Timestamp]
    last_seen_at: Mapped[Timestamp]
    told_at: Mapped[Timestamp | None]


class Subscription(Base):
    """Who wants to be told of the end of a run: ``target`` is an address of the channel, such as ``#forecasts``."""

    __tablename__ = "subscription"

    id: Mapped[BigPrimaryKey]
    workflow_run_id: Mapped[int] = mapped_column(BigId, ForeignKey("workflow_run.id"), index=True)
    channel: Mapped[str] = mapped_column(String(20))
    target: Mapped[str] = mapped_column(String(500))
    num_tries: Mapped[int]
    created_at: Mapped[Timestamp]
    told_at: Mapped[Timestamp | None] = mapped_column(index=True)
