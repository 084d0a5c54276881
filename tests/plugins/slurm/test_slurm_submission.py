"""From a batch to what is submitted: settings, options, and a script that a real shell reads."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobmon.core.batch_cluster import BatchJob
from jobmon.core.exceptions import SubmissionError
from jobmon.plugins.slurm.asked import RESOURCES
from jobmon.plugins.slurm.script import ENVIRONMENT_EXIT_CODE, batch_script
from jobmon.plugins.slurm.submission import (
    SETTINGS,
    described_script,
    directory_of_log,
    sbatch_words,
    submission_of,
    submission_of_command,
)

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=40)
ECHO = (
    sys.executable,
    "-I",
    "-c",
    "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))",
)
"""A wrapper that tells how it was called."""


def job(name: str = "batch-1", logs: str = "/logs", steps: int = 5, **resources: Any) -> BatchJob:
    """A batch."""
    return BatchJob(
        name,
        7,
        1,
        tuple(range(steps)),
        Path("/batch"),
        ("/usr/bin/python3", "-I", "w.py"),
        resources,
        Path(logs),
    )


def words(**resources: Any) -> list[str]:
    """The options of a batch that asks for this."""
    return sbatch_words(submission_of(job(**resources)))


def test_resources_become_options() -> None:
    """Memory is rounded up to MiB, run time to minutes."""
    asked = words(
        queue="long",
        cores=2,
        memory=0.0625,
        runtime=61,
        project="p",
        constraints="a&b",
        qos="q",
        nodes=2,
        ntasks=8,
    )
    assert {
        "--partition=long",
        "--cpus-per-task=2",
        "--mem=64M",
        "--time=2",
        "--account=p",
        "--constraint=a&b",
        "--qos=q",
        "--nodes=2",
        "--ntasks=8",
    } <= set(asked)
    assert "--mem=1M" in words(memory=0.0001)
    assert {"--mem=1537M", "--time=1"} <= set(words(memory=1.5001, runtime=1))


def test_what_every_batch_has() -> None:
    """An array also for one element, its name, no restarts by Slurm, and a log for each element."""
    asked = words(steps=1)
    assert asked[:2] == ["--job-name=batch-1", "--array=1-1"]
    assert {"--no-requeue", "--output=/logs/%x-%A_%a.log", "--error=/logs/%x-%A_%a.log"} <= set(asked)


def test_throttle_exclusion_and_restarts() -> None:
    """The rest of what a batch may say."""
    batch = BatchJob("n", 1, 1, (1, 2, 3), Path("/b"), ("w",), {}, Path("/l"), 2, ("n1", "n2"))
    asked = sbatch_words(submission_of(batch, requeue=True))
    assert {"--array=1-3%2", "--exclude=n1,n2", "--requeue", "--open-mode=append"} <= set(asked)
    assert "--no-requeue" not in asked


@pytest.mark.parametrize(
    ("resources", "option"),
    [
        ({"gpus": 2}, "--gres=gpu:2"),
        ({"gpus": 2, "gres": "lustre:1"}, "--gres=gpu:2,lustre:1"),
        ({"gpus": 2, "gres": "gpu:a100:1"}, "--gres=gpu:a100:1"),
        ({"gpus": 0}, None),
    ],
)
def test_gpus(resources: dict[str, Any], option: str | None) -> None:
    """Generic resources of a node; those named in full come first."""
    assert next((word for word in words(**resources) if word.startswith("--gres")), None) == option


@pytest.mark.parametrize(
    ("standard_output", "logs", "pattern", "directory"),
    [
        (None, "/logs", "/logs/%x-%A_%a.log", "/logs"),
        (None, "/100%", "/100%%/%x-%A_%a.log", "/100%"),
        ("/mine", "/logs", "/mine/%x-%A_%a.log", "/mine"),
        ("/mine/%A.txt", "/logs", "/mine/%A.txt", "/mine"),
        ("/mine/%A/%a.txt", "/logs", "/mine/%A/%a.txt", ""),
        ("/dev/null", "/logs", "/dev/null", ""),
    ],
)
def test_logs_of_slurm(standard_output: str | None, logs: str, pattern: str, directory: str) -> None:
    """A directory gets a log for each element; a pattern is taken as it is; the directory can be made beforehand."""
    asked = submission_of(job(logs=logs, standard_output=standard_output)).settings
    assert asked["standard_output"] == asked["standard_error"] == pattern
    assert directory_of_log(pattern) == directory


def test_further_arguments_prevail() -> None:
    """They come last; what Jobmon needs for itself is refused."""
    assert words(queue="a", sbatch_arguments="--partition=b --nice=10")[-2:] == ["--partition=b", "--nice=10"]
    with pytest.raises(SubmissionError, match="--array"):
        words(sbatch_arguments=["--array=1-3"])


@pytest.mark.parametrize("name", ["", "-x", "a/b", "a,b", "a\\b", "a\nb"])
def test_names_that_slurm_would_take_for_something_else(name: str) -> None:
    """They are refused before sbatch is called."""
    with pytest.raises(SubmissionError, match="cannot be called"):
        submission_of(job(name=name))


@pytest.mark.parametrize(
    "resources",
    [{"cores": 0}, {"memory": "much"}, {"queue": "a\nb"}, {"environment": "other"}, {"working_dir": ""}],
)
def test_resources_that_cannot_be_meant(resources: dict[str, Any]) -> None:
    """They are refused before sbatch is called, by name."""
    with pytest.raises(SubmissionError, match=next(iter(resources))):
        submission_of(job(**resources))


@pytest.mark.parametrize("word", ["a\0b", "a\r\nb"])
def test_words_no_script_can_hold(word: str) -> None:
    """They are refused before sbatch is called."""
    with pytest.raises(SubmissionError):
        batch_script((word,), {})


def test_a_backslash_in_the_log_directory() -> None:
    """Slurm would write all logs into one file."""
    with pytest.raises(SubmissionError, match="backslash"):
        submission_of(job(logs="/a\\b"))


def test_every_resource_has_its_place() -> None:
    """Each is a setting, or is dealt with by the script, or is none of Slurm's business."""
    in_script = {"environment", "modules", "venv", "conda"}
    of_others = {"stdout", "stderr", "container", "container_program", "container_arguments"}
    renamed = {"queue", "memory", "runtime", "project", "gpus", "sbatch_arguments"}
    assert set(RESOURCES) <= set(SETTINGS) | in_script | of_others | renamed


