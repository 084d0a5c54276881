"""Graphs: which node waits for which."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Instant, Long


class Dag(Base):
    """A graph; ``created_date`` is null until all of its edges are stored."""

    __tablename__ = "dag"

    id: Mapped[BigPrimaryKey]
    hash: Mapped[str] = mapped_column(String(150), unique=True)
    created_date: Mapped[datetime | None] = mapped_column(Instant)


class Edge(Base):
    """The neighbours of a node in a graph; both lists are JSON arrays of node ids."""

    __tablename__ = "edge"

    dag_id: Mapped[int] = mapped_column(BigId, ForeignKey("dag.id"), primary_key=True, autoincrement=False)
    node_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("node.id"), primary_key=True, autoincrement=False, index=True
    )
    upstream_node_ids: Mapped[Long]
    downstream_node_ids: Mapped[Long]
