"""A tool: the application whose workflows are run."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any, Literal

from jobmon.client.attributes import Attributes
from jobmon.client.defaults import whole_number
from jobmon.client.task_template import TaskTemplate
from jobmon.client.tool_version import ToolVersion
from jobmon.client.workflow import Workflow
from jobmon.client.yaml_file import find_section, read_yaml
from jobmon.core.constants import NAME_CHARACTERS, MaxConcurrentlyRunning
from jobmon.core.requester import Requester
from jobmon.serializers.define import ToolRequest, ToolResponse, ToolVersionsResponse


class InvalidToolError(Exception):
    """The tool does not exist. Kept for scripts that catch it; it is never raised."""


class InvalidToolVersionError(Exception):
    """The tool version does not exist. Kept for scripts that catch it; it is never raised."""


def _unknown() -> str:
    try:
        return f"unknown-{getpass.getuser()}"
    except (KeyError, OSError):  # a container without an entry in passwd
        return "unknown"


class Tool:
    """A tool, registered when the object is made.

    Example::

        tool = Tool(name="life_expectancy")
        template = tool.get_task_template("fit", "python fit.py --country {country}", node_args=["country"])
        workflow = tool.create_workflow(name="fits")
        workflow.add_tasks(template.create_tasks(country=["Norway", "Chile"]))
        status = workflow.run()

    Args:
        name: its name; the same name is the same tool.
        active_tool_version_id: the version to use, or ``"latest"``.
        requester: how to reach the server.
        default_cluster_name: default of the active version.
        default_compute_resources_set: the same, by cluster.
        default_resource_scales_set: the same, by cluster.
        default_max_attempts: the same.

    Attributes:
        name: its name.
        id: its id in the database.
        tool_versions: all of its versions, oldest first.
        requester: how to reach the server.

    Raises:
        ValueError: the name is empty or too long, or there is no such version.
    """

    def __init__(
        self,
        name: str = "",
        active_tool_version_id: str | int = "latest",
        requester: Requester | None = None,
        *,
        default_cluster_name: str = "",
        default_compute_resources_set: Mapping[str, Mapping[str, Any]] | None = None,
        default_resource_scales_set: Mapping[str, Mapping[str, Any]] | None = None,
        default_max_attempts: int | None = None,
    ) -> None:
        self.name = name or _unknown()
        if not isinstance(name, str) or not self.name.strip() or len(self.name) > NAME_CHARACTERS:
            raise ValueError(
                f"The name of a tool must be a text of 1 to {NAME_CHARACTERS} characters, not {name!r}."
            )
        self.requester = requester or Requester.from_defaults()
        self.id = self.requester.send("POST", "/define/tool", ToolRequest(self.name), ToolResponse).id
        path = f"/define/tool/{self.id}/tool_versions"
        known = self.requester.send("GET", path, None, ToolVersionsResponse).tool_versions
        self.tool_versions = [ToolVersion.from_wire(wire, self) for wire in known]
        if not self.tool_versions:
            self.tool_versions.append(ToolVersion.get_tool_version(self))
        self.set_active_tool_version_id(active_tool_version_id)
        version = self.active_tool_version
        version.set_default_cluster_name(default_cluster_name)
        version.take_defaults(default_compute_resources_set or {}, default_resource_scales_set or {})
        if default_max_attempts:
            version.set_default_max_attempts(default_max_attempts)

    # -- versions -----------------------------------------------------------------------------------
    def get_new_tool_version(self) -> int:
        """Make a new version on the server and use it from now on; its id."""
        version = ToolVersion.get_tool_version(self)
        self.tool_versions.append(version)
        self._active = version
        return version.id

    @property
    def active_tool_version(self) -> ToolVersion:
        """The version in use."""
        return self._active

    def set_active_tool_version_id(self, tool_version_id: str | int | Literal["latest"]) -> None:
        """Use the version with this id, or the latest.

        Raises:
            ValueError: the tool has no such version.
        """
        by_id = {str(version.id): version for version in self.tool_versions}
        number = max(map(int, by_id)) if tool_version_id == "latest" else whole_number(tool_version_id)
        wanted = str(tool_version_id if number is None else number)
        if wanted not in by_id:
            raise ValueError(
                f"Tool '{self.name}' has no version {tool_version_id}. Versions: {', '.join(by_id)}."
            )
        self._active = by_id[wanted]

    @property
    def active_task_templates(self) -> dict[str, TaskTemplate]:
        """Task templates of the active version by name."""
        return self._active.task_templates

    # -- defaults -----------------------------------------------------------------------------------
    @property
    def default_compute_resources_set(self) -> dict[str, dict[str, Any]]:
        """Default resources of the active version by cluster."""
        return self._active.default_compute_resources_set

    @property
    def default_resource_scales_set(self) -> dict[str, dict[str, Any]]:
        """Default scales of the active version by cluster."""
        return self._active.default_resource_scales_set

    @property
    def default_cluster_name(self) -> str:
        """Default cluster of the active version; empty for none."""
        return self._active.default_cluster_name

    @property
    def default_max_attempts(self) -> int | None:
        """Default limit of attempts of the active version."""
        return self._active.default_max_attempts

    def set_default_cluster_name(self, cluster_name: str) -> None:
        """Run on this cluster what does not name one itself."""
        self._active.set_default_cluster_name(cluster_name)

    set_default_clu = set_default_cluster_name

    def set_default_max_attempts(self, value: int | None) -> None:
        """Limit the attempts of tasks that have no limit of their own; 0 and ``None`` are ignored."""
        self._active.set_default_max_attempts(value)

    def update_default_compute_resources(self, cluster_name: str, **kwargs: Any) -> None:
        """Change these default resources of a cluster; the others stay."""
        self._active.update_default_compute_resources(cluster_name, **kwargs)

    def update_default_resource_scales(self, cluster_name: str, **kwargs: Any) -> None:
        """Change these default scales of a cluster; the others stay."""
        self._active.update_default_resource_scales(cluster_name, **kwargs)

    def set_default_compute_resources_from_dict(
        self, cluster_name: str, compute_resources: Mapping[str, Any]
    ) -> None:
        """Replace the default resources of a cluster; it becomes the default cluster where there is none."""
        self._active.set_default_compute_resources_from_dict(cluster_name, compute_resources)

    def set_default_resource_scales_from_dict(
        self, cluster_name: str, resource_scales: Mapping[str, Any]
    ) -> None:
        """Replace the default scales of a cluster, which becomes the default cluster where there is none."""
        self._active.set_default_resource_scales_from_dict(cluster_name, resource_scales)

    def set_default_compute_resources_from_yaml(
        self,
        default_cluster_name: str,
        yaml_file: str,
        set_task_templates: bool = False,
        ignore_missing_keys: bool = False,
    ) -> None:
        """Read default resources from a YAML file (see :mod:`jobmon.client.yaml_file`).

        Args:
            default_cluster_name: becomes the default cluster.
            yaml_file: its key ``tool_resources`` is read.
            set_task_templates: also read ``task_template_resources`` for the active version's templates.
            ignore_missing_keys: leave alone what the file does not mention.

        Raises:
            KeyError: the file lacks a key.
            ValueError: the file is malformed, or there are no task templates to set.
        """
        self._from_yaml("resources", default_cluster_name, yaml_file, set_task_templates, ignore_missing_keys)

    def set_default_resource_scales_from_yaml(
        self,
        default_cluster_name: str,
        yaml_file: str,
        set_task_templates: bool = False,
        ignore_missing_keys: bool = False,
    ) -> None:
        """Read default scales from a YAML file: the keys ``tool_scales`` and ``task_template_scales``.

        Parameters and errors are those of :meth:`set_default_compute_resources_from_yaml`.
        """
        self._from_yaml("scales", default_cluster_name, yaml_file, set_task_templates, ignore_missing_keys)

    def _from_yaml(
        self, kind: str, cluster_name: str, path: str, set_task_templates: bool, ignore_missing_keys: bool
    ) -> None:
        content = read_yaml(path)
        levels: list[tuple[ToolVersion | TaskTemplate, tuple[str, ...]]] = [(self._active, (f"tool_{kind}",))]
        if set_task_templates:
            if not self.active_task_templates:
                raise ValueError(
                    f"Tool '{self.name}' has no task templates; make them before their {kind} are set."
                )
            for name, template in self.active_task_templates.items():
                levels.append((template, (f"task_template_{kind}", name)))
        found: list[tuple[ToolVersion | TaskTemplate, dict[str, dict[str, Any]]]] = []
        for level, keys in levels:
            try:
                found.append((level, find_section(content, path, *keys)))
            except KeyError:
                if not ignore_missing_keys:
                    raise
        for level, by_cluster in found:
            if kind == "resources":
                level.default_compute_resources_set.update(by_cluster)
            else:
                level.take_defaults({}, by_cluster)
        self._active.set_default_cluster_name(cluster_name)

    # -- what it makes ------------------------------------------------------------------------------
    def get_task_template(
        self,
        template_name: str,
        command_template: str,
        node_args: list[str] | None = None,
        task_args: list[str] | None = None,
        op_args: list[str] | None = None,
        default_cluster_name: str = "",
        default_compute_resources: Mapping[str, Any] | None = None,
        default_resource_scales: Mapping[str, Any] | None = None,
        yaml_file: str | None = None,
        max_attempts: int | None = None,
        retry_policy: Mapping[str, str] | None = None,
    ) -> TaskTemplate:
        """A task template of the active version, with the version that fits command and args made active.

        Args:
            template_name: its name; the same name is the same template.
            command_template: command with ``{arg}`` for every arg.
            node_args: args that tell its tasks apart within a workflow.
            task_args: args that change what a task computes.
            op_args: args that change neither, such as the path of an interpreter.
            default_cluster_name: cluster of its tasks.
            default_compute_resources: resources of its tasks on that cluster.
            default_resource_scales: scales of its tasks on that cluster.
            yaml_file: file with ``task_template_resources`` and, perhaps, ``task_template_scales``.
            max_attempts: limit of attempts of its tasks.
            retry_policy: what follows a failure, by its cause; see :meth:`TaskTemplate.set_retry_policy`.

        Raises:
            ValueError: resources or scales without a cluster, command and args that do not fit together, or a retry
                policy with an unknown cause.
            KeyError: the file does not mention the template.
        """
        template = self._active.get_task_template(template_name)
        if yaml_file:
            content = read_yaml(yaml_file)
            resources = find_section(content, yaml_file, "task_template_resources", template_name)
            scales = {}
            if template_name in (content.get("task_template_scales") or {}):
                scales = find_section(content, yaml_file, "task_template_scales", template_name)
            template.take_defaults(resources, scales)
        template.get_task_template_version(
            command_template,
            node_args,
            task_args,
            op_args,
            default_cluster_name,
            default_compute_resources,
            default_resource_scales,
            max_attempts,
        )
        if retry_policy is not None:
            template.set_retry_policy(retry_policy)
        return template

    def create_workflow(
        self,
        workflow_args: str = "",
        name: str = "",
        description: str = "",
        workflow_attributes: Attributes | None = None,
        max_concurrently_running: int = MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING,
        chunk_size: int = 500,
        default_cluster_name: str = "",
        default_compute_resources_set: Mapping[str, Mapping[str, Any]] | None = None,
        default_resource_scales_set: Mapping[str, Any] | None = None,
        default_max_attempts: int | None = None,
    ) -> Workflow:
        """An empty workflow with the defaults of the active version.

        Args:
            workflow_args: identifies the workflow among those of the tool; needed to resume it by script.
            name: its name.
            description: what it is for.
            workflow_attributes: names and values, or names.
            max_concurrently_running: limit of tasks running at once.
            chunk_size: accepted for scripts; Jobmon chooses the size of its requests itself.
            default_cluster_name: cluster of tasks that name none.
            default_compute_resources_set: resources by cluster.
            default_resource_scales_set: scales by cluster, or scales of the default cluster.
            default_max_attempts: limit of attempts of tasks that have none.

        Raises:
            ValueError: a value has the wrong type.
        """
        workflow = Workflow(
            self._active,
            workflow_args,
            name,
            description,
            workflow_attributes,
            max_concurrently_running,
            requester=self.requester,
            chunk_size=chunk_size,
        )
        if default_cluster_name:
            workflow.set_default_cluster_name(default_cluster_name)
        scales: Mapping[str, Any] = default_resource_scales_set or {}
        if scales and not all(isinstance(value, Mapping) for value in scales.values()):
            if not workflow.default_cluster_name:
                raise ValueError(
                    "default_resource_scales_set needs default_cluster_name, or scales by cluster."
                )
            scales = {workflow.default_cluster_name: scales}
        workflow.take_defaults(default_compute_resources_set or {}, scales)
        if default_max_attempts:
            workflow.set_default_max_attempts(default_max_attempts)
        return workflow
