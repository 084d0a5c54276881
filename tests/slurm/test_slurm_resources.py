"""What tasks ask the real Slurm for: too little and then more, too much, and where and in which environment they run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab
import pytest

from flow import SMALL, SlurmPlace, new_slurm_place

pytestmark = [pytest.mark.e2e]

APPTAINER = """\
#!/bin/sh
# Notes how it was called, and runs the command behind the image as the real one would.
printf '<%s>' "$@" >> {log}
echo >> {log}
while [ "$1" != {image} ]; do shift; done
shift
IN_CONTAINER={image} exec "$@"
"""


@pytest.fixture
def place(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[SlurmPlace]:
    """A server and scripts of this test alone, whose tasks run on Slurm."""
    yield from new_slurm_place(tmp_path / "place", job_prefix, database_template)


def fill(mib: int) -> str:
    """A command that fills so much memory."""
    return f"{sys.executable} -S -c \"import time; x = b'x' * ({mib} << 20); time.sleep(0.5)\""


# ------------------------------------------------------------------------- too little, then more
def test_out_of_memory_then_more(place: SlurmPlace) -> None:
    """Slurm kills what needs more than it asked for; the next attempt asks for more, says so, and succeeds."""
    result = place.run_flow([{"name": "hungry", "command": fill(150)}], asked={"memory": "96M"})
    assert (result["status"], result["done"]) == ("D", 1), result
    first, *_, last = place.asked("hungry")
    assert [first[0], first[1], last[0], last[1]] == ["Z", "O", "D", "A"]
    assert last[3]["memory"] > first[3]["memory"]
    assert place.scalar("SELECT cause FROM task_instance WHERE status = 'Z'") == "resource"
    assert "memory" in place.errors("hungry")
    explained = place.explain("hungry")
    assert "It asks for 1 GiB of memory after 96 MiB (peak measured: " in explained, explained
    peak = place.scalar("SELECT maxrss FROM task_instance WHERE status = 'D'")
    assert 150 << 20 <= peak <= 400 << 20


def test_a_queue_that_gives_more(place: SlurmPlace) -> None:
    """Where more memory is needed than the queue gives, the next attempt goes to the fallback queue."""
    asked = {"queue": "tiny", "memory": "200M", "runtime": 60}
    result = place.run_flow(
        [{"name": "hungry", "command": fill(250), "fallback_queues": ["short"], "compute_resources": asked}]
    )
    assert (result["status"], result["done"]) == ("D", 1), result
    attempts = place.asked("hungry")
    assert [(status, queue) for status, _, queue, _ in attempts] == [("Z", "tiny"), ("D", "short")]
    assert attempts[1][3]["memory"] > 256 / 1024
    assert "short" in place.explain("hungry")


@pytest.mark.slow
def test_time_limit_then_more(place: SlurmPlace) -> None:
    """Slurm ends what runs longer than it asked for; the next attempt asks for more run time, and succeeds."""
    command = f"cd {place.work}; if [ ! -e been ]; then touch been; sleep 300; fi"
    script = place.start_flow([{"name": "long", "command": command}], asked={"runtime": 60})
    result = script.result(timeout_seconds=115)
    assert (result["status"], result["done"]) == ("D", 1), result
    attempts = place.asked("long")
    assert [(status, kind) for status, kind, _, _ in attempts] == [("Z", "O"), ("D", "A")]
    assert attempts[1][3]["runtime"] == 90
    assert "time limit" in place.errors("long")
    assert "a run time of 90 s after 60 s" in place.explain("long")


# ------------------------------------------------------------------------------- what is refused
def test_what_no_queue_gives_is_refused_before_anything_runs(place: SlurmPlace) -> None:
    """``validate`` tells what is wrong, in sentences; nothing is submitted."""
    script = place.start_python(f"""
from jobmon.client.api import Tool
tool = Tool("refused")
template = tool.get_task_template("{place.prefix}", "true {{n}}", node_args=["n"], default_cluster_name="slurm")
asked = [
    {{"queue": "tiny", "memory": "1G"}},
    {{"queue": "short", "runtime": "2h"}},
    {{"queue": "short", "cores": 17}},
    {{"queue": "short", "gpus": 1}},
    {{"queue": "short", "memmory": "1G"}},
    {{"queue": "short", "sbatch_arguments": "--array=1-5"}},
]
for n, one in enumerate(asked):
    workflow = tool.create_workflow(name="refused")
    workflow.add_task(template.create_task(n=n, compute_resources=one))
    try:
        workflow.validate(raise_on_error=True)
    except ValueError as error:
        print(error)
