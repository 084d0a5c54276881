"""A version of a tool: the task templates and the defaults that belong together."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from jobmon.client.defaults import ResourceDefaults
from jobmon.client.task_template import TaskTemplate
from jobmon.core.requester import Requester
from jobmon.serializers.define import (
    TaskTemplatesResponse,
    ToolVersionRequest,
    ToolVersionResponse,
)

if TYPE_CHECKING:
    from jobmon.client.tool import Tool


class ToolVersion(ResourceDefaults):
    """A version of a tool; obtained through :class:`jobmon.client.tool.Tool`.

    Args:
        tool_version_id: id in the database.
        requester: how to reach the server.
    """

    def __init__(self, tool_version_id: int, requester: Requester | None = None) -> None:
        super().__init__()
        self.id = tool_version_id
        self.requester = requester or Requester.from_defaults()
        self._tool: Tool | None = None
        self._task_templates: dict[str, TaskTemplate] | None = None

    @classmethod
    def get_tool_version(cls, tool: Tool) -> ToolVersion:
        """A new version of the tool, made on the server."""
        message = ToolVersionRequest(tool.id, uuid.uuid4().hex)
        response = tool.requester.send("POST", "/define/tool_version", message, ToolVersionResponse)
        return cls.from_wire(response, tool)

    @classmethod
    def from_wire(cls, response: ToolVersionResponse, tool: Tool) -> ToolVersion:
        """A version as the server told it."""
        version = cls(response.id, tool.requester)
        version._tool = tool
        return version

    @property
    def tool(self) -> Tool:
        """The tool it belongs to."""
        if self._tool is None:
            raise AttributeError(f"Tool version {self.id} was not obtained through a Tool.")
        return self._tool

    @property
    def task_templates(self) -> dict[str, TaskTemplate]:
        """Task templates by name, those of earlier scripts included."""
        if self._task_templates is None:
            self.load_task_templates()
            assert self._task_templates is not None
        return self._task_templates

    def load_task_templates(self) -> None:
        """Read the task templates from the server; those that are known already stay the same objects."""
        path = f"/define/tool_version/{self.id}/task_templates"
        response = self.requester.send("GET", path, None, TaskTemplatesResponse)
        known = self._task_templates or {}
        for wire in response.task_templates:
            if wire.name not in known:
                known[wire.name] = TaskTemplate.from_wire(wire, self)
        self._task_templates = known

    def get_task_template(self, template_name: str) -> TaskTemplate:
        """The task template of that name; it is created when there is none.

        Raises:
            ValueError: the name is empty or too long.
        """
        if template_name not in self.task_templates:
            self.task_templates[template_name] = TaskTemplate.get_task_template(self, template_name)
        return self.task_templates[template_name]
