"""A task: one command of a workflow, with what must be done before it.

A workflow may have a million of them, so a task holds little: its args as tuples (shared where tasks share
them), its neighbours as a tuple as long as they are few or shared, and what it says about the way it is run
as one :class:`~jobmon.client.defaults.Settings` object shared by all that say the same. Name and command
are made when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from jobmon.client.attributes import Attributes, parse_attributes
from jobmon.client.defaults import (
    NO_SETTINGS,
    Cascade,
    ComputeResources,
    ResourceDefaults,
    Settings,
    validate_task_resource_scales,
)
from jobmon.client.node import Node
from jobmon.client.task_template_version import arg_text, hash_of_args
from jobmon.core.constants import TASK_NAME_CHARACTERS
from jobmon.core.hashing import hash_parts
from jobmon.core.task_names import illegal_characters, legal_task_name
from jobmon.serializers.define import AttributesRequest, AttributesResponse

if TYPE_CHECKING:
    from jobmon.client.array import Array
    from jobmon.client.commands.explain import TaskExplanation
    from jobmon.client.task_resources import TaskResources
    from jobmon.client.workflow import Workflow
    from jobmon.core.requester import Requester

__all__ = ["Task", "connect", "validate_task_resource_scales"]

T = TypeVar("T")

Neighbours = tuple["Task", ...] | set["Task"]
_FEW = 8  # up to here a tuple is smaller than a set, and looking through it not slower


def _with_one(neighbours: Neighbours, task: Task) -> Neighbours:
    if isinstance(neighbours, set):
        neighbours.add(task)
        return neighbours
    if len(neighbours) < _FEW:
        return neighbours if task in neighbours else (*neighbours, task)
    return {*neighbours, task}


def connect(upstreams: tuple[Task, ...], downstreams: tuple[Task, ...]) -> None:
    """Make every task of ``downstreams`` wait for every task of ``upstreams``.

    Tasks without neighbours so far share the tuples, so that all-to-all costs a reference a task, not one
    an edge.
    """
    for task in downstreams:
        task._upstreams = {*task._upstreams, *upstreams} if task._upstreams else upstreams
    for task in upstreams:
        task._downstreams = {*task._downstreams, *downstreams} if task._downstreams else downstreams


class Task:
    """One command of a workflow; made by :meth:`TaskTemplate.create_task` or ``create_tasks``.

    Args:
        node: its place in the graph.
        task_args: a value for every task arg, by name.
        op_args: a value for every op arg, by name.
        array: the array it belongs to.
        cluster_name: where it runs.
        compute_resources: what it needs.
        compute_resources_callable: called when its upstreams are done; gives what it needs.
        resource_scales: how its resources grow after a resource error.
        fallback_queues: queues for resources that outgrew the first one.
        name: its name; made of the template's name and the node args when there is none.
        max_attempts: its limit of attempts.
        upstream_tasks: tasks that must be done first.
        task_attributes: names and values, or names.
        requester: accepted for scripts; that of the template is used.

    Raises:
        ValueError: a value is not allowed; the message says which.
    """

    __slots__ = (
        "__weakref__",
        "_array",
        "_attributes",
        "_downstreams",
        "_final_status",
        "_hash",
        "_initial_status",
        "_name",
        "_op_values",
        "_settings",
        "_task_id",
        "_task_values",
        "_upstreams",
        "node",
    )

    def __init__(
        self,
        node: Node,
        task_args: Mapping[str, Any],
        op_args: Mapping[str, Any],
        array: Array | None = None,
        cluster_name: str = "",
        compute_resources: ComputeResources | None = None,
        compute_resources_callable: Callable[[], dict[str, Any]] | None = None,
        resource_scales: Mapping[str, Any] | None = None,
        fallback_queues: Iterable[str] | None = None,
        name: str | None = None,
        max_attempts: int | None = None,
        upstream_tasks: Iterable[Task] | None = None,
        task_attributes: Attributes | None = None,
        requester: Requester | None = None,
    ) -> None:
        version = node.task_template_version
        version.require_args({*node.node_args, *task_args, *op_args})
        settings = Settings.of(
            cluster_name,
            compute_resources,
            compute_resources_callable,
            resource_scales,
            fallback_queues,
            max_attempts,
        )
        task_values = tuple([arg_text(arg, task_args[arg]) for arg in version.task_arg_names])
        op_values = tuple([arg_text(arg, op_args[arg]) for arg in version.op_arg_names])
        if name is not None:
            self.is_valid_job_name(name)
        self._fill(node, task_values, op_values, settings, array, name, parse_attributes(task_attributes))
        self.add_upstreams(upstream_tasks or ())

    @classmethod
    def of_values(
        cls,
        node: Node,
        task_values: tuple[str, ...],
        op_values: tuple[str, ...],
        settings: Settings = NO_SETTINGS,
        array: Array | None = None,
        name: str = "",
        upstream_tasks: Iterable[Task] | None = None,
        task_attributes: Attributes | None = None,
    ) -> Task:
        """A task from texts in the order of the template's args; an empty name means the default one.

        Raises:
            ValueError: name or attributes are not allowed.
        """
        if name:
            cls.is_valid_job_name(name)
        task = cls.__new__(cls)
        attributes = parse_attributes(task_attributes) if task_attributes else {}
        task._fill(node, task_values, op_values, settings, array, name or None, attributes)
        if upstream_tasks:
            task.add_upstreams(upstream_tasks)
        return task

    def _fill(
        self,
        node: Node,
        task_values: tuple[str, ...],
        op_values: tuple[str, ...],
        settings: Settings,
        array: Array | None,
        name: str | None,
        attributes: dict[str, str | None],
    ) -> None:
        self.node = node
        node._task = self
        self._task_values = task_values
        self._op_values = op_values
        self._settings = settings
        self._array = array
        self._name = name
        self._attributes: dict[str, str | None] | None = attributes or None
        self._upstreams: Neighbours = ()
        self._downstreams: Neighbours = ()
        self._hash: str | None = None
        self._task_id: int | None = None
        self._initial_status: str | None = None
        self._final_status: str | None = None

    # -- identity -----------------------------------------------------------------------------------
    @staticmethod
    def is_valid_job_name(name: str) -> bool:
        """Whether a name is allowed, for it becomes part of the names of log files.

        Raises:
            ValueError: it is empty, too long, begins with a digit or holds a character that is not allowed.
        """
        if not isinstance(name, str) or not name:
            raise ValueError("The name of a task must not be empty.")
        if name[0].isdigit():
            raise ValueError(f"The name of a task must not begin with a digit: {name!r}.")
        if len(name) > TASK_NAME_CHARACTERS:
            raise ValueError(
                f"The name of a task must not be longer than {TASK_NAME_CHARACTERS} characters: {name!r}."
            )
        if bad := illegal_characters().search(name):
            raise ValueError(f"The name of a task must not contain {bad[0]!r}: {name!r}.")
        return True

    @property
    def name(self) -> str:
        """Its name; without one of its own, ``<template>_<arg>-<value>_…`` over its node args."""
        if self._name is not None:
            return self._name
        version = self.node.task_template_version
        pairs = zip(version.node_arg_names, self.node.values, strict=True)
        parts = [version.task_template.template_name, *(f"{arg}-{value}" for arg, value in pairs)]
        return legal_task_name("_".join(parts))

    @name.setter
    def name(self, name: str) -> None:
        self.is_valid_job_name(name)
        self._name = name
        self._changed()

    @property
    def task_hash(self) -> str:
        """Its identity, made of template version, node args and task args; nothing else counts."""
        if self._hash is None:
            names = self.node.task_template_version.task_arg_names
            self._hash = hash_parts([self.node.node_hash, hash_of_args(names, self._task_values)])
        return self._hash

    @property
    def task_args_hash(self) -> str:
        """Hash of its task args."""
        return hash_of_args(self.node.task_template_version.task_arg_names, self._task_values)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Task) and self.task_hash == other.task_hash)

    def __lt__(self, other: Task) -> bool:
        return self.task_hash < other.task_hash

    def __hash__(self) -> int:
        return hash(self.task_hash)

    def __repr__(self) -> str:
        return f"Task('{self.name}')"

    # -- what it does -------------------------------------------------------------------------------
    @property
    def task_args(self) -> dict[str, str]:
        """Values of its task args by name."""
        return dict(zip(self.node.task_template_version.task_arg_names, self._task_values, strict=True))

    @property
    def op_args(self) -> dict[str, str]:
        """Values of its op args by name."""
        return dict(zip(self.node.task_template_version.op_arg_names, self._op_values, strict=True))

    @property
    def command(self) -> str:
        """Its command."""
        version = self.node.task_template_version
        values = dict(zip(version.node_arg_names, self.node.values, strict=True))
        if self._task_values:
            values.update(self.task_args)
        if self._op_values:
            values.update(self.op_args)
        return version.command_template.format(**values)

    @property
    def task_attributes(self) -> dict[str, str | None]:
        """Its attributes."""
        return dict(self._attributes or {})

    def add_attribute(self, attribute: str, value: Any) -> None:
        """Set an attribute; on the server too when the task is registered already.

        Raises:
            ValueError: name or value are too long.
        """
        parsed = parse_attributes({attribute: value})
        self._attributes = {**(self._attributes or {}), **parsed}
        if self._task_id is not None:
            path = f"/define/task/{self._task_id}/attributes"
            self._requester.send("PUT", path, AttributesRequest(parsed), AttributesResponse)

    # -- neighbours ---------------------------------------------------------------------------------
    @property
    def upstream_tasks(self) -> set[Task]:
        """Tasks that must be done before it."""
        return set(self._upstreams)

    @property
    def downstream_tasks(self) -> set[Task]:
        """Tasks that wait for it."""
        return set(self._downstreams)

    def add_upstream(self, task: Task) -> None:
        """Wait for another task."""
        self._upstreams = _with_one(self._upstreams, task)
        task._downstreams = _with_one(task._downstreams, self)
        self._changed()

    def add_upstreams(self, tasks: Iterable[Task]) -> None:
        """Wait for other tasks."""
        several: Sequence[Task] = tuple(tasks)
        if len(several) > _FEW:
            self._upstreams = {*self._upstreams, *several}
            for task in several:
                task._downstreams = _with_one(task._downstreams, self)
            self._changed()
        else:
            for task in several:
                self.add_upstream(task)

    def add_downstream(self, task: Task) -> None:
        """Have another task wait for this one."""
        task.add_upstream(self)

    def add_downstreams(self, tasks: Iterable[Task]) -> None:
        """Have other tasks wait for this one."""
        for task in tasks:
            task.add_upstream(self)

    # -- where it belongs ---------------------------------------------------------------------------
    @property
    def array(self) -> Array:
        """The array it belongs to.

        Raises:
            AttributeError: it was not added to a workflow yet.
        """
        if self._array is None:
            raise AttributeError(f"{self} belongs to no array yet; add it to a workflow.")
        return self._array.whole

    @property
    def workflow(self) -> Workflow:
        """The workflow it was added to.

        Raises:
            AttributeError: it was not added to one yet.
        """
        return self.array.workflow

    @property
    def _requester(self) -> Requester:
        return self.node.task_template_version.task_template.requester

    def _changed(self) -> None:
        if self._array is not None:
            self._array._changed()

    # -- how it is run ------------------------------------------------------------------------------
    @property
    def cascade(self) -> Cascade:
        """Everything that says how it is run, from weak to strong."""
        template = self.node.task_template_version.task_template
        array = self._array
        lowest: ResourceDefaults = template.tool_version
        if array is not None and array._workflow is not None:
            lowest = array._workflow
        settings = (array._settings if array is not None else NO_SETTINGS, self._settings)
        return Cascade((lowest, template), settings)

    @property
    def cluster_name(self) -> str:
        """Where it runs."""
        return self.cascade.cluster_name

    @property
    def compute_resources(self) -> dict[str, Any]:
        """What it needs, as it was written, all levels put together."""
        return self.cascade.compute_resources

    @property
    def resource_scales(self) -> dict[str, Any]:
        """How its resources grow after a resource error."""
        return self.cascade.resource_scales

    @property
    def fallback_queues(self) -> list[str]:
        """Queues for resources that outgrew the first one."""
        return list(self.cascade.fallback_queues)

    @property
    def max_attempts(self) -> int:
        """Its limit of attempts."""
        return self.cascade.max_attempts

    @property
    def requested_resources(self) -> dict[str, Any]:
        """What it needs, without the queue."""
        return {name: value for name, value in self.compute_resources.items() if name != "queue"}

    @property
    def queue_name(self) -> str:
        """The queue it goes to; the only one of its cluster when it names none.

        Raises:
            UnknownQueueError: (a ValueError) there is no such queue, or one must be named.
        """
        from jobmon.client.task_resources import queue_of

        return queue_of(self).queue_name

    @property
    def original_task_resources(self) -> TaskResources:
        """What is asked of the queue in the first attempt, within the queue's limits."""
        from jobmon.client.task_resources import TaskResources, queue_of

        return TaskResources(self.requested_resources, queue_of(self), self._requester).coerce_resources()

    def update_compute_resources(self, **kwargs: Any) -> None:
        """Change some of what it needs; the rest stays."""
        self._settings = self._settings.with_resources(kwargs)
        self._changed()

    def update_resource_scales(self, **kwargs: Any) -> None:
        """Change some of its scales; the rest stays.

        Raises:
            ValueError: a scale is neither a number, nor a callable, nor an iterator.
        """
        self._settings = self._settings.with_scales(kwargs)
        self._changed()

    def set_compute_resources_from_yaml(self, cluster_name: str, yaml_file: str) -> None:
        """Take what it needs from ``task_template_resources`` of a YAML file.

        Raises:
            KeyError: the file mentions the template or the cluster nowhere.
            ValueError: the file is malformed.
        """
        from jobmon.client.yaml_file import find_section, read_yaml

        template_name = self.node.task_template_version.task_template.template_name
        section = find_section(read_yaml(yaml_file), yaml_file, "task_template_resources", template_name)
        if cluster_name not in section:
            raise KeyError(f"The file {yaml_file} has no resources of '{template_name}' on {cluster_name}.")
        self.update_compute_resources(**section[cluster_name])

    # -- what became of it --------------------------------------------------------------------------
    @property
    def task_id(self) -> int:
        """Id in the database.

        Raises:
            AttributeError: its workflow is not bound yet.
        """
        return self._known(self._task_id, "task_id", "its workflow is bound")

    @property
    def initial_status(self) -> str:
        """Status letter when its workflow was bound.

        Raises:
            AttributeError: its workflow is not bound yet.
        """
        return self._known(self._initial_status, "initial_status", "its workflow is bound")

    @property
    def final_status(self) -> str:
        """Status letter at the end of the last run.

        Raises:
            AttributeError: its workflow was not run yet.
        """
        return self._known(self._final_status, "final_status", "its workflow was run")

    def _known(self, value: T | None, name: str, when: str) -> T:
        if value is None:
            raise AttributeError(f"{name} of {self} is known when {when}.")
        return value

    def get_errors(self) -> dict[str, Any] | None:
        """Errors of its last failed attempt; ``None`` when it has none.

        Returns:
            ``task_instance_id`` and ``error_log``, a list of ``task_instance_error_log_id``, ``error_time``,
            ``description`` and the paths ``stdout`` and ``stderr``.
        """
        if self._task_id is None:
            return None
        from jobmon.client.result import errors_by_task, fetch_errors

        workflow_id = self.workflow.workflow_id
        return errors_by_task(fetch_errors(self._requester, workflow_id, task_id=self._task_id)).get(
            self._task_id
        )

    def explain(self) -> TaskExplanation:
        """Why it is not running yet, why it runs again, or why it failed; print it.

        Raises:
            AttributeError: its workflow is not bound yet.
        """
        from jobmon.client.commands.explain import explain_task

        return explain_task(self.task_id, self._requester)

    def resource_usage(self) -> dict[str, Any]:
        """What its last attempt used.

        Returns:
            ``num_attempts``, ``nodename``, ``runtime`` (seconds) and ``memory`` (bytes, at the peak); the last three
            are ``None`` as long as they are not known.

        Raises:
            AttributeError: its workflow is not bound yet.
        """
        from jobmon.serializers.monitor import TaskStatusRequest, TaskStatusResponse

        message = TaskStatusRequest([self.task_id])
        response = self._requester.send("POST", "/monitor/task_status", message, TaskStatusResponse)
        attempts = [row for row in response.attempts if row.task_instance_id is not None]
        last = attempts[-1] if attempts else None
        return {
            "num_attempts": len(attempts),
            "nodename": (last.nodename or None) if last else None,
            "runtime": last.wallclock if last else None,
            "memory": last.maxrss if last else None,
        }
