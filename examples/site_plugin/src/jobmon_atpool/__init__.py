"""Cluster type ``atpool``: a pool of slots on this machine, kept in a directory.

It is a batch cluster of the simplest kind: jobs are processes in the background that outlive whoever submitted them, wait
for a slot, and leave their exit code behind. :mod:`jobmon_atpool.pool` is the cluster, as Slurm would be;
:mod:`jobmon_atpool.plugin` is what Jobmon needs to drive it.
"""

from __future__ import annotations

from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode


def get_cluster_queue_class() -> type[ClusterQueue]:
    """Class of the queue."""
    from jobmon_atpool.plugin import PoolQueue

    return PoolQueue


def get_cluster_distributor_class() -> type[ClusterDistributor]:
    """Class that drives the cluster."""
    from jobmon_atpool.plugin import PoolDistributor

    return PoolDistributor


def get_cluster_worker_node_class() -> type[ClusterWorkerNode]:
    """Class the wrapper uses where a job runs."""
    from jobmon_atpool.plugin import PoolWorkerNode

    return PoolWorkerNode
