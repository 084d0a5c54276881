"""Cluster type ``multiprocess``: commands on this machine, several at once.

Commands are run by a launcher process (:mod:`jobmon.worker_node.launcher`) that ends them all when the controller goes.
"""

from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode
from jobmon.plugins.multiprocess.distributor import MultiprocessDistributor
from jobmon.plugins.multiprocess.queue import LocalQueue
from jobmon.plugins.multiprocess.worker_node import LocalWorkerNode


def get_cluster_queue_class() -> type[ClusterQueue]:
    """Class of the queue."""
    return LocalQueue


def get_cluster_distributor_class() -> type[ClusterDistributor]:
    """Class that drives the cluster."""
    return MultiprocessDistributor


def get_cluster_worker_node_class() -> type[ClusterWorkerNode]:
    """Class for a worker node of it."""
    return LocalWorkerNode
