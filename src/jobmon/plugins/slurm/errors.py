"""What Slurm's refusals mean: to wait, to ask again whether it was heard, or that it will never be. Pure text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jobmon.core.exceptions import (
    BatchTooLarge,
    ClusterBusy,
    ClusterError,
    ClusterUnreachable,
    SubmissionError,
)

_AWAY = re.compile(
    r"unable to contact slurm|socket timed out|connection (?:refused|reset|timed out)|communication connection failure"
    r"|zero bytes were transmitted|no route to host|network is unreachable|host is unreachable"
    r"|backup controller in standby|unexpected message rec|transport endpoint|authentication (?:error|credential)|munge"
    r"|header lengths are longer|insane message length|unable to establish|failed to connect"
    r"|problem talking to the database|error processing response|unable to resolve",
    re.IGNORECASE,
)
"""Slurm, or a part of it, cannot be reached, or does not understand for the moment."""

_BUSY = re.compile(
    r"slurm temporarily unable to accept job|resource temporarily unavailable|MaxSubmitJob|GrpSubmitJob"
    r"|SubmitJobs?(?:PerUser|PerAccount)?Limit|too many (?:jobs|submissions)|job ?count limit|rate limit",
    re.IGNORECASE,
)
"""Limits on how many jobs may be submitted at once."""

_AMBIGUOUS = re.compile(r"job violates accounting/qos policy", re.IGNORECASE)
"""Slurm's words for a limit on submitted jobs, as well as for a job that is larger than a limit."""

_TOO_LARGE = re.compile(r"\b(?:Assoc|QOS)(?:Max|Min|Grp)\w+")
"""The limit it means, on a line of its own, as newer versions say it; those on submissions are among the busy ones."""

_ADVICE: Mapping[str, str] = {
    "invalid partition": "The queue is not one of the cluster's: sinfo lists them (queue).",
    "invalid account": "The account is not one you may use: sacctmgr show associations user=$USER lists them (project).",
    "invalid qos": "The quality of service is not one you may use (qos).",
    "invalid job array": "The array is larger than the cluster takes (MaxArraySize).",
    "invalid feature": "No node has these features: sinfo -o '%n %f' lists them (constraints).",
    "generic resource": "No node has these: sinfo -o '%n %G' lists them (gpus, gres).",
    "reservation": "There is no such reservation for you: scontrol show reservation lists them (reservation).",
    "invalid node name": "A node that is to be avoided does not exist (any more).",
    "time limit": "Ask for less run time, or choose another queue (runtime, queue).",
    "more processors": "Ask for fewer cores, or choose another queue (cores, queue).",
    "memory": "Ask for less memory, or choose another queue (memory, queue).",
    "node configuration is not available": "No node of the queue can give this; ask for less (cores, memory, gpus).",
    "node count": "The queue does not give so many nodes (nodes, queue).",
    "unrecognized option": "Look at sbatch_arguments.",
    "user's group not permitted": "You may not use this queue; choose another (queue).",
}
"""What to do, by a part of Slurm's words."""


def is_away(text: str) -> bool:
    """Whether Slurm says that it cannot be reached."""
    return bool(_AWAY.search(text))


def names_unknown_node(text: str) -> bool:
    """Whether Slurm refuses a job because a node it names does not exist."""
    return "invalid node name" in text.lower()


@dataclass(frozen=True)
class Occupancy:
    """How much of the limits on submitted jobs is used, as far as it is known.

    Attributes:
        most: jobs this user may have submitted at once; ``None``: no limit is known.
        queued: jobs this user has submitted.
        is_shared: there is also a limit on what he and others have submitted together.
    """

    most: int | None = None
    queued: int = 0
    is_shared: bool = False


def is_ambiguous(text: str) -> bool:
    """Whether only the limits tell what a refusal means: whether the job may be taken later, or never."""
    return bool(_BUSY.search(text)) or _may_mean_both(text)


def _may_mean_both(text: str) -> bool:
    return bool(_AMBIGUOUS.search(text)) and not _TOO_LARGE.search(text) and not _BUSY.search(text)


def refusal(text: str, num_steps: int, occupancy: Occupancy | None = None) -> ClusterError:
    """What a refused submission means.

    Args:
        text: what sbatch (or slurmrestd) said.
        num_steps: elements of the array.
        occupancy: where it was asked for, because it matters (:func:`is_ambiguous`).

    Returns:
        A :class:`BatchTooLarge`, a :class:`ClusterBusy`, a :class:`ClusterUnreachable` or a :class:`SubmissionError`, to
        be raised.
    """
    said = tidy(text)
    most = occupancy.most if occupancy else None
    if most == 0 and is_ambiguous(said):
        return SubmissionError(
            f"Slurm refused the job: {said} No jobs at all may be submitted with its account and quality of service; "
            "choose others (project, qos), or ask the operators of the cluster."
        )
    if most and num_steps > most and is_ambiguous(said):
        return BatchTooLarge(
            f"Slurm refused the job: {said} It has {num_steps} elements, and no more than {most} of your jobs may "
            f"be submitted at once with its account and quality of service. array_limit={most} among the cluster's "
            "connection parameters prevents that.",
            most,
        )
    if _BUSY.search(said) or (_may_mean_both(said) and occupancy and _may_be_full(occupancy, num_steps)):
        return ClusterBusy(f"Slurm takes no more jobs for the moment: {said}")
    if _AMBIGUOUS.search(said):
        return SubmissionError(
            f"Slurm refused the job: {said} Ask for less (runtime, cores, memory, nodes, gpus), or with another "
            "account or quality of service (project, qos)."
        )
    if is_away(said):
        return ClusterUnreachable(f"Slurm could not be reached: {said}")
    return SubmissionError(f"Slurm refused the job: {said}{advice(said)}")


def _may_be_full(occupancy: Occupancy, num_steps: int) -> bool:
    is_full = occupancy.most is not None and occupancy.queued + num_steps > occupancy.most
    return is_full or occupancy.is_shared


def advice(said: str) -> str:
    """What to do about a refusal, with a blank in front; empty where nothing is known."""
    lower = said.lower()
    return next((f" {what}" for part, what in _ADVICE.items() if part in lower), "")


def tidy(text: str) -> str:
    """What a command of Slurm said, as one line: without the names of commands, and each sentence once."""
    lines = []
    for line in text.splitlines():
        said = re.sub(r"^(?:s\w+|slurm_\w+): (?:error: |fatal: )?", "", line.strip())
        said = said.removeprefix("Batch job submission failed: ")
        if said and said not in lines:
            lines.append(said)
    joined = "; ".join(lines) or "it did not say why"
    return joined if joined.endswith(".") else f"{joined}."
