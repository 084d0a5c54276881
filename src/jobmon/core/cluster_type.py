"""From the name of a cluster type to the plugin module that drives such clusters."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from importlib.metadata import entry_points
from types import ModuleType

from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode
from jobmon.core.exceptions import UnknownClusterError


@lru_cache
def plugin_module(cluster_type_name: str) -> ModuleType:
    """The module of a cluster type.

    Raises:
        UnknownClusterError: no plugin of that name is installed.
        AttributeError: the plugin lacks one of the three functions.
    """
    # by name: core knows no plugin, and other wheels add to the namespace
    namespace = importlib.import_module("jobmon.plugins")

    installed = {module.name for module in pkgutil.iter_modules(namespace.__path__)}
    registered = {point.name: point for point in entry_points(group="jobmon.plugins")}
    if cluster_type_name in installed:
        module = importlib.import_module(f"jobmon.plugins.{cluster_type_name}")
    elif cluster_type_name in registered:
        module = registered[cluster_type_name].load()
    else:
        known = ", ".join(sorted(installed | set(registered)))
        raise UnknownClusterError(
            f"No plugin drives clusters of type '{cluster_type_name}'. Installed types: {known}."
        )
    for name in ("get_cluster_queue_class", "get_cluster_distributor_class", "get_cluster_worker_node_class"):
        if not hasattr(module, name):
            raise AttributeError(f"The plugin {module.__name__} lacks the function {name}().")
    return module


class ClusterType:
    """A cluster type and its three classes."""

    def __init__(self, cluster_type_name: str) -> None:
        self.name = cluster_type_name
        self.module = plugin_module(cluster_type_name)

    @property
    def cluster_queue_class(self) -> type[ClusterQueue]:
        """Class of its queues."""
        found: type[ClusterQueue] = self.module.get_cluster_queue_class()
        return found

    @property
    def cluster_distributor_class(self) -> type[ClusterDistributor]:
        """Class that drives it."""
        found: type[ClusterDistributor] = self.module.get_cluster_distributor_class()
        return found

    @property
    def cluster_worker_node_class(self) -> type[ClusterWorkerNode]:
        """Class the wrapper uses on its compute nodes."""
        found: type[ClusterWorkerNode] = self.module.get_cluster_worker_node_class()
        return found
