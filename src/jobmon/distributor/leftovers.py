"""Ending what an earlier controller left on a batch cluster."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.exceptions import SharedFileError
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.submission import step_of_each, steps_of_members, withdraw_batch
from jobmon.serializers.swarm import LiveInstance

logger = logging.getLogger("jobmon.distributor")

GONE_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 2.0


def end_jobs(
    plugin: ClusterDistributor,
    shared: SharedDirectory,
    doomed: Sequence[LiveInstance],
    others: Sequence[LiveInstance] = (),
) -> list[int]:
    """Cancel the jobs of attempts and wait a moment until they are gone; the attempts that are certain not to run any more.

    Attempts without an id were perhaps submitted when their controller ended: their batches are looked for by name. Jobs
    that bear another name than that of their batch belong to somebody else, and theirs are gone. Batches of which all
    that live are doomed are withdrawn: what is started of them after all finds nothing to run.

    Args:
        plugin: drives the cluster.
        shared: where the batch files are.
        doomed: the attempts that have to end.
        others: those that go on. A job they share is left alone; of it, those that have begun end when the server tells
            them, the others never begin.

    Raises:
        ClusterUnreachable: it cannot be told what runs.
    """
    names_of_doomed = {each.job_name for each in doomed}
    neighbours = [each for each in others if each.job_name in names_of_doomed]
    ids = _distributor_ids(plugin, shared, [*doomed, *neighbours])
    kept = {ids[each.task_instance_id] for each in neighbours if each.task_instance_id in ids}
    for name in names_of_doomed - {each.job_name for each in neighbours}:
        _withdraw(shared, name)
    names = {ids[each.task_instance_id]: each.job_name for each in doomed if each.task_instance_id in ids}
    left = kept | _wait_until_gone(
        plugin, _cancelled(plugin, {i: name for i, name in names.items() if i not in kept})
    )
    return [
        each.task_instance_id
        for each in doomed
        if (found := ids.get(each.task_instance_id)) not in left or (found in kept and not _has_begun(each))
    ]


def _cancelled(plugin: ClusterDistributor, names: Mapping[str, str]) -> Mapping[str, str]:
    if names:
        plugin.cancel(names)
    return names


def _has_begun(attempt: LiveInstance) -> bool:
    return bool(attempt.nodename or attempt.process_group_id)


def _withdraw(shared: SharedDirectory, name: str) -> None:
    if not name:
        return
    try:
        withdraw_batch(shared, name)
    except SharedFileError as error:
        logger.warning("%s", error)


def _distributor_ids(
    plugin: ClusterDistributor, shared: SharedDirectory, instances: Sequence[LiveInstance]
) -> dict[int, str]:
    """The id of each attempt that the cluster has, or had."""
    found = {each.task_instance_id: each.distributor_id for each in instances if each.distributor_id}
    unknown: dict[str, list[LiveInstance]] = defaultdict(list)
    for each in instances:
        if not each.distributor_id:
            unknown[each.job_name].append(each)
    for name, attempts in unknown.items():
        steps = steps_of_members(shared, name, attempts)
        ids, step_of = plugin.find_batch(name, len(steps)), step_of_each(steps)
        wanted = [each.task_instance_id for each in attempts]
        found.update({each: ids[step_of[each]] for each in wanted if step_of[each] in ids})
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
