"""``sacct``: what accounting tells of jobs, late and sometimes by half."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from jobmon.testing.fake_slurm.answer import VERSION, Answer, Call, Refused
from jobmon.testing.fake_slurm.array_tasks import SHOWN_ID_LENGTH, split_ids, tasks_text
from jobmon.testing.fake_slurm.cluster import Cluster
from jobmon.testing.fake_slurm.faults import Faults
from jobmon.testing.fake_slurm.listing import matching, since
from jobmon.testing.fake_slurm.model import Job, Record, State
from jobmon.testing.fake_slurm.texts import clock, memory_text, moment
from jobmon.testing.fake_slurm.words import Options

_SACCT = Options(
    "sacct",
    {
        "allocations": "X",
        "allusers": "a",
        "delimiter=": "",
        "duplicates": "D",
        "endtime=": "E",
        "format=": "o",
        "jobs=": "j",
        "name=": "",
        "noconvert": "",
        "noheader": "n",
        "parsable": "p",
        "parsable2": "P",
        "partition=": "r",
        "starttime=": "S",
        "state=": "s",
        "units=": "",
        "uid=": "u",
        "user=": "",
        "version": "V",
    },
)
_PLAIN = "JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode"
_AWAY = "sacct: error: Problem talking to the database: Connection refused"
_NONE = "Slurm accounting storage is disabled"


@dataclass(frozen=True)
class Line:
    """One row: a run of a job, elements of an array that share one, or the script within a run.

    Attributes:
        job: the job, or the first of the elements.
        record: what accounting knows of it.
        tasks: the elements' task ids; empty: it is one job.
        is_script: it is the row of the batch script.
        is_half_told: name and partition have not arrived yet, or the id tells of the whole array.
    """

    job: Job
    record: Record
    tasks: tuple[int, ...] = ()
    is_script: bool = False
    is_half_told: bool = False

    @property
    def shown_id(self) -> str:
        """The id users see."""
        shared = f"{self.job.array_job_id}_[{tasks_text(self.tasks, self.job.throttle)}]"
        return (shared if self.tasks else self.job.shown_id)[:SHOWN_ID_LENGTH] + self._suffix

    @property
    def raw_id(self) -> str:
        """The raw id."""
        return str(self.record.job_id) + self._suffix

    @property
    def _suffix(self) -> str:
        return ".batch" if self.is_script else ""

    @property
    def seconds(self) -> float:
        """Seconds it ran."""
        record = self.record
        return max(0.0, (record.end or time.time()) - record.start) if record.start and record.node else 0.0


def sacct(call: Call, cluster: Cluster, faults: Faults) -> Answer:
    """Tell what became of jobs."""
    options, _ = _SACCT.read(call.arguments)
    if "version" in options:
        return Answer(f"slurm {VERSION}\n")
    if faults.no_accounting:
        raise Refused(_NONE)
    if faults.accounting_away:
        raise Refused(_AWAY)
    fields = _fields(options.get("format", _PLAIN))
    lines: list[Line] = []
    with cluster.lock:
        for job in _asked(call, cluster, options):
            lines += [Line(job, record) for record in cluster.told(job, faults.lag_seconds)]
    lines = _in_one_row(lines)
    if "duplicates" not in options:
        lines = list({line.shown_id: line for line in lines}.values())
    if faults.half_told:
        lines = _half(lines)
    if "allocations" not in options:
        lines = [each for line in lines for each in _with_script(line)]
    delimiter = options.get("delimiter", "|")
    head = [] if "noheader" in options else [delimiter.join(name for name, _ in fields)]
    rows = [delimiter.join(make(line, faults.false_state) for _, make in fields) for line in lines]
    end = delimiter if "parsable" in options else ""
    return Answer("".join(row + end + "\n" for row in [*head, *rows]))


def _asked(call: Call, cluster: Cluster, options: Mapping[str, str]) -> list[Job]:
    jobs: Iterable[Job] = [job for group in cluster.accounted.values() for job in group]
    if "jobs" in options:
        try:
            jobs = matching(jobs, split_ids(options["jobs"]))
        except ValueError as exc:
            raise Refused(f"sacct: fatal: Bad job/step specified: {options['jobs']}") from exc
    else:
        start = since(options["starttime"]) if "starttime" in options else 0.0
        jobs = [job for job in jobs if _was_seen_since(job, start)]
    if "name" in options:
        names = options["name"].split(",")
        jobs = [job for job in jobs if job.submission.name in names]
    users = options.get("user", options.get("uid"))
    return [job for job in jobs if users is None or job.submission.user in users.split(",")]


def _was_seen_since(job: Job, start: float) -> bool:
    """Jobs that were cancelled before they might have started are found by their ids only."""
    was_never_eligible = job.state is State.CANCELLED and not job.node and job.submission.begin > job.ended
    return not was_never_eligible and (not job.ended or job.ended >= start)


def _in_one_row(lines: Iterable[Line]) -> list[Line]:
    """Elements of an array that were never started share a row."""
    shared: dict[tuple[int, str, float], list[Line]] = {}
    alone: list[Line] = []
    for line in lines:
        if line.record.is_split:
            alone.append(line)
        else:
            key = (line.job.array_job_id, line.record.state, line.job.submitted)
            shared.setdefault(key, []).append(line)
    together = [
        Line(group[0].job, group[0].record, tuple(line.job.task or 0 for line in group))
        for group in shared.values()
    ]
    return together + alone


def _half(lines: list[Line]) -> list[Line]:
    """One row for each array: of the element that was started last, as if there were no others."""
    last: dict[int, Line] = {}
    for line in lines:
        known = last.get(line.job.array_job_id)
        if known is None or line.record.start >= known.record.start:
            last[line.job.array_job_id] = line
    return [Line(line.job, line.record, (), False, True) for line in last.values()]


def _with_script(line: Line) -> list[Line]:
    was_started = bool(line.record.node)
    return [line, Line(line.job, line.record, (), True, line.is_half_told)] if was_started else [line]


def _fields(text: str) -> list[tuple[str, Callable[[Line, str], str]]]:
    made = []
    for name in text.split(","):
        name = name.partition("%")[0]
        maker = _FIELDS.get(name.lower())
        if maker is None:
            raise Refused(f'sacct: error: Invalid field requested: "{name}"')
        made.append((name, maker))
    return made


def _name(line: Line, false_state: str) -> str:
    if line.is_script:
        return "batch"
    return "allocation" if _is_allocation(line) else line.job.submission.name


def _is_allocation(line: Line) -> bool:
    """Its end has arrived before its beginning."""
    return line.is_half_told and not line.record.state.startswith((State.COMPLETED, State.PENDING))


def _id(line: Line, false_state: str) -> str:
    is_told_as_whole = line.is_half_told and line.record.job_id == line.job.array_job_id
    return str(line.job.array_job_id) if is_told_as_whole and not line.is_script else line.shown_id


def _state(line: Line, false_state: str) -> str:
    state = line.record.state
    if line.is_script:
        is_killed = line.record.signal or state.split()[0] not in (
            State.COMPLETED,
            State.FAILED,
            State.RUNNING,
        )
        state = State.CANCELLED.value if is_killed else state
    return false_state or state


def _exit_code(line: Line, false_state: str) -> str:
    record = line.record
    if line.is_script and record.state.startswith((State.CANCELLED, State.TIMEOUT, State.PREEMPTED)):
        return "0:15"
    return f"{record.exit_code % 128}:{record.signal}"


def _of_job(make: Callable[[Line], str]) -> Callable[[Line, str], str]:
    """A field the row of a script leaves empty."""
    return lambda line, false_state: "" if line.is_script else make(line)


def _of_all(make: Callable[[Line], str]) -> Callable[[Line, str], str]:
    return lambda line, false_state: make(line)


def _maxrss(line: Line, false_state: str) -> str:
    return f"{line.job.maxrss}K" if line.is_script and line.record.end else ""


_FIELDS: Mapping[str, Callable[[Line, str], str]] = {
    "jobid": _id,
    "jobidraw": _of_all(lambda line: line.raw_id),
    "jobname": _name,
    "state": _state,
    "exitcode": _exit_code,
    "derivedexitcode": _of_job(lambda line: "0:0"),
    "elapsed": _of_all(lambda line: clock(line.seconds)),
    "elapsedraw": _of_all(lambda line: str(int(line.seconds))),
    "totalcpu": _of_all(lambda line: "00:00.002" if line.record.end and line.record.node else "00:00:00"),
    "cputimeraw": _of_all(lambda line: str(int(line.seconds) * line.job.submission.cpus)),
    "maxrss": _maxrss,
    "averss": _maxrss,
    "reqmem": _of_job(lambda line: memory_text(line.job.submission.memory)),
    "nodelist": _of_all(lambda line: line.record.node or "None assigned"),
    "ncpus": _of_all(lambda line: str(line.job.submission.cpus if line.record.node else 0)),
    "nnodes": _of_all(lambda line: str(line.job.submission.nodes)),
    "alloccpus": _of_all(lambda line: str(line.job.submission.cpus if line.record.node else 0)),
    "reqcpus": _of_all(lambda line: str(line.job.submission.cpus)),
    "user": _of_job(lambda line: line.job.submission.user),
    "account": _of_all(lambda line: line.job.submission.account or line.job.submission.user),
    "partition": _of_job(lambda line: "" if _is_allocation(line) else line.job.submission.partition),
    "qos": _of_job(lambda line: line.job.submission.qos),
    "reason": _of_job(lambda line: line.record.reason if not line.record.node else "None"),
    "submit": _of_all(lambda line: moment(line.job.submitted)),
    "eligible": _of_all(lambda line: moment(line.job.submitted, "Unknown")),
    "start": _of_all(lambda line: moment(line.record.start, "Unknown")),
    "end": _of_all(lambda line: moment(line.record.end, "Unknown")),
    "timelimit": _of_job(lambda line: clock(line.job.submission.time_seconds)),
    "timelimitraw": _of_job(lambda line: str(line.job.submission.time_seconds // 60)),
    "consumedenergy": _of_all(lambda line: "0"),
    "consumedenergyraw": _of_all(lambda line: "0"),
    "comment": _of_job(lambda line: line.job.submission.comment),
    "workdir": _of_job(lambda line: str(line.job.submission.directory)),
    "alloctres": _of_all(lambda line: f"cpu={line.job.submission.cpus}" if line.record.node else ""),
    "reqtres": _of_job(lambda line: f"cpu={line.job.submission.cpus}"),
    "tresusageinmax": _of_all(lambda line: ""),
    "tresusageintot": _of_all(lambda line: ""),
}
