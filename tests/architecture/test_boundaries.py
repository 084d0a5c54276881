"""What the layout of the code promises, checked by reading the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobmon.core

SOURCE = Path(jobmon.core.__file__).parents[1]
ROOT = SOURCE.parents[1]
MODULES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("httpx", "yaml", "rich", "tabulate", "sqlalchemy", "fastapi", "numpy", "asyncio", "click", "alembic")

# Letters that are no status: units of memory, kinds of resources, streams, states of /proc, JSON of the command line.
STATUS_COLUMNS = frozenset({"status", "run_status", "workflow_status", "new_status", "statuses"})


def comparisons(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Status-like things compared with, or set to, a letter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Assign):
            sides = [*node.targets, node.value]
        elif isinstance(node, ast.keyword):
            sides = [ast.Name(node.arg or ""), node.value]
        else:
            continue
        names = {n.attr for n in sides if isinstance(n, ast.Attribute)} | {
            n.id for n in sides if isinstance(n, ast.Name)
        }
        flat = [leaf for side in sides for leaf in ast.walk(side)]
        letters = [
            leaf.value
            for leaf in flat
            if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str) and len(leaf.value) == 1
        ]
        if letters and names & STATUS_COLUMNS:
            yield getattr(node, "lineno", 0), letters[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_status_letter_stands_outside_the_tables(path: Path) -> None:
    """``jobmon.core.states`` is the one home of every letter."""
    if path.name == "states.py":
        return
    found = list(comparisons(ast.parse(path.read_text())))
    assert not found, f"{path.relative_to(SOURCE)}: {found}; use the enumerations of jobmon.core.states"


def imported(path: Path) -> set[str]:
    """Top-level names of the modules a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def test_the_launcher_needs_the_standard_library_only() -> None:
    """It is started with ``-I -S``."""
    assert imported(SOURCE / "worker_node" / "launcher.py") <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "name", ["states.py", "hashing.py", "resources.py", "instance_event.py", "constants.py"]
)
def test_what_is_pure_does_nothing(name: str) -> None:
    """No clock, no files, no network, no logging."""
    forbidden = {
        "time",
        "datetime",
        "os",
        "socket",
        "subprocess",
        "logging",
        "random",
        "threading",
        "pathlib",
    }
    assert not imported(SOURCE / "core" / name) & forbidden


def test_the_state_of_a_run_is_pure() -> None:
    """Events in, decisions out."""
    forbidden = {"time", "datetime", "os", "socket", "logging", "random", "threading", "asyncio", "httpx"}
    assert not imported(SOURCE / "swarm" / "state.py") & forbidden
    for path in (SOURCE / "server" / "web" / "fsm").glob("*.py"):
        assert not imported(path) & {*forbidden, "sqlalchemy"}


def test_the_api_is_imported_lightly() -> None:
    """A script waits for what it uses, not for what it might."""
    program = f"import sys, jobmon.client.api; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_package_says_that_it_is_typed() -> None:
    """So that users' type checkers believe it."""
    for package in ("core", "serializers", "client"):
        assert (SOURCE / package / "py.typed").is_file(), package


def test_jobmon_is_a_namespace_other_distributions_can_add_to() -> None:
    """Site plugins live in ``jobmon.plugins.*`` of their own."""
    assert not (SOURCE / "__init__.py").exists()


def test_imports_go_one_way() -> None:
    """The contracts of pyproject.toml."""
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip("import-linter is not installed here; `make lint` runs it")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
