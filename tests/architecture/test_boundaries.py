"""What the layout of the code promises of single modules, checked by reading the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jobmon.core

SOURCE = Path(jobmon.core.__file__).parents[1]
ROOT = SOURCE.parents[1]
EFFECTS = frozenset(
    {
        "time",
        "datetime",
        "os",
        "socket",
        "subprocess",
        "logging",
        "random",
        "threading",
        "asyncio",
        "pathlib",
        "httpx",
    }
)


def imported(path: Path) -> set[str]:
    """Top-level names of the modules a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize(
    "name",
    [
        "core/states.py",
        "core/hashing.py",
        "core/resources.py",
        "core/instance_event.py",
        "core/constants.py",
        "core/exceptions.py",
        "serializers/define.py",
        "serializers/swarm.py",
        "serializers/monitor.py",
        "serializers/worker.py",
        "swarm/state.py",
        "swarm/outcome.py",
        "server/web/fsm/task.py",
        "server/web/fsm/workflow_run.py",
    ],
)
def test_what_is_pure_does_nothing(name: str) -> None:
    """No clock, no files, no network, no threads, no database, no logging."""
    assert not imported(SOURCE / name) & {*EFFECTS, "sqlalchemy"}


def test_the_launcher_is_written_with_the_standard_library_only() -> None:
    """It is started with ``-I -S``."""
    assert imported(SOURCE / "worker_node" / "launcher.py") <= sys.stdlib_module_names


@pytest.mark.parametrize("package", ["core", "serializers", "client"])
def test_packages_say_that_they_are_typed(package: str) -> None:
    """So that users' type checkers believe it."""
    assert (SOURCE / package / "py.typed").is_file()


def test_imports_go_one_way() -> None:
    """The contracts of pyproject.toml."""
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip("import-linter is not installed here; `make lint` runs it")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
