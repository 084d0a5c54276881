"""Fields of jobs as ``squeue`` and ``scontrol`` show them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobmon.testing.fake_slurm.array_tasks import TEXT_LENGTH, tasks_text
from jobmon.testing.fake_slurm.model import SHORT_STATES, Job, State
from jobmon.testing.fake_slurm.script_environment import NO_TASK, log_path
from jobmon.testing.fake_slurm.texts import clock, memory_text, moment, short_clock


@dataclass(frozen=True)
class Row:
    """What one line shows: a job, or all elements of an array that have no id of their own.

    Attributes:
        job: the job, or the first of the elements.
        tasks: the elements' task ids; empty: it is one job.
        reason: why it waits.
        false_state: shown in place of its state; empty: the true one.
        length: longest expression of task ids; 0: any.
    """

    job: Job
    tasks: tuple[int, ...]
    reason: str
    false_state: str = ""
    length: int = TEXT_LENGTH

    @property
    def task_text(self) -> str:
        """The task id, or the ids that share this row."""
        if self.tasks:
            return tasks_text(self.tasks, self.job.throttle, self.length)
        return "N/A" if self.job.task is None else str(self.job.task)

    @property
    def shown_id(self) -> str:
        """The id users see."""
        return f"{self.job.array_job_id}_[{self.task_text}]" if self.tasks else self.job.shown_id

    @property
    def state(self) -> str:
        """State in Slurm's word."""
        return self.false_state or self.job.state.value

    @property
    def short_state(self) -> str:
        """State in one or two letters."""
        return self.false_state[:2] or SHORT_STATES[self.job.state]

    @property
    def run_seconds(self) -> float:
        """Seconds it has run."""
        job = self.job
        is_waiting = job.state is State.PENDING or not job.started
        return 0.0 if is_waiting else (job.ended or time.time()) - job.started


def rows_of(
    jobs: Sequence[Job],
    reason_of: Callable[[Job], str],
    is_expanded: bool,
    false_state: str = "",
    length: int = TEXT_LENGTH,
) -> list[Row]:
    """One row for each job, and one for all elements of an array that share its id."""
    rows: list[Row] = []
    shared: dict[tuple[int, State], list[Job]] = {}
    for job in jobs:
        if job.is_split or is_expanded:
            rows.append(Row(job, (), reason_of(job), false_state, length))
        else:
            shared.setdefault((job.array_job_id, job.state), []).append(job)
    together = [
        Row(members[0], tuple(job.task or 0 for job in members), reason_of(members[0]), false_state, length)
        for members in shared.values()
    ]
    return together + rows


SQUEUE_LETTERS: Mapping[str, str] = {
    "A": "jobid",
    "B": "batchhost",
    "C": "numcpus",
    "D": "numnodes",
    "F": "arrayjobid",
    "K": "arraytaskid",
    "L": "timeleft",
    "M": "timeused",
    "N": "nodelist",
    "P": "partition",
    "Q": "prioritylong",
    "R": "reasonlist",
    "S": "starttime",
    "T": "state",
    "V": "submittime",
    "Z": "workdir",
    "a": "account",
    "b": "gres",
    "e": "endtime",
    "f": "feature",
    "i": "jobarrayid",
    "j": "name",
    "k": "comment",
    "l": "timelimit",
    "m": "minmemory",
    "o": "command",
    "q": "qos",
    "r": "reason",
    "t": "statecompact",
    "u": "username",
    "U": "userid",
    "v": "reservation",
}
"""What the letters of ``squeue -o`` stand for, as ``-O`` names them."""


def squeue_field(name: str, row: Row) -> str:
    """A field of a row by its ``-O`` name in lower case; one of :data:`SQUEUE_NAMES`."""
    return _SQUEUE_FIELDS[name](row)


def _time_left(row: Row) -> str:
    return short_clock(max(0.0, row.job.submission.time_seconds - row.run_seconds))


def _end_time(row: Row) -> str:
    job = row.job
    return moment(job.ended or (job.started and job.started + job.submission.time_seconds))


def _wait_status(job: Job) -> int:
    """How it ended, as wait(2) has it."""
    core_dumped = 0x80 if job.state is State.OUT_OF_MEMORY else 0
    return job.exit_code << 8 | job.signal | core_dumped


def _reason_list(row: Row) -> str:
    return row.job.node or f"({row.reason})"


