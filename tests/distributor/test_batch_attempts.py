"""Attempts on a batch cluster: what is submitted, told and cancelled, by named faults of the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from memory_cluster import MemoryCluster, Run

from jobmon.core.batch_cluster import JobLook, RemoteEnd
from jobmon.core.exceptions import ClusterBusy, ClusterUnreachable, SubmissionError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus
from jobmon.distributor import batch as batch_module
from jobmon.distributor import submitting
from jobmon.serializers.swarm import InstanceChanges, LiveInstance

E = TaskInstanceEvent


@pytest.fixture
def cluster() -> MemoryCluster:
    """A cluster without jobs."""
    return MemoryCluster()


@pytest.fixture
def run(cluster: MemoryCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """An open run on it, whose pauses are short."""
    monkeypatch.setattr(submitting, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(batch_module, "LONGEST_RETRY_SECONDS", 0.05)
    run = Run(cluster, tmp_path)
    run.open()
    yield run
    run.attempts.close()


def spooled(run: Run, *events: InstanceEvent) -> list[Path]:
    """Words of wrappers in the shared directory."""
    directory = run.shared.spool / "memory"
    paths = []
    for number, event in enumerate(events):
        path = directory / f"{event.task_instance_id}.{number}.json"
        path.write_bytes(msgspec.json.encode(event))
        paths.append(path)
    return paths


def test_a_batch_is_one_submission_and_every_step_gets_its_id(run: Run, cluster: MemoryCluster) -> None:
    """The batch file is there before the cluster knows of the batch."""
    name = run.submit(11, 12, 13, max_running=2)
    run.wait_for(lambda: run.told(E.LAUNCH) == [11, 12, 13], "the launch")
    (job,) = cluster.jobs
    assert (job.name, job.num_steps, job.max_running) == (name, 3, 2)
    assert job.batch_file.exists()
    assert [event.distributor_id for event in run.events] == ["1_1", "1_2", "1_3"]


def test_an_answer_that_was_lost_submits_nothing_twice(run: Run, cluster: MemoryCluster) -> None:
    """lose_reply: the batch is found by its name."""
    cluster.loses_replies = 1
    run.submit(11, 12)
    run.wait_for(lambda: run.told(E.LAUNCH) == [11, 12], "the launch")
    assert len(cluster.jobs) == 1
    assert cluster.calls.count("find") == 1


def test_a_cluster_that_is_away_fails_nothing(run: Run, cluster: MemoryCluster) -> None:
    """controller_away: everything waits, the condition is told and taken back."""
    cluster.faults["submit"] = [ClusterUnreachable("no answer")] * 3
    run.submit(11)
    conditions = []

    def is_over() -> bool:
        news = run.attempts.take_news()
        if news is not None:
            conditions.append(news.condition)
        return bool(run.told(E.LAUNCH)) and bool(conditions) and conditions[-1] is None

    run.wait_for(is_over, "the launch and the all-clear")
    assert conditions[0] is not None
    assert conditions[0].text.startswith("Cluster memory is unreachable since ")
    assert run.told(E.REFUSE) == []
    assert len(cluster.jobs) == 1


def test_a_full_cluster_is_waited_for(run: Run, cluster: MemoryCluster) -> None:
    """submit_limit: nothing is refused; meanwhile nothing more is taken."""
    cluster.faults["submit"] = [ClusterBusy("QOSMaxSubmitJobPerUserLimit")] * 2
    run.submit(11)
    run.wait_for(lambda: run.told(E.LAUNCH) == [11], "the launch")
    assert run.told(E.REFUSE) == []


def test_a_refusal_is_told_in_the_clusters_words(run: Run, cluster: MemoryCluster) -> None:
    """refuse: all attempts of the batch, each once."""
    cluster.faults["submit"] = [SubmissionError("invalid account")]
    run.submit(11, 12)
    run.wait_for(lambda: run.told(E.REFUSE) == [11, 12], "the refusal")
    assert {(event.cause, event.description) for event in run.events} == {(Cause.LAUNCH, "invalid account")}
    assert not run.attempts.live


def test_a_fault_of_the_plugin_is_told_with_its_traceback(run: Run, cluster: MemoryCluster) -> None:
    """Any other exception of a plugin refuses the batch; the run goes on."""
    cluster.faults["submit"] = [ZeroDivisionError("oops")]
    run.submit(11)
    run.wait_for(lambda: run.told(E.REFUSE) == [11], "the refusal")
    assert "ZeroDivisionError: oops" in run.events[0].description
    run.submit(12, batch_num=2)
    run.wait_for(lambda: run.told(E.LAUNCH) == [12], "the next launch")


def test_one_that_ends_without_a_word_is_asked_about(run: Run, cluster: MemoryCluster) -> None:
    """The cluster's accounting lags: nothing is concluded before it knows."""
    run.submit(11)
    run.wait_for(lambda: run.told(E.LAUNCH), "the launch")
    del cluster.listed["1_1"]
    run.wait_for(lambda: cluster.calls.count("ends") >= 2, "questions")
    assert run.told(E.LOSE) == []
    cluster.known_ends["1_1"] = RemoteEnd(E.RESOURCE, Cause.RESOURCE, "out of memory", maxrss=7)
    run.wait_for(lambda: run.told(E.RESOURCE) == [11], "the end")
    assert not run.attempts.live


