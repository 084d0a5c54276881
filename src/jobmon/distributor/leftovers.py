"""Ending what an earlier controller left on a batch cluster."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.serializers.swarm import LiveInstance

GONE_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 2.0


def end_jobs(plugin: ClusterDistributor, instances: Sequence[LiveInstance]) -> list[int]:
    """Cancel the jobs of attempts and wait a moment until they are gone; the attempts that are certain not to run any more.

    Attempts without an id were perhaps submitted when their controller ended: their batches are looked for by name. Jobs
    that bear another name than that of their batch belong to somebody else, and theirs are gone.

    Raises:
        ClusterUnreachable: it cannot be told what runs.
    """
    ids = _distributor_ids(plugin, instances)
    names = {ids[each.task_instance_id]: each.job_name for each in instances if each.task_instance_id in ids}
    if names:
        plugin.cancel(names)
    left = _wait_until_gone(plugin, names)
    return [each.task_instance_id for each in instances if ids.get(each.task_instance_id) not in left]


def _distributor_ids(plugin: ClusterDistributor, instances: Sequence[LiveInstance]) -> dict[int, str]:
    """The id of each attempt that the cluster has, or had."""
    found = {each.task_instance_id: each.distributor_id for each in instances if each.distributor_id}
    unknown: dict[str, list[LiveInstance]] = defaultdict(list)
    for each in instances:
        if not each.distributor_id:
            unknown[each.job_name].append(each)
    for name, attempts in unknown.items():
        ids = plugin.find_batch(name, attempts[0].batch_size)
        found.update(
            {each.task_instance_id: ids[each.array_step_id] for each in attempts if each.array_step_id in ids}
        )
    return found


def _wait_until_gone(plugin: ClusterDistributor, names: Mapping[str, str]) -> set[str]:
    """Ids of jobs that are still there after a while."""
    left, pause, deadline = list(names), FIRST_PAUSE_SECONDS, time.monotonic() + GONE_SECONDS
    while left:
        left = list(plugin.look(left))
        if not left or time.monotonic() > deadline:
            break
        time.sleep(pause)
        pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
    return set(left)
