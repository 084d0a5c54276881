"""Where things are, and what every file begins with."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from source import SOURCE, imports, modules

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "misc", "common", "tools"}
NAMESPACES = {SOURCE, SOURCE / "plugins"}
CLIENT_SIDE = ("core", "serializers", "client", "swarm", "distributor", "plugins", "worker_node")
WEB = {"sqlalchemy", "alembic", "fastapi", "starlette", "uvicorn"}


def packages() -> list[Path]:
    """Directories with source files."""
    return sorted({path.parent for path in SOURCE.rglob("*.py")} | NAMESPACES)


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [name for name in modules() if set(Path(name).with_suffix("").parts) & EMPTY_NAMES] == []


@pytest.mark.parametrize("directory", sorted(NAMESPACES), ids=["jobmon", "plugins"])
def test_namespaces_stay_open_for_other_wheels(directory: Path) -> None:
    assert not (directory / "__init__.py").exists()


def test_everything_else_is_a_package() -> None:
    """But the revisions of the schema, which Alembic reads as files."""
    bare = [path for path in packages() if not (path / "__init__.py").exists()]
    assert set(bare) - NAMESPACES == {SOURCE / "server" / "migrations" / "versions"}


def test_every_file_says_what_it_is() -> None:
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_packages_of_the_architecture() -> None:
    assert {path.name for path in SOURCE.iterdir() if path.name != "__pycache__"} == {
        *CLIENT_SIDE,
        "server",
        "testing",
    }


def test_the_linter_of_imports_knows_every_package() -> None:
    config = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    roots = set(config["tool"]["importlinter"]["root_packages"])
    assert roots == {f"jobmon.{name}" for name in (*CLIENT_SIDE, "server", "testing")}


def test_addresses_users_know() -> None:
    """Modules that scripts and servers of others import from."""
    known = [
        "client/api.py",
        "client/tool.py",
        "client/task_template.py",
        "client/array.py",
        "client/task.py",
        "client/workflow.py",
        "core/exceptions.py",
        "core/configuration.py",
        "core/requester.py",
        "core/cluster.py",
        "core/cluster_protocol.py",
        "core/constants.py",
        "serializers/__init__.py",
        "server/web/api.py",
        "server/web/db_admin.py",
        "server/web/models/task.py",
        "server/web/routes/task.py",
        "server/web/fsm/task.py",
    ]
    assert set(known) - modules().keys() == set()


def test_only_the_server_imports_the_web() -> None:
    """Also inside functions, where the linter of imports looks as well; and nobody imports the server."""
    wrong = {
        name: bad
        for name, tree in modules().items()
        if name.split("/")[0] in CLIENT_SIDE
        and (bad := {m for m in imports(tree) if m.split(".")[0] in WEB or m.startswith("jobmon.server")})
    }
    assert wrong == {}


def test_no_file_imports_by_dots() -> None:
    """Every import names its module in full."""
    assert [name for name, tree in modules().items() if any(m.startswith(".") for m in imports(tree))] == []
