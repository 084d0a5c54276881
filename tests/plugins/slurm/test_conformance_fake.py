"""The Slurm plugin over a fake Slurm: the conformance suite of batch clusters, and what a real Slurm does seldom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.exceptions import ClusterBusy, ClusterUnreachable, SubmissionError
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.plugins.slurm import get_cluster_distributor_class
from jobmon.testing.batch_conformance import BatchCluster, BatchClusterConformance, BatchTraits
from jobmon.testing.conformance import BLOCK, wait_until
from jobmon.testing.fake_slurm import FakeSlurm, Settings, State

RESOURCES = {"cores": 1, "memory": 64 / 1024, "runtime": 60}
OTHERS_UID = 12345


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[FakeSlurm]:
    """A fake Slurm that is well."""
    with FakeSlurm(tmp_path / "slurm", Settings(kill_wait_seconds=0.2)) as slurm:
        yield slurm


@pytest.fixture
def distributor(slurm: FakeSlurm) -> ClusterDistributor:
    """The plugin, which finds its commands in the fake's directory."""
    return get_cluster_distributor_class()("slurm", bin=str(slurm.bin), command_timeout=2)


@pytest.fixture
def cluster(distributor: ClusterDistributor, slurm: FakeSlurm, tmp_path: Path) -> Iterator[BatchCluster]:
    """The plugin in the hands of a test."""
    directory = tmp_path / "shared"
    directory.mkdir()
    cluster = BatchCluster(distributor, directory, RESOURCES, BatchTraits(wait_seconds=20))
    distributor.start()
    try:
        yield cluster
    finally:
        slurm.recover()
        cluster.clean_up()


class TestSlurmOnTheFake(BatchClusterConformance):
    """Everything a batch cluster must do."""

    @pytest.fixture
    def traits(self) -> BatchTraits:
        """It refuses partitions there are none of."""
        return BatchTraits(impossible={"queue": "no-such-partition"}, wait_seconds=20)

    @pytest.fixture
    def distributor(self, slurm: FakeSlurm) -> ClusterDistributor:
        """The plugin, which finds its commands in the fake's directory."""
        return get_cluster_distributor_class()("slurm", bin=str(slurm.bin))


# -- it cannot be reached ---------------------------------------------------------------------------------
def _is_away(slurm: FakeSlurm) -> None:
    slurm.controller_away()
    slurm.accounting_away()


def _hangs(slurm: FakeSlurm) -> None:
    slurm.hang()


def _talks_nonsense(slurm: FakeSlurm) -> None:
    page = "<html>504 Gateway Time-out</html>\n"
    slurm.lie(sbatch=page, squeue=page, sacct=page, scontrol=page)


@pytest.mark.parametrize("fail", [_is_away, _hangs, _talks_nonsense])
def test_unknown_is_not_failed(
    cluster: BatchCluster, slurm: FakeSlurm, fail: Callable[[FakeSlurm], None]
) -> None:
    """Whatever is wrong with the cluster, the plugin says that it cannot tell; later it can."""
    job, ids = cluster.run(BLOCK, "true")
    cluster.wait_running(ids[0])
    fail(slurm)
    distributor = cluster.distributor
    for ask in (
        lambda: distributor.look(ids),
        lambda: distributor.ends(ids),
        lambda: distributor.cancel(dict.fromkeys(ids, job.name)),
        lambda: distributor.find_batch(job.name, 2),
        lambda: distributor.submit_batch(cluster.job("true")),
    ):
        with pytest.raises(ClusterUnreachable):
            ask()
    slurm.recover()
    assert set(distributor.look(ids)) == {ids[0]}
    (end,) = cluster.wait_ends(ids[1])
    assert end.event is TaskInstanceEvent.FINISH


