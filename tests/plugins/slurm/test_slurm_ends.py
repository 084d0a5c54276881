"""Which of Slurm's memories is believed, and when; and the limits of a cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from remembering import Clock, Cluster, accounted, recent

from jobmon.core.exceptions import ClusterUnreachable
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.plugins.slurm.connection import SubmitLimit
from jobmon.plugins.slurm.ends import ACCOUNTING_LAG_SECONDS, UNRECORDED_SECONDS, Ends
from jobmon.plugins.slurm.limits import COUNT_SECONDS, LIMITS_SECONDS, Capacity, read_submit_limit

E, MIB = TaskInstanceEvent, 2**20


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ends(cluster: Cluster, clock: Clock) -> Ends:
    return Ends(cluster, Capacity(cluster, clock=clock), clock)


def questions(cluster: Cluster) -> list[str]:
    return [name for name, *_ in cluster.asked if name not in ("config", "submit_limit")]


AWAY = ClusterUnreachable("away")


# -- ends ---------------------------------------------------------------------------------------------------
def test_the_accounting_is_enough(cluster: Cluster, ends: Ends) -> None:
    """An end it tells clearly costs one question, whatever the number of jobs."""
    cluster.answers["accounting"] = [accounted(index) for index in range(1, 301)]
    found = ends.of([f"7_{index}" for index in range(1, 301)])
    assert len(found) == 300
    assert [asked for asked in cluster.asked if asked[0] == "accounting"] == [("accounting", "7")]
    assert questions(cluster) == ["accounting"]


def test_the_lag_of_the_accounting_is_waited_out(cluster: Cluster, clock: Clock, ends: Ends) -> None:
    """The controller knows the end at once, but not the figures: it is believed when the accounting had its time."""
    cluster.answers["recent"] = [recent()]
    assert ends.of(["7_1"]) == {}
    clock.now += ACCOUNTING_LAG_SECONDS
    assert ends.of(["7_1"])["7_1"].event is E.FINISH


def test_half_a_story_for_ever(cluster: Cluster, clock: Clock, ends: Ends) -> None:
    """A job that the accounting still calls running, and the controller does not know, has no end."""
    cluster.answers["accounting"] = [accounted(state="RUNNING")]
    for _ in range(5):
        assert ends.of(["7_1"]) == {}
        clock.now += UNRECORDED_SECONDS


def test_without_accounting(cluster: Cluster, ends: Ends) -> None:
    """Then the controller is believed at once."""
    cluster.answers["config"] = {"AccountingStorageType": "accounting_storage/none"}
    cluster.answers["recent"] = [recent(state="OUT_OF_MEMORY", memory_asked=64 * MIB)]
    end = ends.of(["7_1"])["7_1"]
    assert (end.event, end.maxrss) == (E.RESOURCE, None)


def test_the_accounting_is_away(cluster: Cluster, ends: Ends) -> None:
    """The controller tells what it knows; where it knows nothing, nothing is told at all."""
    cluster.answers["accounting"] = AWAY
    cluster.answers["recent"] = [recent()]
    assert set(ends.of(["7_1", "7_2"])) == {"7_1"}
    with pytest.raises(ClusterUnreachable):
        ends.of(["7_2"])


def test_an_unclear_end_waits_for_the_controller(cluster: Cluster, ends: Ends) -> None:
    """Killed, perhaps for want of memory: without the controller it is not decided; others are told all the same."""
    cluster.answers["accounting"] = [accounted(1, "FAILED", signal=9), accounted(2)]
    cluster.answers["recent"] = AWAY
    assert set(ends.of(["7_1", "7_2"])) == {"7_2"}
    with pytest.raises(ClusterUnreachable):
        ends.of(["7_1"])
    cluster.answers["recent"] = []  # it remembers for some minutes only
    assert ends.of(["7_1"])["7_1"].event is E.FAIL


def test_the_log_tells_of_memory(cluster: Cluster, ends: Ends, tmp_path: Path) -> None:
    """Without control groups only Slurm's own log says that memory was the reason; figures come from the accounting."""
    log = tmp_path / "log"
    log.write_text("x" * 20_000 + "\nslurmstepd: error: Exceeded job memory limit at some point.\n")
    cluster.answers["accounting"] = [accounted(1, "FAILED", signal=9, maxrss=5 * MIB, memory_asked=64 * MIB)]
    cluster.answers["recent"] = [recent(1, "FAILED", signal=9, log=str(log))]
    end = ends.of(["7_1"])["7_1"]
    assert (end.event, end.cause, end.maxrss) == (E.RESOURCE, Cause.RESOURCE, 5 * MIB)