def test_one_that_told_its_end_is_not_asked_about(run: Run, cluster: MemoryCluster) -> None:
    """What the wrapper told the server comes by the feed."""
    run.submit(11, 12)
    run.wait_for(lambda: run.told(E.LAUNCH), "the launch")
    run.attempts.note_changes(InstanceChanges([11], TaskInstanceStatus.DONE.value))
    assert set(run.attempts.live) == {12}


def test_words_left_in_the_shared_directory_are_told_and_then_removed(
    cluster: MemoryCluster, tmp_path: Path
) -> None:
    """Nodes that cannot reach the server: start and end come by the directory, in order, and stay until stored."""
    run = Run(cluster, tmp_path, is_server_known=False)
    run.open()
    try:
        run.submit(11)
        run.wait_for(lambda: run.told(E.LAUNCH), "the launch")
        paths = spooled(run, InstanceEvent(11, E.START), InstanceEvent(11, E.FINISH, exit_code=0))
        run.wait_for(lambda: run.told(E.FINISH) == [11], "the end")
        assert [event.event for event in run.events] == [E.LAUNCH, E.START, E.FINISH]
        assert all(path.exists() for path in paths)
        run.attempts.note_acknowledged(run.events)
        assert not any(path.exists() for path in paths)
        assert "ends" not in cluster.calls
    finally:
        run.attempts.close()


def test_a_stop_cancels_what_is_there_and_never_submits_what_is_not(run: Run, cluster: MemoryCluster) -> None:
    """Each attempt ends by order, once; a job that bears another name is left alone."""
    run.submit(11, 12)
    run.wait_for(lambda: run.told(E.LAUNCH), "the launch")
    cluster.listed["99_1"] = JobLook(True)
    cluster.names["99_1"] = "somebody-else"
    cluster.faults["submit"] = [ClusterBusy("full")] * 1000
    run.submit(13, batch_num=2)
    run.wait_for(lambda: "submit" in cluster.calls[1:], "the second try")
    run.attempts.terminate_all()
    run.wait_for(lambda: sorted(run.told(E.ABORT)) == [11, 12, 13], "the ends")
    assert list(cluster.listed) == ["99_1"]
    assert cluster.calls.count("cancel") == 1


def test_what_can_never_start_is_cancelled_and_told(run: Run, cluster: MemoryCluster) -> None:
    """The reason is the cluster's."""
    run.submit(11)
    run.wait_for(lambda: run.told(E.LAUNCH), "the launch")
    cluster.listed["1_1"] = JobLook(False, "PartitionTimeLimit: it asks for more time.", can_never_start=True)
    run.wait_for(lambda: run.told(E.LOSE) == [11], "the end")
    assert run.events[-1].cause is Cause.LAUNCH
    assert "PartitionTimeLimit" in run.events[-1].description
    assert cluster.listed == {}


def live(
    task_instance_id: int, *, distributor_id: str = "", step: int = 0, name: str = "old-1.key"
) -> LiveInstance:
    """An attempt of an earlier controller."""
    status = TaskInstanceStatus.LAUNCHED if distributor_id else TaskInstanceStatus.INSTANTIATED
    return LiveInstance(
        task_instance_id, 1, 1, status, "memory", distributor_id, "", 0, "", 3, 1, step, 1, name, 2
    )


@pytest.mark.parametrize("was_submitted", [True, False])
def test_a_batch_whose_controller_died_while_it_submitted(
    cluster: MemoryCluster, tmp_path: Path, was_submitted: bool
) -> None:
    """It is found by its name, or given back to be tried again at nobody's cost."""
    if was_submitted:
        cluster.names = {"4_1": "old-1.key", "4_2": "old-1.key"}
        cluster.listed = {"4_1": JobLook(True), "4_2": JobLook(True)}
    run = Run(cluster, tmp_path)
    run.attempts.adopt([live(21, step=0), live(22, step=1)])
    run.open()
    try:
        expected = E.LAUNCH if was_submitted else E.REFUSE
        run.wait_for(lambda: run.told(expected) == [21, 22], "what became of it")
        if not was_submitted:
            assert {event.cause for event in run.events} == {Cause.INFRASTRUCTURE}
    finally:
        run.attempts.close()


