"""Clusters, their types, queues and nodes that failed."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Timestamp


class ClusterType(Base):
    """A kind of cluster; ``name`` is the name of the plugin that drives it."""

    __tablename__ = "cluster_type"

    id: Mapped[BigPrimaryKey]
    name: Mapped[str] = mapped_column(String(255), unique=True)
    logfile_templates: Mapped[str] = mapped_column(String(500), default="{}")


class Cluster(Base):
    """A cluster; ``connection_parameters`` is JSON for its plugin."""

    __tablename__ = "cluster"

    id: Mapped[BigPrimaryKey]
    name: Mapped[str] = mapped_column(String(255), unique=True)
    cluster_type_id: Mapped[int] = mapped_column(BigId, ForeignKey("cluster_type.id"))
    connection_parameters: Mapped[str] = mapped_column(String(2500), default="{}")


class Queue(Base):
    """A queue of a cluster; ``parameters`` is the JSON of its limits."""

    __tablename__ = "queue"
    __table_args__ = (UniqueConstraint("cluster_id", "name"),)

    id: Mapped[BigPrimaryKey]
    name: Mapped[str] = mapped_column(String(255))
    cluster_id: Mapped[int] = mapped_column(BigId, ForeignKey("cluster.id"))
    parameters: Mapped[str] = mapped_column(String(2500), default="{}")


class BadNode(Base):
    """A node of a cluster that failed at ``seen_at``, in the attempt named; jobs avoid it until ``expires_at``."""

    __tablename__ = "bad_node"

    cluster_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("cluster.id"), primary_key=True, autoincrement=False
    )
    nodename: Mapped[str] = mapped_column(String(150), primary_key=True)
    reason: Mapped[str] = mapped_column(String(500))
    task_instance_id: Mapped[int | None] = mapped_column(BigId)
    seen_at: Mapped[Timestamp]
    expires_at: Mapped[Timestamp]
