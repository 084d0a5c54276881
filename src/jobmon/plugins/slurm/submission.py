"""From a batch to what is submitted to Slurm: its settings and its script. Pure: nothing is submitted here.

:data:`SETTINGS` is the one table of what a job may ask Slurm for: the option of ``sbatch`` and the field of slurmrestd
by the name of a setting. Values of settings are in Slurm's units (MiB, minutes).
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jobmon.core.batch_cluster import BatchJob
from jobmon.core.exceptions import SubmissionError
from jobmon.core.resources import BYTES_OF_UNIT
from jobmon.plugins.slurm.asked import read_resources
from jobmon.plugins.slurm.connection import Submission
from jobmon.plugins.slurm.script import batch_script

LOG_NAME = "%x-%A_%a.log"
"""Slurm's own log of an element, in Slurm's pattern: job name, array, index."""
NULL_DEVICE = "/dev/null"
_MIB_OF_GIB = BYTES_OF_UNIT["G"] // BYTES_OF_UNIT["M"]
_NAME_BREAKERS = frozenset("/,\\")
"""What no job name may hold: it becomes part of file names, and of lists of names."""


@dataclass(frozen=True)
class Setting:
    """Something a job may ask Slurm for.

    Attributes:
        rest: field of a job in slurmrestd.
        words: the value as options of sbatch.
        rest_value: the value as JSON.
    """

    rest: str
    words: Callable[[Any], tuple[str, ...]]
    rest_value: Callable[[Any], Any] = lambda value: value


def _option(name: str, text: Callable[[Any], str] = str) -> Callable[[Any], tuple[str, ...]]:
    return lambda value: (f"--{name}={text(value)}",)


SETTINGS: Mapping[str, Setting] = {
    "partition": Setting("partition", _option("partition")),
    "cores": Setting("cpus_per_task", _option("cpus-per-task")),
    "memory_mib": Setting("memory_per_node", _option("mem", lambda mib: f"{mib}M")),
    "minutes": Setting("time_limit", _option("time")),
    "account": Setting("account", _option("account")),
    "constraints": Setting("constraints", _option("constraint")),
    "gres": Setting(
        "tres_per_node",
        _option("gres", ",".join),
        lambda kinds: ",".join(f"gres:{kind}" for kind in kinds),
    ),
    "qos": Setting("qos", _option("qos")),
    "nodes": Setting("nodes", _option("nodes"), lambda count: [count]),
    "ntasks": Setting("tasks", _option("ntasks")),
    "reservation": Setting("reservation", _option("reservation")),
    "working_dir": Setting("current_working_directory", _option("chdir")),
    "standard_output": Setting("standard_output", _option("output")),
    "standard_error": Setting("standard_error", _option("error")),
    "excluded_nodes": Setting("excluded_nodes", _option("exclude", ",".join), list),
    "requeue": Setting("requeue", lambda requeue: ("--requeue" if requeue else "--no-requeue",)),
    "open_mode": Setting("open_mode", _option("open-mode")),
}
"""What a job may ask for: one value each, but for gres and excluded_nodes, which are sequences."""

_SETTING_OF_RESOURCE = {
    "queue": "partition",
    "cores": "cores",
    "project": "account",
    "constraints": "constraints",
    "qos": "qos",
    "nodes": "nodes",
    "ntasks": "ntasks",
    "reservation": "reservation",
    "working_dir": "working_dir",
}
"""Resources that Slurm takes as they are."""


def submission_of(job: BatchJob, requeue: bool = False) -> Submission:
    """What is submitted for a batch.

    Args:
        job: the batch.
        requeue: Slurm may start its elements anew, on its own account, when it has ended them; the resource ``requeue`` of
            a job says so for that alone.

    Raises:
        SubmissionError: something in it cannot be told to Slurm.
    """
    resources = dict(job.requested_resources)
    is_requeued = bool(resources.pop("requeue", requeue))
    return _submission(
        job.name,
        job.wrapper,
        job.num_steps,
        resources,
        str(job.log_directory),
        is_requeued,
        job.max_running,
        job.excluded_nodes,
    )


def submission_of_command(
    command: str, name: str, num_steps: int, resources: Mapping[str, Any], log_directory: str
) -> Submission:
    """What is submitted for a command line of the shell, which finds out itself which element it is."""
    return _submission(name, ("/bin/sh", "-c", command, "sh"), num_steps, resources, log_directory, False)


def _submission(
    name: str,
    wrapper: tuple[str, ...],
    num_steps: int,
    resources: Mapping[str, Any],
    log_directory: str,
    requeue: bool,
    max_running: int = 0,
    excluded_nodes: tuple[str, ...] = (),
) -> Submission:
    _check_name(name)
    asked, problems = read_resources(resources)
    if problems:
        raise SubmissionError(" ".join(problems))
    settings = settings_of(asked, log_directory) | {"requeue": requeue}
    if requeue:
        settings["open_mode"] = "append"  # the log of the run before is worth keeping
    if excluded_nodes:
        settings["excluded_nodes"] = excluded_nodes
    return Submission(
        name=name,
        script=batch_script(wrapper, asked),
        num_steps=num_steps,
        settings=settings,
        max_running=max_running,
        keeps_environment=asked.get("environment", "submit") == "submit",
        extra_arguments=tuple(asked.get("sbatch_arguments", ())),
    )


def settings_of(asked: Mapping[str, Any], log_directory: str) -> dict[str, Any]:
    """The settings for resources as :func:`~jobmon.plugins.slurm.asked.read_resources` gives them.

    Memory is rounded up to MiB, run time to minutes: Slurm takes nothing finer.

    Raises:
        SubmissionError: Slurm cannot be told where the logs go.
    """
    settings = {
        setting: asked[name] for name, setting in _SETTING_OF_RESOURCE.items() if asked.get(name) is not None
    }
    if asked.get("memory") is not None:
        settings["memory_mib"] = max(1, math.ceil(asked["memory"] * _MIB_OF_GIB))
    if asked.get("runtime") is not None:
        settings["minutes"] = max(1, math.ceil(asked["runtime"] / 60))
    if kinds := _gres_of(asked):
        settings["gres"] = kinds
    settings["standard_output"] = log_pattern(asked.get("standard_output"), log_directory)
    settings["standard_error"] = log_pattern(
        asked.get("standard_error") or asked.get("standard_output"), log_directory
    )
    return settings


def log_pattern(asked: str | None, log_directory: str) -> str:
    """Where Slurm's own log of each element goes, as a pattern for Slurm.

    Args:
        asked: a directory, a pattern such as ``logs/%A_%a.txt``, ``/dev/null``, or nothing.
        log_directory: the directory where nothing is asked.

    Raises:
        SubmissionError: it holds a backslash, with which Slurm no longer sees a pattern in it.
    """
    if "\\" in (asked or log_directory):
        raise SubmissionError(
            f"The directory of Slurm's logs holds a backslash, which Slurm takes for a sign of its own: "
            f"{asked or log_directory!r}. Choose another (standard_output, distributor.shared_directory)."
        )
    if asked and ("%" in asked or asked == NULL_DEVICE):
        return asked
    return os.path.join((asked or log_directory).replace("%", "%%"), LOG_NAME)


def directory_of_log(pattern: str) -> str:
    """The directory a log goes to; empty when that is only known to Slurm, or the log goes nowhere."""
    directory = os.path.dirname(pattern)
    if pattern == NULL_DEVICE or "%" in directory.replace("%%", ""):
        return ""
    return directory.replace("%%", "%")


def sbatch_words(submission: Submission) -> list[str]:
    """The options of sbatch, all but the environment; what a task adds itself comes last, and so prevails."""
    throttle = f"%{submission.max_running}" if submission.max_running > 0 else ""
    words = [f"--job-name={submission.name}", f"--array=1-{submission.num_steps}{throttle}"]
    for name, value in submission.settings.items():
        words += SETTINGS[name].words(value)
    return words + list(submission.extra_arguments)


def environment_word(submission: Submission) -> str:
    """The option of sbatch for the environment a job starts with."""
    return f"--export={'ALL' if submission.keeps_environment else 'NIL'}"


def described_script(submission: Submission) -> str:
    """The script with all options in it: what a person may hand to sbatch to get the same job."""
    first, rest = submission.script.split("\n", 1)
    words = [*sbatch_words(submission), environment_word(submission)]
    return "\n".join([first, *(f"#SBATCH {shlex.quote(word)}" for word in words), rest])


def _gres_of(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """Generic resources of a node; ``gpus`` are some unless ``gres`` names GPUs itself."""
    kinds = tuple(kind.strip() for kind in asked.get("gres", "").split(",") if kind.strip())
    has_own = any(kind.split(":")[0] == "gpu" for kind in kinds)
    return (f"gpu:{asked['gpus']}", *kinds) if asked.get("gpus") and not has_own else kinds


def _check_name(name: str) -> None:
    """Refuse a job name that Slurm would take for something else.

    Raises:
        SubmissionError: it is such a name.
    """
    if not name or name.startswith("-") or any(c in _NAME_BREAKERS or not c.isprintable() for c in name):
        raise SubmissionError(
            f"A job cannot be called {name!r}: names on Slurm have no slash, backslash, comma or control "
            "character, and do not begin with a dash."
        )
