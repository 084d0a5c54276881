"""An array: the tasks of one task template version in a workflow, launched in batches.

A workflow has one array for each task template version. It is the one ``create_tasks`` made, or one of its own for
tasks that were made one by one. The tasks of any further call of ``create_tasks`` become part of it; what that call
said of resources, cluster and attempts stays theirs, for a task asks the array that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

from jobmon.client.attributes import Attributes
from jobmon.client.defaults import NO_SETTINGS, Cascade, ComputeResources, Settings, whole_number
from jobmon.client.node import Node
from jobmon.client.task import Task, connect
from jobmon.client.task_template_version import TaskTemplateVersion, arg_text
from jobmon.core.constants import MaxConcurrentlyRunning
from jobmon.serializers.define import ArrayItem, ArraysRequest, ArraysResponse

if TYPE_CHECKING:
    from jobmon.client.workflow import Workflow
    from jobmon.core.requester import Requester

ARRAY_NAME_CHARACTERS = 254
"""Names of arrays are cut to this length."""


class Array:
    """The tasks of one task template version in a workflow; made by :meth:`TaskTemplate.create_tasks`.

    Args:
        task_template_version: what its tasks run.
        task_args: values of the task args, which its tasks share, by name.
        op_args: values of the op args, which its tasks share, by name.
        cluster_name: where its tasks run.
        max_concurrently_running: limit of them running at once.
        upstream_tasks: tasks that must be done before any of them.
        compute_resources: what each needs.
        compute_resources_callable: called when the upstreams are done; gives what each needs.
        resource_scales: how resources grow after a resource error.
        name: its name; by default that of the template.
        requester: accepted for scripts; that of the template is used.
        max_attempts: limit of attempts of each.

    Raises:
        ValueError: a value is not allowed.
    """

    __slots__ = (
        "_array_id",
        "_by_node",
        "_merged_into",
        "_name",
        "_op_values",
        "_settings",
        "_task_values",
        "_upstream_tasks",
        "_workflow",
        "max_concurrently_running",
        "task_template_version",
    )

    def __init__(
        self,
        task_template_version: TaskTemplateVersion,
        task_args: Mapping[str, Any],
        op_args: Mapping[str, Any],
        cluster_name: str,
        max_concurrently_running: int = MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING,
        upstream_tasks: Iterable[Task] | None = None,
        compute_resources: ComputeResources | None = None,
        compute_resources_callable: Callable[[], dict[str, Any]] | None = None,
        resource_scales: Mapping[str, Any] | None = None,
        name: str | None = None,
        requester: Requester | None = None,
        max_attempts: int | None = None,
    ) -> None:
        self.task_template_version = task_template_version
        self._task_values = tuple([arg_text(a, task_args[a]) for a in task_template_version.task_arg_names])
        self._op_values = tuple([arg_text(a, op_args[a]) for a in task_template_version.op_arg_names])
        self._settings = Settings.of(
            cluster_name,
            compute_resources,
            compute_resources_callable,
            resource_scales,
            max_attempts=max_attempts,
        )
        self.max_concurrently_running = check_limit(max_concurrently_running)
        self._upstream_tasks = tuple(dict.fromkeys(upstream_tasks or ()))
        self._name = (name or task_template_version.task_template.template_name)[:ARRAY_NAME_CHARACTERS]
        self._by_node: dict[tuple[str, ...], Task] = {}
        self._workflow: Workflow | None = None
        self._array_id: int | None = None
        self._merged_into: Array | None = None

    @classmethod
    def inferred(cls, task_template_version: TaskTemplateVersion) -> Array:
        """The array of tasks that were made one by one; each of them says itself how it is run."""
        array = cls.__new__(cls)
        array.task_template_version = task_template_version
        array._task_values, array._op_values = (), ()
        array._settings = NO_SETTINGS
        array.max_concurrently_running = MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING
        array._upstream_tasks = ()
        array._name = task_template_version.task_template.template_name[:ARRAY_NAME_CHARACTERS]
        array._by_node = {}
        array._workflow = None
        array._array_id = None
        array._merged_into = None
        return array

    # -- tasks --------------------------------------------------------------------------------------
    @property
    def tasks(self) -> list[Task]:
        """Its tasks in the order they came."""
        return list(self._by_node.values())

    def find(self, node: Node) -> Task | None:
        """The task with these node args, or ``None``."""
        return self._by_node.get(node.values)

    def add_task(self, task: Task) -> None:
        """Take in a task.

        Raises:
            ValueError: it is one of another template, is here already, or names another cluster.
        """
        if task.node.task_template_version.id != self.task_template_version.id:
            raise ValueError(f"{task} is of another task template version than the array '{self.name}'.")
        if task.node.values in self._by_node:
            raise ValueError(f"The array '{self.name}' has a task with the node args of {task} already.")
        named, own = task._settings.cluster_name, self._settings.cluster_name
        if named and own and named != own:
            raise ValueError(f"{task} is to run on {named}, its array '{self.name}' on {own}.")
        self._by_node[task.node.values] = task
        if task._array is None or task._array.whole is not self:
            task._array = self

    def take_over(self, task: Task) -> None:
        """Take in a task instead of one with the same node args that was never added to the workflow.

        Raises:
            ValueError: it names another cluster than the array.
        """
        self._by_node.pop(task.node.values, None)
        self.add_task(task)

    @property
    def whole(self) -> Array:
        """The array of the workflow: this one, or the one it became part of."""
        return self._merged_into or self

    def merge(self, other: Array) -> None:
        """Have the tasks of another call of ``create_tasks`` run as part of this array.

        It gets the smaller one of the two limits of tasks running at once, and the name of the other one when it has
        none of its own. Its tasks come one by one, with :meth:`take_over`.

        Raises:
            ValueError: the two name different clusters.
        """
        if other._merged_into is self:
            return
        named, own = other._settings.cluster_name, self._settings.cluster_name
        if named and own and named != own:
            raise ValueError(
                f"Tasks of the array '{other.name}' are to run on {named}, others of it on {own}."
            )
        other._merged_into = self
        self.max_concurrently_running = min(self.max_concurrently_running, other.max_concurrently_running)
        if self._name == self.task_template_version.task_template.template_name[:ARRAY_NAME_CHARACTERS]:
            self._name = other._name

    def create_tasks(
        self,
        upstream_tasks: Iterable[Task] | None = None,
        task_attributes: Attributes | None = None,
        max_attempts: int | None = None,
        resource_scales: Mapping[str, Any] | None = None,
        **node_kwargs: Any,
    ) -> list[Task]:
        """One task for every combination of node args.

        Args:
            upstream_tasks: tasks that must be done first, in addition to those of the array.
            task_attributes: names and values, or names.
            max_attempts: limit of attempts of each.
            resource_scales: how resources grow after a resource error.
            **node_kwargs: an iterable of values for every node arg.

        Raises:
            ValueError: an arg is missing, unknown or no iterable, or two tasks have the same node args.
        """
        version = self.task_template_version
        shared = {*version.task_arg_names, *version.op_arg_names}
        version.require_args(node_kwargs.keys() | shared)
        settings = Settings.of(max_attempts=max_attempts, resource_scales=resource_scales)
        texts = [_texts(name, node_kwargs[name], self.name) for name in version.node_arg_names]
        tasks: list[Task] = []
        for values in product(*texts):
            node = Node.of_values(version, values)
            task = Task.of_values(
                node, self._task_values, self._op_values, settings, self, task_attributes=task_attributes
            )
            if self._by_node.setdefault(values, task) is not task:
                raise ValueError(
                    f"create_tasks() of '{self.name}' was given the same node args twice: {node.node_args}."
                )
            tasks.append(task)
        upstreams = self._upstream_tasks
        if upstream_tasks:
            upstreams = tuple(dict.fromkeys((*upstreams, *upstream_tasks)))
        if upstreams and tasks:
            connect(upstreams, tuple(tasks))
        return tasks

    @staticmethod
    def expand_dict(**kwargs: Any) -> list[dict[str, Any]]:
        """The cross product of lists of values, as one dictionary a combination."""
        return [dict(zip(kwargs, values, strict=True)) for values in product(*kwargs.values())]

    def get_tasks_by_node_args(self, **kwargs: Any) -> list[Task]:
        """Tasks whose node args have these values, or one of them where an iterable is given.

        Raises:
            ValueError: one of the args is no node arg of the template.
        """
        names = self.task_template_version.node_arg_names
        if unknown := sorted(set(kwargs) - set(names)):
            raise ValueError(
                f"{', '.join(unknown)}: no node arg of "
                f"'{self.task_template_version.task_template.template_name}', which "
                f"has {', '.join(names) or 'none'}."
            )
        wanted = {names.index(name): _wanted(value) for name, value in kwargs.items()}
        return [
            task
            for values, task in self._by_node.items()
            if all(values[position] in allowed for position, allowed in wanted.items())
        ]

    # -- what it is ---------------------------------------------------------------------------------
    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def workflow(self) -> Workflow:
        """The workflow its tasks were added to.

        Raises:
            AttributeError: they were not added to one yet.
        """
        if self._workflow is None:
            raise AttributeError(f"The array '{self.name}' belongs to no workflow yet; add its tasks to one.")
        return self._workflow

    @property
    def _cascade(self) -> Cascade:
        template = self.task_template_version.task_template
        lowest = self._workflow if self._workflow is not None else template.tool_version
        return Cascade((lowest, template), (self._settings,))

    @property
    def cluster_name(self) -> str:
        """Where its tasks run unless they say otherwise."""
        return self._cascade.cluster_name

    @property
    def compute_resources(self) -> dict[str, Any]:
        """What its tasks need unless they say otherwise."""
        return self._cascade.compute_resources

    @property
    def resource_scales(self) -> dict[str, Any]:
        """How resources of its tasks grow unless they say otherwise."""
        return self._cascade.resource_scales

    @property
    def max_attempts(self) -> int:
        """Limit of attempts of its tasks unless they say otherwise."""
        return self._cascade.max_attempts

    def _changed(self) -> None:
        if self._workflow is not None:
            self._workflow._changed()

    # -- the database -------------------------------------------------------------------------------
    @property
    def is_bound(self) -> bool:
        """Whether it was registered."""
        return self.whole._array_id is not None

    @property
    def array_id(self) -> int:
        """Id in the database.

        Raises:
            AttributeError: its workflow is not bound yet.
        """
        if self.whole._array_id is None:
            raise AttributeError(f"The array '{self.name}' is not bound; bind its workflow.")
        return self.whole._array_id

    @array_id.setter
    def array_id(self, value: int) -> None:
        self._array_id = value

    def to_wire(self) -> ArrayItem:
        """The array as it is sent to the server."""
        version = self.task_template_version
        policy = version.task_template.retry_policy
        return ArrayItem(version.id, self.name, self.max_concurrently_running, policy)

    def bind(self) -> int:
        """Register this one array of a bound workflow; its id. A workflow registers all of its at once."""
        whole = self.whole
        if whole._array_id is None:
            response = self.task_template_version.task_template.requester.send(
                "POST",
                f"/define/workflow/{self.workflow.workflow_id}/arrays",
                ArraysRequest([whole.to_wire()]),
                ArraysResponse,
            )
            whole._array_id = response.array_ids[0]
        return whole._array_id

    def validate(self) -> None:
        """Nothing: a workflow validates its tasks."""

    def __repr__(self) -> str:
        return f"Array('{self.name}', {len(self._by_node)} tasks)"


def check_limit(max_concurrently_running: int) -> int:
    """A limit of tasks running at once.

    Raises:
        ValueError: it is negative, not a whole number or too large for the database.
    """
    largest = MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING
    number = whole_number(max_concurrently_running)
    if number is None or not 0 <= number <= largest:
        raise ValueError(
            f"max_concurrently_running must be a whole number from 0 to {largest}, not "
            f"{max_concurrently_running!r}."
        )
    return number


def _texts(name: str, values: Any, array_name: str) -> list[str]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ValueError(
            f"create_tasks() of '{array_name}': the node arg '{name}' must be a list of values (one task "
            "each), "
            f"not {values!r}; write [{values!r}] for one value."
        )
    return [arg_text(name, value) for value in values]


def _wanted(value: Any) -> set[str]:
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    return {str(element) for element in value} if several else {str(value)}