def run_script(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a batch script as the second element of array 12."""
    ids = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_JOB_ID": "12", "PATH": os.environ["PATH"]}
    return subprocess.run(
        ["/bin/sh"],
        input=script,
        env={**ids, **environment},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(WORDS, max_size=5))
def test_words_survive_the_shell(given_words: list[str]) -> None:
    """Quotes, blanks, line breaks, dollars and all other text reach the wrapper as they are, then step and id."""
    done = run_script(batch_script((*ECHO, *given_words), {}))
    arguments, _ = json.loads(done.stdout)
    assert arguments == [*given_words, "--step", "1", "--distributor-id", "12_2"]


@settings(max_examples=100)
@given(
    WORDS.filter(str.isprintable).filter(bool), WORDS.filter(lambda text: text.strip() and text.isprintable())
)
def test_a_described_script_says_the_same(directory: str, project: str) -> None:
    """Its #SBATCH lines hold the options, each one word for the shell's rules of quoting."""
    submission = submission_of(job(working_dir="/" + directory, project=project, runtime=60))
    text = described_script(submission)
    lines = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]
    assert [shlex.split(line) for line in lines][:-1] == [[word] for word in sbatch_words(submission)]
    assert (
        "".join(line + "\n" for line in text.splitlines() if not line.startswith("#SBATCH"))
        == submission.script
    )


def test_a_clean_environment() -> None:
    """Nothing of the submitting one is kept but what every login has."""
    submission = submission_of(job(environment="clean"))
    assert not submission.keeps_environment
    done = run_script(batch_script(ECHO, {"environment": "clean"}), HOME="/elsewhere", PATH="/nowhere:/bin")
    _, environment = json.loads(done.stdout)
    assert environment["PATH"] == "/usr/local/bin:/usr/bin:/bin"
    assert environment["HOME"] == os.path.expanduser(f"~{environment['USER']}")


def test_a_virtual_environment(tmp_path: Path) -> None:
    """It is activated for the command; the wrapper itself runs where it always does."""
    venv = tmp_path / "it's mine"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "activate").write_text('VIRTUAL_ENV="active"\nexport VIRTUAL_ENV\n')
    done = run_script(batch_script(ECHO, {"venv": str(venv)}))
    assert json.loads(done.stdout)[1]["VIRTUAL_ENV"] == "active"


def test_modules(tmp_path: Path) -> None:
    """They are loaded by the command module, which is found where the node keeps it."""
    init = tmp_path / "init" / "sh"
    init.parent.mkdir()
    init.write_text('module() { [ "$2" != bad ] && LOADED="$*" && export LOADED; }\n')
    good = run_script(batch_script(ECHO, {"modules": ["R/4.3", "gcc"]}), MODULESHOME=str(tmp_path))
    assert json.loads(good.stdout)[1]["LOADED"] == "load R/4.3 gcc"
    bad = run_script(batch_script(ECHO, {"modules": ["bad"]}), MODULESHOME=str(tmp_path))
    assert bad.returncode == ENVIRONMENT_EXIT_CODE
    assert bad.stderr.strip().endswith("could not be prepared: module load bad")


def test_conda(tmp_path: Path) -> None:
    """An environment given by its path needs no conda on the node; one given by name does."""
    (tmp_path / "bin").mkdir()
    done = run_script(
        batch_script(ECHO, {"conda": str(tmp_path)}), PATH="/usr/bin:/bin", CONDA_EXE="/no/conda"
    )
    environment = json.loads(done.stdout)[1]
    assert environment["CONDA_PREFIX"] == str(tmp_path)
    assert environment["PATH"].startswith(f"{tmp_path}/bin:")
    conda = tmp_path / "conda"
    conda.write_text("#!/bin/sh\necho 'conda() { CONDA_CALL=\"$*\"; export CONDA_CALL; }'\n")
    conda.chmod(0o700)
    named = run_script(batch_script(ECHO, {"conda": "my env"}), CONDA_EXE=str(conda))
    assert json.loads(named.stdout)[1]["CONDA_CALL"] == "activate my env"


@pytest.mark.parametrize("asked", [{"venv": "/no/venv"}, {"conda": "name"}, {"modules": ["m"]}])
@pytest.mark.skipif(shutil.which("module") is not None, reason="this machine has environment modules")
def test_an_environment_that_is_not_there(asked: dict[str, Any]) -> None:
    """The script ends with a code of its own and a sentence; the wrapper is not started."""
    done = run_script(batch_script(ECHO, asked), PATH="/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (ENVIRONMENT_EXIT_CODE, "")
    assert "jobmon: the environment could not be prepared" in done.stderr


def test_a_command_line_as_a_batch() -> None:
    """It goes to a shell of its own, which does not see step and id."""
    submission = submission_of_command('echo "$# $HOME"', "name", 3, {"queue": "q"}, "/logs")
    assert run_script(submission.script, HOME="/h").stdout == "4 /h\n"
