"""Tools: applications that own task templates."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey


class Tool(Base):
    """An application."""

    __tablename__ = "tool"

    id: Mapped[BigPrimaryKey]
    name: Mapped[str] = mapped_column(String(255), unique=True)


class ToolVersion(Base):
    """A version of an application; ``version_key`` was chosen by the client: the same key is the same version."""

    __tablename__ = "tool_version"

    id: Mapped[BigPrimaryKey]
    tool_id: Mapped[int] = mapped_column(BigId, ForeignKey("tool.id"), index=True)
    version_key: Mapped[str] = mapped_column(String(64), unique=True)
