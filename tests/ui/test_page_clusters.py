"""Clusters in the browser: queues, what runs and whose, what is wrong, and nodes that fail; and the help page."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from page_visitor import HOSTILE, Made, PageVisitor, text_of
from sqlalchemy import event, insert, select, update

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import DESCRIPTIONS, TaskInstanceEvent
from jobmon.serializers.define import ClusterRequest, QueueRequest
from jobmon.serializers.swarm import ClusterCondition
from jobmon.server.services.node_statistics import NodeLimits
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.models import BadNode, Cluster, WorkflowRun
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.clusters import cluster_create_or_update
from jobmon.server.web.store.remote import conditions_store
from jobmon.server.web.store.running import LiveAttempts, QueueFacts, live_attempts_count
from jobmon.server.web.ui import node_figures as figures
from jobmon.server.web.ui.node_figures import node_figures, outcomes_read
from jobmon.server.web.ui.pages.clusters import queue_row, shares
from jobmon.server.web.ui.pages.help_page import machines
from jobmon.testing.factory import attempts_make, run_make, workflow_make
from processes import wait_until


def cluster_id(database: Database, name: str = "dummy") -> int:
    with database.read() as connection:
        return int(connection.scalar(select(Cluster.id).where(Cluster.name == name)) or 0)


def avoid(database: Database, nodename: str, reason: str = "It was lost there.") -> None:
    number = cluster_id(database)
    with database.write() as connection:
        now = dialect.utcnow(connection)
        row = {"cluster_id": number, "nodename": nodename, "reason": reason, "task_instance_id": None}
        connection.execute(insert(BadNode).values(**row, seen_at=now, expires_at=now + timedelta(hours=1)))


def shown(owner: PageVisitor, path: str, words: str) -> str:
    """A page once its figures are there."""

    def look() -> bool:
        return words in owner.text(path)

    wait_until(look, f"{words!r} on {path}", 20)
    return owner.text(path)


# -- what runs ------------------------------------------------------------------------------------------
def test_what_is_under_way_is_added_up(owner: PageVisitor, made: Made, stored: Database) -> None:
    """By cluster, user and workflow; running and waiting apart."""
    with stored.write() as connection:
        now = dialect.utcnow(connection)
        other = workflow_make(connection, [[], [], []], now=now, user="ada")
        run = run_make(connection, other.workflow_id, now=now, user="ada")
        ids = attempts_make(connection, other, run, [0, 1, 2], batch_num=1, now=now)
        started = [InstanceEvent(each, TaskInstanceEvent.START) for each in ids[:2]]
        attempts_apply_events(connection, started, now=now, actor="controller", max_infrastructure_losses=10)
    text = shown(owner, "/clusters", "By workflow")
    assert "dummy 2 2 " in text
    assert "ada dummy 2 1" in text
    assert "tester dummy 0 1" in text
    assert f"{other.workflow_id} " in text
    cluster = shown(owner, "/cluster/dummy", "By user")
    assert "ada 2 1" in cluster
    assert HOSTILE not in owner.get("/cluster/dummy").text


def test_attempts_are_counted_by_run_and_queue(stored: Database, made: Made) -> None:
    """What ended, and what belongs to no run that is alive, is not among them."""
    with stored.write() as connection:
        found = live_attempts_count(connection)
        assert [(each.workflow_id, each.num_running, each.num_waiting) for each in found] == [
            (made.workflow.workflow_id, 0, 1)
        ]
        connection.execute(update(WorkflowRun).values(status="E"))
        assert live_attempts_count(connection) == []
        connection.rollback()


def test_shares_are_sorted_and_added() -> None:
    rows = [
        LiveAttempts(1, 5, "a", "ada", 1, 2),
        LiveAttempts(2, 5, "a", "ada", 3, 0),
        LiveAttempts(1, 6, "b", "bo", 9, 0),
    ]
    found = shares(rows, lambda row: (row.user, row.user, ""))
    assert [(each.key, each.num_running, each.num_waiting, each.total) for each in found] == [
        ("bo", 9, 0, 9),
        ("ada", 4, 2, 6),
    ]


# -- clusters -------------------------------------------------------------------------------------------
def test_a_cluster_shows_its_queues_and_their_limits(
    owner: PageVisitor, made: Made, stored: Database
) -> None:
    limits = {
        "cores": [1, 32],
        "memory": [0.1, 64],
        "runtime": [60, 86400],
        "is_default": True,
        "color": HOSTILE,
    }
    queues = [QueueRequest("long", limits), QueueRequest("old", {"is_up": False})]
    with stored.write() as connection:
        cluster_create_or_update(
            connection, ClusterRequest("farm & co", "slurm", {"password": "s3cret"}, queues)
        )
    assert "farm & co" in owner.text("/clusters")
    text = owner.text("/cluster/farm & co")
    assert "long (default) 32 64 GiB 24 h" in text
    assert "down" in text
    whole = owner.get("/cluster/farm & co").text
    assert HOSTILE not in whole
    assert "s3cret" not in whole
    assert owner.get("/cluster/nowhere").status_code == 404
    assert owner.get("/cluster/nowhere/nodes").status_code == 404


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, ("", "", "", "up", "")),
        ({"cores": [1, 4], "is_gone": True}, ("4", "", "", "gone", "")),
        ({"cores": 4, "memory": "x", "runtime": [1]}, ("", "", "", "up", "")),
        (
            {"gres": {"gpu": 2}, "accounts": ["a"], "partition": [1, 2]},
            ("", "", "", "up", "partition: 1 – 2"),
        ),
    ],
)
def test_queues_in_words(parameters: dict[str, Any], words: tuple[str, ...]) -> None:
    """Whatever a site has put into the parameters of a queue."""
    row = queue_row(QueueFacts(1, "q", parameters))
    assert (row.cores, row.memory, row.runtime, row.state, row.more) == words


def test_what_is_the_matter_with_a_cluster_is_said_first(
    owner: PageVisitor, made: Made, stored: Database
) -> None:
    text = f"Cluster dummy is unreachable since noon {HOSTILE}."
    with stored.write() as connection:
        conditions_store(connection, made.run_id, [ClusterCondition("dummy", 1.0, text)])
    for path in ("/clusters", "/cluster/dummy"):
        assert "is unreachable since noon" in owner.text(path)
        assert HOSTILE not in owner.get(path).text
    assert "in trouble" in owner.text("/clusters")


def test_few_statements_however_many_clusters(owner: PageVisitor, made: Made, stored: Database) -> None:
    with stored.write() as connection:
        for number in range(30):
            cluster_create_or_update(
                connection, ClusterRequest(f"c{number}", "slurm", {}, [QueueRequest("q", {})])
            )
    statements: list[str] = []
    event.listen(stored.engine, "before_cursor_execute", lambda *all_: statements.append(all_[2]))
    for path in ("/clusters", "/cluster/c3"):
        shown(owner, path, "c3")
        statements.clear()
        owner.get(path)
        assert len([each for each in statements if not each.startswith("PRAGMA")]) <= 15, statements


# -- nodes ----------------------------------------------------------------------------------------------
def test_a_node_that_fails_more_than_the_others_is_found() -> None:
    """A run that fails everywhere puts nobody under suspicion."""
    outcomes = {(1, f"n{node}"): (20, 0) for node in range(9)} | {(1, "bad"): (20, 15)}
    outcomes |= {(2, f"n{node}"): (20, 20) for node in range(9)}
    found = node_figures(outcomes, NodeLimits())
    assert [row.nodename for row in found.rows if row.is_suspected] == ["bad"]
    first = found.rows[0]
    assert (first.nodename, first.num_tasks, first.num_failed) == ("bad", 20, 15)
    assert (first.num_others, first.failed_others) == (180, 0)
    assert first.probability is not None
    assert first.probability < 1e-6
    assert (found.num_nodes, found.num_tasks, found.num_failed) == (10, 380, 195)


def test_many_nodes_are_cut() -> None:
    dice = random.Random(1)
    outcomes = {(1, f"n{node}"): (10, dice.randrange(3)) for node in range(500)}
    found = node_figures(outcomes, NodeLimits())
    assert (len(found.rows), found.num_nodes) == (figures.MOST_NODES, 500)
    assert [row.num_failed for row in found.rows] == sorted((r.num_failed for r in found.rows), reverse=True)
    assert node_figures({}, NodeLimits()).rows == []


@pytest.fixture
def ended(stored: Database, made: Made) -> Callable[[str, bool], None]:
    """Have an attempt end on a node."""
    batches = iter(range(1, 1000))

    def end(nodename: str, is_good: bool) -> None:
        with stored.write() as connection:
            now = dialect.utcnow(connection)
            workflow = workflow_make(connection, [[]], now=now)
            run = run_make(connection, workflow.workflow_id, now=now)
            (attempt,) = attempts_make(connection, workflow, run, [0], batch_num=next(batches), now=now)
            last = TaskInstanceEvent.FINISH if is_good else TaskInstanceEvent.FAIL
            events = [
                InstanceEvent(attempt, TaskInstanceEvent.START, nodename=nodename),
                InstanceEvent(attempt, last, nodename=nodename),
            ]
            for each in events:
                attempts_apply_events(
                    connection, [each], now=now, actor="controller", max_infrastructure_losses=10
                )

    return end


def test_nodes_are_compared_on_the_page(
    owner: PageVisitor, ended: Callable[[str, bool], None], stored: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended("n1", True)
    ended(f"n2{HOSTILE}", False)
    text = shown(owner, "/cluster/dummy?minutes=360", "1 of 2 tasks failed on 2 nodes")
    assert "n1 1 0 0" in text
    part = owner.get("/cluster/dummy/nodes?minutes=360")
    assert part.text.lstrip().startswith("<section")
    assert HOSTILE not in part.text
    number = cluster_id(stored)
    with stored.read() as connection:
        assert outcomes_read(connection, cluster_id(stored, "sequential"), 3600) == ({}, False)
        monkeypatch.setattr(figures, "MOST_LINES", 1)
        outcomes, is_cut = outcomes_read(connection, number, 3600)
    assert is_cut
    assert len(outcomes) < 2


def test_an_avoided_node_is_forgiven(owner: PageVisitor, made: Made, stored: Database) -> None:
    avoid(stored, f"n17 & {HOSTILE}")
    avoid(stored, "n18")
    text = owner.text("/cluster/dummy")
    assert "It was lost there." in text
    assert HOSTILE not in owner.get("/cluster/dummy").text
    path = "/cluster/dummy/forgive?node=n18"
    assert "It was lost there." in owner.text(path)
    assert owner.done(path) == "Node n18 of cluster dummy is used again; 1 others are avoided."
    assert "Nothing is held against node 'n18'" in owner.text(path)
    assert owner.post(path).status_code == 404
    assert owner.post("/cluster/nowhere/forgive?node=n17").status_code == 404


# -- help -----------------------------------------------------------------------------------------------
def test_the_help_page_has_every_state_and_every_drawing(owner: PageVisitor) -> None:
    text = owner.text("/help")
    for kind, means in DESCRIPTIONS.items():
        for status in kind:
            assert means[status.value] in text
    whole = owner.get("/help").text
    assert whole.count('<svg class="machine"') == 4
    assert len(whole) < 300_000
    for machine in machines():
        assert machine.transitions
        assert all(f">{status.name}<" in machine.drawing for status, _ in machine.states)


def test_what_is_not_there_helps_on(owner: PageVisitor) -> None:
    """404 in words, with ways to go, and escaped."""
    answer = owner.get(f"/nothing/{HOSTILE}")
    assert answer.status_code == 404
    assert HOSTILE not in answer.text
    assert "All workflows" in text_of(answer)
    assert msgspec.json.decode(owner.client.get("/nothing").content)
