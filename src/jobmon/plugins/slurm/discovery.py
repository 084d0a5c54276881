"""What a Slurm cluster tells of itself: its partitions with their limits, and facts for people.

Everything but :func:`discover` is pure: facts (key and value as ``scontrol`` shows them) in, a description out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from jobmon.core.batch_cluster import ClusterDescription, QueueDescription
from jobmon.core.exceptions import ClusterUnreachable
from jobmon.core.resources import BYTES_OF_UNIT, bytes_to_gib
from jobmon.plugins.slurm.amounts import seconds_of

if TYPE_CHECKING:
    from jobmon.plugins.slurm.connection import SlurmConnection

Facts = Mapping[str, str]

PARAMETERS_CHARACTERS = 2500
"""Room for the parameters of a queue as JSON."""
LISTS = ("accounts", "refused_accounts", "qos")
"""Parameters that are left out where there is no room; they only serve to refuse early what Slurm refuses anyway."""
UNCONFIGURED_MIB = 1
"""What Slurm takes for the memory of a node whose configuration names none."""

_KEY = re.compile(r"(?:^|\s)([A-Za-z]\w*)=")
_COUNT = re.compile(r"(\d+)([KMGT]?)")


def discover(connection: SlurmConnection) -> ClusterDescription:
    """Ask a cluster for its partitions, nodes and configuration.

    Raises:
        ClusterUnreachable: it did not answer, or named no partition.
    """
    description = describe(connection.partitions(), connection.nodes(), connection.config())
    if not description.queues:
        raise ClusterUnreachable("Slurm answered, but named no partition; does this user see any (sinfo)?")
    return description


def read_lines(text: str) -> list[dict[str, str]]:
    """Facts of each line of ``scontrol -o show``; values may hold blanks, and a key that comes again is ignored."""
    found = []
    for line in text.splitlines():
        parts = _KEY.split(line)
        facts: dict[str, str] = {}
        for key, value in zip(parts[1::2], parts[2::2], strict=True):
            facts.setdefault(key, value.strip())
        if facts:
            found.append(facts)
    return found


def read_config(text: str) -> dict[str, str]:
    """Facts of ``scontrol show config``, one a line."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def describe(partitions: Iterable[Facts], nodes: Sequence[Facts], config: Facts) -> ClusterDescription:
    """A cluster by its facts; the partition of jobs that name none comes first."""
    by_partition: dict[str, list[Facts]] = {}
    for node in nodes:
        if "FUTURE" not in node.get("State", ""):
            for name in _names(node.get("Partitions", "")):
                by_partition.setdefault(name, []).append(node)
    queues = [
        QueueDescription(facts["PartitionName"], fitting(limits_of(facts, by_partition, config)))
        for facts in partitions
        if facts.get("PartitionName")
    ]
    queues.sort(key=lambda queue: not queue.parameters.get("is_default"))
    return ClusterDescription(tuple(queues), facts_of(config, len(nodes)))


def limits_of(
    partition: Facts, nodes_of: Mapping[str, Sequence[Facts]], config: Facts | None = None
) -> dict[str, Any]:
    """The parameters of a queue (see :mod:`jobmon.plugins.slurm.queue`) of a partition.

    Args:
        partition: its facts.
        nodes_of: facts of the nodes by the name of their partition; where there are none, what depends on them is not
            limited.
        config: of the cluster; its limits hold where the partition names none.
    """
    nodes = nodes_of.get(partition["PartitionName"], ())
    limits: dict[str, Any] = {}
    cores = _least(_largest(nodes, "CPUEfctv", "CPUTot"), _number(partition.get("MaxCPUsPerNode", "")))
    if cores:
        limits["cores"] = [1, cores]
    memory = _memory_mib(partition, nodes, cores, config or {})
    if memory:
        limits["memory"] = [0, bytes_to_gib(memory * BYTES_OF_UNIT["M"])]
    if seconds := seconds_of(partition.get("MaxTime", "")):
        limits["runtime"] = [0, int(seconds)]
    if seconds := seconds_of(partition.get("DefaultTime", "")):
        limits["default_runtime"] = int(seconds)
    if most := _least(_number(partition.get("TotalNodes", "")), _number(partition.get("MaxNodes", ""))):
        limits["nodes"] = [1, most]
    if nodes:
        limits["gres"] = most_gres(node.get("Gres", "") for node in nodes)
    for name, fact in (
        ("accounts", "AllowAccounts"),
        ("refused_accounts", "DenyAccounts"),
        ("qos", "AllowQos"),
    ):
        if names := _names(partition.get(fact, "")):
            limits[name] = names
    if partition.get("Default") == "YES":
        limits["is_default"] = True
    limits["is_up"] = partition.get("State", "UP") == "UP"
    return limits


