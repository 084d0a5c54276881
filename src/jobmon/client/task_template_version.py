"""A version of a task template: one command with its args."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from string import Formatter
from typing import TYPE_CHECKING, Any

from jobmon.core.constants import ArgType
from jobmon.core.hashing import hash_args, hash_parts
from jobmon.serializers.define import TaskTemplateVersionRequest, TaskTemplateVersionResponse

if TYPE_CHECKING:
    from jobmon.client.task_template import TaskTemplate

ARG_VALUE_CHARACTERS = 2048
"""Width of the columns of arg values."""


def arg_text(name: str, value: Any) -> str:
    """The value of an arg as the text it is stored and put into the command as.

    Raises:
        ValueError: it is too long, holds a NUL or is no valid Unicode.
    """
    text = value if type(value) is str else str(value)
    if len(text) > ARG_VALUE_CHARACTERS or "\0" in text or not text.isascii():
        if len(text) > ARG_VALUE_CHARACTERS:
            raise ValueError(
                f"The value of '{name}' is {len(text)} characters long, the limit is "
                f"{ARG_VALUE_CHARACTERS}; put it "
                f"into a file and pass its path. It begins with {text[:80]!r}."
            )
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError(
                f"The value of '{name}' holds a character that no command line can carry: {text[:80]!r}."
            )
    return text


@lru_cache(maxsize=4096)
def hash_of_args(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Hash of args given as names and values; the tasks of an array share most of theirs."""
    return hash_args(dict(zip(names, values, strict=True)))


def fields_of(command_template: str) -> set[str]:
    """Names of the fields of a command template.

    Raises:
        ValueError: a brace is unbalanced, or a field has no name.
    """
    found: set[str] = set()
    for _, field, specification, _ in Formatter().parse(command_template):
        if field is None:
            continue
        name = field.split(".")[0].split("[")[0]
        if not name.isidentifier():
            raise ValueError(
                f"The command template has a field {{{field}}} without a proper name; write "
                f"{{{{ and }}}} for braces that "
                f"are part of the command. Template: {command_template}"
            )
        found.add(name)
        if specification:
            found |= fields_of(specification)
    return found