""")
    assert script.end() == 0, script.text
    for words in (
        "memory=1 (1 GiB) cannot be had: queue tiny gives at most 256 MiB.",
        "runtime=7200 (2 h 00 min) cannot be had: queue short gives at most 10 min.",
        "cores=17 cannot be had: queue short gives at most 16.",
        "the nodes of queue short have no GPUs",
        "memmory",
        "holds --array=1-5, which Jobmon sets itself",
    ):
        assert words in script.text, script.text
    assert place.num_commands("sbatch") == 0


def test_too_much_is_brought_within_the_limits(place: SlurmPlace) -> None:
    """A run does not stop for amounts beyond the queue's: it asks for the most there is."""
    asked = {"queue": "tiny", "memory": "1G", "runtime": "1h", "cores": 1}
    result = place.run_flow([place.task("t", compute_resources=asked)])
    assert result["status"] == "D", result
    ((_, _, _, resources),) = place.asked("t")
    assert (resources["memory"], resources["runtime"]) == (0.25, 60)


def test_an_account_that_does_not_exist(place: SlurmPlace) -> None:
    """The task fails with Slurm's words and what to do about them."""
    task = place.task("t", max_attempts=1, compute_resources={**SMALL, "project": "atlantis"})
    result = place.run_flow([task])
    assert (result["status"], result["failed"]) == ("E", 1)
    told = place.errors("t")
    assert "Invalid account" in told
    assert "sacctmgr show associations" in told
    assert "Invalid account" in place.jobmon("workflow", "errors", result["workflow_id"])


def test_a_queue_that_does_not_exist(place: SlurmPlace) -> None:
    """It is told before anything is submitted, with the names there are."""
    error = place.start_flow([place.task("t", compute_resources={**SMALL, "queue": "shrt"})]).error()
    assert "shrt" in error["message"]
    assert "short" in error["message"]
    assert place.num_commands("sbatch") == 0


# -------------------------------------------------------------------- limits of accounts and QOS
@pytest.mark.slow
def test_more_tasks_than_an_account_may_submit(place: SlurmPlace) -> None:
    """With three jobs at once, seven tasks wait for one another and are all done, each once."""
    names = [f"t{number}" for number in range(7)]
    with lab.account(place.prefix, "MaxSubmitJobs=3"):
        tasks = [place.task(name) for name in names]
        script = place.start_flow(tasks, asked={"project": place.prefix})
        told = lab.wait_for(place.conditions, "the condition of the cluster")
        assert "Cluster slurm takes no more jobs since " in told
        result = script.result(timeout_seconds=100)
        lab.wait_for(lambda: not place.jobs(), "the end of all jobs")
    assert (result["status"], result["done"]) == ("D", 7), result
    assert place.num_starts(*names) == [1] * 7
    refused = place.scalar("SELECT count(*) FROM task_instance WHERE status = 'W'")
    assert refused in (0, 7), "one batch was too large, and was not made smaller more than once"


@pytest.mark.slow
def test_more_tasks_than_a_quality_of_service_takes(place: SlurmPlace) -> None:
    """The same with a limit of a quality of service that the tasks ask for."""
    names = [f"t{number}" for number in range(7)]
    with lab.quality_of_service(place.prefix, "MaxSubmitJobsPerUser=3"):
        tasks = [place.task(name) for name in names]
        script = place.start_flow(tasks, asked={"qos": place.prefix})
        result = script.result(timeout_seconds=100)
        lab.wait_for(lambda: not place.jobs(), "the end of all jobs")
    assert (result["status"], result["done"]) == ("D", 7), result
    assert place.num_starts(*names) == [1] * 7


# ------------------------------------------------------------------------------- the environment
def test_environments(place: SlurmPlace, tmp_path: Path) -> None:
    """A task sees the variables of its script, or none of them, or those of a virtual environment."""
    place.environment["COLOUR"] = "blue and 'grey'\nor $red"
    environment = tmp_path / "virtual environment"
    venv.create(environment, symlinks=True)
    show = f"cd {place.work}; env -0 > env.{{name}}; command -v python3 > python.{{name}}"
    kinds: dict[str, dict[str, Any]] = {
        "submit": {},
        "clean": {"environment": "clean"},
        "venv": {"venv": str(environment)},
    }
    result = place.run_flow(
        [
            {"name": name, "command": show.format(name=name), "compute_resources": {**SMALL, **asked}}
            for name, asked in kinds.items()
        ]
    )
    assert result["status"] == "D", result

    def seen(name: str) -> dict[str, str]:
        lines = (place.work / f"env.{name}").read_text().split("\0")
        return dict(line.partition("=")[::2] for line in lines if line)

    assert seen("submit")["COLOUR"] == place.environment["COLOUR"]
    assert seen("submit")["HOME"] == place.environment["HOME"]
    assert "COLOUR" not in seen("clean")
    assert seen("clean")["HOME"] == "/root"
    assert not [name for name in seen("clean") if name.startswith("JOBMON__")]
    assert seen("venv")["VIRTUAL_ENV"] == str(environment)
    assert (place.work / "python.venv").read_text().strip() == str(environment / "bin" / "python3")
    for name in kinds:
        assert seen(name)["JOBMON_TASK_ID"] == str(place.task_id(name))
        assert seen(name)["SLURM_CPUS_PER_TASK"] == "1"


