"""What ``sacct`` prints: the runs of jobs as the accounting tells of them. Pure text.

For some seconds the accounting tells half of a story: a job is missing, is called "allocation" and has no partition, or
one element stands for its whole array. Such rows are left out: they are no ground for any conclusion.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from jobmon.plugins.slurm.amounts import bytes_of, exit_of, seconds_of, split_id
from jobmon.plugins.slurm.connection import AccountedJob

FIELDS = (
    "JobID",
    "State",
    "ExitCode",
    "Partition",
    "Submit",
    "ElapsedRaw",
    "TimelimitRaw",
    "TotalCPU",
    "MaxRSS",
    "ReqMem",
    "NNodes",
    "NCPUS",
    "ConsumedEnergyRaw",
    "Reason",
    "NodeList",
    "JobName",
)
"""Fields asked for; the name comes last because it alone may hold the separator."""
SEPARATOR = "|"
UNTOLD_NAME = "allocation"
"""Job name of a row whose first half has not arrived."""
NO_NODES = "None assigned"


@dataclass
class _Run:
    """A row of a job, with the rows of its steps."""

    row: dict[str, str]
    steps: list[dict[str, str]] = field(default_factory=list)


def read_accounting(text: str) -> list[AccountedJob]:
    """The last run of each element whose story is told in whole.

    Raises:
        ValueError: a line is not one of ``sacct -n -P -D`` with :data:`FIELDS`.
    """
    runs: dict[str, list[_Run]] = {}
    for line in text.splitlines():
        row = _row(line)
        job, dot, _ = row["JobID"].partition(".")
        if not dot:
            runs.setdefault(job, []).append(_Run(row))
        elif job in runs:
            runs[job][-1].steps.append(row)
    found: dict[tuple[str, int | None], AccountedJob] = {}
    for job, its_runs in runs.items():
        if not _is_whole(its_runs[-1].row):
            continue
        told = [run for run in its_runs if _is_whole(run.row)]
        last = max(told, key=lambda run: (run.row["Submit"], told.index(run)))
        job_id, indices = split_id(job)
        accounted = _accounted(job_id, last, restarts=len(told) - 1)
        for index in indices or (None,):
            # a row of elements that wait may still be there when one of them has a row of its own
            if accounted.state != "PENDING" or (job_id, index) not in found:
                found[job_id, index] = replace(accounted, index=index)
    return list(found.values())


def _row(line: str) -> dict[str, str]:
    values = line.split(SEPARATOR, len(FIELDS) - 1)
    if len(values) != len(FIELDS):
        raise ValueError(f"'{line}' is no row of the accounting.")
    return dict(zip(FIELDS, values, strict=True))


def _is_whole(row: dict[str, str]) -> bool:
    return bool(row["Partition"]) and row["JobName"] != UNTOLD_NAME


def _accounted(job_id: str, run: _Run, restarts: int) -> AccountedJob:
    row = run.row
    state, _, by = row["State"].partition(" by ")
    code, signal = exit_of(row["ExitCode"])
    minutes = row["TimelimitRaw"]
    return AccountedJob(
        job_id=job_id,
        index=None,
        name=row["JobName"],
        state=state.strip().rstrip("+"),
        exit_code=code,
        signal=signal,
        nodes="" if row["NodeList"] == NO_NODES else row["NodeList"],
        wallclock=seconds_of(row["ElapsedRaw"]),
        time_limit=int(minutes) * 60 if minutes.isdecimal() else None,
        memory_asked=_memory_of_node(row),
        reason="" if row["Reason"] == "None" else row["Reason"],
        cancelled_by=by.strip(),
        restarts=restarts,
        maxrss=_most([bytes_of(step["MaxRSS"]) for step in (row, *run.steps)]),
        cpu=seconds_of(row["TotalCPU"]),
        energy=_most([_joules(step["ConsumedEnergyRaw"]) for step in (row, *run.steps)]),
    )


def _memory_of_node(row: dict[str, str]) -> int | None:
    """Memory asked for on a node: newer Slurms tell the sum of all nodes, older ones that of a node or of a CPU."""
    text = row["ReqMem"]
    asked = bytes_of(text)
    nodes, cpus = (int(row[name]) if row[name].isdecimal() else 1 for name in ("NNodes", "NCPUS"))
    if asked is None or text.endswith(("n", "?")):
        return asked if not text.endswith("?") else None
    per_node = asked * cpus if text.endswith("c") else asked
    return per_node // max(1, nodes)


def _joules(text: str) -> int | None:
    joules = seconds_of(text)  # a plain number
    return int(joules) if joules else None


def _most(values: list[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
