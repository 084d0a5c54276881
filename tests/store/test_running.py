"""What runs now, whose it is and where, on every database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert

from jobmon.core.cluster import ClusterRequest, QueueRequest
from jobmon.core.exceptions import NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.serializers.swarm import ClusterCondition
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import BadNode
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.clusters import cluster_create_or_update
from jobmon.server.web.store.remote import conditions_store
from jobmon.server.web.store.running import (
    avoided_nodes_read,
    clusters_read_facts,
    complaints_read,
    live_attempts_count,
)
from jobmon.server.web.ui.node_figures import outcomes_read
from jobmon.testing.factory import attempts_make, run_make, workflow_make


def test_live_attempts_by_queue_and_workflow(database: Database) -> None:
    """Those that ended are left out; so are those of runs that did."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        workflow = workflow_make(connection, [[], [], [], []], now=now, user="ada", name="of ada")
        run = run_make(connection, workflow.workflow_id, now=now, user="ada")
        ids = attempts_make(connection, workflow, run, [0, 1, 2, 3], batch_num=1, now=now)
        for number, event in ((0, "START"), (1, "START"), (1, "FINISH"), (2, "START")):
            events = [InstanceEvent(ids[number], TaskInstanceEvent[event], nodename="n1")]
            attempts_apply_events(
                connection, events, now=now, actor="controller", max_infrastructure_losses=10
            )
    with database.read() as connection:
        (found,) = live_attempts_count(connection)
        assert (found.workflow_id, found.workflow_name, found.user) == (workflow.workflow_id, "of ada", "ada")
        assert (found.num_running, found.num_waiting) == (2, 1)
        (cluster,) = clusters_read_facts(connection, "dummy")
        assert found.queue_id in {queue.id for queue in cluster.queues}
        assert outcomes_read(connection, cluster.id, 3600) == ({(run, "n1"): (1, 0)}, False)


def test_clusters_complaints_and_avoided_nodes(database: Database) -> None:
    """All of what the page of clusters says, with few statements."""
    with database.write() as connection:
        now = dialect.utcnow(connection)
        request = ClusterRequest(
            "farm", "slurm", {}, [QueueRequest("b", {"cores": [1, 2]}), QueueRequest("a")]
        )
        number = cluster_create_or_update(connection, request).id
        workflow = workflow_make(connection, [[]], now=now)
        run = run_make(connection, workflow.workflow_id, now=now)
        conditions_store(connection, run, [ClusterCondition("farm", 5.0, "It is away.")])
        for nodename, seconds in (("n1", 60), ("n2", -60)):
            row = {"cluster_id": number, "nodename": nodename, "reason": "lost", "seen_at": now}
            connection.execute(insert(BadNode).values(**row, expires_at=now + timedelta(seconds=seconds)))
    with database.read() as connection:
        (farm,) = clusters_read_facts(connection, "farm")
        assert (farm.kind, [queue.name for queue in farm.queues]) == ("slurm", ["a", "b"])
        assert farm in clusters_read_facts(connection)
        with pytest.raises(NotFoundError, match="no cluster 'x'"):
            clusters_read_facts(connection, "x")
        complaint = complaints_read(connection)["farm"][0]
        assert (complaint.text, complaint.since, complaint.workflow_ids) == (
            "It is away.",
            5.0,
            [workflow.workflow_id],
        )
        assert [node.nodename for node in avoided_nodes_read(connection, now, number)] == ["n1"]
        assert len(avoided_nodes_read(connection, now)) == 1
