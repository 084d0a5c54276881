"""What a controller needs to drive a batch cluster: the shared directory, the way from its nodes to the server, bad nodes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jobmon.core.cluster import Cluster
from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ClusterUnreachable, JobmonError, UnknownQueueError
from jobmon.core.requester import current_user
from jobmon.distributor.batch import BatchAttempts
from jobmon.distributor.node_access import NodeAddress, node_address
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.submission import RunSettings
from jobmon.distributor.watch import Watch
from jobmon.serializers.swarm import WorkflowMetadataResponse
from jobmon.swarm.gateway import Gateway

logger = logging.getLogger("jobmon.swarm")

COUNT_SECONDS = 600.0
"""How long the number of nodes of a cluster is taken for unchanged."""
ANSWER_SECONDS = 1.0
"""How long a submission waits for the server to name bad nodes."""
MAX_EXCLUDED_NODES = 10
EXCLUDED_SHARE = 0.2
"""At most this part of the nodes the cluster tells of is avoided: a cluster that looks bad as a whole is not given up."""


class ServerForNodes:
    """Keeps the shared directory's record of where the compute nodes reach the server.

    Args:
        gateway: the server.
        plugin: knows some of the nodes.
        shared: where the record is.
        config: the configuration that applies.
    """

    def __init__(
        self, gateway: Gateway, plugin: ClusterDistributor, shared: SharedDirectory, config: JobmonConfig
    ) -> None:
        self._gateway, self._plugin, self._shared, self._config = gateway, plugin, shared, config
        self._address: NodeAddress | None = None
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Write the record where the server's address has changed; what cannot be done now is tried next time."""
        requester = self._gateway.requester
        with self._lock:
            if self._address is not None and self._address.is_current(requester):
                return
            try:
                address = node_address(
                    self._config, requester, self._nodes(), self._gateway.make_worker_token
                )
                self._shared.write_server(address.url, address.token, current_user())
            except (JobmonError, OSError) as error:
                logger.warning("compute nodes cannot be told where the server is: %s", error)
                return
            self._address = address
        if address.reason:
            logger.warning("%s", address.reason)

    def _nodes(self) -> Sequence[str]:
        try:
            return self._plugin.node_addresses()
        except ClusterUnreachable:
            return ()

    def is_known(self) -> bool:
        """Whether the nodes can reach the server, as far as is known."""
        return self._address is not None and bool(self._address.url)


class BadNodes:
    """Nodes of a cluster to avoid, as the server remembers them."""

    def __init__(self, gateway: Gateway, plugin: ClusterDistributor, config: JobmonConfig) -> None:
        self._gateway, self._plugin = gateway, plugin
        self._is_wanted = config.get_boolean("distributor", "exclude_bad_nodes")
        self._counted_at = float("-inf")
        self._num_nodes = 0
        self._nodes: list[str] = []
        self._asking: threading.Thread | None = None

    def __call__(self) -> Sequence[str]:
        """Their names; asked of the server each time, for what is submitted next may be what just failed there.

        A server that does not answer in a moment is waited for by nobody: what was known stays until it does.
        """
        if not self._is_wanted:
            return ()
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=self._ask, name="jobmon-bad-nodes", daemon=True)
            self._asking.start()
            self._asking.join(ANSWER_SECONDS)
        nodes = self._nodes
        return nodes[: self._most()] if nodes else ()

    def _ask(self) -> None:
        try:
            self._nodes = [node.nodename for node in self._gateway.bad_nodes(self._plugin.cluster_name)]
        except JobmonError:
            logger.debug("bad nodes cannot be asked for", exc_info=True)  # what was known stays

    def _most(self) -> int:
        if time.monotonic() - self._counted_at >= COUNT_SECONDS:
            self._counted_at = time.monotonic()
            try:
                self._num_nodes = self._plugin.num_nodes()
            except ClusterUnreachable:
                pass  # what was known stays
        return max(1, min(MAX_EXCLUDED_NODES, int(self._num_nodes * EXCLUDED_SHARE)))


def longest_shared_seconds(cluster: Cluster, resources: Mapping[str, Any]) -> float:
    """Longest run time of a job that attempts with these resources may share on a cluster; 0: they do not."""
    try:
        return cluster.get_queue(str(resources.get("queue") or "")).longest_shared_seconds(resources)
    except UnknownQueueError:
        return 0.0


def batch_attempts(
    cluster: Cluster,
    plugin: ClusterDistributor,
    gateway: Gateway,
    run_key: str,
    workflow: WorkflowMetadataResponse,
    config: JobmonConfig,
) -> BatchAttempts:
    """The attempts of a run on a batch cluster, which ``plugin`` drives.

    Raises:
        UsageError: the shared directory cannot be used.
    """
    shared = SharedDirectory.from_config(config, gateway.workflow_id, workflow.key)
    shared.prepare()
    server = ServerForNodes(gateway, plugin, shared, config)
    server.renew()
    configured = str(config.get("task", "log_directory"))
    logs = Path(configured).expanduser() / f"workflow_{gateway.workflow_id}" if configured else shared.logs
    heartbeat = config.get_float("heartbeat", "task_instance_interval")
    settings = RunSettings(
        workflow_id=gateway.workflow_id,
        workflow_run_id=gateway.workflow_run_id,
        run_key=run_key,
        user=current_user(),
        working_dir=workflow.working_dir,
        log_directory=logs,
        heartbeat_seconds=heartbeat,
        report_seconds=heartbeat * config.get_float("heartbeat", "report_by_buffer"),
        interrupt_seconds=config.get_float("worker_node", "command_interrupt_timeout"),
        start_wait_seconds=config.get_float("worker_node", "start_wait_seconds"),
        report_wait_seconds=config.get_float("worker_node", "report_wait_seconds"),
        cluster_type=cluster.cluster_type_name,
    )
    watch = Watch(
        config.get_float("distributor", "poll_interval"),
        config.get_float("distributor", "steady_poll_interval"),
    )
    bad_nodes = BadNodes(gateway, plugin, config)
    longest = partial(longest_shared_seconds, cluster)
    return BatchAttempts(plugin, settings, shared, config, bad_nodes, watch, server, longest)