def test_a_submission_whose_reply_was_lost(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """The plugin cannot tell, and finds the batch by its name: it is not submitted twice."""
    slurm.lose_reply()
    job = cluster.job("true", BLOCK)
    with pytest.raises(ClusterUnreachable):
        cluster.submit(job)
    found = cluster.distributor.find_batch(job.name, 2)
    assert set(found) == {0, 1}
    cluster.remember(job, found)
    assert {each.submission.name for each in slurm.jobs()} == {job.name}


def test_a_submission_that_is_slow(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """It was given up, and taken all the same: it is found."""
    slurm.slow(2.5, "sbatch")
    job = cluster.job(BLOCK)
    with pytest.raises(ClusterUnreachable):
        cluster.submit(job)
    found = wait_until(lambda: _found(cluster, job.name), "the batch")
    cluster.remember(job, found)
    cluster.wait_running(found[0])


def _found(cluster: BatchCluster, name: str) -> dict[int, str]:
    try:
        return cluster.distributor.find_batch(name, 1)
    except ClusterUnreachable:
        return {}  # it may still arrive


def test_no_room(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """A limit on submitted jobs is no failure: later there is room."""
    slurm.submit_limit(3)
    job, ids = cluster.run(BLOCK, BLOCK)
    with pytest.raises(ClusterBusy):
        cluster.run("true", "true")
    cluster.distributor.cancel(dict.fromkeys(ids, job.name))
    cluster.wait_gone(*ids)
    _, ids = cluster.run("true", "true")
    cluster.wait_ends(*ids)


def test_a_refusal(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """Slurm's words reach the user."""
    text = "Invalid account or account/partition combination specified"
    slurm.refuse(f"sbatch: error: Batch job submission failed: {text}")
    with pytest.raises(SubmissionError, match=text):
        cluster.run("true")


def test_nodes_to_avoid_that_are_gone(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """Slurm refuses a job that names a node it does not know: the others are avoided all the same."""
    for number in range(2):
        job = replace(cluster.job("true"), excluded_nodes=("gone", "n1"))
        ids = cluster.submit(job)
        assert slurm.job(ids[0]).submission.excluded == ("n1",)
        assert slurm.calls.count["sbatch"] == 2 + number, "the second time it is known"


def test_a_node_that_is_asked_for_is_gone(cluster: BatchCluster) -> None:
    """That is for the user to mend, also where others are to be avoided."""
    job = replace(cluster.job("true", sbatch_arguments=["--exclude=nowhere"]), excluded_nodes=("n1",))
    with pytest.raises(SubmissionError, match="Invalid node name"):
        cluster.submit(job)


# -- what accounting tells -----------------------------------------------------------------------------
def test_accounting_that_lags(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """Neither the missing rows nor those of one element are taken for the whole array."""
    slurm.lag_accounting(2)
    slurm.half_told()
    _, ids = cluster.run("true", "exit 3", "true", BLOCK)
    cluster.wait_gone(*ids[:3])
    assert ids[3] not in cluster.distributor.ends(ids)
    slurm.half_told(False)
    first, failed, third = cluster.wait_ends(*ids[:3])
    assert first.event is third.event is TaskInstanceEvent.FINISH
    assert (failed.event, failed.exit_code) == (TaskInstanceEvent.FAIL, 3)
    assert ids[3] not in cluster.distributor.ends(ids)


def test_a_cluster_without_accounting(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """What the controller remembers is enough."""
    slurm.no_accounting()
    _, ids = cluster.run("true", "exit 3")
    finished, failed = cluster.wait_ends(*ids)
    assert finished.event is TaskInstanceEvent.FINISH
    assert (failed.event, failed.exit_code) == (TaskInstanceEvent.FAIL, 3)


def test_ends_the_controller_has_forgotten(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """Accounting remembers them."""
    _, ids = cluster.run("true", "exit 3")
    slurm.wait_state(ids[0], State.COMPLETED)
    slurm.wait_state(ids[1], State.FAILED)
    slurm.purge()
    assert cluster.distributor.look(ids) == {}
    finished, failed = cluster.wait_ends(*ids)
    assert finished.event is TaskInstanceEvent.FINISH
    assert failed.event is TaskInstanceEvent.FAIL


def test_a_state_nobody_knows(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """A job in a state of a later Slurm lives on; nothing is concluded from it."""
    _, ids = cluster.run(BLOCK)
    cluster.wait_running(*ids)
    slurm.lie(state="FROBNICATING")
    assert set(cluster.distributor.look(ids)) == set(ids)
    assert cluster.distributor.ends(ids) == {}


# -- how jobs end -----------------------------------------------------------------------------------------
Fault = Callable[[FakeSlurm, str], None]
ENDS: list[tuple[str, Fault, TaskInstanceEvent, Cause]] = [
    ("memory", FakeSlurm.out_of_memory, TaskInstanceEvent.RESOURCE, Cause.RESOURCE),
    ("time", FakeSlurm.timeout, TaskInstanceEvent.RESOURCE, Cause.RESOURCE),
    ("precedence", FakeSlurm.preempt, TaskInstanceEvent.LOSE, Cause.PREEMPTED),
    ("node", lambda slurm, _: slurm.node_fail("n1"), TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE),
]


@pytest.mark.parametrize(("word", "fault", "event", "cause"), ENDS, ids=[word for word, *_ in ENDS])
def test_ends_that_are_not_the_commands_own(
    cluster: BatchCluster,
    slurm: FakeSlurm,
    word: str,
    fault: Fault,
    event: TaskInstanceEvent,
    cause: Cause,
) -> None:
    """Each is told by its cause, with a sentence; nothing of the job is left."""
    job, ids = cluster.run(f"trap '' TERM; (sleep 600) & {BLOCK[5:]}")
    cluster.wait_running(*ids)
    wait_until(lambda: cluster.processes(job), "the command")
    fault(slurm, ids[0])
    (end,) = cluster.wait_ends(*ids)
    assert (end.event, end.cause) == (event, cause)
    assert word in end.description.lower()
    assert end.blames_node == (word == "node")
    cluster.wait_no_processes(job)


def test_somebody_cancels(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """It is told who, and the other step goes on."""
    _, ids = cluster.run(BLOCK, BLOCK)
    cluster.wait_running(*ids)
    slurm.cancel(ids[0], uid=OTHERS_UID)
    (end,) = cluster.wait_ends(ids[0])
    assert end.event is not TaskInstanceEvent.FINISH
    assert str(OTHERS_UID) in end.description
    assert set(cluster.distributor.look(ids)) == {ids[1]}


def test_held_jobs(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """The reason is told in Slurm's word, and goes when the job does."""
    _, ids = cluster.run(BLOCK, BLOCK, max_running=1)
    wait_until(lambda: any(look.is_running for look in cluster.distributor.look(ids).values()), "the first")
    slurm.hold(ids[1], "JobHeldAdmin")
    look = wait_until(lambda: _with_reason(cluster, ids[1]), "the reason")
    assert look.startswith("JobHeldAdmin")
    slurm.release(ids[1])
    wait_until(lambda: not _with_reason(cluster, ids[1]).startswith("JobHeld"), "the release")


def _with_reason(cluster: BatchCluster, job_id: str) -> str:
    return cluster.distributor.look([job_id])[job_id].reason


def test_what_can_never_start(cluster: BatchCluster) -> None:
    """sbatch takes it, as it does by default; the look says that it will never start."""
    _, ids = cluster.run("true", runtime=3600, queue="tiny")
    (look,) = cluster.distributor.look(ids).values()
    assert look.can_never_start
    assert "PartitionTimeLimit" in look.reason


# -- the controller loses its memory ----------------------------------------------------------------------
def test_a_restart_that_loses_nothing(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """Jobs go on."""
    _, ids = cluster.run(BLOCK)
    cluster.wait_running(*ids)
    slurm.restart_controller()
    assert set(cluster.distributor.look(ids)) == set(ids)


def test_a_restart_that_loses_a_submission(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """The job has vanished: it is not listed, has no end, and is not found by its name."""
    job, ids = cluster.run(BLOCK)
    cluster.wait_running(*ids)
    slurm.restart_controller(lose_seconds=60)
    distributor = cluster.distributor
    assert distributor.look(ids) == distributor.ends(ids) == distributor.find_batch(job.name, 1) == {}


def test_ids_that_are_used_again(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """Another's job has the id now: it is not cancelled in place of the old one."""
    job, old = cluster.run("true")
    cluster.wait_ends(*old)
    slurm.recycle_ids()
    _, new = cluster.run(BLOCK)
    assert new == old
    cluster.wait_running(*new)
    cluster.distributor.cancel(dict.fromkeys(old, job.name))
    assert set(cluster.distributor.look(new)) == set(new)


# -- budgets ------------------------------------------------------------------------------------------------
def test_one_command_whatever_the_number(cluster: BatchCluster, slurm: FakeSlurm) -> None:
    """A batch of hundreds is submitted, looked at and cancelled in few commands."""
    job, ids = cluster.run(*[BLOCK] * 300, max_running=2)
    before = slurm.calls.total
    looks = cluster.distributor.look(ids)
    assert len(looks) == 300
    assert slurm.calls.total == before + 1
    cluster.distributor.cancel(dict.fromkeys(ids, job.name))
    assert slurm.calls.total <= before + 3
    assert slurm.calls.count["sbatch"] == 1