def test_an_environment_that_is_not_there(place: SlurmPlace) -> None:
    """The task fails before its command starts, and says what was not there."""
    task = place.task("t", max_attempts=1, compute_resources={**SMALL, "venv": "/no/such"})
    result = place.run_flow([task])
    assert (result["status"], result["failed"]) == ("E", 1)
    assert place.num_starts("t") == [0]
    assert "there is no virtual environment /no/such" in place.errors("t")


def test_containers(place: SlurmPlace) -> None:
    """A command runs in the image its task asks for, with the arguments asked for; the wrapper stays outside."""
    image = "/images/r-4.4.sif"
    log = place.work / "apptainer"
    place.shim("apptainer", APPTAINER.format(log=log, image=image))
    asked = {**SMALL, "container": image, "container_arguments": ["--bind", "/data:/my data"]}
    command = f'echo "it\'s $IN_CONTAINER" > {place.work}/said'
    result = place.run_flow([{"name": "t", "command": command, "compute_resources": asked}])
    assert result["status"] == "D", result
    assert (place.work / "said").read_text() == f"it's {image}\n"
    assert log.read_text().startswith(f"<exec><--bind></data:/my data><{image}></bin/sh><-c><")


# ------------------------------------------------------------------------------------ directories
def test_directories_and_logs(place: SlurmPlace, tmp_path: Path) -> None:
    """Commands run where they are asked to; their logs, and Slurm's own, go where they are asked to."""
    there, out, err, slurm = (tmp_path / f"a {name}" for name in ("there", "out", "err", "slurm"))
    there.mkdir()
    asked = {
        **SMALL,
        "working_dir": str(there),
        "stdout": str(out),
        "stderr": str(err),
        "standard_output": str(slurm / "%x.%A_%a.out"),
        "standard_error": str(slurm / "%x.%A_%a.err"),
    }
    command = "pwd > where; echo to stdout; echo to stderr >&2"
    result = place.run_flow([{"name": "t", "command": command, "compute_resources": asked}])
    assert result["status"] == "D", result
    assert (there / "where").read_text().strip() == str(there)
    job = place.scalar("SELECT distributor_id FROM task_instance")
    assert (out / f"t.o{job}").read_text() == "to stdout\n"
    assert (err / f"t.e{job}").read_text() == "to stderr\n"
    assert {path.suffix for path in slurm.iterdir()} == {".out", ".err"}
    assert all(f".{job}" in path.name for path in slurm.iterdir())
    shown = place.jobmon("workflow", "logs", result["workflow_id"], "-o", "json")
    assert str(out / f"t.o{job}") in shown


# ---------------------------------------------------------------------------------------- dry run
def test_sbatch_takes_what_a_dry_run_shows(place: SlurmPlace, tmp_path: Path) -> None:
    """With all that a task may ask for at once, in a directory whose name needs quotes."""
    directory = tmp_path / "my 'logs'"
    asked = {
        "queue": "long",
        "cores": 2,
        "memory": "100M",
        "runtime": "90m",
        "nodes": 1,
        "ntasks": 2,
        "environment": "clean",
        "venv": "/opt/my env",
        "working_dir": str(tmp_path),
        "standard_output": str(directory),
        "container": "image.sif",
        "sbatch_arguments": ["--nice=10", '--comment=it\'s a "comment"'],
    }
    path = tmp_path / "script.py"
    path.write_text(f"""
from jobmon.client.api import Tool
tool = Tool("dry")
template = tool.get_task_template("{place.prefix}", "echo {{n}}", node_args=["n"], default_cluster_name="slurm")
workflow = tool.create_workflow(name="dry")
workflow.add_tasks(template.create_tasks(n=[1, 2, 3], compute_resources={asked!r}))
workflow.run()
""")
    (ready,) = json.loads(place.jobmon("workflow", "submit", "--dry-run", "-o", "json", path))["ready"]
    batch = tmp_path / "batch.sh"
    batch.write_text(ready["script"])
    sbatch = shutil.which("sbatch")
    assert sbatch is not None
    tested = subprocess.run([sbatch, "--test-only", batch], capture_output=True, text=True, timeout=60)
    assert (tested.returncode, "to start at" in tested.stderr) == (0, True), tested.stderr
    assert not place.jobs()
