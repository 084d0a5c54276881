"""The life expectancy example, as a new user meets it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobmon.core.local_server import LocalServerFiles, stop

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BIN = Path(sys.executable).parent
TASKS = 142 + 5 + 1

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example, in a directory whose name the shell would stumble over."""
    target = tmp_path / "life expectancy's copy"
    return Path(
        shutil.copytree(EXAMPLES / "life_expectancy", target, ignore=shutil.ignore_patterns("results"))
    )


@pytest.fixture
def run(tmp_path: Path, example: Path) -> Iterator[Run]:
    """Call a program with a local server of its own; stdout and stderr come together."""
    files = LocalServerFiles(tmp_path / "jobmon")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON__")}
    environment = {**variables, "HOME": str(tmp_path), "JOBMON__EMBEDDED__DIRECTORY": str(files.directory)}

    def call(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=environment,
            cwd=example,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
        )

    yield call
    if files.directory.exists():
        stop(files)


def workflow_id(output: str) -> str:
    """The workflow the script speaks of."""
    found = re.search(r"^Workflow (\d+) ", output, re.MULTILINE)
    assert found, output
    return found[1]


def counts(run: Run, workflow: str) -> dict[str, int]:
    """Tasks by the label users see, as the command line tells them."""
    done = run(BIN / "jobmon", "workflow", "status", "-w", workflow, "-o", "json")
    assert done.returncode == 0, done.stdout
    (row,) = json.loads(done.stdout)
    return {name: int(str(row[name]).split()[0]) for name in ("TASKS", "PENDING", "DONE", "FATAL")}


@pytest.mark.e2e
def test_runs_to_the_figure_and_says_so_the_second_time(run: Run, example: Path) -> None:
    """The example draws its figure; run again it runs nothing; ``--new`` runs everything again."""
    first = run(sys.executable, example / "run.py")
    assert first.returncode == 0, first.stdout
    results = example / "results"
    assert (results / "life_expectancy.png").read_bytes().startswith(b"\x89PNG")
    with open(results / "life_expectancy.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 142
    assert (rows[0]["country"], rows[-1]["country"]) == ("Oman", "Zimbabwe")
    workflow = workflow_id(first.stdout)
    assert "ended with status D" in first.stdout
    assert str(results / "life_expectancy.png") in first.stdout
    assert f"workflow status -w {workflow}" in first.stdout
    assert counts(run, workflow) == {"TASKS": TASKS, "PENDING": 0, "DONE": TASKS, "FATAL": 0}

    again = run(sys.executable, example / "run.py")
    assert again.returncode == 0, again.stdout
    assert f"Workflow {workflow} is already complete" in again.stdout
    assert "--new" in again.stdout

    anew = run(sys.executable, example / "run.py", "--new")
    assert anew.returncode == 0, anew.stdout
    assert workflow_id(anew.stdout) != workflow


@pytest.mark.e2e
def test_breaks_is_looked_at_and_resumes(run: Run, example: Path) -> None:
    """A country that fails is named with its error; a resume runs what it held up, and nothing else."""
    broken = run(sys.executable, example / "run.py", "--break", "Cote d'Ivoire")
    assert broken.returncode == 1, broken.stdout
    assert "ended with status E" in broken.stdout
    workflow = workflow_id(broken.stdout)
    # Africa and the figure wait for the country in vain.
    assert counts(run, workflow) == {"TASKS": TASKS, "PENDING": 2, "DONE": TASKS - 3, "FATAL": 1}

    failed = run(BIN / "jobmon", "workflow", "tasks", "-w", workflow, "-s", "FATAL", "-o", "json")
    (task,) = json.loads(failed.stdout)
    assert "cote_d_ivoire" in task["TASK_NAME"]
    attempts = run(BIN / "jobmon", "task", "status", "-t", str(task["TASK_ID"]))
    assert "no number where one is due" in attempts.stdout

    refused = run(sys.executable, example / "run.py")
    assert refused.returncode == 1, refused.stdout
    assert f"Workflow {workflow} was begun before" in refused.stdout
    assert "--resume" in refused.stdout

    results = example / "results"
    untouched = {path: path.stat().st_mtime_ns for path in (results / "countries").iterdir()}
    assert len(untouched) == 141
    resumed = run(sys.executable, example / "run.py", "--resume")
    assert resumed.returncode == 0, resumed.stdout
    assert workflow_id(resumed.stdout) == workflow
    assert counts(run, workflow) == {"TASKS": TASKS, "PENDING": 0, "DONE": TASKS, "FATAL": 0}
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert (results / "life_expectancy.png").exists()


def test_unknown_country_is_refused_before_anything_starts(example: Path) -> None:
    """A country that the data do not have is an error of the call."""
    done = subprocess.run(
        [sys.executable, str(example / "run.py"), "--break", "Atlantis"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "there is no country 'Atlantis'" in done.stderr
    assert not (example / "results").exists()