def test_an_adopted_job_is_looked_after(cluster: MemoryCluster, tmp_path: Path) -> None:
    """One that has ended meanwhile is asked about; what it left in the directory counts first."""
    run = Run(cluster, tmp_path)
    run.attempts.adopt([live(21, distributor_id="4_1"), live(22, distributor_id="4_2", step=1)])
    cluster.known_ends = {"4_2": RemoteEnd(E.LOSE, Cause.INFRASTRUCTURE, "node failed", blames_node=True)}
    spooled(run, InstanceEvent(21, E.START), InstanceEvent(21, E.FINISH, exit_code=0))
    run.open()
    try:
        run.wait_for(lambda: run.told(E.FINISH) == [21] and run.told(E.LOSE) == [22], "both ends")
    finally:
        run.attempts.close()


def test_an_adopted_batch_is_freed_of_the_throttle_it_may_have(
    cluster: MemoryCluster, tmp_path: Path
) -> None:
    """Nobody knows what an earlier controller allowed: where some of it wait, the cluster is told anew."""
    run = Run(cluster, tmp_path)
    cluster.listed = {name: JobLook(False) for name in ("4_1", "4_2", "5_1", "6_1")}
    runs = live(24, distributor_id="6_1", name="old-3.key")
    runs.status = TaskInstanceStatus.RUNNING
    run.attempts.adopt(
        [
            live(21, distributor_id="4_1"),
            live(22, distributor_id="4_2", step=1),
            live(23, distributor_id="5_1", name="old-2.key"),
            runs,
        ]
    )
    run.attempts.note_limits(100, {3: 100})
    run.open()
    try:
        run.wait_for(lambda: cluster.throttled == {"4_2": -1, "5_1": -1}, "the throttle")
    finally:
        run.attempts.close()


def test_limits_that_change_throttle_what_was_submitted(run: Run, cluster: MemoryCluster) -> None:
    """Lowered, paused and lifted again."""
    run.attempts.note_limits(100, {3: 100})
    run.submit(11, 12, 13)
    run.wait_for(lambda: run.told(E.LAUNCH), "the launch")
    for limit, expected in ((2, 2), (0, 0), (50, -1)):
        run.attempts.note_limits(100, {3: limit})
        run.wait_for(lambda: cluster.throttled.get("1_1") == expected, f"a throttle of {expected}")  # noqa: B023
    assert run.attempts.held() == {}


def test_what_one_batch_leaves_of_a_limit_the_next_one_gets(run: Run, cluster: MemoryCluster) -> None:
    """Two batches of an array that was paused go on one after the other, and no others come between."""
    run.attempts.note_limits(100, {3: 100})
    run.submit(11, 12)
    run.submit(13, 14, batch_num=2)
    run.wait_for(lambda: len(run.told(E.LAUNCH)) == 4, "the launches")
    run.attempts.note_limits(100, {3: 2})
    run.wait_for(lambda: cluster.throttled == {"2_1": 0}, "the throttle")
    assert run.attempts.held() == {3: 2}
    run.attempts.note_changes(InstanceChanges([11], TaskInstanceStatus.DONE.value))
    assert run.attempts.held() == {3: 1}
    run.wait_for(lambda: cluster.throttled == {"2_1": 1}, "the first slot")
    run.attempts.note_changes(InstanceChanges([12], TaskInstanceStatus.DONE.value))
    assert run.attempts.held() == {}


def test_a_full_cluster_is_forgotten_when_nothing_waits_for_it(run: Run, cluster: MemoryCluster) -> None:
    """The tasks were stopped meanwhile: others may be handed over."""
    cluster.faults["submit"] = [ClusterBusy("full")]
    run.submit(11)
    run.wait_for(lambda: "submit" in cluster.calls, "the first try")
    run.attempts.terminate([11])
    run.wait_for(lambda: run.told(E.ABORT) == [11], "its end")
    run.wait_for(lambda: run.attempts.room().slots > 0, "room")


def test_words_that_are_read_do_not_make_a_cluster_reachable(cluster: MemoryCluster, tmp_path: Path) -> None:
    """The shared directory is not the cluster: what is the matter with it stays."""
    run = Run(cluster, tmp_path, is_server_known=False)
    cluster.faults["look"] = [ClusterUnreachable("no answer")] * 1000
    run.open()
    try:
        run.submit(11)
        run.wait_for(lambda: cluster.calls.count("look") >= 1, "a look")
        spooled(run, InstanceEvent(11, E.START))
        run.wait_for(lambda: run.told(E.START) == [11], "the word")
        news = run.attempts.take_news()
        assert news is not None
        assert news.condition is not None
    finally:
        run.attempts.close()


def test_leaving_keeps_what_runs_and_gives_back_what_waits(run: Run, cluster: MemoryCluster) -> None:
    """After a time-out jobs go on; what the cluster never got is tried again by the next run."""
    run.submit(11)
    run.wait_for(lambda: run.told(E.LAUNCH), "the launch")
    run.attempts.leave_all()
    assert run.attempts.room().slots == 0
    assert set(run.attempts.live) == {11}
    assert cluster.listed == {"1_1": JobLook(False)}
    assert "cancel" not in cluster.calls
