"""What the fake cluster knows: nodes, partitions, and jobs with their runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """States of a job, in Slurm's words."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETING = "COMPLETING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    REQUEUED = "REQUEUED"


UNFINISHED = frozenset({State.PENDING, State.RUNNING, State.SUSPENDED, State.COMPLETING})
"""What ``squeue`` lists unless it is asked for others."""

SHORT_STATES: Mapping[State, str] = {
    State.PENDING: "PD",
    State.RUNNING: "R",
    State.SUSPENDED: "S",
    State.COMPLETING: "CG",
    State.COMPLETED: "CD",
    State.CANCELLED: "CA",
    State.FAILED: "F",
    State.TIMEOUT: "TO",
    State.NODE_FAIL: "NF",
    State.PREEMPTED: "PR",
    State.BOOT_FAIL: "BF",
    State.DEADLINE: "DL",
    State.OUT_OF_MEMORY: "OOM",
    State.REQUEUED: "RQ",
}


@dataclass(frozen=True)
class Partition:
    """A partition and its limits.

    Attributes:
        name: its name.
        max_seconds: longest time limit; 0: none.
        default_seconds: time limit of jobs that ask for none.
        max_memory: MiB a job may have on a node; 0: what the node has.
        nodes: names of its nodes.
        is_default: jobs that name none go here.
    """

    name: str
    max_seconds: int = 0
    default_seconds: int = 300
    max_memory: int = 0
    nodes: tuple[str, ...] = ("n1", "n2", "n3", "n4")
    is_default: bool = False


@dataclass
class Node:
    """A node.

    Attributes:
        name: its name.
        cpus: processors.
        memory: MiB.
        is_down: it takes no jobs.
        reason: why it is down.
    """

    name: str
    cpus: int = 16
    memory: int = 4096
    is_down: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Submission:
    """What ``sbatch`` was asked for.

    Attributes:
        script: text of the script.
        name: job name.
        user, uid: who submits.
        directory: where the script runs.
        environment: of the script.
        output, error: patterns of the log files; ``error`` empty: the same as ``output``.
        partition: where it goes.
        time_seconds: its time limit.
        memory: MiB.
        cpus, nodes: per task; number of nodes.
        tasks: ids of a job array; empty: no array.
        throttle: how many of them may run at once; 0: all.
        requeue: it is started anew when its node fails.
        is_held: it does not start until it is released.
        begin: seconds since the epoch before which it does not start.
        excluded: nodes it does not run on.
        account, qos, comment, features, gres: as asked for.
        append: logs are appended to.
    """

    script: str
    name: str
    user: str
    uid: int
    directory: Path
    environment: Mapping[str, str]
    output: str
    error: str
    partition: str
    time_seconds: int
    memory: int
    cpus: int = 1
    nodes: int = 1
    tasks: tuple[int, ...] = ()
    throttle: int = 0
    requeue: bool = True
    is_held: bool = False
    begin: float = 0.0
    excluded: tuple[str, ...] = ()
    account: str = ""
    qos: str = "normal"
    comment: str = ""
    features: str = ""
    gres: str = ""
    append: bool = False


@dataclass(frozen=True)
class Record:
    """One run of a job at one moment, as accounting keeps it.

    Attributes:
        run: which run; requeued jobs have several.
        job_id: the raw id.
        state: with "by UID" where somebody cancelled it.
        exit_code, signal: how it ended.
        node: where it ran; empty: nowhere.
        start, end: seconds since the epoch; 0: not yet.
        reason: why it had to wait.
        is_split: it has a row of its own; elements of an array that were not started share one.
    """

    run: int
    job_id: int
    state: str
    exit_code: int
    signal: int
    node: str
    start: float
    end: float
    reason: str
    is_split: bool = True


@dataclass
class Job:
    """A job, or one element of a job array.

    Attributes:
        array_job_id: the id ``sbatch`` printed.
        task: its number in the array; ``None``: it is no array.
        job_id: its own raw id; elements that wait share that of the array.
        submission: what was asked for.
        submitted: when, in seconds since the epoch.
        state: where it is.
        reason: why it waits, or how it ended.
        throttle: how many elements of its array may run at once; 0: all.
        is_held: ``JobHeldUser``, ``JobHeldAdmin`` or another reason it is held for; empty: it is not.
        node: where it runs or ran.
        started, ended: seconds since the epoch; 0: not yet.
        exit_code, signal: how it ended; Slurm shows exit codes from 128 on less 128.
        cancelled_by: uid of who cancelled it; -1: nobody.
        restarts: how often it was started anew.
        is_split: it has a raw id of its own.
        process: of its script while that runs; 0: none.
        mark: borne by all processes of its present run.
        ordered_end: the state it will have when its processes are gone.
        kill_at: when processes that were asked to end are killed; 0: they were not asked.
        maxrss: KiB that accounting shows.
        records: what accounting was told, and when.
    """

    array_job_id: int
    task: int | None
    job_id: int
    submission: Submission
    submitted: float
    state: State = State.PENDING
    reason: str = "None"
    throttle: int = 0
    is_held: str = ""
    node: str = ""
    started: float = 0.0
    ended: float = 0.0
    exit_code: int = 0
    signal: int = 0
    cancelled_by: int = -1
    restarts: int = 0
    is_split: bool = False
    process: int = 0
    mark: str = ""
    ordered_end: State | None = None
    kill_at: float = 0.0
    maxrss: int = 3000
    records: list[tuple[float, Record]] = field(default_factory=list)

    @property
    def shown_id(self) -> str:
        """The id users see: ``13_4`` for an element."""
        return str(self.array_job_id) if self.task is None else f"{self.array_job_id}_{self.task}"

    @property
    def is_active(self) -> bool:
        """It has processes, or may still have some."""
        return self.state in (State.RUNNING, State.COMPLETING, State.SUSPENDED)