def _check_args(template_name: str, command_template: str, args: Mapping[ArgType, tuple[str, ...]]) -> None:
    """Refuse args that cannot work.

    Raises:
        ValueError: the message names template and args.
    """
    where = f"Task template '{template_name}'"
    names = [name for group in args.values() for name in group]
    reserved = _reserved_names()
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{where}: an arg must be named like a Python variable, not {name!r}.")
        if name in reserved:
            raise ValueError(
                f"{where}: an arg must not be called '{name}', for create_task() has such a parameter."
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{where}: args declared twice: {', '.join(twice)}.")
    fields = fields_of(command_template)
    if missing := sorted(set(names) - fields):
        raise ValueError(
            f"{where}: args that do not occur in the command: {', '.join(missing)}. Command: "
            f"{command_template}"
        )
    if unknown := sorted(fields - set(names)):
        raise ValueError(
            f"{where}: fields of the command that are not declared as node_args, task_args or op_args: "
            f"{', '.join(unknown)}. Command: {command_template}"
        )


@lru_cache
def _reserved_names() -> frozenset[str]:
    from jobmon.client.task_template import TaskTemplate

    names: set[str] = set()
    for method in (TaskTemplate.create_task, TaskTemplate.create_tasks):
        parameters = inspect.signature(method).parameters.values()
        names |= {p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD}
    return frozenset(names)


class TaskTemplateVersion:
    """One command with its args; obtained through :meth:`TaskTemplate.get_task_template_version`.

    Args:
        task_template: the template it is a version of.
        command_template: command with ``{arg}`` for every arg.
        node_args: args that tell its tasks apart within a workflow.
        task_args: args that change what a task computes.
        op_args: args that change neither.

    Raises:
        ValueError: command and args do not fit together.
    """

    __slots__ = (
        "_id",
        "_id_name_map",
        "command_template",
        "node_arg_names",
        "op_arg_names",
        "task_arg_names",
        "task_template",
        "template_args",
    )

    def __init__(
        self,
        task_template: TaskTemplate,
        command_template: str,
        node_args: Iterable[str] | None = None,
        task_args: Iterable[str] | None = None,
        op_args: Iterable[str] | None = None,
        *,
        check: bool = True,
    ) -> None:
        self.task_template = task_template
        self.command_template = command_template
        self.node_arg_names = _names(node_args)
        self.task_arg_names = _names(task_args)
        self.op_arg_names = _names(op_args)
        if check:
            groups = (self.node_arg_names, self.task_arg_names, self.op_arg_names)
            _check_args(
                task_template.template_name, command_template, dict(zip(ArgType, groups, strict=True))
            )
        self.template_args = frozenset((*self.node_arg_names, *self.task_arg_names, *self.op_arg_names))
        self._id: int | None = None
        self._id_name_map: dict[str, int] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and getattr(self, "_id", None) is not None:
            raise AttributeError(
                f"{name} of {self} cannot be changed: it is registered. Make another version."
            )
        object.__setattr__(self, name, value)

    @classmethod
    def from_wire(cls, wire: TaskTemplateVersionResponse, task_template: TaskTemplate) -> TaskTemplateVersion:
        """A version as the server told it."""
        version = cls(
            task_template, wire.command_template, wire.node_args, wire.task_args, wire.op_args, check=False
        )
        version._take(wire)
        return version

    def require_args(self, given: Set[str]) -> None:
        """Refuse args of a task that are not exactly those of the template.

        Raises:
            ValueError: the message names what is missing and what is unknown.
        """
        expected = self.template_args
        if given == expected:
            return
        problems = []
        if missing := sorted(expected - given):
            problems.append(f"missing: {', '.join(missing)}")
        if unknown := sorted(given - expected):
            problems.append(f"unknown: {', '.join(unknown)}")
        raise ValueError(
            f"The args of a task of '{self.task_template.template_name}' must be "
            f"{', '.join(sorted(expected)) or 'none'}; {'; '.join(problems)}."
        )

    def bind(self) -> None:
        """Register it; bound twice it stays the same."""
        if self._id is not None:
            return
        message = TaskTemplateVersionRequest(
            self.task_template.id,
            self.command_template,
            self.arg_mapping_hash,
            list(self.node_arg_names),
            list(self.task_arg_names),
            list(self.op_arg_names),
        )
        requester = self.task_template.requester
        self._take(
            requester.send("POST", "/define/task_template_version", message, TaskTemplateVersionResponse)
        )

    def _take(self, wire: TaskTemplateVersionResponse) -> None:
        self._id = wire.id
        self._id_name_map = {**wire.node_args, **wire.task_args, **wire.op_args}

    @property
    def is_bound(self) -> bool:
        """Whether it was registered."""
        return self._id is not None

    @property
    def id(self) -> int:
        """Id in the database."""
        if self._id is None:
            raise AttributeError(f"{self} is not bound.")
        return self._id

    @property
    def id_name_map(self) -> dict[str, int]:
        """Ids of the args by name."""
        return self._id_name_map

    @property
    def node_args(self) -> set[str]:
        """Args that tell its tasks apart within a workflow."""
        return set(self.node_arg_names)

    @property
    def task_args(self) -> set[str]:
        """Args that change what a task computes."""
        return set(self.task_arg_names)

    @property
    def op_args(self) -> set[str]:
        """Args that change neither."""
        return set(self.op_arg_names)

    @property
    def arg_mapping_hash(self) -> str:
        """Identity of the names and kinds of the args, whatever their order."""
        parts: list[str] = []
        for names in (self.node_arg_names, self.task_arg_names, self.op_arg_names):
            parts += [str(len(names)), *sorted(names)]
        return hash_parts(parts)

    def arg_ids(self, names: tuple[str, ...]) -> list[int]:
        """Ids of args in the order given."""
        return [self._id_name_map[name] for name in names]

    def __repr__(self) -> str:
        return f"TaskTemplateVersion('{self.task_template.template_name}', {self.command_template!r})"


def _names(args: Iterable[str] | None) -> tuple[str, ...]:
    return (args,) if isinstance(args, str) else tuple(args or ())
