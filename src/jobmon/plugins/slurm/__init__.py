"""Cluster type ``slurm``: batches as job arrays of Slurm, by its commands or by slurmrestd.

Connection parameters of a cluster, all optional::

    connection       command_line (default) or rest
    bin              directory of Slurm's commands; default: PATH
    command_timeout  seconds a command of Slurm may take; default 20
    requeue          true: Slurm may start jobs anew by itself, and Jobmon follows; default: it may not
    array_limit      most steps of one array; default: what the cluster allows

Those of ``rest`` are described in :mod:`jobmon.plugins.slurm.rest`.
"""

from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode
from jobmon.plugins.slurm.distributor import SlurmDistributor
from jobmon.plugins.slurm.queue import SlurmQueue
from jobmon.plugins.slurm.worker_node import SlurmWorkerNode


def get_cluster_queue_class() -> type[ClusterQueue]:
    """Class of the queue."""
    return SlurmQueue


def get_cluster_distributor_class() -> type[ClusterDistributor]:
    """Class that drives the cluster."""
    return SlurmDistributor


def get_cluster_worker_node_class() -> type[ClusterWorkerNode]:
    """Class for a worker node of it."""
    return SlurmWorkerNode
