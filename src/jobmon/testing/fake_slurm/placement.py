"""Which node a job goes to, and why it goes to none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from jobmon.testing.fake_slurm.model import Node, Partition, Submission


def never_starts(submission: Submission, partition: Partition, nodes: Mapping[str, Node]) -> str:
    """Slurm's word for what no amount of waiting changes; empty: it may start some day."""
    mine = [nodes[name] for name in partition.nodes]
    if 0 < partition.max_seconds < submission.time_seconds:
        return "PartitionTimeLimit"
    if submission.nodes > len(mine):
        return "PartitionNodeLimit"
    if submission.memory > (partition.max_memory or max(node.memory for node in mine)):
        return "MaxMemPerLimit"
    if submission.cpus > max(node.cpus for node in mine):
        return "PartitionConfig"
    return ""


class Placement:
    """What of the nodes is taken."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._cpus: Counter[str] = Counter()
        self._memory: Counter[str] = Counter()
        self._running: Counter[int] = Counter()

    def running(self, array_job_id: int) -> int:
        """How many elements of an array run."""
        return self._running[array_job_id]

    def why_not(self, submission: Submission, partition: Partition) -> str:
        """Slurm's word for what is missing at the moment; empty: there is room."""
        usable = [name for name in partition.nodes if self._is_usable(name, submission)]
        if not usable:
            return "ReqNodeNotAvail"
        return "" if self._first_free(submission, partition) else "Resources"

    def _is_usable(self, name: str, submission: Submission) -> bool:
        return not self._nodes[name].is_down and name not in submission.excluded

    def _first_free(self, submission: Submission, partition: Partition) -> str:
        for name in partition.nodes:
            node = self._nodes[name]
            has_room = (
                self._cpus[name] + submission.cpus <= node.cpus
                and self._memory[name] + submission.memory <= node.memory
            )
            if has_room and self._is_usable(name, submission):
                return name
        return ""

    def take(self, array_job_id: int, submission: Submission, partition: Partition) -> str:
        """Give a job its room; the node. There must be some."""
        name = self._first_free(submission, partition)
        self._count(array_job_id, name, submission, 1)
        return name

    def give_back(self, array_job_id: int, name: str, submission: Submission) -> None:
        """A job needs its room no longer."""
        self._count(array_job_id, name, submission, -1)

    def _count(self, array_job_id: int, name: str, submission: Submission, sign: int) -> None:
        self._cpus[name] += sign * submission.cpus
        self._memory[name] += sign * submission.memory
        self._running[array_job_id] += sign
