"""What follows a failure, by its cause and by what the task's template says; and nodes that are to blame."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from scene import LAUNCH_AND_START, Scene

from jobmon.core.exceptions import InvalidUsage, NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskStatus, WorkflowRunEvent
from jobmon.serializers.define import ArrayItem
from jobmon.serializers.explain import Why
from jobmon.serializers.swarm import SyncRequest
from jobmon.server.web import dialect
from jobmon.server.web.analysis.explain import explain
from jobmon.server.web.store import bad_nodes, bind, sync
from jobmon.server.web.store import explain as facts_store

FAIL, LOSE, RESOURCE = TaskInstanceEvent.FAIL, TaskInstanceEvent.LOSE, TaskInstanceEvent.RESOURCE


def set_policy(scene: Scene, policy: dict[str, str], user: str = "ada") -> list[int]:
    """As a script binds it."""
    item = ArrayItem(scene.ids["template"].id, "fit", retry_policy=policy)
    return scene.write(
        lambda c: bind.arrays_get_or_create(c, scene.workflow_id, [item], now=dialect.utcnow(c), user=user)
    )


def counts(scene: Scene) -> tuple[str, int, int]:
    """Status of the first task, its attempts and its losses."""
    sql = "SELECT status, num_attempts, num_infrastructure_losses FROM task ORDER BY id"
    status, num_attempts, num_losses = scene.rows(sql)[0]
    return TaskStatus(status).name, num_attempts, num_losses


@pytest.mark.parametrize(
    ("policy", "event", "cause", "expected"),
    [
        ({}, FAIL, Cause.CODE, ("REGISTERED", 1, 0)),
        ({"code": "give_up"}, FAIL, Cause.CODE, ("ERROR_FATAL", 1, 0)),
        ({"code": "give_up"}, FAIL, None, ("ERROR_FATAL", 1, 0)),
        ({"code": "give_up"}, FAIL, Cause.CANCELLED, ("REGISTERED", 1, 0)),
        ({"cancelled": "give_up"}, FAIL, Cause.CANCELLED, ("ERROR_FATAL", 1, 0)),
        ({"cancelled": "retry_blameless"}, FAIL, Cause.CANCELLED, ("REGISTERED", 1, 1)),
        ({}, RESOURCE, Cause.RESOURCE, ("ADJUSTING_RESOURCES", 1, 0)),
        ({"resource": "retry"}, RESOURCE, Cause.RESOURCE, ("REGISTERED", 1, 0)),
        ({"resource": "give_up"}, RESOURCE, None, ("ERROR_FATAL", 1, 0)),
        ({}, LOSE, Cause.PREEMPTED, ("REGISTERED", 1, 1)),
        ({"preempted": "retry"}, LOSE, Cause.PREEMPTED, ("REGISTERED", 1, 0)),
        ({"infrastructure": "give_up"}, LOSE, Cause.INFRASTRUCTURE, ("ERROR_FATAL", 1, 0)),
        ({"of the future": "retry", "code": "never mind"}, FAIL, Cause.CODE, ("REGISTERED", 1, 0)),
    ],
)
def test_what_follows_a_failure(
    bound: Scene,
    policy: dict[str, str],
    event: TaskInstanceEvent,
    cause: Cause | None,
    expected: tuple[str, int, int],
) -> None:
    """The template's word goes before the usual; what this Jobmon does not know is as if it were not there."""
    set_policy(bound, policy)
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START, event, cause=cause)
    assert counts(bound) == expected


def test_what_is_blameless_by_policy_has_the_budget_of_losses(bound: Scene) -> None:
    """It never costs an attempt, and does not go on for ever."""
    set_policy(bound, {"code": "retry_blameless"})
    bound.start_run()
    for loss in range(1, 12):
        bound.attempt(0, *LAUNCH_AND_START, FAIL, cause=Cause.CODE)
        assert counts(bound) == ("ERROR_FATAL" if loss == 11 else "REGISTERED", loss, loss)


def test_a_script_updates_the_policy_of_its_array(bound: Scene) -> None:
    """As it does with limits; not that of somebody else's, nor a text that is too long."""
    set_policy(bound, {"code": "give_up", "cancelled": "retry"})
    stored = '{"cancelled":"retry","code":"give_up"}'
    assert bound.rows("SELECT retry_policy FROM array") == [(stored,)]
    bound.start_run()
    set_policy(bound, {}, user="eve")
    assert bound.rows("SELECT retry_policy FROM array") == [(stored,)]
    set_policy(bound, {})
    assert bound.rows("SELECT retry_policy FROM array") == [("{}",)]
    with pytest.raises(InvalidUsage, match="at most 500 characters"):
        set_policy(bound, {"x" * 600: "retry"})


