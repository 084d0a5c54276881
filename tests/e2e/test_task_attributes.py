"""A running task describes itself, wherever the server is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from jobmon.core.local_server import LocalServerFiles, stop

INSIDE = "from jobmon.client.api import add_task_attributes; add_task_attributes({'found': 3, 'note': None})"
SCRIPT = f"""
import sys
from jobmon.client.api import Tool

tool = Tool(name="attributes")
template = tool.get_task_template("describe", '{{python}} -c "{{code}}"', ["code"], op_args=["python"])
workflow = tool.create_workflow(default_cluster_name="multiprocess")
task = template.create_task(code={INSIDE!r}, python=sys.executable, task_attributes={{"found": 1, "kind": "a"}})
workflow.add_task(task)
workflow.bind()
task.add_attribute("kind", "b")
assert workflow.run() == "D", workflow.get_errors()
"""
QUERY = """
SELECT task_attribute_type.name, task_attribute.value FROM task_attribute
JOIN task_attribute_type ON task_attribute_type.id = task_attribute.type_id
"""


def call(environment: dict[str, str], code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServerFiles]:
    files = LocalServerFiles(tmp_path / "server")
    yield files
    stop(files)


@pytest.mark.e2e
@pytest.mark.parametrize("is_remote", [False, True], ids=["local", "remote"])
def test_a_task_adds_attributes_to_itself(server: LocalServerFiles, tmp_path: Path, is_remote: bool) -> None:
    """Through the local server, or through an address with a token that only the environment of the script names."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON__")}
    own |= {"HOME": str(tmp_path), "JOBMON__EMBEDDED__DIRECTORY": str(server.directory)}
    if is_remote:
        call(own, "from jobmon.core.requester import Requester; Requester.from_defaults().url")
        record = json.loads(server.record.read_text())
        (tmp_path / "token").write_text(record["token"] + "\n")
        (tmp_path / "token").chmod(0o600)
        own |= {
            "JOBMON__HTTP__SERVICE_URL": record["url"],
            "JOBMON__HTTP__TOKEN_FILE": str(tmp_path / "token"),
            "JOBMON__EMBEDDED__DIRECTORY": str(tmp_path / "elsewhere"),
        }
    call(own, SCRIPT)
    with closing(connect(server.database)) as connection:
        assert dict(connection.execute(QUERY)) == {"found": "3", "note": None, "kind": "b"}
    assert not (tmp_path / "elsewhere" / "jobmon.sqlite").exists()