def test_exact_exit_codes(cluster: Cluster, ends: Ends) -> None:
    """What the accounting tells as 9 the controller tells as 137."""
    cluster.answers["accounting"] = [accounted(1, "FAILED", exit_code=9)]
    cluster.answers["recent"] = [recent(1, "FAILED", exit_code=137)]
    assert ends.of(["7_1"])["7_1"].exit_code == 137


def test_an_element_cancelled_while_it_waited(cluster: Cluster, clock: Clock, ends: Ends) -> None:
    """Slurm forgets it wholly if others of its array wait on; after a minute without any record that is what it means."""
    cluster.answers["accounting"] = [accounted(1)]
    assert ends.of(["7_2"]) == {}
    clock.now += UNRECORDED_SECONDS - 1
    assert ends.of(["7_2"]) == {}
    clock.now += 1
    end = ends.of(["7_2"])["7_2"]
    assert (end.event, end.cause) == (E.FAIL, Cause.CANCELLED)


def test_whose_array_it_is_that_has_no_record_of_an_element(
    cluster: Cluster, clock: Clock, ends: Ends
) -> None:
    """The end bears the name of the array, by which another's is known; of an id that had two names nothing is said."""
    mine, others = replace(accounted(1), name="mine"), replace(accounted(3), name="others")
    cluster.answers["accounting"] = [mine]
    assert ends.of(["7_2"]) == {}
    clock.now += UNRECORDED_SECONDS
    assert ends.of(["7_2"])["7_2"].name == "mine"
    assert ends.of(["7_2"]) == {}
    clock.now += UNRECORDED_SECONDS
    cluster.answers["accounting"] = [mine, others]
    assert ends.of(["7_2"]) == {}


@pytest.mark.parametrize("broken", ["accounting", "recent"])
def test_no_record_means_nothing_while_something_is_away(
    cluster: Cluster, clock: Clock, ends: Ends, broken: str
) -> None:
    """Nor does it of an array that nothing is known of."""
    cluster.answers["accounting"] = [accounted(1)]
    assert ends.of(["7_2", "8_1"]) == {}
    clock.now += 10 * UNRECORDED_SECONDS
    cluster.answers[broken] = AWAY
    with pytest.raises(ClusterUnreachable):
        ends.of(["7_2", "8_1"])
    cluster.answers[broken] = []
    assert ends.of(["8_1"]) == {}


def test_what_is_listed_again_is_asked_anew(cluster: Cluster, clock: Clock, ends: Ends) -> None:
    """A job that came back (slurmctld restarted) starts from nothing."""
    cluster.answers["recent"] = [recent()]
    assert ends.of(["7_1"]) == {}
    clock.now += ACCOUNTING_LAG_SECONDS
    ends.note_listed(["7_1"])
    assert ends.of(["7_1"]) == {}


# -- limits -------------------------------------------------------------------------------------------------
def test_limits_are_asked_seldom(cluster: Cluster, clock: Clock) -> None:
    """Room costs nothing most of the time; own submissions are counted meanwhile."""
    cluster.answers["submit_limit"], cluster.answers["count_jobs"] = SubmitLimit(100), 30
    capacity = Capacity(cluster, clock=clock)
    assert (capacity.array_limit(), capacity.room()) == (100, 70)
    capacity.submitted(50)
    assert [capacity.room() for _ in range(100)] == [20] * 100
    assert len(cluster.asked) == 3
    clock.now += COUNT_SECONDS + 1
    assert capacity.room() == 70
    clock.now += LIMITS_SECONDS + 1
    cluster.answers["submit_limit"] = AWAY
    assert (capacity.array_limit(), capacity.room()) == (1000, 4969)


def test_limits_of_a_cluster_that_is_away(cluster: Cluster, clock: Clock) -> None:
    """Arrays of a cautious size; whether there is room cannot be told."""
    cluster.answers["config"] = AWAY
    capacity = Capacity(cluster, clock=clock)
    assert capacity.array_limit() == 500
    with pytest.raises(ClusterUnreachable):
        capacity.room()
    assert Capacity(cluster, most_steps=20, clock=clock).array_limit() == 20


def test_limits_by_account_and_quality() -> None:
    """The narrowest of those that apply to this cluster and account; a limit shared with others is marked."""
    associations = "c|a|a|||normal|normal,wide\nc|a|b|50||normal|normal\nother|a|a|5||normal|normal"
    qualities = "normal|80|\nwide|7|9"
    assert read_submit_limit(associations, qualities, "c") == SubmitLimit(80)
    assert read_submit_limit(associations, qualities, "c", account="b") == SubmitLimit(50)
    assert read_submit_limit(associations, qualities, "c", qos="wide") == SubmitLimit(7, is_shared=True)
    assert read_submit_limit(associations, qualities) == SubmitLimit(5)
    assert read_submit_limit("c||b|50||normal|normal", "") == SubmitLimit(50)
    assert read_submit_limit("", "") == SubmitLimit()
