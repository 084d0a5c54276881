"""What ``squeue`` prints: the jobs of the queue, and those that ended a short while ago. Pure text."""

from __future__ import annotations

from collections.abc import Iterator

from jobmon.plugins.slurm.amounts import bytes_of, exit_of, seconds_of, split_id
from jobmon.plugins.slurm.connection import ListedJob, RecentJob

LISTED_FIELDS = ("JobArrayID", "State", "Reason", "NodeList", "RestartCnt", "Name")
RECENT_FIELDS = (
    "JobArrayID",
    "State",
    "exit_code",
    "Reason",
    "NodeList",
    "RestartCnt",
    "TimeUsed",
    "TimeLimit",
    "MinMemory",
    "STDERR",
    "Name",
)
"""Fields asked for; the name comes last because it alone may hold the separator."""
SEPARATOR = "|"

ENDED_STATES = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
"""Slurm's words for a job that has ended for good; one with any other word, also with a new one, is still there."""
WAITING_STATES = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
        "POWER_UP_NODE",
    }
)
"""Slurm's words for a job that is there and does not run yet, or again; all others that have not ended run."""


def read_listing(text: str, with_ended: bool = False) -> list[ListedJob]:
    """Rows of the queue; those of jobs that have ended are left out, unless they are asked for.

    Raises:
        ValueError: a line is not one of them.
    """
    found = []
    for row in _rows(text, LISTED_FIELDS):
        job_id, indices = split_id(row["JobArrayID"])
        if with_ended or row["State"] not in ENDED_STATES:
            found.append(
                ListedJob(
                    job_id=job_id,
                    indices=indices,
                    name=row["Name"],
                    state=row["State"],
                    reason=_told(row["Reason"]),
                    nodes=row["NodeList"],
                    restarts=_number(row["RestartCnt"]),
                )
            )
    return found


def read_recent(text: str) -> list[RecentJob]:
    """The same of jobs in any state, an element each.

    Raises:
        ValueError: a line is not one of them.
    """
    return [job for row in _rows(text, RECENT_FIELDS) for job in _recent_jobs(row)]


def _recent_jobs(row: dict[str, str]) -> Iterator[RecentJob]:
    job_id, indices = split_id(row["JobArrayID"])
    code, signal = exit_of(row["exit_code"])
    for index in indices or (None,):
        yield RecentJob(
            job_id=job_id,
            index=index,
            name=row["Name"],
            state=row["State"],
            exit_code=code,
            signal=signal,
            nodes=row["NodeList"],
            wallclock=seconds_of(row["TimeUsed"]),
            time_limit=seconds_of(row["TimeLimit"]),
            memory_asked=bytes_of(row["MinMemory"]),
            reason=_told(row["Reason"]),
            restarts=_number(row["RestartCnt"]),
            log=log_path(row["STDERR"], job_id, index, row["Name"]),
        )


def log_path(pattern: str, job_id: str, index: int | None, name: str) -> str:
    """The path of a log from Slurm's pattern; empty where it holds what is not known here."""
    known = {"A": job_id, "a": str(index), "x": name, "%": "%"}
    path, rest = "", pattern
    while "%" in rest:
        before, _, rest = rest.partition("%")
        if rest[:1] not in known:
            return ""
        path, rest = path + before + known[rest[0]], rest[1:]
    return path + rest


def _rows(text: str, fields: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        values = line.split(SEPARATOR, len(fields) - 1)
        if len(values) != len(fields):
            raise ValueError(f"'{line}' is no row of the queue.")
        values[-1] = values[-1].removesuffix(SEPARATOR)
        yield dict(zip(fields, values, strict=True))


def _told(reason: str) -> str:
    return "" if reason in ("None", "N/A", "(null)") else reason


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
