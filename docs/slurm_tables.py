"""The tables about Slurm and about failures that stand inside hand-written pages, made from the plugin's own tables."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jobmon.core.states import (
    RETRY_POLICIES,
    RETRY_POLICY_CAUSES,
    TASK_INSTANCE,
    Cause,
    Charge,
    RetryAction,
    RetryPolicy,
    TaskInstanceStatus,
    target,
)
from jobmon.plugins.slurm.asked import OTHER_NAMES, RESOURCES
from jobmon.plugins.slurm.command_line import SlurmCommandLine
from jobmon.plugins.slurm.connection import AccountedJob
from jobmon.plugins.slurm.listing import ENDED_STATES
from jobmon.plugins.slurm.reasons import explain
from jobmon.plugins.slurm.rest_link import RestLink
from jobmon.plugins.slurm.script import ENVIRONMENT_EXIT_CODE
from jobmon.plugins.slurm.submission import sbatch_words, submission_of_command
from jobmon.plugins.slurm.verdicts import LAUNCH_SIGNAL, end_of

GIB = 2**30
LOGS = "/logs"
OPTION = re.compile(r"--\w+")


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table."""
    return [row(*header), row(*("---" for _ in header)), *(row(*each) for each in rows)]


# -- resources ----------------------------------------------------------------------------------------
MEANINGS: Mapping[str, tuple[str, Any]] = {
    "queue": ("partition; where a task names none, the one the cluster prefers", "long"),
    "cores": ("processor cores (of each of `ntasks`)", 4),
    "memory": ("memory of a node; a number is GiB", "8G"),
    "runtime": ("longest run time; a number is seconds. Slurm counts whole minutes", "2h"),
    "project": ("account that is charged", "my_account"),
    "constraints": ("features a node must have, in Slurm's notation", "archive"),
    "gpus": ("GPUs of a node", 1),
    "gres": ("generic resources of a node, in Slurm's notation", "gpu:a100:2"),
    "qos": ("quality of service", "urgent"),
    "nodes": ("nodes, for MPI programs: your command itself calls `srun` or `mpirun`", 2),
    "ntasks": ("tasks, for MPI programs", 8),
    "reservation": ("a reservation of nodes", "my_reservation"),
    "working_dir": ("where the command runs; default: where the script was started", "/data"),
    "stdout": ("directory of what commands write to standard output", "logs"),
    "stderr": ("the same for standard error", "logs"),
    "standard_output": (
        "Slurm's own log of a job: a directory, a pattern such as `logs/%A_%a.txt`, or `/dev/null`",
        "/data/%A_%a.txt",
    ),
    "standard_error": ("the same for errors; default: the same file", "/data/%A_%a.err"),
    "environment": (
        "`submit`: that of the script, the default; `clean`: the little that a login gives",
        "clean",
    ),
    "modules": ("environment modules to load, a list", ["gcc/12"]),
    "venv": ("directory of a Python virtual environment to activate", "/data/venv"),
    "conda": ("name or directory of a conda environment to activate", "r-4"),
    "container": ("image in which the command runs", "/data/r.sif"),
    "container_program": ("what runs images; default: `apptainer`", "singularity"),
    "container_arguments": ("more words for it, a list", ["--bind", "/data"]),
    "sbatch_arguments": ("more options of `sbatch`; with REST only those it has a field for", ["--nice=10"]),
}
"""What each resource means, and a value to show; the same names as those of the plugin, in its order."""
DECIDED_BY_WRAPPER = {
    "stdout": "nothing; the wrapper writes there",
    "stderr": "the same",
    "environment": "`--export=NIL`",
    "modules": "`module load` in the script",
    "venv": "`. …/bin/activate` in the script",
    "conda": "`conda activate` in the script",
    "container": "`apptainer exec IMAGE` before the command",
    "container_program": "the program in place of `apptainer`",
    "container_arguments": "its words behind `exec`",
}
"""Resources that are no option of sbatch, and what becomes of them."""


def resources_table() -> list[str]:
    """What a task may ask for, with the option of sbatch it becomes."""
    if list(MEANINGS) != list(RESOURCES):
        raise ValueError(f"docs/slurm_tables.py must explain {list(RESOURCES)} in this order.")
    others: dict[str, list[str]] = {}
    for other, name in OTHER_NAMES.items():
        others.setdefault(name, []).append(other)
    return table(
        ("Resource", "Meaning", "Example", "What Slurm gets"),
        (
            (f"`{name}`", meaning, f"`{value!r}`", _what_slurm_gets(name, value))
            for name, (meaning, value) in MEANINGS.items()
        ),
    )


