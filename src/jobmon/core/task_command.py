"""The command of a task that calls a Python function: the program, and how it finds the function.

A module that can be imported only because it lies beside the control script (or is the control script itself)
is named by its path as well, for tasks are not started there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable

ENTRY_POINT = "worker_node_entry_point"

_MAIN_MODULES = ("__main__", "__mp_main__")


def command_template(module_name: str, func_name: str, source_path: str | None, args: Iterable[str]) -> str:
    """The command with a field for the program, ``{executable}``, and one for each argument.

    Args:
        module_name: module of the function, as it is known here.
        func_name: name of the function.
        source_path: file of the module, where the user said it.
        args: names of the arguments.

    Raises:
        RuntimeError: the function is in no file, so that no task can find it.
    """
    module_name, path = find_address(module_name, source_path)
    words = ["task_generator", "--module_name", module_name, "--func_name", func_name]
    if path:
        words += ["--module_source_path", path]
    fixed = shlex.join(words).replace("{", "{{").replace("}", "}}")
    return " ".join(["{executable}", fixed, *(f"{arg}={{{arg}}}" for arg in args)])


def find_executable() -> str:
    """The program: ``distributor.worker_node_entry_point`` where it is set, else what lies beside Python.

    Raises:
        FileNotFoundError: there is none.
    """
    from jobmon.core.configuration import JobmonConfig

    configured = str(JobmonConfig().get("distributor", "worker_node_entry_point") or "")
    if configured:
        return configured  # it may be several words that start a container
    beside = os.path.join(os.path.dirname(sys.executable), ENTRY_POINT) if sys.executable else ""
    found = beside if os.access(beside, os.X_OK) else shutil.which(ENTRY_POINT)
    if not found:
        raise FileNotFoundError(
            f"There is no {ENTRY_POINT} beside {sys.executable} nor on PATH. Install jobmon into this environment "
            "(pip install jobmon), or set distributor.worker_node_entry_point in the configuration."
        )
    return shlex.quote(os.path.abspath(found))


def find_address(module_name: str, source_path: str | None) -> tuple[str, str]:
    """Name and file by which a task finds a module; the file is empty when the name is enough.

    Raises:
        RuntimeError: the module is in no file.
    """
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    path = os.path.abspath(os.path.expanduser(source_path)) if source_path else ""
    if module_name in _MAIN_MODULES:
        if not path and not file:
            raise RuntimeError(
                "The function was defined in an interactive session, where no task can find it. Put it into a file "
                "and import it from there."
            )
        path = path or os.path.abspath(str(file))
        spec = getattr(module, "__spec__", None)
        return (spec.name if spec is not None else os.path.splitext(os.path.basename(path))[0]), path
    if not path and file and _root(module_name, os.path.abspath(file)) == _script_root():
        path = os.path.abspath(file)
    return module_name, path


def _root(module_name: str, file: str) -> str:
    """The directory a module is imported from."""
    directory = os.path.dirname(file)
    for _ in range(module_name.count(".") + (os.path.basename(file) == "__init__.py")):
        directory = os.path.dirname(directory)
    return os.path.realpath(directory)


def _script_root() -> str:
    """The directory modules can be imported from only because the control script was started as it was."""
    import sysconfig

    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if not file:
        return os.path.realpath(os.getcwd())  # a notebook
    spec = getattr(main, "__spec__", None)
    root = _root(spec.name if spec is not None else "__main__", os.path.realpath(file))
    installed = {os.path.realpath(sysconfig.get_path(each)) for each in ("purelib", "platlib")}
    return "" if root in installed else root
