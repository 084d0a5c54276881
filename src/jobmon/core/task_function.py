"""A function tasks can call: its parameters, and its arguments as values and as texts."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobmon.core import argument_text
from jobmon.core.argument_text import ArgumentType, Serializers

RESERVED_NAMES = frozenset(
    {
        "cluster_name",
        "compute_resources",
        "compute_resources_callable",
        "executable",
        "fallback_queues",
        "max_attempts",
        "max_concurrently_running",
        "name",
        "resource_scales",
        "self",
        "task_attributes",
        "upstream_tasks",
    }
)
"""Parameters a function cannot have: making a task has them."""

NO_DEFAULT = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function.

    Attributes:
        name: its name.
        type: what values it takes.
        default: value when none is given; ``NO_DEFAULT`` for none.
    """

    name: str
    type: ArgumentType
    default: Any = NO_DEFAULT

    @property
    def is_required(self) -> bool:
        """Whether a value must be given."""
        return self.default is NO_DEFAULT and not self.type.is_optional

    @property
    def absent(self) -> Any:
        """Its value when none is given, for one that is not required."""
        return None if self.default is NO_DEFAULT else self.default

    def __str__(self) -> str:
        return f"{self.name}: {self.type}" + ("" if self.is_required else f" = {self.absent!r}")


class TaskFunction:
    """A function with parameters that can be given on a command line.

    Args:
        function: the function.
        serializers: for types beyond the simple ones a pair of functions: value to text, text to value.

    Attributes:
        function: the function.
        name: its name.
        parameters: its parameters by name.

    Raises:
        TypeError: a parameter or a serializer is not supported; the message says which and what is.
    """

    def __init__(self, function: Callable[..., Any], serializers: Serializers) -> None:
        argument_text.check_serializers(serializers)
        self.function = function
        self.name = function.__name__
        self.parameters = {
            name: self._parameter(parameter, serializers)
            for name, parameter in inspect.signature(function).parameters.items()
        }

    def _parameter(self, parameter: inspect.Parameter, serializers: Serializers) -> Parameter:
        name, default = parameter.name, parameter.default
        where = f"Parameter '{name}' of {self.name}()"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(
                f"{where} is {parameter.kind.description}; a task gives every argument by its name."
            )
        if name in RESERVED_NAMES:
            raise TypeError(f"{where}: making a task has a parameter of that name; choose another name.")
        if parameter.annotation is inspect.Parameter.empty:
            raise TypeError(
                f"{where} has no type; write {name}: str, for example. {argument_text.SUPPORTED}."
            )
        try:
            annotation = self._resolve(name, parameter.annotation, serializers)
            kind = argument_text.parse_type(annotation, serializers)
        except (TypeError, NameError, SyntaxError, AttributeError) as error:
            raise TypeError(f"{where}: {error}.") from error
        return Parameter(name, replace(kind, is_optional=True) if default is None else kind, default)

    def _resolve(self, name: str, annotation: Any, serializers: Serializers) -> Any:
        """An annotation with names replaced by what they stand for; serializers may bring local types."""
        known = {each.__name__: each for each in serializers if isinstance(each, type)}
        scope = {**known, **getattr(inspect.unwrap(self.function), "__globals__", {})}
        bearer = types.SimpleNamespace(__annotations__={name: annotation})
        return typing.get_type_hints(bearer, globalns=scope)[name]

    # -- values and texts ---------------------------------------------------------------------------
    def write(self, name: str, value: Any) -> str | list[str]:
        """Text of a value of a parameter; the texts of its elements when it is a collection.

        Raises:
            TypeError: the value is of another type.
            ValueError: no command line can carry it.
        """
        try:
            return self.parameters[name].type.write(value)
        except TypeError as error:
            raise TypeError(f"{self.name}(): argument '{name}': {error}.") from error
        except ValueError as error:
            raise ValueError(f"{self.name}(): argument '{name}': {error}.") from error

    def read(self, name: str, text: str) -> Any:
        """Value of a text for a parameter.

        Raises:
            ValueError: the text is none of a value of its type.
        """
        kind = self.parameters[name].type
        try:
            return kind.read(text)
        except (ValueError, TypeError, LookupError) as error:
            raise ValueError(
                f"{self.name}(): argument '{name}' cannot be read as {kind}: {error}."
            ) from error

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What was given, in the order of the parameters, with the defaults of what was not.

        Raises:
            TypeError: one is missing or unknown.
        """
        self.check_names(given)
        if missing := [p.name for p in self.parameters.values() if p.is_required and p.name not in given]:
            raise TypeError(f"{self.name}() needs a value for {', '.join(missing)}. It is {self}.")
        return {name: given.get(name, p.absent) for name, p in self.parameters.items()}

    def check_names(self, names: Iterable[str]) -> None:
        """Check that these are names of parameters.

        Raises:
            TypeError: one is not.
        """
        if unknown := [name for name in names if name not in self.parameters]:
            raise TypeError(f"{self.name}() has no parameter {', '.join(unknown)}. It is {self}.")

    def parse(self, args: Iterable[str]) -> dict[str, Any]:
        """Values of the arguments of a command line, each ``name=text``.

        Raises:
            TypeError: an argument is missing, unknown, given twice or no ``name=text``.
            ValueError: a text is none of a value of the type.
        """
        texts: dict[str, str] = {}
        for each in args:
            name, sign, text = each.partition("=")
            if not sign:
                raise TypeError(f"{self.name}(): {each!r} is no argument; write name=value.")
            if name in texts:
                raise TypeError(f"{self.name}(): argument '{name}' is given twice.")
            texts[name] = text
        self.check_names(texts)
        return self.complete({name: self.read(name, text) for name, text in texts.items()})

    # -- words for people ---------------------------------------------------------------------------
    def describe(self) -> str:
        """What the function does and what its parameters are, for a terminal."""
        lines = [str(self)]
        if doc := inspect.getdoc(self.function):
            lines += ["", doc]
        lines += ["", "Arguments, each name=value:" if self.parameters else "There are no arguments."]
        for parameter in self.parameters.values():
            say = "required" if parameter.is_required else f"default {parameter.absent!r}"
            lines.append(f"  {parameter.name}: {parameter.type} ({say})")
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters.values()))})"