def _what_slurm_gets(name: str, value: Any) -> str:
    if name in DECIDED_BY_WRAPPER:
        return DECIDED_BY_WRAPPER[name]
    without = set(sbatch_words(submission_of_command("true", "j", 1, {}, LOGS)))
    words = sbatch_words(submission_of_command("true", "j", 1, {name: value}, LOGS))
    return " ".join(f"`{word}`" for word in words if word not in without)


# -- the way to the cluster -----------------------------------------------------------------------------
PARAMETERS: Mapping[str, tuple[str, str]] = {
    "connection": ("", "`command_line` (the default) or `rest`"),
    "requeue": ("", "`true`: Slurm may start jobs anew by itself, and Jobmon follows; default: it may not"),
    "array_limit": ("", "most tasks of one job array; default: what the cluster allows"),
    "command_timeout": ("", "seconds a command, or an answer of slurmrestd, may take; default 20"),
    "bin": ("command_line", "directory of Slurm's commands; default: `PATH`"),
    "url": ("rest", "where slurmrestd listens: `http(s)://host:port`, or `unix:///path/of/its/socket`"),
    "slurm_rest_host": ("rest", "the same, as other Jobmons call it; it implies `connection=rest`"),
    "user": ("rest", "login name to act for; default: yours"),
    "token_file": ("rest", "file with a token, kept up to date by somebody; `chmod 600`"),
    "token_command": (
        "rest",
        "command that prints one; default `scontrol token lifespan=1800`; empty text: the socket needs none",
    ),
    "slurmtool_token_host": ("rest", "address of a service that answers GET with a token"),
    "api_version": ("rest", "such as `v0.0.40`; default: the newest both sides know"),
    "ca_file": ("rest", "certificates that vouch for an https server, beyond the system's"),
}
"""For which connection each parameter is (empty: both), and what it means."""


def parameters_table() -> list[str]:
    """Connection parameters of a cluster of type slurm."""
    for class_, way in ((SlurmCommandLine, "command_line"), (RestLink, "rest")):
        taken = {
            name
            for name, parameter in inspect.signature(class_).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        }
        told = {name for name, (only, _) in PARAMETERS.items() if only in ("", way)}
        if not taken <= told or not {n for n, (only, _) in PARAMETERS.items() if only == way} <= taken:
            raise ValueError(
                f"docs/slurm_tables.py must explain the parameters of {class_.__name__}: {taken}."
            )
    return table(
        ("Parameter", "For", "Meaning"),
        ((f"`{name}`", way or "both", meaning) for name, (way, meaning) in PARAMETERS.items()),
    )


# -- how jobs end -----------------------------------------------------------------------------------------
def _job(state: str, exit_code: int = 0, signal: int = 0, **values: Any) -> AccountedJob:
    usual: dict[str, Any] = {"nodes": "n17", "wallclock": 372.0}
    return AccountedJob("7", 1, state=state, exit_code=exit_code, signal=signal, **{**usual, **values})