def fitting(parameters: dict[str, Any], room: int = PARAMETERS_CHARACTERS) -> dict[str, Any]:
    """The parameters without those lists for which there is no room; the longest goes first."""
    fits = dict(parameters)
    for name in sorted(LISTS, key=lambda name: -len(msgspec.json.encode(parameters.get(name)))):
        if len(msgspec.json.encode(fits)) > room:
            fits.pop(name, None)
    return fits


def facts_of(config: Facts, num_nodes: int) -> dict[str, str]:
    """Lines for people."""
    accounting = config.get("AccountingStorageType", "").rpartition("/")[2]
    facts = {
        "Slurm": config.get("SLURM_VERSION", ""),
        "cluster": config.get("ClusterName", ""),
        "nodes": str(num_nodes),
        "accounting": {"": "", "none": "none: how jobs ended is known for a while only"}.get(
            accounting, accounting
        ),
        "steps of an array": _array_steps(config.get("MaxArraySize", "")),
        "jobs at once": config.get("MaxJobCount", ""),
        "impossible requests": {
            "": "",
            "NO": "accepted by sbatch, and wait for ever; Jobmon refuses them (EnforcePartLimits=NO)",
        }.get(config.get("EnforcePartLimits", ""), "refused by sbatch"),
        "preemption": config.get("PreemptType", "").rpartition("/")[2],
        "jobs of failed nodes": {"0": "are not started anew", "1": "may be started anew"}.get(
            config.get("JobRequeue", ""), ""
        ),
    }
    return {name: text for name, text in facts.items() if text}


def most_gres(texts: Iterable[str]) -> dict[str, int]:
    """Most of each kind on one node, of texts such as ``gpu:a100:4(S:0-1),gpu:v100:2,license:3``."""
    most: dict[str, int] = {}
    for text in texts:
        here: dict[str, int] = {}
        for entry in re.sub(r"\([^)]*\)", "", text).split(","):  # which sockets they sit at, or (null)
            kind, *others = entry.strip().split(":")
            count = _COUNT.fullmatch(others[-1]) if others else None
            number = int(count[1]) * BYTES_OF_UNIT.get(count[2], 1) if count else 1
            if kind:
                here[kind] = here.get(kind, 0) + number
        most.update({kind: max(count, most.get(kind, 0)) for kind, count in here.items()})
    return most


# -- pieces -------------------------------------------------------------------------------------------
def _memory_mib(partition: Facts, nodes: Sequence[Facts], cores: int | None, config: Facts) -> int | None:
    """Most MiB a job may ask for on one node."""
    there = [
        real - (_number(node.get("MemSpecLimit", "")) or 0)
        for node in nodes
        if (real := _number(node.get("RealMemory", "")) or 0) > UNCONFIGURED_MIB
    ]
    of_node = _number(partition.get("MaxMemPerNode", "")) or _number(config.get("MaxMemPerNode", ""))
    of_core = _number(partition.get("MaxMemPerCPU", "")) or _number(config.get("MaxMemPerCPU", ""))
    return _least(max(there, default=None), of_node, of_core * cores if of_core and cores else None)


def _largest(nodes: Iterable[Facts], *names: str) -> int | None:
    """The largest value of the first of some facts that a node has."""
    found = [next((n for name in names if (n := _number(node.get(name, "")))), 0) for node in nodes]
    return max(found, default=0) or None


def _least(*numbers: int | None) -> int | None:
    return min((number for number in numbers if number), default=None)


def _number(text: str) -> int | None:
    """A whole number; ``None`` for UNLIMITED, ``(null)`` and the like."""
    return int(text) if text.isascii() and text.isdigit() else None


def _names(text: str) -> list[str]:
    return [] if text in ("", "ALL", "(null)", "N/A", "NONE") else text.split(",")


def _array_steps(text: str) -> str:
    size = _number(text)
    return "" if size is None else str(max(size - 1, 0))
