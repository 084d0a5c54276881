"""A task template: what tasks with the same command and different args have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from jobmon.client.array import Array
from jobmon.client.attributes import Attributes
from jobmon.client.defaults import NO_SETTINGS, ComputeResources, ResourceDefaults, Settings
from jobmon.client.node import Node
from jobmon.client.task import Task
from jobmon.client.task_template_version import TaskTemplateVersion, arg_text
from jobmon.core.constants import NAME_CHARACTERS, MaxConcurrentlyRunning
from jobmon.core.requester import Requester
from jobmon.core.states import check_retry_policy
from jobmon.serializers.define import (
    TaskTemplateRequest,
    TaskTemplateResponse,
    TaskTemplateVersionsResponse,
)

if TYPE_CHECKING:
    from jobmon.client.tool_version import ToolVersion


class TaskTemplate(ResourceDefaults):
    """What tasks with the same command have in common; obtained through :meth:`Tool.get_task_template`.

    Args:
        template_name: its name.
        requester: how to reach the server.

    Raises:
        ValueError: the name is empty or too long.
    """

    def __init__(self, template_name: str, requester: Requester | None = None) -> None:
        super().__init__()
        if not isinstance(template_name, str) or not 0 < len(template_name.strip()) <= NAME_CHARACTERS:
            raise ValueError(
                f"The name of a task template must be a text of 1 to {NAME_CHARACTERS} characters, not "
                f"{template_name!r}."
            )
        self.template_name = template_name
        self.requester = requester or Requester.from_defaults()
        self._id: int | None = None
        self._tool_version: ToolVersion | None = None
        self._versions: list[TaskTemplateVersion] = []
        self._active: TaskTemplateVersion | None = None
        self._last_settings = NO_SETTINGS
        self._retry_policy: dict[str, str] = {}

    # -- identity -----------------------------------------------------------------------------------
    @classmethod
    def get_task_template(cls, tool_version: ToolVersion, template_name: str) -> TaskTemplate:
        """The template of that name, registered."""
        template = cls(template_name, tool_version.requester)
        template.bind(tool_version)
        return template

    @classmethod
    def from_wire(cls, wire: TaskTemplateResponse, tool_version: ToolVersion) -> TaskTemplate:
        """A template as the server told it."""
        template = cls(wire.name, tool_version.requester)
        template._id, template._tool_version = wire.id, tool_version
        return template

    def bind(self, tool_version: ToolVersion) -> None:
        """Register it for a tool version; bound twice it stays the same."""
        if self._id is not None:
            return
        message = TaskTemplateRequest(tool_version.id, self.template_name)
        self._id = self.requester.send("POST", "/define/task_template", message, TaskTemplateResponse).id
        self._tool_version = tool_version

    @property
    def is_bound(self) -> bool:
        """Whether it was registered."""
        return self._id is not None

    @property
    def id(self) -> int:
        """Id in the database."""
        if self._id is None:
            raise AttributeError(f"Task template '{self.template_name}' is not bound; get it from a Tool.")
        return self._id

    @property
    def tool_version(self) -> ToolVersion:
        """The tool version it belongs to."""
        if self._tool_version is None:
            raise AttributeError(f"Task template '{self.template_name}' is not bound; get it from a Tool.")
        return self._tool_version

    def __hash__(self) -> int:
        return int(sha256(self.template_name.encode()).hexdigest(), 16)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskTemplate) and self.template_name == other.template_name

    def __repr__(self) -> str:
        return f"TaskTemplate('{self.template_name}')"

    # -- what was used --------------------------------------------------------------------------------
    def resource_usage(
        self,
        workflows: Iterable[int] | None = None,
        node_args: Mapping[str, Any] | None = None,
        ci: float | str | None = None,
    ) -> dict[str, Any] | None:
        """What the tasks of the active version used; ``None`` while no attempt has ended.

        The values are those of :func:`jobmon.client.status_commands.task_template_resources`.

        Args:
            workflows: only in these workflows (ids).
            node_args: only tasks with these node args: a value, or a list of values, for each.
            ci: confidence level of the interval of the mean: ``0.95`` or ``"95%"``.

        Raises:
            RuntimeError: the template is not registered.
            UsageError: the template has no such node arg, or the confidence level is none.
        """
        from jobmon.client.commands.resources import task_template_resources

        return task_template_resources(self._version_to_use().id, workflows, node_args, ci, self.requester)

    # -- versions -----------------------------------------------------------------------------------
    @property
    def task_template_versions(self) -> list[TaskTemplateVersion]:
        """The versions that are known in this process."""
        return self._versions

    @property
    def active_task_template_version(self) -> TaskTemplateVersion:
        """The version tasks are made of.

        Raises:
            AttributeError: there is none yet.
        """
        if self._active is None:
            raise AttributeError(
                f"Task template '{self.template_name}' has no active version; call "
                "get_task_template_version()."
            )
        return self._active

    def load_task_template_versions(self) -> None:
        """Read all versions from the server; those known already stay the same objects."""
        path = f"/define/task_template/{self.id}/versions"
        response = self.requester.send("GET", path, None, TaskTemplateVersionsResponse)
        known = {version.id: version for version in self._versions if version.is_bound}
        self._versions = [
            known.get(wire.id) or TaskTemplateVersion.from_wire(wire, self)
            for wire in response.task_template_versions
        ]

    def set_active_task_template_version_id(
        self, task_template_version_id: str | int | Literal["latest"] = "latest"
    ) -> None:
        """Make tasks of the version with this id, or of the latest.

        Raises:
            ValueError: the template has no such version.
        """
        if not self._versions:
            self.load_task_template_versions()
        by_id = {str(version.id): version for version in self._versions}
        if task_template_version_id == "latest" and by_id:
            task_template_version_id = max(map(int, by_id))
        if str(task_template_version_id) not in by_id:
            raise ValueError(
                f"Task template '{self.template_name}' has no version {task_template_version_id}. "
                f"Versions: {', '.join(by_id) or 'none'}."
            )
        self._active = by_id[str(task_template_version_id)]

    def set_active_task_template_version(self, task_template_version: TaskTemplateVersion) -> None:
        """Make tasks of this version."""
        if task_template_version not in self._versions:
            self._versions.append(task_template_version)
        self._active = task_template_version

    def get_task_template_version(
        self,
        command_template: str,
        node_args: list[str] | None = None,
        task_args: list[str] | None = None,
        op_args: list[str] | None = None,
        default_cluster_name: str = "",
        default_compute_resources: Mapping[str, Any] | None = None,
        default_resource_scales: Mapping[str, Any] | None = None,
        default_max_attempts: int | None = None,
    ) -> TaskTemplateVersion:
        """The version with this command and these args, registered and made active.

        Raises:
            ValueError: command and args do not fit together, or resources or scales come without a cluster.
        """
        cluster_name = default_cluster_name or self.default_cluster_name
        if (default_compute_resources or default_resource_scales) and not cluster_name:
            raise ValueError(
                f"Task template '{self.template_name}': default_compute_resources and "
                "default_resource_scales are "
                "those of a cluster; give default_cluster_name too."
            )
        version = TaskTemplateVersion(self, command_template, node_args, task_args, op_args)
        identity = (version.command_template, version.arg_mapping_hash)
        for known in self._versions:
            if (known.command_template, known.arg_mapping_hash) == identity:
                version = known
        version.bind()
        self.set_active_task_template_version(version)
        if default_cluster_name:
            self.set_default_cluster_name(default_cluster_name)
        if default_compute_resources:
            self.set_default_compute_resources_from_dict(cluster_name, default_compute_resources)
        if default_resource_scales:
            self.set_default_resource_scales_from_dict(cluster_name, default_resource_scales)
        self.set_default_max_attempts(default_max_attempts) if default_max_attempts else None
        return version

    # -- defaults -----------------------------------------------------------------------------------
    def _name_cluster(self, cluster_name: str) -> None:
        self.default_cluster_name = cluster_name

    @property
    def retry_policy(self) -> dict[str, str]:
        """What follows a failure of a task, by its cause, where that is not the usual; see :meth:`set_retry_policy`."""
        return dict(self._retry_policy)

    def set_retry_policy(self, retry_policy: Mapping[str, str]) -> None:
        """Say what follows a failure of a task, by its cause; causes that are not named are treated as usual.

        The causes are ``code`` (its command failed), ``resource`` (it took more than it had asked for), ``launch``
        (it could not be started), ``infrastructure`` (its node or the server died), ``preempted`` (the cluster took
        its place away) and ``cancelled`` (a person cancelled its job on the cluster). What follows is ``retry`` (it
        costs one of ``max_attempts``; with the resources it had), ``give_up`` (the task fails at once) or
        ``retry_blameless`` (it costs none, but one of ``task.max_infrastructure_losses``). Usually ``resource`` asks for
        more resources, ``infrastructure`` and ``preempted`` are blameless, and the others are retried.

        Args:
            retry_policy: what follows, by cause. It replaces the policy there was, and holds for workflows that are
                bound from now on, resumed ones as well.

        Raises:
            ValueError: there is no such cause, or nothing of that name may follow.
        """
        self._retry_policy = check_retry_policy(retry_policy)

    def set_default_compute_resources_from_yaml(self, yaml_file: str, default_cluster_name: str = "") -> None:
        """Read default resources by cluster from ``task_template_resources`` of a YAML file.

        Raises:
            KeyError: the file does not mention the template.
            ValueError: the file is malformed.
        """
        self.take_resources_from_yaml(yaml_file, "task_template_resources", self.template_name)
        if default_cluster_name:
            self.set_default_cluster_name(default_cluster_name)

    def set_default_resource_scales_from_yaml(self, yaml_file: str, default_cluster_name: str = "") -> None:
        """Read default scales by cluster from ``task_template_scales`` of a YAML file.

        Raises:
            KeyError: the file does not mention the template.
            ValueError: the file is malformed.
        """
        self.take_scales_from_yaml(yaml_file, "task_template_scales", self.template_name)
        if default_cluster_name:
            self.set_default_cluster_name(default_cluster_name)

    # -- tasks --------------------------------------------------------------------------------------
    def create_task(
        self,
        name: str = "",
        upstream_tasks: Iterable[Task] | None = None,
        task_attributes: Attributes | None = None,
        max_attempts: int | None = None,
        compute_resources: ComputeResources | None = None,
        compute_resources_callable: Callable[[], dict[str, Any]] | None = None,
        resource_scales: Mapping[str, Any] | None = None,
        cluster_name: str = "",
        fallback_queues: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> Task:
        """A task of the active version; add it to a workflow.

        Args:
            name: its name; made of the template's name and the node args when empty.
            upstream_tasks: tasks that must be done first.
            task_attributes: names and values, or names.
            max_attempts: its limit of attempts.
            compute_resources: what it needs.
            compute_resources_callable: called when its upstreams are done; gives what it needs.
            resource_scales: how its resources grow after a resource error.
            cluster_name: where it runs.
            fallback_queues: queues for resources that outgrew the first one.
            **kwargs: a value for every arg of the template.

        Raises:
            ValueError: an arg is missing or unknown, or a value is not allowed.
            RuntimeError: the template is not registered.
        """
        version = self._version_to_use()
        version.require_args(kwargs.keys())
        settings = Settings.of(
            cluster_name,
            compute_resources,
            compute_resources_callable,
            resource_scales,
            fallback_queues,
            max_attempts,
        )
        if settings == self._last_settings:
            settings = self._last_settings  # a loop over create_task keeps one copy
        self._last_settings = settings
        node_values, task_values, op_values = (
            tuple([arg_text(arg, kwargs[arg]) for arg in names])
            for names in (version.node_arg_names, version.task_arg_names, version.op_arg_names)
        )
        node = Node.of_values(version, node_values)
        return Task.of_values(
            node,
            task_values,
            op_values,
            settings,
            name=name,
            upstream_tasks=upstream_tasks,
            task_attributes=task_attributes,
        )

    def create_tasks(
        self,
        max_attempts: int | None = None,
        upstream_tasks: Iterable[Task] | None = None,
        max_concurrently_running: int = MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING,
        compute_resources: ComputeResources | None = None,
        compute_resources_callable: Callable[[], dict[str, Any]] | None = None,
        resource_scales: Mapping[str, Any] | None = None,
        cluster_name: str = "",
        name: str | None = None,
        **kwargs: Any,
    ) -> list[Task]:
        """One task for every combination of node args; add them to a workflow.

        Args:
            max_attempts: limit of attempts of each.
            upstream_tasks: tasks that must be done before any of them.
            max_concurrently_running: limit of them running at once.
            compute_resources: what each needs.
            compute_resources_callable: called when the upstreams are done; gives what each needs.
            resource_scales: how resources grow after a resource error.
            cluster_name: where they run.
            name: name of the array they form.
            **kwargs: an iterable for every node arg, a value for every other arg.

        Raises:
            ValueError: an arg is missing or unknown, or a value is not allowed.
            RuntimeError: the template is not registered.
        """
        version = self._version_to_use()
        version.require_args(kwargs.keys())
        array = Array(
            version,
            {arg: kwargs[arg] for arg in version.task_arg_names},
            {arg: kwargs[arg] for arg in version.op_arg_names},
            cluster_name,
            max_concurrently_running,
            upstream_tasks,
            compute_resources,
            compute_resources_callable,
            resource_scales,
            name,
            self.requester,
            max_attempts,
        )
        return array.create_tasks(**{arg: kwargs[arg] for arg in version.node_arg_names})

    def _version_to_use(self) -> TaskTemplateVersion:
        if self._id is None or self._active is None:
            raise RuntimeError(
                f"Task template '{self.template_name}' is not registered; get it with "
                "tool.get_task_template()."
            )
        return self._active
