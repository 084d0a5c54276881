"""A submission as slurmrestd takes it, for each version of its interface. Pure.

The fields come from the one table of settings (:data:`jobmon.plugins.slurm.submission.SETTINGS`); here stands what a
version wants otherwise. Seen of v0.0.38: ``requeue: false`` is taken and ignored, only ``no_requeue`` works; nodes to
avoid are called ``exclude_nodes`` and are a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jobmon.core.exceptions import SubmissionError
from jobmon.plugins.slurm.connection import Submission
from jobmon.plugins.slurm.submission import SETTINGS
from jobmon.plugins.slurm.token import VARIABLE

FIRST_VERSION = 38
SCRIPT_IN_JOB_VERSION = 40
"""From this version on the script is a field of the job."""
PLAIN_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
"""For a job that takes over nothing: slurmrestd insists on an environment."""

Field = tuple[str, Any]


def _text(name: str) -> Callable[[str], Field]:
    return lambda value: (name, value)


def _whole_number(name: str) -> Callable[[str], Field]:
    return lambda value: (name, int(value))


EXTRA_FIELDS: Mapping[str, Callable[[str], Field]] = {
    "comment": _text("comment"),
    "dependency": _text("dependency"),
    "licenses": _text("licenses"),
    "mail-user": _text("mail_user"),
    "nice": _whole_number("nice"),
    "ntasks-per-node": _whole_number("tasks_per_node"),
    "prefer": _text("prefer"),
    "threads-per-core": _whole_number("threads_per_core"),
    "wckey": _text("wckey"),
}
"""Options of sbatch that may be given as further arguments, with their fields."""

DEFAULTS_IN_ENVIRONMENT: Mapping[str, str] = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_CONSTRAINT": "constraints",
    "SBATCH_QOS": "qos",
    "SBATCH_RESERVATION": "reservation",
}
"""What sbatch reads from the environment where a job does not say, by the field; slurmrestd does not."""


def submission_body(submission: Submission, version: int, environment: Mapping[str, str]) -> dict[str, Any]:
    """The body of a submission.

    Args:
        submission: what is submitted.
        version: last part of the version of the interface, such as 38 of v0.0.38.
        environment: what the job starts with, where it keeps the environment, and where defaults are looked up.

    Raises:
        SubmissionError: something in it cannot be told to slurmrestd.
    """
    throttle = f"%{submission.max_running}" if submission.max_running > 0 else ""
    job: dict[str, Any] = {"name": submission.name, "array": f"1-{submission.num_steps}{throttle}"}
    for variable, name in DEFAULTS_IN_ENVIRONMENT.items():
        if environment.get(variable):
            job[name] = environment[variable]
    for setting, value in submission.settings.items():
        known = SETTINGS[setting]
        name, told = _as_told(known.rest, known.rest_value(value), version)
        job[name] = told
    job |= dict(extra_fields(submission.extra_arguments))
    variables = environment_of_job(environment) if submission.keeps_environment else PLAIN_ENVIRONMENT
    if version == FIRST_VERSION:
        job["environment"] = dict(variables)
    else:
        job["environment"] = [f"{name}={value}" for name, value in variables.items()]
    if version < SCRIPT_IN_JOB_VERSION:
        return {"script": submission.script, "job": job}
    return {"job": {**job, "script": submission.script}}


def environment_of_job(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the token, and without what is no text; never empty, as slurmrestd refuses that."""
    kept = {
        name: value
        for name, value in environment.items()
        if name != VARIABLE and _is_text(name) and _is_text(value)
    }
    return kept or dict(PLAIN_ENVIRONMENT)


def extra_fields(words: tuple[str, ...]) -> Iterator[Field]:
    """The fields of further arguments of sbatch.

    Raises:
        SubmissionError: one of them has no field, or a value that cannot be meant.
    """
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        option, equals, value = word.removeprefix("--").partition("=")
        field = EXTRA_FIELDS.get(option) if word.startswith("--") else None
        if field is None:
            raise SubmissionError(
                f"sbatch_arguments holds {word}, which this cluster cannot be told: it is reached over its REST API, "
                f"and there may be --{', --'.join(EXTRA_FIELDS)}, with their long names. For others use a resource of "
                "Jobmon, or connection=command_line among the connection parameters of the cluster."
            )
        if not equals:
            if not remaining:
                raise SubmissionError(f"sbatch_arguments holds {word} without a value.")
            value = remaining.pop(0)
        try:
            yield field(value)
        except ValueError:
            raise SubmissionError(
                f"sbatch_arguments holds {word}, and {value!r} is no whole number."
            ) from None


def _as_told(name: str, value: Any, version: int) -> Field:
    """A field and its value as a version takes them."""
    if version == FIRST_VERSION:
        return _told_first(name, value)
    if name in ("memory_per_node", "time_limit"):
        return name, {"set": True, "infinite": False, "number": value}
    if name == "nodes":
        return name, str(value[0])
    if name == "open_mode":
        return name, [str(value).upper()]
    return name, value


def _told_first(name: str, value: Any) -> Field:
    """The same in v0.0.38."""
    if name == "excluded_nodes":
        return "exclude_nodes", ",".join(value)
    if name == "tres_per_node":
        return "gres", str(value).replace("gres:", "")
    if name == "nodes":
        return name, value[0]
    if name == "requeue" and not value:
        return "no_requeue", True
    return name, value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
