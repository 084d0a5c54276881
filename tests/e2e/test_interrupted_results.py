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


def test_what_runs_when_code_of_the_script_fails(place: Place) -> None:
    """The attempt that is ended with the run is on record as ended: nothing has to be cleaned up behind it."""
    script = place.start_python(
        "import json\n"
        "from jobmon.client.api import Tool\n"
        "tool = Tool('t')\n"
        "workflow = tool.create_workflow(default_cluster_name='multiprocess')\n"
        "template = tool.get_task_template('s', '{c}; : {n}', node_args=['n'], op_args=['c'])\n"
        "long = template.create_task(name='long', n=0, c='echo $$ > started.long; sleep 60')\n"
        "first = template.create_task(name='first', n=1, c='until [ -e gate.go ]; do sleep 0.01; done')\n"
        "wrong = template.create_task(name='wrong', n=2, c='true', upstream_tasks=[first],\n"
        "                             compute_resources_callable=lambda: 3)\n"
        "workflow.add_tasks([long, first, wrong])\n"
        "try:\n    workflow.run()\n"
        "finally:\n    print('STATES', json.dumps([t.final_status for t in (long, first, wrong)]))\n"
    )
    place.wait_started("long")
    place.wait_task("long", "R")
    place.open("go")
    script.end()
    assert "it must return a dictionary" in script.text
    assert place.runs() == "E"
    assert (place.attempts("long"), place.task_status("long")) == ("F", "G")
    assert script.said("STATES") == ["G", "D", "G"]
