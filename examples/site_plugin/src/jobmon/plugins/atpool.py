"""The other way to be found: a module of the namespace ``jobmon.plugins`` that bears the cluster type's name."""

from jobmon_atpool import (
    get_cluster_distributor_class,
    get_cluster_queue_class,
    get_cluster_worker_node_class,
)

__all__ = ["get_cluster_distributor_class", "get_cluster_queue_class", "get_cluster_worker_node_class"]