_SQUEUE_FIELDS: Mapping[str, Callable[[Row], str]] = {
    "account": lambda row: row.job.submission.account or row.job.submission.user,
    "arrayjobid": lambda row: str(row.job.array_job_id),
    "arraytaskid": lambda row: row.task_text,
    "batchhost": lambda row: row.job.node or "n/a",
    "command": lambda row: "(null)",
    "comment": lambda row: row.job.submission.comment or "(null)",
    "endtime": _end_time,
    "exit_code": lambda row: str(_wait_status(row.job)),
    "feature": lambda row: row.job.submission.features or "(null)",
    "gres": lambda row: row.job.submission.gres or "N/A",
    "jobarrayid": lambda row: row.shown_id,
    "jobid": lambda row: str(row.job.job_id),
    "minmemory": lambda row: memory_text(row.job.submission.memory),
    "name": lambda row: row.job.submission.name,
    "nodelist": lambda row: row.job.node,
    "numcpus": lambda row: str(row.job.submission.cpus),
    "numnodes": lambda row: str(row.job.submission.nodes),
    "partition": lambda row: row.job.submission.partition,
    "prioritylong": lambda row: "0" if row.job.is_held else "4294901700",
    "qos": lambda row: row.job.submission.qos,
    "reason": lambda row: row.reason,
    "reasonlist": _reason_list,
    "reservation": lambda row: "(null)",
    "restartcnt": lambda row: str(row.job.restarts),
    "starttime": lambda row: moment(row.job.started),
    "state": lambda row: row.state,
    "stderr": lambda row: row.job.submission.error or row.job.submission.output,
    "stdout": lambda row: row.job.submission.output,
    "statecompact": lambda row: row.short_state,
    "submittime": lambda row: moment(row.job.submitted),
    "timeleft": _time_left,
    "timelimit": lambda row: short_clock(row.job.submission.time_seconds),
    "timeused": lambda row: short_clock(row.run_seconds),
    "userid": lambda row: str(row.job.submission.uid),
    "username": lambda row: row.job.submission.user,
    "workdir": lambda row: str(row.job.submission.directory),
}
SQUEUE_NAMES = frozenset(_SQUEUE_FIELDS)
"""Names of the fields that ``squeue -O`` knows, in lower case."""


def _log(pattern: str, row: Row) -> str:
    job = replace(row.job, task=NO_TASK) if row.tasks else row.job
    return str(Path(job.submission.directory, log_path(pattern, job)))


def control_fields(row: Row) -> list[tuple[str, str]]:
    """What ``scontrol show job`` tells, in its order."""
    job, submission = row.job, row.job.submission
    ids = [("JobId", str(job.job_id))]
    if job.task is not None:
        ids += [("ArrayJobId", str(job.array_job_id)), ("ArrayTaskId", row.task_text)]
        ids += [("ArrayTaskThrottle", str(job.throttle))] if job.throttle else []
    end = job.ended or (job.started and job.started + submission.time_seconds)
    memory = memory_text(submission.memory)
    return [
        *ids,
        ("JobName", submission.name),
        ("UserId", f"{submission.user}({submission.uid})"),
        ("Priority", "0" if job.is_held else "4294901700"),
        ("Nice", "0"),
        ("Account", submission.account or submission.user),
        ("QOS", submission.qos),
        ("JobState", row.state),
        ("Reason", row.reason),
        ("Dependency", "(null)"),
        ("Requeue", str(int(submission.requeue))),
        ("Restarts", str(job.restarts)),
        ("BatchFlag", "1"),
        ("Reboot", "0"),
        ("ExitCode", f"{job.exit_code % 128}:{job.signal}"),
        ("RunTime", clock(row.run_seconds)),
        ("TimeLimit", clock(submission.time_seconds)),
        ("SubmitTime", moment(job.submitted)),
        ("StartTime", moment(job.started, "Unknown")),
        ("EndTime", moment(end, "Unknown")),
        ("Partition", submission.partition),
        ("ExcNodeList", ",".join(submission.excluded) or "(null)"),
        ("NodeList", job.node),
        *([("BatchHost", job.node)] if job.node else []),
        ("NumNodes", str(submission.nodes)),
        ("NumCPUs", str(submission.cpus)),
        ("TRES", f"cpu={submission.cpus},mem={memory},node={submission.nodes},billing={submission.cpus}"),
        ("MinMemoryNode", memory),
        ("Command", "(null)"),
        ("WorkDir", str(submission.directory)),
        ("StdErr", _log(submission.error or submission.output, row)),
        ("StdIn", "/dev/null"),
        ("StdOut", _log(submission.output, row)),
        ("Power", ""),
    ]
