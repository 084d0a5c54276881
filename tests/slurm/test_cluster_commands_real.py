"""A real cluster is asked for its queues: by command, at its first use, before anything is submitted."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import Place, new_place

pytestmark = [pytest.mark.e2e]

SCRIPT = """
from jobmon.client.api import Tool
tool = Tool("queues")
template = tool.get_task_template("{name}", "echo {{n}}", node_args=["n"], default_cluster_name="slurm")
workflow = tool.create_workflow(name="queues", workflow_args="{name}")
workflow.add_tasks(template.create_tasks(n=[1, 2, 3], compute_resources={resources!r}))
{call}
"""


@pytest.fixture
def place(tmp_path: Path, database_template: Path) -> Iterator[Place]:
    """A local server that knows no cluster but those that come with Jobmon."""
    yield from new_place(tmp_path / "place", database_template)


def partitions() -> dict[str, str]:
    """The facts of each partition, as scontrol shows them."""
    shown = subprocess.run(
        ["scontrol", "-o", "show", "partition"], capture_output=True, text=True, check=True
    )
    return {
        line.split()[0].removeprefix("PartitionName="): line for line in shown.stdout.splitlines() if line
    }


def text_of(name: str, call: str, **resources: object) -> str:
    """A script whose three tasks ask for this."""
    return SCRIPT.format(name=name, call=call, resources=resources)


def test_sync_tells_what_the_cluster_has(place: Place) -> None:
    """All partitions, the default one first; the same again changes nothing."""
    told = place.jobmon("cluster", "sync", "slurm")
    assert "accounting: slurmdbd" in told
    rows = json.loads(place.jobmon("cluster", "show", "slurm", "-o", "json"))
    assert {row["QUEUE"] for row in rows} == set(partitions())
    assert "Default=YES" in partitions()[rows[0]["QUEUE"]]
    tables = [place.sql("SELECT * FROM queue ORDER BY id")]
    place.jobmon("cluster", "sync", "slurm")
    assert tables == [place.sql("SELECT * FROM queue ORDER BY id")]


def test_too_much_is_refused_at_the_first_use(place: Place) -> None:
    """Nothing was prepared: the cluster is registered, and its limits count at once."""
    asked = {"queue": "tiny", "memory": "1G", "runtime": "1h"}
    started = place.start_python(text_of("much", "workflow.validate(raise_on_error=True)", **asked))
    assert started.end() == 1
    assert "memory=1 (1 GiB) cannot be had: queue tiny gives at most 256 MiB." in started.text
    assert "runtime=3600 (1 h 00 min) cannot be had: queue tiny gives at most 1 min." in started.text
    assert place.scalar("SELECT count(*) FROM cluster WHERE name = 'slurm'") == 1


def test_the_script_of_a_dry_run_is_one_that_sbatch_takes(place: Place, job_prefix: str) -> None:
    """As it is printed; nothing was submitted."""
    path = place.root / "script.py"
    path.write_text(text_of(job_prefix, "workflow.run()", queue="short", cores=2, memory="100M", runtime=60))
    made = json.loads(place.jobmon("workflow", "submit", "--dry-run", "-o", "json", path))
    (ready,) = made["ready"]
    (place.root / "batch.sh").write_text(ready["script"])
    tested = subprocess.run(
        ["sbatch", "--test-only", str(place.root / "batch.sh")], capture_output=True, text=True, timeout=60
    )
    assert tested.returncode == 0, tested.stderr
    assert re.search(r"Job \d+ to start at", tested.stderr)
    options = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in ready["script"].splitlines()
        if line.startswith("#SBATCH --")
    )
    assert options["array"].startswith("1-3")
    assert (options["partition"], options["cpus-per-task"], options["mem"]) == ("short", "2", "100M")
    listed = subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True, check=True)
    assert job_prefix not in listed.stdout
    assert place.scalar("SELECT count(*) FROM workflow") == 0


def test_without_the_commands_of_slurm(place: Place, tmp_path: Path) -> None:
    """The error says what is missing and what to do, and nothing is registered."""
    place.environment["PATH"] = str(tmp_path)
    started = place.start_jobmon("cluster", "sync", "slurm")
    assert started.end() == 1
    assert started.text.startswith("Error: scontrol could not be run")
    assert "such as a login node" in started.text
    assert place.scalar("SELECT count(*) FROM cluster WHERE name = 'slurm'") == 0
