"""Attempts on a batch cluster when things happen at the wrong moment: orders that fail, ids that are others', late jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from memory_cluster import MemoryCluster, Run

from jobmon.core.batch_cluster import JobLook, RemoteEnd
from jobmon.core.exceptions import ClusterBusy, ClusterError, ClusterUnreachable
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus
from jobmon.distributor import batch as batch_module
from jobmon.distributor import watch as watch_module
from jobmon.distributor.spool import Spool
from jobmon.serializers.swarm import InstanceChanges, LiveInstance

E = TaskInstanceEvent
ALWAYS = 10_000


@pytest.fixture
def cluster() -> MemoryCluster:
    """A cluster without jobs."""
    return MemoryCluster()


@pytest.fixture
def run(cluster: MemoryCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """An open run on it, whose pauses are short."""
    monkeypatch.setattr(batch_module, "LONGEST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(batch_module, "ORDER_SECONDS", 0.5)
    monkeypatch.setattr(watch_module, "SETTLE_SECONDS", 0.1)
    run = Run(cluster, tmp_path)
    run.open()
    yield run
    run.attempts.close()


def launched(run: Run, *task_instance_ids: int, batch_num: int = 1) -> str:
    """A batch that the cluster has taken; its job name."""
    name = run.submit(*task_instance_ids, batch_num=batch_num)
    run.wait_for(lambda: set(task_instance_ids) <= set(run.told(E.LAUNCH)), "the launch")
    return name


def live(task_instance_id: int, distributor_id: str) -> LiveInstance:
    """An attempt of an earlier controller."""
    return LiveInstance(
        task_instance_id,
        1,
        1,
        TaskInstanceStatus.LAUNCHED,
        "memory",
        distributor_id,
        "",
        0,
        "",
        3,
        1,
        0,
        1,
        "old-1.key",
        2,
    )


@pytest.mark.parametrize("order", ["throttle", "cancel"])
@pytest.mark.parametrize("error", [ClusterUnreachable("no answer"), ClusterError("not allowed")])
def test_an_order_that_is_never_carried_out_does_not_keep_ends_from_being_noticed(
    run: Run, cluster: MemoryCluster, order: str, error: Exception
) -> None:
    """The attempts are looked at between two tries."""
    launched(run, 11, 12)
    cluster.faults[order] = [error] * ALWAYS
    if order == "throttle":
        run.attempts.note_limits(1, {})
    else:
        run.attempts.terminate([12])
    run.wait_for(lambda: order in cluster.calls, "the first try")
    cluster.known_ends["1_1"] = RemoteEnd(E.LOSE, Cause.INFRASTRUCTURE, "node failed")
    del cluster.listed["1_1"]
    run.wait_for(lambda: run.told(E.LOSE) == [11], "the end")
    run.wait_for(lambda: cluster.calls.count(order) >= 2, "the second try")


def test_a_cluster_that_was_away_when_its_last_attempt_ended_is_used_again(
    run: Run, cluster: MemoryCluster
) -> None:
    """There is nothing left to look at that could tell that it is back."""
    launched(run, 11)
    cluster.faults["look"] = [ClusterUnreachable("no answer")] * ALWAYS
    run.wait_for(lambda: run.attempts.room().slots == 0 and "look" in cluster.calls, "the trouble")
    run.attempts.note_changes(InstanceChanges([11], TaskInstanceStatus.DONE.value))
    run.wait_for(lambda: run.attempts.room().slots > 0, "room")


def test_a_batch_that_had_to_wait_is_given_back_when_its_controller_ends(
    run: Run, cluster: MemoryCluster
) -> None:
    """The cluster was full: the batch was surely not submitted, and never will be."""
    cluster.faults["submit"] = [ClusterBusy("full")] * ALWAYS
    run.submit(11)
    run.wait_for(lambda: "submit" in cluster.calls, "the first try")
    run.attempts.leave_all()
    run.wait_for(lambda: run.told(E.REFUSE) == [11], "its return")
    assert run.events[-1].cause is Cause.INFRASTRUCTURE
    assert not run.attempts.is_submitting


def test_another_name_means_another_job(run: Run, cluster: MemoryCluster) -> None:
    """Neither that somebody's job lives nor how it ended is about the attempt; it is lost after a while."""
    launched(run, 11, 12)
    cluster.listed["1_1"] = JobLook(True, name="others")
    cluster.listed["1_2"] = JobLook(True, name=cluster.names["1_2"])
    cluster.known_ends["1_1"] = RemoteEnd(E.FINISH, name="others")
    run.wait_for(lambda: cluster.calls.count("ends") >= 3, "questions")
    assert run.told(E.FINISH) == run.told(E.LOSE) == []
    assert set(run.attempts.live) == {11, 12}


