"""``worker_node_entry_point``: what runs on a compute node.

``task_generator`` calls a Python function that :mod:`jobmon.core.task_generator` made a task of. Exit codes: 0 done, 1
the function raised (its traceback is on stderr), 2 the command line is at fault (one line on stderr says why).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobmon.core.task_generator import TaskGenerator

PROGRAM = "worker_node_entry_point"
USAGE_ERROR = 2


class CommandLineError(Exception):
    """The command line names something that is not there."""


def run(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code.

    Args:
        argv: words behind the program's name; those of this process by default.

    Raises:
        SystemExit: the command line is not understood.
    """
    arguments = _parser().parse_args(argv)
    try:
        return run_task_generator(arguments)
    except CommandLineError as error:
        print(f"{PROGRAM} task_generator: {error}", file=sys.stderr)
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description="What Jobmon runs on a compute node.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "task_generator",
        help="call a Python function that is a task",
        description="Call a Python function that is a task (see jobmon.core.task_generator).",
        epilog=f"Example: {PROGRAM} task_generator --module_name life --func_name fit country=Chile years='[1990,2000]'",
        allow_abbrev=False,
    )
    command.add_argument("--module_name", required=True, metavar="MODULE", help="module of the function")
    command.add_argument("--func_name", required=True, metavar="FUNCTION", help="name of the function")
    command.add_argument("--module_source_path", metavar="PATH", help="file of the module")
    command.add_argument(
        "--arghelp", nargs="?", const="yes", metavar="ANYTHING", help="show the function's arguments"
    )
    command.add_argument("args", nargs="*", metavar="name=value", help="an argument of the function")
    return parser


def run_task_generator(arguments: argparse.Namespace) -> int:
    """Import the module, find the function and call it; the exit code.

    Raises:
        CommandLineError: there is no such module, function or argument, or a value cannot be read.
    """
    from jobmon.core import task_generator

    with task_generator.imported_by_task():
        module = load_module(arguments.module_name, arguments.module_source_path)
    generator = find_generator(module, arguments.func_name)
    if arguments.arghelp:
        generator.help()
        return 0
    try:
        values = generator.parse(arguments.args)
    except (TypeError, ValueError) as error:
        raise CommandLineError(str(error)) from error
    generator.task_function(**values)
    return 0


def find_generator(module: ModuleType, func_name: str) -> TaskGenerator:
    """The task generator of a function, whatever name the module gave it.

    Raises:
        CommandLineError: the module has none.
    """
    from jobmon.core.task_generator import TaskGenerator

    found = {each.name: each for each in vars(module).values() if isinstance(each, TaskGenerator)}
    named = getattr(module, func_name, None)
    if isinstance(named, TaskGenerator):
        return named
    if func_name in found:
        return found[func_name]
    where = f"module {module.__name__} ({getattr(module, '__file__', 'no file')})"
    if callable(named):
        raise CommandLineError(
            f"'{func_name}' of {where} is no task generator; decorate it with @task_generator(...)."
        )
    raise CommandLineError(
        f"{where} has no task generator '{func_name}'. It has: {', '.join(sorted(found)) or 'none'}."
    )


# -- the module --------------------------------------------------------------------------------------
def load_module(name: str, path: str | None) -> ModuleType:
    """Import a module by its name, or from a file.

    Raises:
        CommandLineError: there is none.
    """
    if path is None:
        sys.path.append(os.getcwd())  # as ``python -m`` would, but behind what is installed
        return _import_module(name)
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise CommandLineError(f"--module_source_path {path} is no file that can be seen from here.")
    root = _root(name, path)
    sys.path.insert(0, root or os.path.dirname(path))
    if root and "." in name:  # its package must be imported first
        module = _import_module(name)
        if module.__file__ and os.path.samefile(module.__file__, path):
            return module
    return _load_file(name, path)


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there; one that it imports is not
        raise CommandLineError(
            f"there is no module '{name}' for {sys.executable}. Install it there, or tell its file with "
            "module_source_path of the task generator."
        ) from error


def _root(name: str, path: str) -> str:
    """The directory from which a file is imported under this name; empty when the two do not fit together."""
    module = os.path.splitext(path)[0].removesuffix(f"{os.sep}__init__")
    tail = os.sep + name.replace(".", os.sep)
    return (module.removesuffix(tail) or os.sep) if module.endswith(tail) else ""


def _load_file(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CommandLineError(f"--module_source_path {path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(run())
