"""Tasks that are calls of Python functions.

A function with annotated parameters becomes a :class:`TaskGenerator`: the control script makes tasks of it, and
every task calls the function with its arguments::

    # life.py, a module the tasks can import
    from jobmon.core.task_generator import task_generator

    @task_generator(serializers={}, tool_name="life", naming_args=["country"])
    def fit(country: str, years: list[int]) -> None:
        ...

    # the control script
    from life import fit

    tasks = fit.create_tasks(country=["Chile", "Norway"], years=[[1990, 2000]])

Rules
-----
1. Decorating reaches no server and imports nothing of the client: every task does it when it imports the module.
   The tool is registered when the first task is made; what only making tasks needs is imported then.
2. What cannot work is refused as early as it is known: types when the function is decorated, values when a task
   is made.

Theory of operation
-------------------
The task template has the function's name; its command is ``worker_node_entry_point task_generator --module_name M
--func_name F [--module_source_path P] a={a} …``. Every parameter is a node arg; its value is the word of the
command, as :mod:`jobmon.core.argument_text` writes it. On the compute node :mod:`jobmon.worker_node.cli` imports the
module, finds the generator and calls :meth:`TaskGenerator.run`.

While a task imports the module no task can be made: a control script without ``if __name__ == "__main__":`` would
start its workflow again in each of its tasks.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from jobmon.core import argument_text
from jobmon.core.argument_text import (
    Serializers,
    get_optional_type_parameter,
    is_optional_type,
    parse_type,
)
from jobmon.core.task_function import Parameter, TaskFunction
from jobmon.core.task_names import create_task_name

if TYPE_CHECKING:
    from jobmon.client.task import Task
    from jobmon.client.task_template import TaskTemplate
    from jobmon.client.tool import Tool
    from jobmon.client.workflow import Workflow

__all__ = [
    "TaskGenerator",
    "create_task_name",
    "get_optional_type_parameter",
    "get_tasks_by_node_args",
    "imported_by_task",
    "is_optional_type",
    "make_cli_argument_string",
    "setup",
    "task_generator",
]

_is_imported_by_task = False


@contextlib.contextmanager
def imported_by_task() -> Iterator[None]:
    """While a task imports the module of its function: no tasks are made, and nobody is warned again."""
    global _is_imported_by_task
    before, _is_imported_by_task = _is_imported_by_task, True
    try:
        yield
    finally:
        _is_imported_by_task = before


class TaskGenerator:
    """Makes tasks that call a function; usually by the decorator :func:`task_generator`.

    It is no function: call ``task_function`` to call the function here and now.

    Args:
        task_function: the function; all parameters must be annotated with supported types.
        serializers: for every further type a pair of functions: value to text, text to value.
        tool_name: name of the tool the tasks belong to.
        naming_args: parameters whose values make the names of tasks; all of them when ``None``, with a warning.
        max_attempts: limit of attempts of each task.
        module_source_path: file of the module, where tasks cannot import it by name.
        name_func: called with the function's name and the values that make a name; gives the name of a task.
        default_cluster_name: cluster of the tasks.
        default_compute_resources: resources of the tasks on that cluster.
        default_resource_scales: scales of the tasks on that cluster.
        yaml_file: file with ``task_template_resources`` for the function's name.

    Attributes:
        task_function: the function.

    Raises:
        TypeError: a parameter or a serializer is not supported; the message says which and what is.
        ValueError: ``naming_args`` names what is no parameter.
    """

    def __init__(
        self,
        task_function: Callable[..., Any],
        serializers: Serializers,
        tool_name: str,
        naming_args: Sequence[str] | None = None,
        max_attempts: int | None = None,
        module_source_path: str | None = None,
        name_func: Callable[[str, dict[str, Any]], str] | None = None,
        default_cluster_name: str = "",
        default_compute_resources: Mapping[str, Any] | None = None,
        default_resource_scales: Mapping[str, Any] | None = None,
        yaml_file: str | None = None,
    ) -> None:
        self.task_function = task_function
        self.serializers = serializers or {}
        self.tool_name = tool_name
        self.max_attempts = max_attempts
        self.module_source_path = os.fspath(module_source_path) if module_source_path else None
        self.name_func = name_func
        self.default_cluster_name = default_cluster_name
        self.default_compute_resources = default_compute_resources
        self.default_resource_scales = default_resource_scales
        self.yaml_file = os.fspath(yaml_file) if yaml_file else None
        self.__doc__, self.__module__ = task_function.__doc__, task_function.__module__
        self.__name__, self.__qualname__ = task_function.__name__, task_function.__qualname__
        self._function = TaskFunction(task_function, self.serializers)
        self.naming_args = self._check_naming(naming_args)
        self._tool: Tool | None = None
        self._task_template: TaskTemplate | None = None
        self._executable = ""

    @property
    def name(self) -> str:
        """Name of the function and of the task template."""
        return self._function.name

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Parameters of the function by name."""
        return self._function.parameters

    def _check_naming(self, naming_args: Sequence[str] | None) -> list[str]:
        if naming_args is None:
            if self.parameters and not _is_imported_by_task:
                warnings.warn(
                    f"task_generator '{self.name}' has no naming_args, so that the values of all arguments make "
                    "the names of its tasks; name those that tell its tasks apart.",
                    stacklevel=4,
                )
            return list(self.parameters)
        named = [naming_args] if isinstance(naming_args, str) else list(naming_args)
        if unknown := [each for each in named if each not in self.parameters]:
            raise ValueError(
                f"naming_args of task_generator '{self.name}' has {', '.join(map(repr, unknown))}; the parameters "
                f"are {', '.join(self.parameters) or 'none'}."
            )
        return named

    # -- values and texts ---------------------------------------------------------------------------
    def serialize(self, obj: Any, expected_type: Any) -> str | list[str]:
        """A value as text: that of the value, or those of the elements of a collection.

        Raises:
            TypeError: the type is not supported, or the value is not of it.
        """
        return parse_type(expected_type, self.serializers).write(obj)

    def serialize_array(self, obj: Any, expected_type: Any) -> list[str]:
        """The elements of a collection as texts.

        Raises:
            TypeError: the type is no collection, or the value is not of it.
        """
        kind = parse_type(expected_type, self.serializers)
        if kind.container is None:
            raise TypeError(f"{kind} is no collection.")
        return kind.write_elements(obj)

    def deserialize(self, obj: str, obj_type: Any) -> Any:
        """The value of a text, as the program finds it in its ``argv``.

        Raises:
            TypeError: the type is not supported.
            ValueError: the text is none of a value of the type.
        """
        return parse_type(obj_type, self.serializers).read(obj)

    def word(self, name: str, value: Any) -> str:
        """A value of a parameter as a word of the command, which is its node arg.

        Raises:
            TypeError: the value is of another type.
            ValueError: no command line can carry it.
        """
        return argument_text.shell_word(self._function.write(name, value))

    # -- making tasks -------------------------------------------------------------------------------
    @property
    def tool(self) -> Tool:
        """The tool, registered when it is first asked for."""
        if self._tool is None:
            from jobmon.client.tool import Tool

            self._tool = Tool(name=self.tool_name)
        return self._tool

    @property
    def task_template(self) -> TaskTemplate:
        """The task template, registered when it is first asked for.

        Raises:
            RuntimeError: a task is importing the module, or the function cannot be imported by one.
        """
        self._refuse_in_task()
        if self._task_template is None:
            from jobmon.core import task_command

            self._task_template = self.tool.get_task_template(
                template_name=self.name,
                command_template=task_command.command_template(
                    self.task_function.__module__, self.name, self.module_source_path, self.parameters
                ),
                node_args=list(self.parameters),
                op_args=["executable"],
                default_cluster_name=self.default_cluster_name,
                default_compute_resources=self.default_compute_resources,
                default_resource_scales=self.default_resource_scales,
                yaml_file=self.yaml_file,
                max_attempts=self.max_attempts,
            )
        return self._task_template

    def _refuse_in_task(self) -> None:
        if _is_imported_by_task:
            raise RuntimeError(
                f"A task imports the module of '{self.name}', and the module makes tasks when it is imported. Put "
                'what builds the workflow behind if __name__ == "__main__":, or the function into a module of '
                "its own."
            )

    @property
    def executable(self) -> str:
        """What the command begins with; ``distributor.worker_node_entry_point``, or the program beside Python.

        Raises:
            FileNotFoundError: there is no such program.
        """
        if not self._executable:
            from jobmon.core import task_command

            self._executable = task_command.find_executable()
        return self._executable

    def create_task(
        self,
        cluster_name: str = "",
        compute_resources: Mapping[str, Any] | Callable[[], dict[str, Any]] | None = None,
        resource_scales: Mapping[str, Any] | None = None,
        upstream_tasks: Iterable[Task] | None = None,
        task_attributes: Mapping[str, Any] | Iterable[str] | None = None,
        **kwargs: Any,
    ) -> Task:
        """A task that calls the function; add it to a workflow.

        Args:
            cluster_name: where it runs.
            compute_resources: what it needs.
            resource_scales: how its resources grow after a resource error.
            upstream_tasks: tasks that must be done first.
            task_attributes: names and values, or names.
            **kwargs: a value for every parameter; one that is absent has its default, or is ``None`` where it
                may be.

        Raises:
            TypeError: an argument is missing, unknown or of another type.
            ValueError: a value is longer than the database keeps.
        """
        values = self._function.complete(kwargs)
        words: dict[str, Any] = {name: self.word(name, value) for name, value in values.items()}
        named = {name: self._shown(name, values[name]) for name in self.naming_args}
        executable = self.executable
        return self.task_template.create_task(
            name=create_task_name(named, self.name, self.name_func),
            upstream_tasks=upstream_tasks,
            task_attributes=task_attributes,
            compute_resources=compute_resources,
            resource_scales=resource_scales,
            cluster_name=cluster_name,
            executable=executable,
            **words,
        )

    def create_tasks(
        self,
        cluster_name: str = "",
        compute_resources: Mapping[str, Any] | Callable[[], dict[str, Any]] | None = None,
        resource_scales: Mapping[str, Any] | None = None,
        upstream_tasks: Iterable[Task] | None = None,
        **kwargs: Any,
    ) -> list[Task]:
        """A task for every combination of values, as an array.

        Args:
            cluster_name: where they run.
            compute_resources: what each needs.
            resource_scales: how resources grow after a resource error.
            upstream_tasks: tasks that must be done before any of them.
            **kwargs: a list of values for every parameter; one that is absent has its default, or is ``None``
                where it may be.

        Raises:
            TypeError: an argument is missing, unknown, no list, or a value is of another type.
            ValueError: a value is longer than the database keeps, or given twice.
        """
        values = {
            name: self._listed(name, given) if name in kwargs else [given]
            for name, given in self._function.complete(kwargs).items()
        }
        words: dict[str, Any] = {
            name: [self.word(name, value) for value in several] for name, several in values.items()
        }
        executable = self.executable
        tasks = self.task_template.create_tasks(
            upstream_tasks=upstream_tasks,
            compute_resources=compute_resources,
            resource_scales=resource_scales,
            cluster_name=cluster_name,
            executable=executable,
            **words,
        )
        names = self.task_template.active_task_template_version.node_arg_names  # tasks come in this order
        shown = [[self._shown(name, value) for value in values[name]] for name in names]
        for task, combination in zip(tasks, product(*shown), strict=True):
            by_name = dict(zip(names, combination, strict=True))
            named = {name: by_name[name] for name in self.naming_args}
            task.name = create_task_name(named, self.name, self.name_func)
        return tasks

    def _listed(self, name: str, given: Any) -> list[Any]:
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            raise TypeError(
                f"{self.name}.create_tasks(): argument '{name}' must be a list of values (one task each), not "
                f"{given!r}; write [{given!r}] for one value."
            )
        return list(given)

    def _shown(self, name: str, value: Any) -> Any:
        """A value as it is given to what makes names: itself to a function of the user, else a text."""
        if self.name_func is not None or isinstance(value, str):
            return value
        texts = self._function.write(name, value)
        return texts if isinstance(texts, str) else argument_text.join_elements(texts)

    # -- in the task --------------------------------------------------------------------------------
    def parse(self, args: Iterable[str]) -> dict[str, Any]:
        """Values of the arguments of a command line, each ``name=text``.

        Raises:
            TypeError: an argument is missing, unknown, given twice or no ``name=text``.
            ValueError: a text is none of a value of the type.
        """
        return self._function.parse(args)

    def run(self, args: Iterable[str]) -> Any:
        """Call the function with the arguments of a command line, each ``name=text``; what it returns.

        Raises:
            TypeError: an argument is missing, unknown, given twice or no ``name=text``.
            ValueError: a text is none of a value of the type.
        """
        return self.task_function(**self.parse(args))

    def help(self) -> None:
        """Print what the function does and what its arguments are."""
        print(self._function.describe())

    def __repr__(self) -> str:
        return f"TaskGenerator('{self.task_function.__module__}.{self.name}')"