def test_what_is_adopted_is_told_its_limit_anew(cluster: MemoryCluster, tmp_path: Path) -> None:
    """An earlier controller may have held it back, and limits may have changed since."""
    for limits, expected in (((100, {3: 100}), -1), ((1, {3: 100}), 1)):
        run = Run(cluster, tmp_path / f"limit{expected}")
        cluster.listed = {"4_1": JobLook(False), "4_2": JobLook(False)}
        run.attempts.adopt([live(21, "4_1"), live(22, "4_2")])
        run.attempts.note_limits(*limits)
        run.open()
        try:
            run.wait_for(
                lambda expected=expected: (
                    cluster.throttled.get("4_1", cluster.throttled.get("4_2")) == expected
                ),
                "it",
            )
        finally:
            run.attempts.close()


def test_a_batch_that_is_submitted_again_leaves_nothing_to_run_for_the_first(
    run: Run, cluster: MemoryCluster
) -> None:
    """The first submission was lost, is not found, and may still arrive."""
    cluster.faults["submit"] = [ClusterUnreachable("no answer")]
    name = run.submit(11)
    run.wait_for(lambda: run.told(E.LAUNCH) == [11], "the launch")
    (job,) = cluster.jobs
    assert job.batch_file.exists()
    assert [path for path in run.shared.batches.iterdir() if path.name.startswith(name)] == [job.batch_file]
    assert job.batch_file.name != f"{name}.batch", "the file the first one would read"


def test_a_torn_word_is_no_word(tmp_path: Path) -> None:
    """Torn at any byte: nothing is told of it or what follows; when it is whole, all is told."""
    whole = msgspec.json.encode(InstanceEvent(7, E.FINISH, exit_code=0, stdout_log="é"))
    path = tmp_path / "7.1.json"
    (tmp_path / "7.2.json").write_bytes(msgspec.json.encode(InstanceEvent(7, E.HEARTBEAT)))
    spool = Spool(tmp_path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert spool.take() == []
    path.write_bytes(whole)
    assert [word.event.event for word in spool.take()] == [E.FINISH, E.HEARTBEAT]


def test_of_an_attempt_whose_word_is_torn_the_cluster_tells(run: Run, cluster: MemoryCluster) -> None:
    """It is not waited for for ever."""
    launched(run, 11)
    (run.shared.spool / "memory" / "11.1.json").write_text('{"task_instance_id": 1')
    cluster.known_ends["1_1"] = RemoteEnd(E.FINISH, exit_code=0)
    del cluster.listed["1_1"]
    run.wait_for(lambda: run.told(E.FINISH) == [11], "the end")


def test_a_wrapper_that_left_its_word_and_died_has_succeeded(run: Run, cluster: MemoryCluster) -> None:
    """What the cluster makes of the death of its wrapper does not count."""
    launched(run, 11)
    directory = run.shared.spool / "memory"
    for number, event in enumerate((InstanceEvent(11, E.START), InstanceEvent(11, E.FINISH, exit_code=0))):
        (directory / f"11.{number}.json").write_bytes(msgspec.json.encode(event))
    cluster.known_ends["1_1"] = RemoteEnd(E.FAIL, Cause.CODE, "signal 9", exit_code=-9)
    del cluster.listed["1_1"]
    run.wait_for(lambda: not run.attempts.live, "the end")
    assert [event.event for event in run.events] == [E.LAUNCH, E.START, E.FINISH]


def test_a_drain_holds_back_what_waits(run: Run, cluster: MemoryCluster) -> None:
    """What runs goes on; what the cluster was told to hold back, and has not started since, will not start."""
    launched(run, 11, 12)
    cluster.listed["1_1"] = JobLook(True)
    run.attempts.note_changes(InstanceChanges([11], TaskInstanceStatus.RUNNING.value))
    assert run.attempts.num_drained == 0
    run.attempts.drain()
    run.wait_for(lambda: run.attempts.num_drained == 1, "a look")
    assert cluster.throttled == {"1_1": 0}
    run.attempts.note_limits(5, {3: 5})
    assert set(run.attempts.live) == {11, 12}
    assert "cancel" not in cluster.calls


def test_a_drain_submits_nothing_more(run: Run, cluster: MemoryCluster) -> None:
    """What still waits to be submitted ends by order."""
    cluster.faults["submit"] = [ClusterBusy("full")] * ALWAYS
    run.submit(11)
    run.wait_for(lambda: "submit" in cluster.calls, "the first try")
    run.attempts.drain()
    run.wait_for(lambda: run.told(E.ABORT) == [11], "its end")
