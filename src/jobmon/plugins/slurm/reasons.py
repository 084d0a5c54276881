"""Why jobs wait: Slurm's words for it as sentences, and which of them no waiting will mend. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

ORDINARY = frozenset({"", "None", "Priority", "Resources", "JobArrayTaskLimit", "Prolog", "Cleaning"})
"""Reasons of a job that just waits its turn."""

HELD = ("JobHeldUser", "JobHeldAdmin")
"""Slurm's words for a job that its owner, or an operator, holds back."""

_NEVER: Mapping[str, str] = {
    "PartitionTimeLimit": "it asks for more run time than its queue gives; ask for less (runtime), or choose another queue",
    "MaxMemPerLimit": "it asks for more memory than its queue gives; ask for less (memory), or choose another queue",
    "DependencyNeverSatisfied": "it waits for another job that has failed",
    "BadConstraints": "no node can give what it asks for; look at constraints, cores, memory, gpus and gres",
    "InvalidAccount": "its account is not valid any more; look at project",
    "InvalidQOS": "its quality of service is not valid any more; look at qos",
    "AccountNotAllowed": "its account may not use this queue; look at project and queue",
    "QOSNotAllowed": "its quality of service may not be used in this queue; look at qos and queue",
    "GroupNotAllowed": "your groups may not use this queue; choose another",
    "UidNotAllowed": "you may not use this queue; choose another",
    "DeadLine": "it cannot end before its deadline",
    "BadPriority": "its priority makes no sense to Slurm",
    "JobHoldMaxRequeue": "it was started anew too often, and Slurm holds it",
    "ReservationDeleted": "its reservation was deleted; look at reservation",
    "launch_failed_requeued_held": "its launch failed on a node, and Slurm holds it",
    "launch failed requeued held": "its launch failed on a node, and Slurm holds it",
    "user env retrieval failed requeued held": "your environment could not be read on its node, and Slurm holds it",
    "MaxRequeue": "it was started anew too often",
}

_WAITS: Mapping[str, str] = {
    "PartitionNodeLimit": (
        "it asks for more nodes than its queue gives, or some of them are down; ask for fewer (nodes), or wait"
    ),
    "PartitionConfig": (
        "the nodes of its queue cannot give what it asks for (cores, constraints), at least for now"
    ),
    "PartitionDown": "its queue is closed for the time being",
    "PartitionInactive": "its queue takes jobs but starts none for the time being",
    "ReqNodeNotAvail": "nodes it needs are down or reserved, for maintenance for instance",
    "BeginTime": "its time to begin has not come; after a failed start Slurm also waits some minutes",
    "Dependency": "it waits for another job",
    "JobHeldUser": "you hold it back; scontrol release lets it go",
    "JobHeldAdmin": "the operators of the cluster hold it back; ask them why",
    "Reservation": "its reservation has not begun",
    "Licenses": "all licences it needs are in use",
    "NodeDown": "a node it needs is down",
    "Nodes required for job are DOWN": "nodes it needs are down, or kept for others",
    "Reboot": "its node is started anew",
    "JobLaunchFailure": "its launch failed; Slurm tries again",
    "job requeued in held state": "it was put back into the queue and is held; scontrol release lets it go",
    "BurstBufferResources": "there is no room in the burst buffer",
    "BurstBufferStageIn": "its data is brought to the burst buffer",
    "SchedDefer": "the scheduler starts it with the next round",
    "QOSUsageThreshold": "the threshold of its quality of service is reached",
    "AssociationJobLimit": "your account runs as many jobs as it may",
    "QOSJobLimit": "your quality of service runs as many jobs as it may",
    "QOSResourceLimit": "your quality of service uses as much as it may",
    "QOSTimeLimit": "your quality of service has used the time it may",
    "AssociationResourceLimit": "your account uses as much as it may",
    "AssociationTimeLimit": "your account has used the time it may",
}

_OWNERS = {"Assoc": "your account", "QOS": "your quality of service", "AccountingPolicy": "your account"}
_LIMIT = re.compile(r"(Assoc|QOS)(Grp|Max|Min)(\w+)")
_ONE_JOB = re.compile(r"Per(Job|Node)(Limit)?$|(WallDuration)PerJobLimit$")


def explain(reason: str) -> tuple[str, bool]:
    """A sentence that begins with Slurm's word, and whether no waiting will help.

    The sentence is empty where nothing holds the job.
    """
    word = reason.split(",", 1)[0].strip().strip("()")
    if word in ORDINARY:
        return "", False
    if word in _NEVER:
        return f"{reason}: {_NEVER[word]}.", True
    if word in _WAITS:
        return f"{reason}: {_WAITS[word]}.", False
    if match := _LIMIT.match(word):
        return _limit_sentence(reason, match)
    return f"{reason}: so Slurm says; squeue(1) lists its reasons.", False


def _limit_sentence(reason: str, match: re.Match[str]) -> tuple[str, bool]:
    """A limit of an account or of a quality of service; one on a single job will not be met by waiting."""
    owner, kind, what = _OWNERS[match[1]], match[2], match[3]
    if kind == "Min":
        return f"{reason}: it asks for less than {owner} demands of a job.", True
    if kind == "Max" and _ONE_JOB.search(what):
        return f"{reason}: it asks for more than {owner} allows one job; ask for less.", True
    if "Minutes" in what:
        return f"{reason}: {owner} has used up what it was granted, or would with this job.", False
    return f"{reason}: {owner} has as much running or waiting as it may.", False
