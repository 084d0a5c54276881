"""Cluster type ``sequential``: commands on this machine, one at a time, in the order in which they became ready."""

from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode
from jobmon.core.configuration import JobmonConfig
from jobmon.plugins.multiprocess.distributor import MultiprocessDistributor
from jobmon.plugins.multiprocess.queue import LocalQueue
from jobmon.plugins.multiprocess.worker_node import LocalWorkerNode


class SequentialDistributor(MultiprocessDistributor):
    """The same launcher with a single slot."""

    def _default_slots(self, config: JobmonConfig) -> int:
        return 1


def get_cluster_queue_class() -> type[ClusterQueue]:
    """Class of the queue."""
    return LocalQueue


def get_cluster_distributor_class() -> type[ClusterDistributor]:
    """Class that drives the cluster."""
    return SequentialDistributor


def get_cluster_worker_node_class() -> type[ClusterWorkerNode]:
    """Class for a worker node of it."""
    return LocalWorkerNode
