"""Attempts that share a job: how they are submitted and found, and what its end means for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_cluster import MemoryCluster, Run

from jobmon.core.batch_cluster import JobLook, RemoteEnd
from jobmon.core.exceptions import ClusterUnreachable, SubmissionError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus
from jobmon.distributor.batch_file import read_steps
from jobmon.distributor.leftovers import end_jobs
from jobmon.distributor.watch import SETTLE_SECONDS, UNTOLD_ANSWERS, UNTOLD_SECONDS, Watch, Watched
from jobmon.serializers.swarm import InstanceChanges, LiveInstance

E, S = TaskInstanceEvent, TaskInstanceStatus
IDS = tuple(range(101, 133))
"""32 attempts: two a job."""


@pytest.fixture
def cluster() -> MemoryCluster:
    """A cluster without jobs."""
    return MemoryCluster()


@pytest.fixture
def run(cluster: MemoryCluster, tmp_path: Path) -> Iterator[Run]:
    """An open run on it, whose attempts may share jobs of up to ten minutes."""
    run = Run(cluster, tmp_path, longest_shared_seconds=600)
    run.open()
    yield run
    run.attempts.close()


def launched(run: Run, **resources: object) -> str:
    """Attempts of five seconds that were submitted; the name of their batch."""
    name = run.submit(*IDS, runtime=5, **resources)
    run.wait_for(lambda: sorted(run.told(E.LAUNCH)) == list(IDS), "the launch")
    return name


def live(task_instance_id: int, name: str, distributor_id: str = "", status: S = S.LAUNCHED) -> LiveInstance:
    """An attempt of an earlier controller."""
    step = IDS.index(task_instance_id)
    nodename = "n1" if status is S.RUNNING else ""
    return LiveInstance(
        task_instance_id,
        1,
        6,
        status,
        "memory",
        distributor_id,
        nodename,
        0,
        "0123456789abcdef",
        array_id=3,
        array_step_id=step,
        job_name=name,
        batch_size=len(IDS),
    )


# -- submission -------------------------------------------------------------------------------------------
def test_short_attempts_share_jobs(run: Run, cluster: MemoryCluster) -> None:
    """The array has a step for two attempts; its jobs ask for the time of both, and both have its id."""
    launched(run)
    (job,) = cluster.jobs
    assert (job.num_steps, len(job.task_instance_ids), job.requested_resources["runtime"]) == (16, 32, 120)
    assert read_steps(job.batch_file) == [[i, i + 1] for i in IDS[::2]]
    ids = {event.task_instance_id: event.distributor_id for event in run.events}
    assert [ids[i] for i in IDS[:4]] == ["1_1", "1_1", "1_2", "1_2"]


def test_what_was_attempted_before_is_alone(run: Run, cluster: MemoryCluster) -> None:
    """All others still share."""
    run.submit(*IDS, *range(200, 203), repeated=[200, 202], runtime=5)
    run.wait_for(lambda: len(run.told(E.LAUNCH)) == 35, "the launch")
    steps = read_steps(cluster.jobs[0].batch_file)
    assert steps[-2:] == [[200], [202]]
    assert max(map(len, steps)) == 2
    assert len(steps) == 17 + 2


def test_a_refusal_may_be_about_the_longer_time(run: Run, cluster: MemoryCluster) -> None:
    """It is tried once more with a job for each; only what is refused then is told."""
    cluster.faults["submit"] = [SubmissionError("AssocMaxWallDurationPerJobLimit")]
    launched(run)
    (job,) = cluster.jobs
    assert (job.num_steps, job.requested_resources["runtime"], job.sizes) == (32, 5, ())
    cluster.faults["submit"] = [SubmissionError("no"), SubmissionError("never")]
    run.submit(*range(300, 332), batch_num=2, runtime=5)
    run.wait_for(lambda: len(run.told(E.REFUSE)) == 32, "the refusal")
    assert {event.description for event in run.events if event.event is E.REFUSE} == {"never"}


def test_limits_count_jobs(run: Run, cluster: MemoryCluster) -> None:
    """Each runs one attempt at a time; what waits behind another does not count as running."""
    run.attempts.note_limits(5, {})
    launched(run, max_running=5)
    assert run.attempts.held() == {3: 27}
    run.attempts.note_limits(100, {})
    run.wait_for(lambda: cluster.throttled, "the new limit")
    assert set(cluster.throttled.values()) == {-1}
    assert run.attempts.held() == {3: 16}


def test_a_batch_file_that_cannot_be_written(run: Run, cluster: MemoryCluster) -> None:
    """One sentence, and no fault of the task."""
    run.shared.batches.rmdir()
    run.submit(11)
    run.wait_for(lambda: run.told(E.REFUSE) == [11], "the refusal")
    (event,) = run.events
    assert event.cause is Cause.INFRASTRUCTURE
    assert event.description.startswith(f"The file {run.shared.batches}/")
    assert "cannot be written: No such file or directory. Make room there" in event.description
    assert "\n" not in event.description
    assert cluster.jobs == []


def test_a_lost_answer_is_looked_for_by_jobs(run: Run, cluster: MemoryCluster) -> None:
    """The batch that is found has as many steps as jobs were submitted."""
    cluster.loses_replies = 1
    launched(run)
    assert len(cluster.jobs) == 1
    assert {event.distributor_id for event in run.events} == {f"1_{i}" for i in range(1, 17)}


# -- another controller -----------------------------------------------------------------------------------
def test_adopted_by_the_next_controller(run: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """Which attempts a step runs stands in the batch file; one job is found for several attempts."""
    name = launched(run)
    run.attempts.close()
    after = Run(cluster, tmp_path)
    known = [live(101, name, "1_1", S.RUNNING), live(102, name, "1_1")]
    after.attempts.adopt([*known, *(live(i, name) for i in IDS[2:])])
    after.open()
    try:
        after.wait_for(lambda: sorted(after.told(E.LAUNCH)) == list(IDS[2:]), "the others")
        assert {e.distributor_id for e in after.events} == {f"1_{i}" for i in range(2, 17)}
        cluster.known_ends["1_1"] = RemoteEnd(E.RESOURCE, Cause.RESOURCE, "It needed more memory.")
        del cluster.listed["1_1"]
        after.wait_for(lambda: after.told(E.RESOURCE) == [101], "the verdict")
        assert after.told(E.LOSE) == [102]
    finally:
        after.attempts.close()


def test_left_by_a_controller_that_died(run: Run, cluster: MemoryCluster) -> None:
    """Whether their ids are known or not, their jobs are cancelled, and their batch is withdrawn."""
    name = launched(run)
    batch_file = cluster.jobs[0].batch_file
    doomed = [live(i, name, "1_1" if i < 103 else "") for i in IDS]
    assert sorted(end_jobs(cluster, run.shared, doomed)) == list(IDS)
    assert cluster.listed == {}
    assert not batch_file.exists()


def test_one_of_a_job_that_others_need(run: Run, cluster: MemoryCluster) -> None:
    """It is not cancelled: who has not begun never will, and who has is told by the server."""
    name = launched(run)
    others = [live(102, name, "1_1", S.RUNNING), live(103, name, "1_2")]
    doomed = [
        live(101, name, "1_1", S.RUNNING),
        live(104, name, "1_2", S.KILL_SELF),
        live(105, name, "1_3", S.KILL_SELF),
    ]
    assert end_jobs(cluster, run.shared, doomed, others) == [104, 105]
    assert {"1_1", "1_2"} <= cluster.listed.keys()
    assert "1_3" not in cluster.listed
    assert cluster.jobs[0].batch_file.exists()


# -- orders -----------------------------------------------------------------------------------------------
def test_a_job_is_cancelled_when_all_that_is_left_has_to_end(run: Run, cluster: MemoryCluster) -> None:
    """One of two is not enough."""
    launched(run)
    run.attempts.terminate([101, 104])
    run.wait_for(lambda: cluster.calls.count("look") >= 2, "a look")
    assert "cancel" not in cluster.calls
    run.attempts.note_changes(InstanceChanges([102], S.DONE.value))
    run.wait_for(lambda: run.told(E.ABORT) == [101], "the end of the first job")
    assert "1_1" not in cluster.listed
    assert "1_2" in cluster.listed


# -- what the end of a job means ------------------------------------------------------------------------------
RESOURCE = RemoteEnd(E.RESOURCE, Cause.RESOURCE, "It ran into its time limit.", nodename="n3")
EXIT = RemoteEnd(E.FAIL, Cause.CODE, "It exited with code 3.", exit_code=3, wallclock=9)
KILLED = RemoteEnd(E.FAIL, Cause.CODE, "It was killed.", exit_code=-9, wallclock=9)
LOST = RemoteEnd(E.LOSE, Cause.INFRASTRUCTURE, "Its node failed.", blames_node=True)
CANCELLED = RemoteEnd(E.FAIL, Cause.CANCELLED, "It was cancelled.", wallclock=9)
DONE = RemoteEnd(E.FINISH)


def ended(end: RemoteEnd | None, *states: S, ordered: tuple[int, ...] = ()) -> list[InstanceEvent]:
    """What is told of attempts 1, 2 … in these states when the job they share ends."""
    watch = Watch(10, 30)
    numbers = range(1, len(states) + 1)
    watch.add((Watched(i, "batch", turn=i) for i in numbers), 0)
    for i, state in zip(numbers, states, strict=True):
        watch.note_submitted(i, "7_1", 0)
        watch.note_state(i, state)
    watch.order_end(ordered)
    watch.note_look({}, watch.distributor_ids(), 1)
    return watch.note_ends({"7_1": end} if end else {}, watch.silent(1 + SETTLE_SECONDS), 1 + SETTLE_SECONDS)


@pytest.mark.parametrize("end", [RESOURCE, KILLED, LOST, CANCELLED])
def test_the_verdict_is_that_of_the_one_that_ran(end: RemoteEnd) -> None:
    """Who told its end is untouched; those whose turn had not come are lost at no cost, with the reason."""
    ran, *others = ended(end, S.DONE, S.RUNNING, S.LAUNCHED, S.LAUNCHED)
    assert (ran.task_instance_id, ran.event, ran.cause) == (2, end.event, end.cause)
    assert [(each.task_instance_id, each.event, each.cause) for each in others] == [
        (i, E.LOSE, Cause.INFRASTRUCTURE) for i in (3, 4)
    ]
    assert others[0].description == f"Its job ended before its turn: {end.description}"


def test_a_job_that_never_began_was_nobodys_fault() -> None:
    """All are lost, and tried again alone."""
    events = ended(CANCELLED, S.LAUNCHED, S.LAUNCHED)
    assert {(each.event, each.cause) for each in events} == {(E.LOSE, Cause.INFRASTRUCTURE)}


def test_an_exit_code_may_be_that_of_another() -> None:
    """Unless the job ended there because only the cluster can tell how."""
    (lost,) = ended(EXIT, S.DONE, S.RUNNING)
    assert (lost.event, lost.cause) == (E.LOSE, Cause.INFRASTRUCTURE)
    assert lost.description.endswith("ended otherwise: It exited with code 3.")
    (verdict,) = ended(EXIT, S.DONE, S.TRIAGING)
    assert (verdict.event, verdict.exit_code) == (E.FAIL, 3)


def test_a_job_that_ended_well_has_run_them_all() -> None:
    """But for one that was ordered to end: of that nobody knows."""
    events = ended(DONE, S.RUNNING, S.LAUNCHED, S.RUNNING, ordered=(3,))
    assert [(each.task_instance_id, each.event) for each in events] == [
        (1, E.FINISH),
        (2, E.START),
        (2, E.FINISH),
        (3, E.ABORT),
    ]


def test_an_id_of_another_batch_replaces_all_who_shared_it() -> None:
    """As one: the cluster has lost their job."""
    watch = Watch(10, 30)
    watch.add((Watched(i, "batch", turn=i) for i in (1, 2)), 0)
    for i in (1, 2):
        watch.note_submitted(i, "7_1", 0)
    assert watch.take_replaced() == []
    watch.add([Watched(3, "later")], 5)
    watch.note_submitted(3, "7_1", 5)
    assert [each.task_instance_id for each in watch.take_replaced()] == [1, 2]
    for i in (1, 2):
        watch.remove(i)
    watch.note_look({"7_1": JobLook(True)}, ["7_1"], 6)
    assert watch.silent(99) == []


def test_why_one_waits_whose_job_runs() -> None:
    """Said once; when it runs itself, nothing more is said."""
    watch = Watch(10, 30)
    watch.add((Watched(i, "batch", "7_1", turn=i) for i in (1, 2)), 0)
    watch.note_state(1, S.RUNNING)
    running = {"7_1": JobLook(True)}
    told = watch.note_look(running, ["7_1"], 1).reasons
    assert told == {"its job runs, and other short tasks of it come first.": [2]}
    assert watch.note_look(running, ["7_1"], 2).reasons == {}
    watch.note_state(2, S.RUNNING)
    assert watch.note_look(running, ["7_1"], 3).reasons == {}


def test_nothing_known_of_a_job_is_nothing_known_of_all() -> None:
    """They are given up together, after as many answers as one alone."""
    watch = Watch(10, 30)
    watch.add((Watched(i, "batch", "7_1", turn=i) for i in (1, 2)), 0)
    watch.note_look({}, ["7_1"], 0)
    for _ in range(UNTOLD_ANSWERS):
        assert watch.note_ends({}, watch.silent(UNTOLD_SECONDS / 2), UNTOLD_SECONDS / 2) == []
    events = watch.note_ends({}, watch.silent(UNTOLD_SECONDS), UNTOLD_SECONDS)
    assert [(each.task_instance_id, each.event) for each in events] == [(1, E.LOSE), (2, E.LOSE)]


STATES = st.sampled_from([S.LAUNCHED, S.RUNNING, S.TRIAGING, S.DONE, S.ERROR])


@given(
    st.lists(STATES, min_size=2, max_size=6),
    st.sampled_from([RESOURCE, EXIT, KILLED, LOST, CANCELLED, DONE]),
    st.sets(st.integers(1, 6)),
)
def test_each_that_lives_has_one_end(states: list[S], end: RemoteEnd, ordered: set[int]) -> None:
    """And only one that had begun is charged."""
    numbers = [i for i, state in enumerate(states, start=1) if state not in (S.DONE, S.ERROR)]
    events = ended(end, *states, ordered=tuple(ordered))
    assert [each.task_instance_id for each in events if each.event is not E.START] == numbers
    charged = {each.task_instance_id for each in events if each.event in (E.FAIL, E.RESOURCE)}
    assert all(states[i - 1] in (S.RUNNING, S.TRIAGING) for i in charged)


def test_a_cluster_that_is_away_loses_nobody(run: Run, cluster: MemoryCluster) -> None:
    """Whatever is asked: nothing is told of a job that nobody was told of."""
    launched(run)
    cluster.faults["look"] = [ClusterUnreachable("no answer")] * 3
    run.wait_for(lambda: not cluster.faults["look"], "looks")
    assert len(run.attempts.live) == len(IDS)
