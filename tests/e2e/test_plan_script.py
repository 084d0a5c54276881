"""``jobmon workflow plan SCRIPT``: the script ends where it would run; nothing is registered, nothing starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from databases import ON_EVERY_DATABASE
from processes import Place

pytestmark = pytest.mark.e2e

SCRIPT = """
import sys
from pathlib import Path
from jobmon.client.api import Tool

print("the script speaks", sys.argv[1:])
tool = Tool(name="e2e")
step = tool.get_task_template("step", "touch ran.{which}", node_args=["which"], default_cluster_name="multiprocess")
workflow = tool.create_workflow(workflow_args="flow", name="flow")
tasks = step.create_tasks(which=sys.argv[1:] or ["a"])
workflow.add_tasks(tasks)
try:
    BEFORE
    workflow.run()
    Path("behind").touch()
except Exception:
    Path("caught").touch()
    raise
finally:
    Path("cleaned").touch()
    SECOND
Path("behind").touch()
"""


def plan(place: Place, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    path = place.root / "script.py"
    path.write_text(script)
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from jobmon.client.cli import main; main()",
            "workflow",
            "plan",
            str(path),
            *words,
        ],
        cwd=place.work,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_script_is_planned_and_not_run(place: Place) -> None:
    """It ends at its first bind() or run(), in good order; what stands behind is not carried out."""
    before = "workflow.bind(); print(workflow.workflow_id)"
    second = "tool.create_workflow(workflow_args='other').add_tasks([]); workflow.run()"
    done = plan(
        place, SCRIPT.replace("BEFORE", before).replace("SECOND", second), "-o", "json", "--", "a", "-b", "c"
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["num_to_run"], made["counts"], made["workflow_id"]) == (3, {"new": 3}, None)
    assert any("first run()" in note for note in made["notes"])
    assert "the script speaks ['a', '-b', 'c']" in done.stderr
    assert sorted(path.name for path in place.work.iterdir()) == ["cleaned"]
    assert place.scalar("SELECT count(*) FROM workflow") == 0
    assert place.scalar("SELECT count(*) FROM node") == 0


def test_scripts_that_cannot_be_planned(place: Place) -> None:
    """One that fails, and one that never comes to run(): which, and what to do."""
    failed = plan(place, "import sys; sys.exit(3)")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "ended with exit code 3 before it came to Workflow.run()" in failed.stderr
    idle = plan(place, "print('idle')")
    assert idle.returncode == 1
    assert "it never called Workflow.run()" in idle.stderr
    assert Path(place.work).is_dir()


@ON_EVERY_DATABASE
def test_a_plan_then_the_run_then_a_plan(place: Place) -> None:
    """The plan says what the run then does."""
    script = SCRIPT.replace("BEFORE", "pass").replace("SECOND", "pass")
    assert (
        "A new workflow 'flow': a run would run 2 of 2 tasks (2 new)."
        in plan(place, script, "--", "a", "b").stdout
    )
    assert place.start([sys.executable, place.root / "script.py", "a", "b"]).end() == 0
    assert {path.name for path in place.work.glob("ran.*")} == {"ran.a", "ran.b"}
    again = plan(place, script, "--", "a", "b").stdout
    assert "a run would run 0 of 2 tasks and skip 2 that are done." in again
    assert "is complete" in again
    assert "1 new, 0 gone, 0 changed" in plan(place, script, "--", "a", "b", "c").stdout