def task_generator(
    serializers: Serializers,
    tool_name: str,
    naming_args: Sequence[str] | None = None,
    max_attempts: int | None = None,
    module_source_path: str | None = None,
    name_func: Callable[[str, dict[str, Any]], str] | None = None,
    default_cluster_name: str = "",
    default_compute_resources: Mapping[str, Any] | None = None,
    default_resource_scales: Mapping[str, Any] | None = None,
    yaml_file: str | None = None,
) -> Callable[[Callable[..., Any]], TaskGenerator]:
    """Decorate a function so that tasks can be made of it; arguments and errors of :class:`TaskGenerator`."""

    def decorate(task_function: Callable[..., Any]) -> TaskGenerator:
        return TaskGenerator(
            task_function,
            serializers,
            tool_name,
            naming_args,
            max_attempts,
            module_source_path,
            name_func,
            default_cluster_name,
            default_compute_resources,
            default_resource_scales,
            yaml_file,
        )

    return decorate


# -- functions users call --------------------------------------------------------------------------
def make_cli_argument_string(arg_value: str | Sequence[str]) -> str:
    """What :meth:`TaskGenerator.serialize` returned, as a word of a command: ``[a,b]`` in single quotes for a list."""
    return argument_text.shell_word(arg_value)


def get_tasks_by_node_args(
    workflow: Workflow,
    task_generator: TaskGenerator,
    node_args_dict: Mapping[str, Any],
    error_on_empty: bool = True,
) -> list[Task]:
    """Tasks of a generator in a workflow whose arguments have these values.

    Args:
        workflow: the workflow they were added to.
        task_generator: what made them.
        node_args_dict: for some of the parameters a value, or several of which a task must have one.
        error_on_empty: whether it is an error that there are none.

    Raises:
        TypeError: a parameter is unknown, or a value is of another type.
        ValueError: there are none.
    """
    task_generator._function.check_names(node_args_dict)
    words = {name: _words(task_generator, name, wanted) for name, wanted in node_args_dict.items()}
    if task_generator.name not in {
        array.task_template_version.task_template.template_name for array in workflow.arrays.values()
    }:
        tasks = []
    else:
        tasks = workflow.get_tasks_by_node_args(task_generator.name, **words)
    if not tasks and error_on_empty:
        wanted = ", ".join(f"{name}={value!r}" for name, value in node_args_dict.items()) or "any arguments"
        raise ValueError(f"The workflow has no task of '{task_generator.name}' with {wanted}.")
    return tasks


def _words(generator: TaskGenerator, name: str, wanted: Any) -> list[str]:
    try:
        return [generator.word(name, wanted)]
    except TypeError:
        if isinstance(wanted, str | bytes) or not isinstance(wanted, Iterable):
            raise
        return [generator.word(name, each) for each in wanted]


def setup(app: Any) -> dict[str, Any]:
    """Make this module an extension of Sphinx, with the directives of :mod:`jobmon.core.task_generator_directives`."""
    from jobmon.core import task_generator_directives

    return task_generator_directives.setup(app)
