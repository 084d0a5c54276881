"""Task templates, their versions and their args."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jobmon.server.web.models.base import Base, BigId, BigPrimaryKey, Hash, Long


class TaskTemplate(Base):
    """A template of tasks, named within a tool version."""

    __tablename__ = "task_template"
    __table_args__ = (UniqueConstraint("tool_version_id", "name"),)

    id: Mapped[BigPrimaryKey]
    tool_version_id: Mapped[int] = mapped_column(BigId, ForeignKey("tool_version.id"))
    name: Mapped[str] = mapped_column(String(255))


class TaskTemplateVersion(Base):
    """One command template with one division of its args."""

    __tablename__ = "task_template_version"
    __table_args__ = (UniqueConstraint("task_template_id", "version_hash"),)

    id: Mapped[BigPrimaryKey]
    task_template_id: Mapped[int] = mapped_column(BigId, ForeignKey("task_template.id"))
    command_template: Mapped[Long]
    arg_mapping_hash: Mapped[Hash]
    version_hash: Mapped[Hash]  # of command_template and arg_mapping_hash: texts cannot be unique everywhere


class Arg(Base):
    """The name of an argument."""

    __tablename__ = "arg"

    id: Mapped[BigPrimaryKey]
    name: Mapped[str] = mapped_column(String(255), unique=True)


class ArgTypeRow(Base):
    """Names of the kinds of arguments (``jobmon.core.constants.ArgType``)."""

    __tablename__ = "arg_type"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(255))


class TemplateArgMap(Base):
    """Which args a template version has, and of which kind they are."""

    __tablename__ = "template_arg_map"

    task_template_version_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("task_template_version.id"), primary_key=True, autoincrement=False
    )
    arg_id: Mapped[int] = mapped_column(BigId, ForeignKey("arg.id"), primary_key=True, autoincrement=False)
    arg_type_id: Mapped[int] = mapped_column(ForeignKey("arg_type.id"), primary_key=True, autoincrement=False)
