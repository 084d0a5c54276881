"""The local-server script: its address is found by the next script, its file holds the workflow."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "local_server.py"
WORKFLOW = """
from jobmon.client.api import Tool

tool = Tool(name="local_server_test")
template = tool.get_task_template(template_name="echo", command_template="echo {word}", node_args=["word"])
workflow = tool.create_workflow(name="words")
workflow.add_tasks(template.create_tasks(word=["one", "two"]))
assert workflow.run() == "D"
print(workflow.requester.url)
"""


@pytest.mark.e2e
def test_next_script_uses_the_server_that_was_started(tmp_path: Path) -> None:
    """A workflow run after the script was started is recorded in the file the script was given."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JOBMON__")}
    environment["HOME"] = str(tmp_path)
    database = tmp_path / "own.sqlite"
    server = subprocess.Popen(
        [sys.executable, SCRIPT, database], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        first = server.stdout.readline()
        url = first.split()[-1]
        assert url.startswith("http://127.0.0.1:"), first
        assert str(tmp_path / ".jobmon" / "config.yaml") in server.stdout.readline()
        done = subprocess.run(
            [sys.executable, "-c", WORKFLOW],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"{url}/api/v3"
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT name, status FROM workflow").fetchall() == [("words", "D")]
    connection.close()
