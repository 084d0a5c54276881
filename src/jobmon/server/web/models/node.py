"""Nodes: a task template version with its node args."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import AllocatedKey, Base, BigId, Hash


class Node(Base):
    """A vertex of graphs, shared by all workflows in which it stands."""

    __tablename__ = "node"
    __table_args__ = (UniqueConstraint("task_template_version_id", "node_args_hash"),)

    id: Mapped[AllocatedKey]
    task_template_version_id: Mapped[int] = mapped_column(BigId, ForeignKey("task_template_version.id"))
    node_args_hash: Mapped[Hash]


class NodeArg(Base):
    """The value of one node arg."""

    __tablename__ = "node_arg"

    node_id: Mapped[int] = mapped_column(BigId, ForeignKey("node.id"), primary_key=True, autoincrement=False)
    arg_id: Mapped[int] = mapped_column(BigId, ForeignKey("arg.id"), primary_key=True, autoincrement=False)
    val: Mapped[str] = mapped_column(String(2048))
