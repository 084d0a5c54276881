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


PURE_PACKAGES = ("serializers", "server/web/analysis", "server/web/fsm")
PURE_MODULES = (
    "core/argument_text.py",
    "core/configuration_keys.py",
    "core/constants.py",
    "core/error_text.py",
    "core/exceptions.py",
    "core/hashing.py",
    "core/instance_event.py",
    "core/resources.py",
    "core/states.py",
    "core/task_names.py",
    "core/words.py",
    "swarm/outcome.py",
    "swarm/state.py",
    "client/plan_graph.py",
    "client/plan_text.py",
    "client/report/advice.py",
    "client/report/charts.py",
    "client/report/timeline.py",
    "client/table.py",
)


@pytest.mark.parametrize(
    "name",
    [
        *PURE_MODULES,
        *(
            str(path.relative_to(SOURCE))
            for each in PURE_PACKAGES
            for path in sorted((SOURCE / each).glob("*.py"))
        ),
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