ENDS: Sequence[tuple[str, AccountedJob, str]] = (
    ("COMPLETED", _job("COMPLETED"), ""),
    ("FAILED, exit code 3", _job("FAILED", 3), ""),
    ("FAILED, exit code 9", _job("FAILED", 9), ""),
    (f"FAILED, exit code {ENVIRONMENT_EXIT_CODE}", _job("FAILED", ENVIRONMENT_EXIT_CODE), ""),
    ("FAILED, signal 11", _job("FAILED", 0, 11), ""),
    (
        "FAILED, signal 9, and its memory was full (clusters without control groups)",
        _job("FAILED", 0, 9, memory_asked=2 * GIB, maxrss=2 * GIB),
        "",
    ),
    ("FAILED, signal 9", _job("FAILED", 0, 9, memory_asked=2 * GIB, maxrss=GIB // 4), ""),
    (f"FAILED, 0:{LAUNCH_SIGNAL}", _job("FAILED", 0, LAUNCH_SIGNAL, wallclock=0.0), ""),
    ("OUT_OF_MEMORY", _job("OUT_OF_MEMORY", 0, 125, memory_asked=2 * GIB, maxrss=2 * GIB), ""),
    ("TIMEOUT", _job("TIMEOUT", time_limit=300.0), ""),
    ("DEADLINE", _job("DEADLINE"), ""),
    ("NODE_FAIL", _job("NODE_FAIL"), ""),
    ("BOOT_FAIL", _job("BOOT_FAIL"), ""),
    ("PREEMPTED", _job("PREEMPTED"), ""),
    ("CANCELLED", _job("CANCELLED", cancelled_by="ann"), ""),
    ("REVOKED", _job("REVOKED"), ""),
)
"""What Slurm says of a job, and a job to show what is made of it."""


def ends_table() -> list[str]:
    """What each end of a job means."""
    missing = ENDED_STATES - {job.state for _, job, _ in ENDS}
    if missing:
        raise ValueError(f"docs/slurm_tables.py must show how a job ends that is {sorted(missing)}.")
    return table(("Slurm says", "Jobmon says", "Cause", "State"), (_end_row(*each) for each in ENDS))


def _end_row(words: str, job: AccountedJob, log: str) -> tuple[str, ...]:
    end = end_of(job, log)
    assert end is not None
    state = target(TASK_INSTANCE, TaskInstanceStatus.RUNNING, end.event)
    assert isinstance(state, TaskInstanceStatus)
    said = OPTION.sub(r"`\g<0>`", end.description)
    return words, said, f"`{end.cause}`" if end.cause else "", f"`{state.name}`"


# -- why jobs wait ----------------------------------------------------------------------------------------
REASONS = (
    "JobHeldUser",
    "BeginTime",
    "ReqNodeNotAvail",
    "PartitionDown",
    "AssocMaxJobsLimit",
    "QOSMaxCpuPerUserLimit",
    "AssocGrpCPUMinutesLimit",
    "PartitionTimeLimit",
    "MaxMemPerLimit",
    "BadConstraints",
    "InvalidAccount",
    "AssocMaxWallDurationPerJobLimit",
    "ReservationDeleted",
    "launch_failed_requeued_held",
)
"""Those that are met most; the plugin knows more."""


def reasons_table() -> list[str]:
    """Why jobs wait, and what Jobmon does."""

    def rows() -> Iterator[tuple[str, str, str]]:
        for reason in REASONS:
            sentence, never_starts = explain(reason)
            words = sentence.partition(": ")[2]
            yield f"`{reason}`", words, "it has failed; its job is cancelled" if never_starts else "waits"

    return table(("Slurm's reason", "What it means", "The attempt"), rows())


# -- what follows a failure ---------------------------------------------------------------------------------
CAUSES: Mapping[Cause, str] = {
    Cause.CODE: "its command failed",
    Cause.RESOURCE: "it took more memory or time than it had asked for",
    Cause.LAUNCH: "it could not be started, or was refused",
    Cause.INFRASTRUCTURE: "its node, its controller or the server died",
    Cause.PREEMPTED: "the cluster took its place away for another",
    Cause.CANCELLED: "a person, or the cluster's operators, cancelled its job",
}
_CHARGES = {
    Charge.ATTEMPTS: "at the cost of one of `max_attempts`",
    Charge.INFRASTRUCTURE: "at no cost, at most `task.max_infrastructure_losses` times",
}
_ACTIONS = {
    RetryAction.RETRY: "it is tried again",
    RetryAction.ADJUST: "it is tried again with more",
    RetryAction.GIVE_UP: "the task has failed for good",
}


def causes_table() -> list[str]:
    """What follows a failure, by its cause."""
    return table(
        ("Cause", "The attempt failed because", "What follows, unless you say otherwise"),
        ((f"`{cause}`", CAUSES[cause], _policy(RETRY_POLICIES[cause])) for cause in RETRY_POLICY_CAUSES),
    )


def _policy(policy: RetryPolicy) -> str:
    action = _ACTIONS[policy.action]
    return action if policy.action is RetryAction.GIVE_UP else f"{action}, {_CHARGES[policy.charge]}"


TABLES = {
    "slurm-resources": resources_table,
    "slurm-parameters": parameters_table,
    "slurm-ends": ends_table,
    "slurm-reasons": reasons_table,
    "causes": causes_table,
}
"""Tables by the name a page asks for them with: ``<!-- table: NAME -->``."""
