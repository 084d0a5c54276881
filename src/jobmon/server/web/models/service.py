"""What the services beside the web service keep: who leads, what was alarmed about, and who wants to be told."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
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
    """Something operators are told about; the same again, while it lasts, is counted here and told once.

    One row for each thing: ``first_seen_at`` is when it began the last time, ``num_seen`` counts since then, and
    ``num_told`` of those were told of by ``told_at``. ``settled_at`` is set while there is nothing to tell.
    """

    __tablename__ = "alarm"
    __table_args__ = (UniqueConstraint("kind", "subject"),)

    id: Mapped[BigPrimaryKey]
    kind: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(255))
    message: Mapped[str] = mapped_column(Text)
    num_seen: Mapped[int]
    num_told: Mapped[int]
    first_seen_at: Mapped[Timestamp]
    last_seen_at: Mapped[Timestamp] = mapped_column(index=True)
    told_at: Mapped[Timestamp | None]
    settled_at: Mapped[Timestamp | None] = mapped_column(index=True)


class Subscription(Base):
    """Who wants to be told of the end of a run: ``target`` is an address of the channel, such as ``#forecasts``.

    It is tried at ``next_try_at`` again. ``settled_at`` is when it was told, which is ``told_at`` then, or given up;
    ``error`` is what went wrong last.
    """

    __tablename__ = "subscription"
    __table_args__ = (UniqueConstraint("workflow_run_id", "channel", "target"),)

    id: Mapped[BigPrimaryKey]
    workflow_run_id: Mapped[int] = mapped_column(BigId, ForeignKey("workflow_run.id"))
    channel: Mapped[str] = mapped_column(String(20))
    target: Mapped[str] = mapped_column(String(500))
    num_tries: Mapped[int]
    created_at: Mapped[Timestamp]
    next_try_at: Mapped[Timestamp]
    told_at: Mapped[Timestamp | None]
    settled_at: Mapped[Timestamp | None] = mapped_column(index=True)
    error: Mapped[str | None] = mapped_column(String(500))
