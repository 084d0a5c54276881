"""What passes between a controller and a batch cluster: batches go in, looks and ends come out.

A *batch* is the attempts of tasks of one array that ask for the same resources; on the cluster it is one job array. Its
steps count from 0; each has a ``distributor_id`` of its own. A step runs one attempt, or several short ones, one after the
other; which they are stands in the *batch file* (:mod:`jobmon.distributor.batch_file`), which the wrapper on the
compute node reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from jobmon.core.states import Cause, TaskInstanceEvent

WRAPPER_STEP_OPTION = "--step"
WRAPPER_ID_OPTION = "--distributor-id"


@dataclass(frozen=True)
class BatchJob:
    """A batch to be submitted.

    Attributes:
        name: name of the job on the cluster; no other batch of any database ever has the same.
        array_id, batch_num: the batch in Jobmon's database.
        task_instance_ids: the attempts, those of the first step first.
        batch_file: read by the wrapper; it says which attempts a step runs.
        wrapper: words of the command that runs the wrapper; the cluster's script adds ``--step N`` and
            ``--distributor-id ID``.
        requested_resources: what each step asks for, in canonical units; ``working_dir`` and ``queue`` are filled in.
        log_directory: where the cluster's own logs go, on a file system its nodes share.
        max_running: most steps that may run at once; 0: all.
        excluded_nodes: nodes it must not run on.
        sizes: how many attempts each step runs, one after the other; empty: one each.
    """

    name: str
    array_id: int
    batch_num: int
    task_instance_ids: tuple[int, ...]
    batch_file: Path
    wrapper: tuple[str, ...]
    requested_resources: Mapping[str, Any]
    log_directory: Path
    max_running: int = 0
    excluded_nodes: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()

    @property
    def num_steps(self) -> int:
        """Steps of the array."""
        return len(self.sizes or self.task_instance_ids)

    @property
    def first_attempts(self) -> tuple[int, ...]:
        """The first attempt of each step."""
        if not self.sizes:
            return self.task_instance_ids
        return tuple(self.task_instance_ids[first] for first in accumulate(self.sizes[:-1], initial=0))


@dataclass(frozen=True)
class JobLook:
    """A job that the cluster lists and that has not ended.

    Attributes:
        is_running: it was started.
        reason: why it does not start, as a sentence that begins with the cluster's own word; empty while nothing holds it.
        can_never_start: it waits for what will not come.
        nodename: where it runs.
        restarts: how often the cluster has started it anew.
        name: of the job, where the cluster tells it; another than expected means that the id is now somebody else's.
    """

    is_running: bool
    reason: str = ""
    can_never_start: bool = False
    nodename: str = ""
    restarts: int = 0
    name: str = ""


@dataclass(frozen=True)
class RemoteEnd:
    """How a job ended, as the cluster tells it.

    Attributes:
        event: FINISH, FAIL, RESOURCE or LOSE.
        cause: why it did not succeed.
        description: a sentence for the scientist.
        exit_code: of the job; negative: the signal that ended it.
        nodename: where it ran.
        wallclock: seconds it ran.
        maxrss: peak resident memory in bytes, where it was measured.
        cpu: CPU seconds.
        blames_node: the node is at fault and had better be avoided for a while.
        name: of the job, as for :class:`JobLook`.
    """

    event: TaskInstanceEvent
    cause: Cause | None = None
    description: str = ""
    exit_code: int | None = None
    nodename: str = ""
    wallclock: float | None = None
    maxrss: int | None = None
    cpu: float | None = None
    blames_node: bool = False
    name: str = ""


@dataclass(frozen=True)
class RemoteUsage:
    """What a job that has ended used, as the cluster's accounting tells it.

    Attributes:
        wallclock: seconds it ran.
        maxrss: peak resident memory in bytes.
        cpu: CPU seconds.
        energy: joules.
    """

    wallclock: float | None = None
    maxrss: int | None = None
    cpu: float | None = None
    energy: int | None = None


@dataclass(frozen=True)
class QueueDescription:
    """A queue as it was found on the cluster: its name and the limits that ``ClusterQueue`` understands."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterDescription:
    """A cluster as it describes itself.

    Attributes:
        queues: its queues; the one it prefers comes first.
        facts: lines for people: version, limits, accounting.
        connection_parameters: what was found out about the way to it, merged under what the user gave.
    """

    queues: tuple[QueueDescription, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    connection_parameters: Mapping[str, Any] = field(default_factory=dict)
