"""A batch cluster whose limits let it take little at a time: attempts wait for room, and batches become smaller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_cluster import MemoryCluster, Run

from jobmon.core.exceptions import BatchTooLarge
from jobmon.core.states import Cause, TaskInstanceEvent

E = TaskInstanceEvent


class FullCluster(MemoryCluster):
    """Has room for so many more jobs as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.free = 0

    def room(self) -> int:
        self._meet("room")
        return self.free


@pytest.fixture
def cluster() -> FullCluster:
    """A cluster without room."""
    return FullCluster()


@pytest.fixture
def run(cluster: FullCluster, tmp_path: Path) -> Iterator[Run]:
    """An open run on it."""
    run = Run(cluster, tmp_path)
    run.open()
    yield run
    run.attempts.close()


def test_it_is_asked_again_while_somebody_waits_for_room(run: Run, cluster: FullCluster) -> None:
    """Nobody else would tell that there is room; until then the condition says why nothing starts."""
    run.wait_for(lambda: run.attempts.room().slots == 0 and cluster.calls.count("room") >= 2, "a second look")
    news = []

    def is_told() -> bool:
        news.append(run.attempts.take_news())
        return news[-1] is not None

    run.wait_for(is_told, "the condition")
    assert news[-1] is not None
    assert news[-1].condition is not None
    assert news[-1].condition.text.startswith("Cluster memory takes no more jobs since ")
    cluster.free = 7
    run.wait_for(lambda: run.attempts.room().slots == 7, "room")
    run.wait_for(is_told, "the all-clear")
    assert news[-1] is not None
    assert news[-1].condition is None


def test_it_is_not_asked_while_nobody_waits_for_room(run: Run, cluster: FullCluster) -> None:
    """Only for an attempt to be submitted."""
    run.wait_for(lambda: cluster.calls == ["room"], "the first look")
    cluster.free = 1
    run.submit(11)
    run.wait_for(
        lambda: cluster.calls.count("room") == 2 and run.told(E.LAUNCH), "the look after a submission"
    )
    run.wait_for(lambda: cluster.calls.count("look") >= 2, "looks at the job")
    assert cluster.calls.count("room") == 2


def test_a_batch_that_is_too_large_is_given_back_once(run: Run, cluster: FullCluster) -> None:
    """Its tasks come again by themselves, for they are not at fault; batches are no larger than that from then on."""
    cluster.free = 100
    cluster.faults["submit"] = [BatchTooLarge("no more than 2 at once.", 2)]
    run.submit(11, 12, 13)
    run.wait_for(lambda: run.told(E.REFUSE) == [11, 12, 13], "the refusal")
    assert {event.cause for event in run.events} == {Cause.INFRASTRUCTURE}
    assert (
        run.events[0].description == "no more than 2 at once. It is submitted again in batches of at most 2."
    )
    run.wait_for(lambda: run.attempts.room().max_batch == 2, "smaller batches")
    run.submit(14, 15, batch_num=2)
    run.wait_for(lambda: run.told(E.LAUNCH) == [14, 15], "the launch")
