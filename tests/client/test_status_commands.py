"""Functions for notebooks: data frames where pandas is there, plain rows where it is not, JSON when asked for."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys

class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

if sys.argv[1] == "without":
    sys.meta_path.insert(0, NoPandas())

from jobmon.client import status_commands as commands
from jobmon.client.tool import Tool
from jobmon.core.configuration import JobmonConfig
from jobmon.server.web.db_admin import init_db
from jobmon.testing.in_process import in_process_server

uri = "sqlite:///" + sys.argv[2]
init_db(uri)
with in_process_server(JobmonConfig(dict_config={"db": {"sqlalchemy_database_uri": uri}})) as requester:
    tool = Tool("frames", requester=requester, default_cluster_name="dummy")
    template = tool.get_task_template("step", "true {n}", ["n"])
    workflow = tool.create_workflow(name="steps")
    workflow.add_tasks(template.create_tasks(n=[1, 2]))
    workflow.bind()
    ids = [task.task_id for task in workflow.tasks.values()]
    for function, args, columns in (
        (commands.workflow_status, (workflow.workflow_id,), ["WF_ID", "WF_NAME", "WF_STATUS", "CREATED_DATE", "TASKS",
         "PENDING", "SCHEDULED", "RUNNING", "DONE", "FATAL", "RETRIES"]),
        (commands.workflow_tasks, (workflow.workflow_id,), ["TASK_ID", "TASK_NAME", "STATUS", "RETRIES"]),
        (commands.task_status, (ids,), ["TASK_ID", "task_status", "TASK_INSTANCE_ID", "DISTRIBUTOR_ID", "STATUS",
         "RESOURCE_USAGE", "STDOUT", "STDERR", "ERROR_TRACE"]),
    ):
        found = function(*args, requester=requester)
        rows = json.loads(function(*args, json=True, requester=requester))
        assert list(rows[0])[:len(columns)] == columns, rows  # JSON may say more
        if sys.argv[1] == "without":
            assert type(found) is list and list(found[0])[:len(columns)] == columns, found
        else:
            import pandas
            assert isinstance(found, pandas.DataFrame) and list(found.columns) == columns
        assert len(found) == len(rows)
    empty = commands.workflow_tasks(workflow.workflow_id, status="DONE", requester=requester)
    assert len(empty) == 0
"""

NAMES = """
workflow_status workflow_tasks task_status update_task_status workflow_reset concurrency_limit get_filepaths
resume_workflow_from_id task_template_resources create_resource_yaml get_sub_task_tree get_task_dependencies
update_config_value validate_username validate_workflow _chunk_ids _get_yaml_data _create_yaml
"""


@pytest.mark.parametrize("pandas", ["with", "without"])
def test_data_frames_or_plain_rows(pandas: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, pandas, tmp_path / "jobmon.sqlite"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_everything_that_scripts_import_is_there() -> None:
    commands = importlib.import_module("jobmon.client.status_commands")
    assert [name for name in NAMES.split() if not callable(getattr(commands, name, None))] == []
    for module in ("workflow", "task", "resources", "config", "validation"):
        importlib.import_module(f"jobmon.client.commands.{module}")


def test_ids_in_pieces() -> None:
    commands = importlib.import_module("jobmon.client.status_commands")
    assert commands._chunk_ids([1, 2, 3], 2) == [[1, 2], [3]]
    assert commands._chunk_ids([]) == []
    assert json.dumps(commands._chunk_ids(range(3))) == "[[0, 1, 2]]"
