"""What every batch cluster must do, as a test class to subclass.

The tests of a plugin say no more than::

    class TestMyCluster(BatchClusterConformance):
        @pytest.fixture
        def distributor(self) -> ClusterDistributor:
            return MyDistributor("my cluster")

and override the fixtures ``traits`` and ``resources`` where the defaults do not fit. Jobs are real and small. The compute
nodes must share the test's temporary directory (fixture ``directory``) and the machine the tests run on. What a job
executes stands in for Jobmon's wrapper: it is started the same two ways, by the words of ``BatchJob.wrapper`` or as
``worker_node_entry_point``.
"""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import pytest

from jobmon.core.batch_cluster import WRAPPER_ID_OPTION, WRAPPER_STEP_OPTION
from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.exceptions import ClusterError, RemoteExitInfoNotAvailable, SubmissionError
from jobmon.core.states import Cause, TaskInstanceEvent, TaskInstanceStatus
from jobmon.testing.batch_driver import FIRST_INSTANCE, BatchCluster, BatchTraits
from jobmon.testing.conformance import BLOCK, wait_until

__all__ = ["BatchCluster", "BatchClusterConformance", "BatchTraits"]

LONGEST_ID = 20


class BatchClusterConformance:
    """The essential behaviour of a batch cluster.

    A subclass has a fixture ``distributor``: the plugin's ``ClusterDistributor``, not started yet.
    """

    @pytest.fixture
    def traits(self) -> BatchTraits:
        """What the cluster can do."""
        return BatchTraits()

    @pytest.fixture
    def resources(self) -> dict[str, Any]:
        """What each job asks for."""
        return {"cores": 1, "memory": 64 / 1024, "runtime": 60}

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        """A directory the compute nodes share; it exists and is empty."""
        directory = tmp_path / "shared"
        directory.mkdir()
        return directory

    @pytest.fixture
    def cluster(
        self,
        distributor: ClusterDistributor,
        directory: Path,
        resources: dict[str, Any],
        traits: BatchTraits,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[BatchCluster]:
        """The cluster, started; nothing of its jobs may be left at the end."""
        cluster = BatchCluster(distributor, directory, resources, traits)
        monkeypatch.setenv("PATH", f"{cluster.script.parent}:{os.environ['PATH']}")
        monkeypatch.setenv("JOBMON__DISTRIBUTOR__WORKER_NODE_ENTRY_POINT", str(cluster.script))
        distributor.start()
        try:
            yield cluster
        finally:
            cluster.clean_up()

    # -- batches and steps -----------------------------------------------------------------------------
    def test_it_says_what_it_is(self, cluster: BatchCluster) -> None:
        """It takes jobs, at least one at a time, and does not run commands itself."""
        distributor = cluster.distributor
        assert not distributor.capabilities.runs_commands
        assert distributor.array_limit >= 1
        assert distributor.room() >= 1
        assert all(isinstance(text, str) for _, _, text in distributor.diagnose())

    @pytest.mark.parametrize("num_steps", [1, 4])
    def test_each_step_runs_once_under_its_id(self, cluster: BatchCluster, num_steps: int) -> None:
        """Ids differ, fit the database, and are what the wrapper is told."""
        job, ids = cluster.run(*["true"] * num_steps)
        assert len(set(ids)) == num_steps
        assert all(0 < len(job_id) <= LONGEST_ID for job_id in ids)
        cluster.wait_ends(*ids)
        for step, job_id in enumerate(ids):
            told = (job.batch_file / f"started.{step}").read_text().splitlines()
            assert told in ([job_id], [""])  # an entry point finds its id by itself

    def test_exit_codes(self, cluster: BatchCluster) -> None:
        """Success is told as such; a failure with its code and a sentence."""
        _, ids = cluster.run("true", "exit 3", "true")
        first, failed, last = cluster.wait_ends(*ids)
        assert first.event is last.event is TaskInstanceEvent.FINISH
        assert (failed.event, failed.cause) == (TaskInstanceEvent.FAIL, Cause.CODE)
        assert failed.exit_code in (3, None)
        assert failed.description

    def test_death_by_signal_is_no_success(self, cluster: BatchCluster) -> None:
        """Whatever the cluster makes of it."""
        _, ids = cluster.run("kill -KILL $$")
        (end,) = cluster.wait_ends(*ids)
        assert end.event in (TaskInstanceEvent.FAIL, TaskInstanceEvent.RESOURCE, TaskInstanceEvent.LOSE)
        assert end.cause is not None

    def test_what_runs_is_listed_and_what_ended_is_not(self, cluster: BatchCluster) -> None:
        """A look tells of those that live; of their ends nothing is said."""
        _, (short, long) = cluster.run("true", BLOCK)
        cluster.wait_ends(short)
        cluster.wait_gone(short)
        looks = cluster.wait_running(long)
        assert not looks[long].can_never_start
        assert set(cluster.distributor.look([short, long])) == {long}
        assert cluster.distributor.ends([long]) == {}

    def test_nothing_asked_nothing_told(self, cluster: BatchCluster) -> None:
        """No ids, no answers."""
        distributor = cluster.distributor
        assert distributor.look([]) == {}
        assert distributor.ends([]) == {}
        assert distributor.usage([]) == {}
        distributor.cancel({})
        distributor.terminate_task_instances([])

    def test_an_unknown_id_is_nothing(self, cluster: BatchCluster) -> None:
        """Neither alone nor among others is it an error, and nothing is known of it."""
        unknown = cluster.traits.unknown_id
        distributor = cluster.distributor
        _, (known,) = cluster.run(BLOCK)
        cluster.wait_running(known)
        for ids in ([unknown], [unknown, known]):
            assert set(distributor.look(ids)) == set(ids) - {unknown}
            assert distributor.ends(ids) == {}
            assert distributor.usage([unknown]) == {}
        distributor.cancel({unknown: "conformance-nobody"})
        assert set(distributor.look([known])) == {known}

    def test_thousands_of_ids_at_once(self, cluster: BatchCluster) -> None:
        """The one that is listed is found among them."""
        _, (known,) = cluster.run(BLOCK)
        cluster.wait_running(known)
        others = [f"{90_000_000 + number // 100}_{number % 100 + 1}" for number in range(5_000)]
        assert set(cluster.distributor.look([*others, known])) == {known}

    # -- cancelling --------------------------------------------------------------------------------------
    def test_cancel_ends_a_batch_and_no_other(self, cluster: BatchCluster) -> None:
        """All processes of the one are gone, the other goes on."""
        ended, its_ids = cluster.run(f"(sleep 600) & {BLOCK}", BLOCK)
        other, other_ids = cluster.run(BLOCK)
        cluster.wait_running(*its_ids, *other_ids)
        wait_until(lambda: cluster.processes(other), "the other batch")
        cluster.distributor.cancel(dict.fromkeys(its_ids, ended.name))
        cluster.wait_gone(*its_ids)
        cluster.wait_no_processes(ended)
        assert set(cluster.distributor.look(other_ids)) == set(other_ids)
        assert cluster.processes(other)

    def test_cancel_of_one_step(self, cluster: BatchCluster) -> None:
        """The other steps go on; its end is no success."""
        job, (first, second, third) = cluster.run(BLOCK, BLOCK, BLOCK)
        cluster.wait_running(first, second, third)
        cluster.distributor.cancel({second: job.name})
        cluster.wait_gone(second)
        assert set(cluster.distributor.look([first, second, third])) == {first, third}
        (end,) = cluster.wait_ends(second)
        assert end.event is not TaskInstanceEvent.FINISH

    def test_cancel_of_what_has_ended(self, cluster: BatchCluster) -> None:
        """It is no error, twice."""
        job, ids = cluster.run("true")
        cluster.wait_ends(*ids)
        cluster.distributor.cancel(dict.fromkeys(ids, job.name))
        cluster.distributor.cancel(dict.fromkeys(ids, job.name))
        (end,) = cluster.wait_ends(*ids)
        assert end.event is TaskInstanceEvent.FINISH

    def test_cancel_of_a_job_with_another_name(self, cluster: BatchCluster) -> None:
        """It has become somebody else's: it is left alone."""
        if not cluster.traits.checks_names:
            pytest.skip("This cluster does not check names.")
        _, (job_id,) = cluster.run(BLOCK)
        cluster.wait_running(job_id)
        cluster.distributor.cancel({job_id: "conformance-not-mine"})
        _, probe = cluster.run("true")
        cluster.wait_ends(*probe)
        assert set(cluster.distributor.look([job_id])) == {job_id}

    # -- found again -------------------------------------------------------------------------------------
    def test_a_batch_is_found_by_its_name(self, cluster: BatchCluster) -> None:
        """While it lives and after it has ended; of one that never was nothing is found."""
        if not cluster.traits.finds_batches:
            pytest.skip("This cluster does not find batches.")
        job, ids = cluster.run(BLOCK, "true")
        expected = dict(enumerate(ids))
        assert cluster.distributor.find_batch(job.name, job.num_steps) == expected
        assert cluster.distributor.find_batch(job.name + "0", job.num_steps) == {}
        cluster.distributor.cancel(dict.fromkeys(ids, job.name))
        cluster.wait_gone(*ids)
        cluster.wait_ends(ids[0])
        assert cluster.distributor.find_batch(job.name, job.num_steps) == expected

    def test_jobs_outlive_the_controller(self, cluster: BatchCluster) -> None:
        """Letting go of the cluster ends nothing; whoever comes next finds it."""
        job, ids = cluster.run(BLOCK)
        cluster.wait_running(*ids)
        wait_until(lambda: cluster.processes(job), "the command")
        cluster.distributor.stop()
        cluster.distributor.start()
        assert set(cluster.distributor.look(ids)) == set(ids)
        assert cluster.processes(job)

    # -- awkward things ------------------------------------------------------------------------------------
    @pytest.mark.parametrize(
        "name",
        [
            "two words",
            'it\'s "quoted"',
            "$HOME `id` $(id) ;&|",
            "größe-日本-🙂",
            "-rf",
            "a,b;c|d",
            "[1-3]%x",
            "n" * 150,
        ],
    )
    def test_awkward_names(self, cluster: BatchCluster, name: str) -> None:
        """They are taken as they are or refused clearly; what was taken runs and is found."""
        name = f"{name}-{uuid.uuid4().hex[:6]}" if name[0] != "-" else name + uuid.uuid4().hex[:6]
        try:
            job, ids = cluster.run("true", name=name)
        except SubmissionError:
            return
        (end,) = cluster.wait_ends(*ids)
        assert end.event is TaskInstanceEvent.FINISH
        if cluster.traits.finds_batches:
            assert cluster.distributor.find_batch(job.name, 1) == {0: ids[0]}

    @pytest.mark.parametrize(
        "place", ["two  words", "it's", '"$HOME" `id` \\ * ?', "größe 日本 🙂", "%A_%a 100%"]
    )
    def test_awkward_paths(self, cluster: BatchCluster, place: str) -> None:
        """The words of the wrapper arrive as they are, and the job runs where it was told to."""
        where = cluster.directory / f"at {place}"
        where.mkdir()
        job, ids = cluster.run("true", directory=place, working_dir=str(where))
        (end,) = cluster.wait_ends(*ids)
        assert end.event is TaskInstanceEvent.FINISH, end
        assert (job.batch_file / "directory.0").read_text() == f"{os.path.realpath(where)}\n"

    def test_awkward_words(self, cluster: BatchCluster) -> None:
        """Each word of the wrapper arrives as it is, the empty one too, and its own follow."""
        words = ["a 'b' \"c\" $HOME `id` $(id) \\ *", "", "größe 日本", "-x", "a\nb", "%A"]
        job, ids = cluster.run("true", words=words)
        cluster.wait_ends(*ids)
        arrived = (job.batch_file / "words.0").read_text().split("\0")
        if arrived[0] != "worker_node_job":
            own = [WRAPPER_STEP_OPTION, "0", WRAPPER_ID_OPTION, ids[0], ""]
            assert arrived == [str(job.batch_file), *words, *own]

    def test_a_working_directory_that_does_not_exist(self, cluster: BatchCluster) -> None:
        """It is refused, or the job fails: wherever it was started, the wrapper looks where it is."""
        missing = cluster.directory / "nowhere"
        job = cluster.job('touch "$0.ran"', working_dir=str(missing))
        try:
            ids = cluster.submit(job)
        except SubmissionError:
            return
        (end,) = cluster.wait_ends(*ids.values())
        assert end.event is not TaskInstanceEvent.FINISH
        assert not list(job.batch_file.glob("*.ran"))

    def test_the_environment_goes_with_the_job(
        self, cluster: BatchCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Values of every kind arrive as they are."""
        if not cluster.traits.keeps_environment:
            pytest.skip("Jobs of this cluster start with an environment of their own.")
        value = "a 'b' \"c\" $HOME `id`, é=日本 \\ \n end"
        monkeypatch.setenv("CONFORMANCE_VALUE", value)
        _, ids = cluster.run(f'test "$CONFORMANCE_VALUE" = {shlex.quote(value)}')
        (end,) = cluster.wait_ends(*ids)
        assert end.event is TaskInstanceEvent.FINISH

    # -- limits ------------------------------------------------------------------------------------------
    def test_no_more_at_once_than_asked(self, cluster: BatchCluster) -> None:
        """The steps of a batch with a limit of one come one after the other."""
        if not cluster.traits.limits_running:
            pytest.skip("This cluster does not limit how many steps run at once.")
        text = "mkdir alone || exit 9; sleep 0.2; rmdir alone"
        _, ids = cluster.run(text, text, text, max_running=1)
        assert [end.event for end in cluster.wait_ends(*ids)] == [TaskInstanceEvent.FINISH] * 3

    def test_a_limit_that_is_lifted(self, cluster: BatchCluster) -> None:
        """What waited for it starts."""
        if not cluster.traits.limits_running:
            pytest.skip("This cluster does not limit how many steps run at once.")
        _, ids = cluster.run(BLOCK, BLOCK, max_running=1)
        wait_until(
            lambda: any(look.is_running for look in cluster.distributor.look(ids).values()), "the first step"
        )
        assert sum(look.is_running for look in cluster.distributor.look(ids).values()) == 1
        cluster.distributor.throttle({ids[0]: -1})
        cluster.wait_running(*ids)

    def test_what_it_can_never_run(self, cluster: BatchCluster) -> None:
        """It says so when the job is submitted, and keeps nothing."""
        if not cluster.traits.impossible:
            pytest.skip("This cluster takes everything.")
        job = cluster.job("true", **cluster.traits.impossible)
        with pytest.raises(SubmissionError):
            cluster.submit(job)
        assert cluster.distributor.find_batch(job.name, 1) == {}

    def test_a_description_submits_nothing(self, cluster: BatchCluster) -> None:
        """People can read what would be submitted."""
        job = cluster.job("true")
        text = cluster.distributor.describe_batch(job)
        assert text.strip()
        if cluster.traits.finds_batches:
            assert cluster.distributor.find_batch(job.name, 1) == {}

    # -- the methods for single jobs -----------------------------------------------------------------------
    def _submit_one(self, cluster: BatchCluster, command: str) -> str:
        job = cluster.job(command)
        words = f"worker_node_job --task_instance_id {FIRST_INSTANCE} --batch_file"
        line = f"{shlex.quote(str(cluster.script))} {words} {shlex.quote(str(job.batch_file))}"
        job_id = cluster.distributor.submit_to_batch_distributor(
            line, job.name, dict(job.requested_resources)
        )
        cluster.remember(job, {0: job_id})
        return job_id

    def test_one_job_by_itself(self, cluster: BatchCluster) -> None:
        """It is listed while it lives, and its end is a state and a sentence."""
        distributor = cluster.distributor
        job_id = self._submit_one(cluster, BLOCK)
        cluster.wait_running(job_id)
        assert distributor.get_submitted_or_running([job_id, cluster.traits.unknown_id]) == {job_id}
        assert job_id in distributor.get_submitted_or_running()
        assert distributor.get_queueing_errors([job_id]) == {}
        distributor.terminate_task_instances([job_id])
        cluster.wait_gone(job_id)
        assert distributor.get_submitted_or_running([job_id]) == set()

    @pytest.mark.parametrize(
        ("command", "letters"),
        [
            ("true", {TaskInstanceStatus.DONE}),
            ("exit 3", {TaskInstanceStatus.ERROR, TaskInstanceStatus.UNKNOWN_ERROR}),
        ],
    )
    def test_the_end_of_one_job(
        self, cluster: BatchCluster, command: str, letters: Set[TaskInstanceStatus]
    ) -> None:
        """Once it is known."""
        job_id = self._submit_one(cluster, command)

        def exit_info() -> tuple[str, str] | None:
            try:
                return cluster.distributor.get_remote_exit_info(job_id)
            except RemoteExitInfoNotAvailable:
                return None

        told = wait_until(exit_info, f"the end of {job_id}", cluster.traits.wait_seconds)
        assert told is not None
        letter, text = told
        assert letter in letters
        assert isinstance(text, str)

    def test_the_end_of_a_job_that_never_was(self, cluster: BatchCluster) -> None:
        """Nothing is known of it."""
        with pytest.raises(ClusterError) as caught:
            cluster.distributor.get_remote_exit_info(cluster.traits.unknown_id)
        assert isinstance(caught.value, RemoteExitInfoNotAvailable)
