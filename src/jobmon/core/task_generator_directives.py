"""Directives for Sphinx that document task generators.

::

    extensions = ["jobmon.core.task_generator"]           # in conf.py

    .. task_generator:: life.fit                          in a page: one function,
    .. task_generator_module:: life                       or all those of a module

Each becomes a section: signature, docstring, arguments with types and defaults, and the command line to call it by
hand. Needs docutils, which comes with Sphinx.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from jobmon.core import task_command
from jobmon.core.task_function import TaskFunction
from jobmon.core.task_generator import TaskGenerator, imported_by_task


class TaskGeneratorDirective(Directive):
    """``.. task_generator:: module.function``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The section of one task generator."""
        module_name, _, name = self.arguments[0].rpartition(".")
        generator = self._generators(module_name).get(name)
        if generator is None:
            raise self.error(f"There is no task generator '{name}' in module '{module_name}'.")
        return [self._section(module_name, generator)]

    def _generators(self, module_name: str) -> dict[str, TaskGenerator]:
        """Task generators that a module defines, by name, in their order."""
        try:
            with imported_by_task():
                module = importlib.import_module(module_name)
        except (ImportError, ValueError) as error:
            raise self.error(f"Module '{module_name}' cannot be imported: {error}") from error
        found = [each for each in vars(module).values() if isinstance(each, TaskGenerator)]
        return {each.name: each for each in found}

    def _section(self, module_name: str, generator: TaskGenerator) -> nodes.section:
        function = TaskFunction(generator.task_function, generator.serializers)
        section = nodes.section(ids=[nodes.make_id(f"{module_name}.{generator.name}")])
        section += nodes.title(text=generator.name)
        section += nodes.paragraph("", "", nodes.literal(text=str(function)))
        doc = self._docstring(f"{module_name}.{generator.name}", generator)
        self.state.nested_parse(StringList(doc, source=module_name), 0, section)
        section += self._arguments(function)
        words = [f"{task_command.ENTRY_POINT} task_generator --module_name {module_name}"]
        words += [f"--func_name {generator.name}", *(f"{name}=…" for name in function.parameters)]
        command = " ".join(words)
        section += nodes.literal_block(command, command, language="none")
        return section

    def _docstring(self, full_name: str, generator: TaskGenerator) -> list[str]:
        """Lines of the docstring, after extensions such as napoleon have seen them."""
        lines = (inspect.getdoc(generator.task_function) or "").splitlines()
        environment = getattr(self.state.document.settings, "env", None)
        if environment is not None:  # it is Sphinx, not docutils alone
            function = generator.task_function
            environment.events.emit("autodoc-process-docstring", "function", full_name, function, None, lines)
        return lines

    @staticmethod
    def _arguments(function: TaskFunction) -> nodes.definition_list:
        items = nodes.definition_list()
        for parameter in function.parameters.values():
            say = "Required." if parameter.is_required else f"Default: {parameter.absent!r}."
            items += nodes.definition_list_item(
                "",
                nodes.term("", "", nodes.literal(text=parameter.name)),
                nodes.definition("", nodes.paragraph(text=f"{parameter.type}. {say}")),
            )
        return items


class TaskGeneratorModuleDirective(TaskGeneratorDirective):
    """``.. task_generator_module:: module``."""

    def run(self) -> list[nodes.Node]:
        """The sections of all task generators of a module."""
        (module_name,) = self.arguments
        generators = self._generators(module_name)
        if not generators:
            raise self.error(f"Module '{module_name}' has no task generators.")
        return [self._section(module_name, generator) for generator in generators.values()]


def setup(app: Any) -> dict[str, Any]:
    """Register the directives with Sphinx."""
    app.add_directive("task_generator", TaskGeneratorDirective)
    app.add_directive("task_generator_module", TaskGeneratorModuleDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
