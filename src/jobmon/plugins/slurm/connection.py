"""What is said to a Slurm cluster, and what it says, whichever way it is reached.

A :class:`SlurmConnection` talks: :class:`~jobmon.plugins.slurm.command_line.SlurmCommandLine` by Slurm's commands,
:class:`~jobmon.plugins.slurm.rest.SlurmRest` by slurmrestd. What it brings back is what Slurm said, in one form; what
that means for an attempt is decided elsewhere (:mod:`~jobmon.plugins.slurm.verdicts`,
:mod:`~jobmon.plugins.slurm.reasons`).

Ids: a batch is a job array with the id ``job_id``; its elements have an ``index`` from 1 (``None``: the job is no array).
Memory is in bytes, time in seconds, unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Facts = dict[str, str]
"""What Slurm tells of a partition, a node or itself, by the names ``scontrol`` gives it (``MaxTime``, ``RealMemory``)."""


@dataclass(frozen=True)
class Submission:
    """A job array to be submitted.

    Attributes:
        name: its job name.
        script: the batch script, without ``#SBATCH`` lines.
        num_steps: elements of the array; their indices count from 1.
        settings: what it asks for; names and forms in :data:`jobmon.plugins.slurm.submission.SETTINGS`.
        max_running: most elements that may run at once; 0: all.
        keeps_environment: the job starts with the environment of the process that submits it; otherwise with none.
        extra_arguments: more options for sbatch, as words.
    """

    name: str
    script: str
    num_steps: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_running: int = 0
    keeps_environment: bool = True
    extra_arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListedJob:
    """One row of the queue: a job, an element of an array, or those elements of an array that have not started.

    Attributes:
        job_id: id of the array (or of the job).
        indices: its elements; empty: the job is no array.
        name: job name.
        state: Slurm's word, such as ``PENDING``.
        reason: why it does not start, in Slurm's word, such as ``Priority``; empty: none.
        nodes: where it runs, as Slurm writes it (``n[1-3]``).
        restarts: how often it was requeued.
    """

    job_id: str
    indices: tuple[int, ...] = ()
    name: str = ""
    state: str = ""
    reason: str = ""
    nodes: str = ""
    restarts: int = 0


@dataclass(frozen=True)
class EndedJob:
    """A run of a job or of an array's element, as Slurm remembers it; it may also be one that has not ended.

    Attributes:
        job_id, index: which.
        name: job name.
        state: Slurm's word, such as ``OUT_OF_MEMORY``, without anything behind it.
        exit_code, signal: the two halves of Slurm's ``ExitCode``; ``None``: not known.
        nodes: where it ran, as Slurm writes it.
        wallclock: seconds it ran.
        time_limit: seconds it was granted; ``None``: not known or without end.
        memory_asked: bytes it was granted on a node.
        reason: Slurm's word for why it ended, where it has one.
        cancelled_by: login name or number of the person who cancelled it.
        restarts: how often it was requeued before this run.
    """

    job_id: str
    index: int | None
    name: str = ""
    state: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    wallclock: float | None = None
    time_limit: float | None = None
    memory_asked: int | None = None
    reason: str = ""
    cancelled_by: str = ""
    restarts: int = 0


@dataclass(frozen=True)
class AccountedJob(EndedJob):
    """A run as the accounting tells of it.

    Attributes:
        maxrss: most memory in bytes that was measured in one of its tasks.
        cpu: CPU seconds.
        energy: joules.
    """

    maxrss: int | None = None
    cpu: float | None = None
    energy: int | None = None


@dataclass(frozen=True)
class RecentJob(EndedJob):
    """A run as the controller remembers it for some minutes (``MinJobAge``).

    Attributes:
        log: path of Slurm's own log of it, where errors of the job go; empty: not known.
    """

    log: str = ""


@dataclass(frozen=True)
class SubmitLimit:
    """How many jobs of this user the cluster takes at once.

    Attributes:
        most: of all his jobs together, by the narrowest limit; ``None``: no limit, or not known.
        is_shared: there is also a limit on what he and others have submitted together.
    """

    most: int | None = None
    is_shared: bool = False


class SlurmConnection(Protocol):
    """A way to a Slurm cluster.

    Every method may raise :class:`~jobmon.core.exceptions.ClusterUnreachable`: no answer in time, or not one that can be
    understood. Each takes any number of ids, in as few requests as it can.
    """

    def submit(self, submission: Submission) -> str:
        """Submit an array; its id.

        Raises:
            ClusterBusy: limits allow no more jobs for the moment; nothing was submitted.
            ClusterUnreachable: whether it was submitted is not known.
            SubmissionError: it will never be taken; with Slurm's words.
        """
        ...

    def find(self, name: str) -> str | None:
        """Id of this user's array of that name, also one that has ended; ``None``: there surely is none."""
        ...

    def listing(self, job_ids: Sequence[str]) -> list[ListedJob]:
        """Rows of these arrays in the queue: what waits, runs or is being cleaned up; not what has ended."""
        ...

    def accounting(self, ids: Sequence[str]) -> list[AccountedJob]:
        """The last run of each element of these arrays (``123``), or of these elements (``123_4``), that it knows.

        Only those the accounting tells a whole story of, ended or not. None where there is no accounting.
        """
        ...

    def recent(self, job_ids: Sequence[str]) -> list[RecentJob]:
        """What the controller itself remembers of the elements of these arrays, ended or not; needs no accounting."""
        ...

    def cancel(self, ids: Sequence[str]) -> None:
        """End arrays (``123``) or elements (``123_4``); ids that are not known (any more) are no error."""
        ...

    def throttle(self, job_id: str, max_running: int) -> None:
        """Let at most so many elements of an array run at once; 0: all. One that has ended is no error."""
        ...

    def hold(self, job_id: str) -> None:
        """Let no more elements of an array start. One that has ended is no error."""
        ...

    def release(self, job_id: str) -> None:
        """Undo :meth:`hold`. One that is not held or has ended is no error."""
        ...

    def count_jobs(self) -> int:
        """Jobs and elements of this user that wait or run."""
        ...

    def submit_limit(self) -> SubmitLimit:
        """What the accounting allows this user; no limits where there is no accounting."""
        ...

    def partitions(self) -> list[Facts]:
        """``scontrol show partition``."""
        ...

    def nodes(self) -> list[Facts]:
        """``scontrol show node``."""
        ...

    def config(self) -> Facts:
        """``scontrol show config``; empty where this way cannot ask it."""
        ...


def connection_for(parameters: Mapping[str, Any]) -> SlurmConnection:
    """The connection that the connection parameters of a cluster ask for: ``connection`` is command_line or rest.

    Raises:
        ConfigError: there is no such way, or it lacks a parameter.
    """
    from jobmon.core.exceptions import ConfigError

    remaining = dict(parameters)
    rest_named = "slurm_rest_host" in remaining
    way = remaining.pop("connection", "rest" if rest_named else "command_line")
    if way == "command_line":
        from jobmon.plugins.slurm.command_line import SlurmCommandLine

        return SlurmCommandLine(**remaining)
    if way == "rest":
        from jobmon.plugins.slurm.rest import SlurmRest

        return SlurmRest(**remaining)
    raise ConfigError(
        f"connection={way!r} in the connection parameters of a Slurm cluster: it is command_line or rest."
    )
