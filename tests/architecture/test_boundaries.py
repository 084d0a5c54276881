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
    """Top-level names of the modules a file imports, those for the type checker only left out."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
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
        "server/web/analysis/past.py",
        "server/web/analysis/plan.py",
        "server/web/analysis/usage_statistics.py",
        "client/plan_graph.py",
    ],
)
def test_what_is_pure_does_nothing(name: str) -> None:
    """No clock, no files, no network, no threads, no database, no logging."""
    assert not imported(SOURCE / name) & {*EFFECTS, "sqlalchemy"}


@pytest.mark.parametrize("name", ["launcher.py", "measure.py"])
def test_the_launcher_is_written_with_the_standard_library_only(name: str) -> None:
    """It is started with ``-I -S``."""
    assert imported(SOURCE / "worker_node" / name) <= sys.stdlib_module_names


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
