"""However a run ends, the script knows what became of its tasks."""

from __future__ import annotations

import signal
import sys

import pytest

from processes import Place

pytestmark = pytest.mark.e2e

SCRIPT = """
import json, sys
from jobmon.client.api import Tool

tool = Tool("t")
workflow = tool.create_workflow(default_cluster_name="multiprocess", default_max_attempts=1)
template = tool.get_task_template("s", "{c}; : {n}", node_args=["n"], op_args=["c"])
first = template.create_task(name="broken", n=0, c="exit 3")
fine = template.create_task(name="fine", n=1, c="true")
long = template.create_task(name="long", n=2, c="echo $$ > started.long; sleep 60", upstream_tasks=[fine])
workflow.add_tasks([first, fine, long])
try:
    workflow.run(**json.loads(sys.argv[1]))
except BaseException as error:
    print("KIND", json.dumps(type(error).__name__))
print("STATES", json.dumps({task.name: task.final_status for task in workflow.tasks.values()}))
print("ERRORS", json.dumps(sorted(workflow.task_errors)))
print("NEW", json.dumps(workflow._num_newly_completed), flush=True)
"""


@pytest.mark.parametrize("how", ["ctrl-c", "timeout"])
def test_what_became_of_the_tasks(place: Place, how: str) -> None:
    path = place.root / "script.py"
    path.write_text(SCRIPT)
    options = "{}" if how == "ctrl-c" else '{"seconds_until_timeout": 3}'
    script = place.start([sys.executable, path, options])
    place.wait_started("long")
    place.wait_task("broken", "F")
    if how == "ctrl-c":
        script.kill(signal.SIGINT)
    assert script.end() == 0, script.text
    assert script.said("KIND") == ("KeyboardInterrupt" if how == "ctrl-c" else "WorkflowTimeoutError")
    states = script.said("STATES")
    assert (states["broken"], states["fine"]) == ("F", "D")
    assert states["long"] not in ("D", "R")
    assert script.said("ERRORS") == ["broken"]
    assert script.said("NEW") == 1
    assert place.runs() == ("S" if how == "ctrl-c" else "E")