def test_the_explanation_knows_the_policy(bound: Scene) -> None:
    """It does not say that attempts are used up which are not."""
    set_policy(bound, {"cancelled": "give_up"})
    bound.start_run()
    bound.attempt(0, *LAUNCH_AND_START, FAIL, cause=Cause.CANCELLED, description="cancelled by ada")

    def work(connection: Any) -> Any:
        row = facts_store.task_read_row(connection, bound.task_ids[0])
        return explain(facts_store.task_read_facts(connection, row), dialect.utcnow(connection))

    (reason,) = bound.read(work)
    assert reason.why is Why.FAILED_FOR_GOOD
    assert reason.sentence.startswith(
        "It failed for good in attempt 1 of 3: it was cancelled on the cluster by a person or its operators, and the "
        "retry policy of template 'fit' is to give up then."
    )
    bound.run_events(WorkflowRunEvent.FAIL)


# -- bad nodes ------------------------------------------------------------------------------------------
def blame(scene: Scene, nodename: str, description: str = "the node died", seconds: float = 3600) -> int:
    """An attempt is lost with its node."""
    (attempt,) = (scene.attempt(0, *LAUNCH_AND_START),)
    event = InstanceEvent(
        attempt, LOSE, Cause.INFRASTRUCTURE, description, nodename=nodename, blames_node=True
    )
    scene.write(
        lambda c: sync.run_sync(
            c,
            scene.ids["run"],
            SyncRequest([event, event]),
            now=dialect.utcnow(c),
            actor="controller",
            max_infrastructure_losses=10,
            bad_node_seconds=seconds,
        )
    )
    return attempt


def nodes(scene: Scene, later: float = 0, cluster: str = "dummy") -> list[str]:
    def read(connection: Any) -> list[str]:
        now = dialect.utcnow(connection) + timedelta(seconds=later)
        return [each.nodename for each in bad_nodes.bad_nodes_read(connection, cluster, now).nodes]

    return scene.read(read)


def test_nodes_that_are_to_blame_are_remembered_for_a_while(bound: Scene) -> None:
    """The latest first; who fails again is remembered anew."""
    bound.start_run()
    for name in ("n1", "n2", "n1"):
        last = blame(bound, name, f"{name} died " + "x" * 600)
    assert nodes(bound) == ["n1", "n2"]
    (row,) = bound.rows("SELECT reason, task_instance_id FROM bad_node WHERE nodename = 'n1'")
    assert row == (("n1 died " + "x" * 600)[:500], last)
    found = bound.read(lambda c: bad_nodes.bad_nodes_read(c, "dummy", dialect.utcnow(c))).nodes[0]
    assert 3500 < found.expires_in_seconds <= 3600
    assert nodes(bound, later=3601) == []
    assert nodes(bound, cluster="multiprocess") == []


def test_what_changed_nothing_blames_nobody(bound: Scene) -> None:
    """A late word; a node without a name; or they are not to be remembered."""
    bound.start_run()
    blame(bound, "")
    blame(bound, "n3", seconds=0)
    ended = bound.attempt(0, *LAUNCH_AND_START, FAIL, cause=Cause.CODE)
    bound.sync(SyncRequest([InstanceEvent(ended, LOSE, nodename="n4", blames_node=True)]))
    assert nodes(bound) == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_node_can_be_forgiven(bound: Scene, times: int) -> None:
    """Once is enough."""
    bound.start_run()
    blame(bound, "n1")
    for _ in range(times):
        bound.write(lambda c: bad_nodes.bad_node_forgive(c, "dummy", "n1"))
    assert nodes(bound) == []


@pytest.mark.parametrize(
    "work",
    [
        lambda c: bad_nodes.bad_nodes_read(c, "nowhere", dialect.utcnow(c)),
        lambda c: bad_nodes.bad_node_forgive(c, "nowhere", "n1"),
    ],
)
def test_an_unknown_cluster(bound: Scene, work: Callable[[Any], Any]) -> None:
    """Is named."""
    with pytest.raises(NotFoundError, match="'nowhere'"):
        bound.write(work)
