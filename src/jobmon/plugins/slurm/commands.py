"""The commands of Slurm, as words; what they print is read by :mod:`listing` and :mod:`accounting`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from jobmon.plugins.slurm import accounting, limits, listing
from jobmon.plugins.slurm.amounts import compress, split_id
from jobmon.plugins.slurm.connection import Submission
from jobmon.plugins.slurm.submission import environment_word, sbatch_words

Words = list[str]

MAX_IDS = 2_000
"""Ids named in one command; with more of them, squeue lists all jobs of the user instead."""
CANCEL_IDS = 500
"""Ids named in one scancel."""
FIND_SINCE = "now-30days"
"""How far back a batch is searched in the accounting."""

KEPT_VARIABLES = (
    "SBATCH_ACCOUNT",
    "SBATCH_CONSTRAINT",
    "SBATCH_QOS",
    "SBATCH_RESERVATION",
    "SLURM_CONF",
    "SLURM_CONF_SERVER",
    "SLURM_JWT",
)
"""Variables of Slurm that stay: where it is, and what a person submits with where a task does not say."""
OWN_PREFIXES = (
    "SLURM_",
    "SLURMD_",
    "SBATCH_",
    "SQUEUE_",
    "SACCT_",
    "SCANCEL_",
    "SCONTROL_",
    "SALLOC_",
    "SRUN_",
    "SINFO_",
)
"""Other variables that begin so change what the commands do or print, or belong to the job they are called from."""
PLAIN_OUTPUT = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}
"""For all commands but sbatch, whose environment becomes the job's: English, one form of times, no list cut short."""


def environment_of_submission(environ: Mapping[str, str]) -> dict[str, str]:
    """What sbatch runs with, and the job after it: nothing of a job this process may itself be in."""
    return {
        name: value
        for name, value in environ.items()
        if name in KEPT_VARIABLES or not name.startswith(OWN_PREFIXES)
    }


def environment_of_query(environ: Mapping[str, str]) -> dict[str, str]:
    """What the other commands run with."""
    kept = environment_of_submission(environ)
    return {**kept, **PLAIN_OUTPUT}


def submit(submission: Submission) -> Words:
    """``sbatch``; the script comes on its standard input, and ids go to its standard output."""
    return ["sbatch", "--parsable", *sbatch_words(submission), environment_word(submission)]


def list_jobs(job_ids: Sequence[str], user: str) -> Words:
    """What waits or runs of these arrays, a pending rest of an array on one line."""
    return ["squeue", "--noheader", "--all", *_selection(job_ids, user), _format(listing.LISTED_FIELDS)]


def list_recent(job_ids: Sequence[str], user: str) -> Words:
    """The same in all states, with how they ended."""
    return [
        "squeue",
        "--noheader",
        "--all",
        "--states=all",
        *_selection(job_ids, user),
        _format(listing.RECENT_FIELDS),
    ]


def list_named(name: str, user: str) -> Words:
    """Jobs of the user with that name, in all states."""
    return [
        "squeue",
        "--noheader",
        "--all",
        "--states=all",
        f"--user={user}",
        f"--name={name}",
        _format(listing.LISTED_FIELDS),
    ]


def count_jobs(user: str) -> Words:
    """A line for each element of the user's that waits or runs."""
    return ["squeue", "--noheader", "--all", "--array", f"--user={user}", "--format=%T"]


def account(ids: Sequence[str]) -> Words:
    """What the accounting knows of arrays or elements, all of their runs with all of their steps."""
    return [
        "sacct",
        "--noheader",
        "--parsable2",
        "--duplicates",
        f"--jobs={','.join(ids)}",
        f"--format={','.join(accounting.FIELDS)}",
    ]


def account_named(name: str, user: str) -> Words:
    """Ids of the user's jobs with that name, by the accounting."""
    return [
        "sacct",
        "--noheader",
        "--parsable2",
        "--allocations",
        f"--uid={user}",
        f"--name={name}",
        f"--starttime={FIND_SINCE}",
        "--format=JobID,JobName",
    ]


def cancel(ids: Iterable[str]) -> list[Words]:
    """``scancel`` for arrays (``123``) and elements (``123_4``), those of an array in one word: ``123_[1-5,7]``."""
    elements: dict[str, list[int]] = {}
    for each in ids:
        job_id, indices = split_id(each)
        elements.setdefault(job_id, []).extend(indices or (-1,))
    whole = [job_id for job_id, indices in elements.items() if -1 in indices]
    parts = [
        f"{job_id}_[{compress(indices[first : first + CANCEL_IDS])}]"
        for job_id, indices in (
            (job_id, sorted(set(own))) for job_id, own in elements.items() if -1 not in own
        )
        for first in range(0, len(indices), CANCEL_IDS)
    ]
    words = whole + parts
    return [["scancel", *words[first : first + CANCEL_IDS]] for first in range(0, len(words), CANCEL_IDS)]


def throttle(job_id: str, max_running: int) -> Words:
    """At most so many elements at once; 0: all."""
    return ["scontrol", "update", f"jobid={job_id}", f"arraytaskthrottle={max_running}"]


def hold(job_id: str) -> Words:
    """Let no more elements start; their owner can release them, also where an operator held them."""
    return ["scontrol", "uhold", job_id]


def release(job_id: str) -> Words:
    """Let them start again."""
    return ["scontrol", "release", job_id]


def show(what: str) -> Words:
    """Facts of all partitions or nodes, one a line, or of the configuration."""
    return (
        ["scontrol", "show", what] if what == "config" else ["scontrol", "--oneliner", "--all", "show", what]
    )


def associations(user: str) -> Words:
    """The limits of this user's accounts, and the quality of service each has where a job names none."""
    return [
        "sacctmgr",
        "--noheader",
        "--parsable2",
        "--readonly",
        "show",
        "user",
        "withassoc",
        f"user={user}",
        f"format={','.join(limits.ASSOCIATION_FIELDS)}",
    ]


def qualities() -> Words:
    """The limits of all qualities of service."""
    return [
        "sacctmgr",
        "--noheader",
        "--parsable2",
        "--readonly",
        "show",
        "qos",
        f"format={','.join(limits.QUALITY_FIELDS)}",
    ]


def _selection(job_ids: Sequence[str], user: str) -> Words:
    return [f"--jobs={','.join(job_ids)}"] if len(job_ids) <= MAX_IDS else [f"--user={user}"]


def _format(fields: Sequence[str]) -> str:
    return "--Format=" + ",".join(f"{field}:{listing.SEPARATOR}" for field in fields)
