"""``jobmon workflow submit SCRIPT``: shown, or carried out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
workflow.add_tasks(step.create_tasks(which=sys.argv[1:]))
result = workflow.run()
Path("behind").touch()
sys.exit(0 if result == "D" else 3)
"""


def submit(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the script, where the tasks leave their files."""
    path = place.root / "script.py"
    path.write_text(SCRIPT)
    cli = "from jobmon.client.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", cli, "workflow", "submit", *words[:-1], str(path), "--", *words[-1]],
        cwd=place.work,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def files(place: Place) -> list[str]:
    """What script and tasks left."""
    return sorted(Path(path).name for path in place.work.iterdir())


def test_a_dry_run_submits_nothing(place: Place) -> None:
    """The script ends at its first run(); its commands are shown."""
    done = submit(place, "--dry-run", "ab")
    assert done.returncode == 0, done.stderr
    assert "2 to submit at once, 0 later, 0 done" in done.stdout
    assert "step_which-a runs here: touch ran.a" in done.stdout
    assert "the script speaks ['a', 'b']" in done.stderr
    assert files(place) == []
    assert place.scalar("SELECT count(*) FROM workflow") == 0
    made = json.loads(submit(place, "--dry-run", "-o", "json", "ab").stdout)
    assert made["ready"][0]["num_tasks"] == 2


def test_a_script_is_run_to_its_end(place: Place) -> None:
    """Without --dry-run it is just run; its exit code is that of the command."""
    done = submit(place, "ab")
    assert done.returncode == 0, done.stderr
    assert "the script speaks ['a', 'b']" in done.stdout
    assert files(place) == ["behind", "ran.a", "ran.b"]
    again = submit(place, "ab")
    assert again.returncode == 1
    assert "complete" in again.stderr or "done already" in again.stderr


def test_a_script_that_is_not_there(place: Place) -> None:
    """Said in one line."""
    cli = "from jobmon.client.cli import main; main()"
    for words in (["--dry-run"], []):
        done = subprocess.run(
            [sys.executable, "-c", cli, "workflow", "submit", *words, "nowhere.py"],
            cwd=place.work,
            env=place.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("Error: There is no script nowhere.py")
