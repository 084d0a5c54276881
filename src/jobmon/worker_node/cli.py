"""``worker_node_entry_point``: what runs on a compute node.

``task_generator`` calls a Python function that :mod:`jobmon.core.task_generator` made a task of. Exit codes: 0 done, 1
the function raised (its traceback is on stderr), 2 the command line is at fault (one line on stderr says why).

``worker_node_array`` and ``worker_node_job`` run a step of a batch through :mod:`jobmon.worker_node.wrapper`, where the compute
nodes have a Jobmon of their own, or a plugin builds its command lines itself. Exit codes: the command's own, 198 the node has
another version of Jobmon, 199 the command was not run.
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

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

WRAPPER_STEP_OPTION, WRAPPER_ID_OPTION = (
    "--step",
    "--distributor-id",
)  # of core.batch_cluster, which loads much
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
        code: int = arguments.run(arguments)
        return code
    except CommandLineError as error:
        print(f"{PROGRAM} {arguments.command}: {error}", file=sys.stderr)
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description="What Jobmon runs on a compute node.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    _add_task_generator(commands)
    _add_wrapper(commands)
    return parser


def _add_task_generator(commands: Commands) -> None:
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
    command.set_defaults(run=run_task_generator)


def _add_wrapper(commands: Commands) -> None:
    array = commands.add_parser(
        "worker_node_array",
        help="run a step of a job array",
        description="Run a step of a job array.",
        allow_abbrev=False,
    )
    array.add_argument("--array_id", type=int, metavar="N", help="the array in Jobmon's database")
    array.add_argument("--batch_number", type=int, metavar="N", help="the batch of the array")
    job = commands.add_parser(
        "worker_node_job", help="run a single job", description="Run a single job.", allow_abbrev=False
    )
    job.add_argument("--task_instance_id", type=int, metavar="N", help="the attempt in Jobmon's database")
    for command in (array, job):
        command.add_argument("--batch_file", required=True, metavar="FILE", help="says what each step is")
        command.add_argument("--cluster_name", metavar="CLUSTER", help="the cluster it runs on")
        command.add_argument(
            "--expected_jobmon_version", metavar="VERSION", help="exit with 198 if this is another"
        )
        command.add_argument(
            WRAPPER_STEP_OPTION, type=int, metavar="N", help="the step, from 0; by default the plugin knows"
        )
        command.add_argument(
            WRAPPER_ID_OPTION, metavar="ID", help="id of the job on the cluster; by default the plugin knows"
        )
        command.set_defaults(run=run_wrapper, task_instance_id=None)


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


def run_wrapper(arguments: argparse.Namespace) -> int:
    """Run a step of a batch; the exit code.

    Raises:
        CommandLineError: the batch file cannot be read, or nobody says which step this is.
    """
    from jobmon.core import __version__
    from jobmon.worker_node import wire, wrapper

    path = os.fsencode(arguments.batch_file)
    try:
        step = arguments.step
        if step is None and arguments.task_instance_id is not None:
            step = wire.step_of(path, arguments.task_instance_id)
        batch = wire.Batch(path, step or 0)
    except wire.Unreadable as error:
        raise CommandLineError(str(error)) from error
    distributor_id = arguments.distributor_id
    if step is None or distributor_id is None:
        cluster_type = batch.text(b"cluster_type") or arguments.cluster_name or batch.text(b"cluster_name")
        step, distributor_id = _ask_cluster(cluster_type, step, distributor_id)
    return wrapper.run_step(path, step, distributor_id, __version__, arguments.expected_jobmon_version)


def _ask_cluster(cluster_type: str, step: int | None, distributor_id: str | None) -> tuple[int, str]:
    """Step and id of this job, where the command line does not tell them, as the cluster's plugin knows them."""
    from jobmon.core.cluster_type import ClusterType
    from jobmon.core.exceptions import UnknownClusterError

    try:
        node = ClusterType(cluster_type).cluster_worker_node_class()
    except UnknownClusterError as error:
        raise CommandLineError(
            f"{error} Give {WRAPPER_STEP_OPTION} and {WRAPPER_ID_OPTION}, or install the plugin on the compute nodes."
        ) from error
    found_step = node.array_step_id if step is None else step
    found_id = node.distributor_id if distributor_id is None else distributor_id
    for option, found in ((WRAPPER_STEP_OPTION, found_step), (WRAPPER_ID_OPTION, found_id)):
        if found is None:
            raise CommandLineError(f"{option} is missing, and the plugin '{cluster_type}' does not know it.")
    assert found_step is not None
    assert found_id is not None
    return found_step, found_id


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
