"""What importing a module loads, in an interpreter of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from source import modules

SERVER = {"alembic", "fastapi", "sqlalchemy", "starlette", "uvicorn", "jobmon.server"}
HEAVY = {"asyncio", "httpx", "matplotlib", "multiprocessing", "numpy", "pandas", "psutil", "sqlite3", "ssl"}
FOR_PEOPLE = {"rich", "tabulate", "yaml"}

LIGHT = {
    "jobmon.client.api": SERVER | HEAVY | FOR_PEOPLE | {"click", "concurrent", "subprocess", "tenacity"},
    "jobmon.client.cli": SERVER | HEAVY | FOR_PEOPLE | {"msgspec", "tenacity"},
    "jobmon.core.configuration": SERVER | HEAVY | FOR_PEOPLE | {"click", "msgspec", "subprocess", "tenacity"},
    "jobmon.core.states": SERVER | HEAVY | FOR_PEOPLE | {"click", "msgspec", "subprocess", "tenacity"},
    "jobmon.core.task_generator": SERVER
    | HEAVY
    | FOR_PEOPLE
    | {"click", "jobmon.client", "jobmon.core.states", "msgspec", "shutil", "subprocess", "tenacity"},
    "jobmon.worker_node.cli": SERVER
    | HEAVY
    | FOR_PEOPLE
    | {"click", "jobmon.core", "msgspec", "subprocess", "tenacity"},
    "jobmon.worker_node.launcher": SERVER
    | HEAVY
    | FOR_PEOPLE
    | {"click", "dataclasses", "logging", "msgspec", "re", "subprocess", "tenacity", "threading", "typing"},
}
"""Module: what importing it must not load. Each of these would be paid by every script, command or launcher."""


def loaded_by(*names: str, options: tuple[str, ...] = ()) -> set[str]:
    """Modules a new interpreter has loaded after importing these, beyond those it starts with."""
    program = (
        "import sys, importlib, json; before = set(sys.modules)\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, *options, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_what_must_be_light_is(name: str) -> None:
    loaded = loaded_by(name)
    assert {bad for bad in LIGHT[name] if bad in loaded} == set()


def test_the_launcher_alone_loads_little() -> None:
    """As it is started: without site packages, and by its path."""
    from jobmon.worker_node import launcher

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", launcher.__file__, "1", "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {
        name for name in loaded if name.split(".")[0] in LIGHT["jobmon.worker_node.launcher"] - {"re"}
    } == set()
    assert done.stdout == ""


def test_nothing_on_the_clients_side_loads_the_server() -> None:
    """All of its modules together."""
    sides = ("client", "swarm", "distributor", "plugins", "worker_node", "core", "serializers")
    for_sphinx = "core/task_generator_directives.py"  # needs docutils, which only the documentation has
    names = [
        "jobmon." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in modules()
        if name.split("/")[0] in sides and name != for_sphinx
    ]
    assert len(names) > 40
    assert {name for name in loaded_by(*names) if name.startswith("jobmon.server") or name in SERVER} == set()
