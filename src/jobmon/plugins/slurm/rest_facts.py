"""Partitions, nodes and limits as slurmrestd tells of them, by the names that ``scontrol`` gives them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jobmon.plugins.slurm.connection import Facts, SubmitLimit
from jobmon.plugins.slurm.rest_messages import Answer, number_of

UNLIMITED = "UNLIMITED"

_Object = Mapping[str, Any]


class PartitionsAnswer(Answer):
    """Partitions of the cluster."""

    partitions: list[dict[str, Any]] | None = None


class NodesAnswer(Answer):
    """Nodes of the cluster."""

    nodes: list[dict[str, Any]] | None = None


class AssociationsAnswer(Answer):
    """What users may do with which account."""

    associations: list[dict[str, Any]] | None = None


class QualitiesAnswer(Answer):
    """Qualities of service; v0.0.38 names them in capitals."""

    QOS: list[dict[str, Any]] | None = None
    qos: list[dict[str, Any]] | None = None


class VersionAnswer(Answer):
    """Which Slurm it is."""

    meta: dict[str, Any] | None = None


def partition_facts(partition: _Object) -> Facts:
    """The facts of a partition that limits are made of."""
    most, usual = _inner(partition, "maximums"), _inner(partition, "defaults")
    nodes, accounts, qos = (_inner(partition, name) for name in ("nodes", "accounts", "qos"))
    flags = partition.get("flags") or ()
    default_job = str(usual.get("job") or "")
    facts = {
        "PartitionName": str(partition.get("name") or ""),
        "MaxTime": _minutes(_first(partition.get("max_time_limit"), most.get("time"))),
        "DefaultTime": _minutes(_first(partition.get("default_time_limit"), usual.get("time"))),
        "MaxMemPerNode": _amount(
            _first(partition.get("maximum_memory_per_node"), most.get("partition_memory_per_node"))
        ),
        "MaxMemPerCPU": _amount(
            _first(partition.get("maximum_memory_per_cpu"), most.get("partition_memory_per_cpu"))
        ),
        "MaxCPUsPerNode": _amount(_first(partition.get("maximum_cpus_per_node"), most.get("cpus_per_node"))),
        "MaxNodes": _amount(_first(partition.get("maximum_nodes_per_job"), most.get("nodes"))),
        "TotalNodes": _amount(_first(partition.get("total_nodes"), nodes.get("total"))),
        "Nodes": _text(_first(partition.get("nodes"), nodes.get("configured"))),
        "AllowAccounts": _text(_first(partition.get("allowed_accounts"), accounts.get("allowed"))) or "ALL",
        "DenyAccounts": _text(_first(partition.get("denied_accounts"), accounts.get("deny"))),
        "AllowQos": _text(_first(partition.get("allowed_qos"), qos.get("allowed"))) or "ALL",
        "State": _state(_first(partition.get("state"), _inner(partition, "partition").get("state"))),
        "JobDefaults": default_job,
        "Default": "YES" if any(str(flag).lower() == "default" for flag in flags) else "",
    }
    return {name: text for name, text in facts.items() if text}


def node_facts(node: _Object) -> Facts:
    """The facts of a node that limits are made of."""
    facts = {
        "NodeName": str(node.get("name") or ""),
        "NodeAddr": str(node.get("address") or ""),
        "NodeHostName": str(node.get("hostname") or ""),
        "CPUTot": _amount(node.get("cpus")),
        "CPUEfctv": _amount(node.get("effective_cpus")),
        "RealMemory": _amount(node.get("real_memory")),
        "MemSpecLimit": _amount(node.get("specialized_memory")),
        "Gres": _text(node.get("gres")),
        "Partitions": _text(node.get("partitions")),
        "State": _state(node.get("state"), node.get("state_flags")),
    }
    return {name: text for name, text in facts.items() if text}


def version_facts(answer: VersionAnswer) -> Facts:
    """Which Slurm answers."""
    meta = answer.meta or {}
    release = (meta.get("Slurm") or meta.get("slurm") or {}).get("release")
    return {"SLURM_VERSION": str(release)} if release else {}


def submit_limit_of(
    associations: Iterable[_Object],
    qualities: Iterable[_Object],
    user: str,
    account: str | None = None,
    qos: str | None = None,
) -> SubmitLimit:
    """The narrowest limit on the jobs a user may have submitted at once.

    Without ``qos`` only the quality of service that jobs get where they name none counts: others bind those who ask for
    them.

    Args:
        associations: of the cluster.
        qualities: qualities of service.
        user: login name.
        account, qos: those that a job names.
    """
    accounts = [
        each for each in associations if each.get("user") == user and account in (None, each.get("account"))
    ]
    defaults = {qos or _usual_quality(each) for each in accounts}
    usual = [each for each in qualities if each.get("name") in defaults]
    own = [number_of(_inner(each, "max", "jobs").get("total")) for each in accounts]
    own += [number_of(_inner(each, "limits", "max", "jobs", "per").get("user")) for each in usual]
    shared = [number_of(_inner(each, "max", "jobs", "per").get("submitted")) for each in accounts]
    shared += [number_of(_inner(each, "limits", "max", "jobs").get("count")) for each in usual]
    limits = [limit for limit in own + shared if limit is not None]
    return SubmitLimit(min(limits, default=None), any(limit is not None for limit in shared))


def _usual_quality(association: _Object) -> str:
    """Quality of service of jobs that name none; empty: not known."""
    default = _inner(association, "default").get("qos")
    if isinstance(default, str) and default:
        return default
    allowed = list(association.get("qos") or ())
    return str(allowed[0]) if len(allowed) == 1 else ""


def _inner(value: _Object, *names: str) -> _Object:
    for name in names:
        inner = value.get(name)
        value = inner if isinstance(inner, Mapping) else {}
    return value


def _first(*values: Any) -> Any:
    """The value of the version that has one; what has the name in another version is an object of other things."""
    return next((value for value in values if _is_told(value)), None)


def _is_told(value: Any) -> bool:
    return "number" in value if isinstance(value, Mapping) else value is not None


def _amount(value: Any) -> str:
    number = number_of(value)
    return str(number) if number else ""


def _minutes(value: Any) -> str:
    minutes = number_of(value)
    if minutes is None:
        return UNLIMITED
    days, rest = divmod(minutes, 24 * 60)
    return f"{days}-{rest // 60:02}:{rest % 60:02}:00"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, Sequence) else ""


def _state(*values: Any) -> str:
    """A state with its flags as one word, such as ``IDLE+DRAIN``."""
    words = [word for value in values for word in ([value] if isinstance(value, str) else value or ())]
    return "+".join(str(word).upper() for word in words)
