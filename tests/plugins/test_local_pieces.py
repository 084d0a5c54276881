"""The small parts of the local clusters: dummy, queues, names of log files, texts of failures."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from jobmon.core.cluster_protocol import ATTEMPT_VARIABLE, ClusterDistributor
from jobmon.core.resources import describe_memory
from jobmon.core.states import TaskInstanceEvent, TaskInstanceStatus
from jobmon.plugins.dummy import DummyDistributor, DummyQueue
from jobmon.plugins.multiprocess.distributor import log_path
from jobmon.plugins.multiprocess.processes import end_processes_of, processes_of
from jobmon.plugins.multiprocess.queue import LocalQueue, machine_gib
from jobmon.plugins.multiprocess.worker_node import LocalWorkerNode
from jobmon.testing.conformance import BLOCK, LocalCluster
from jobmon.worker_node.ends import describe_end


# -- dummy ------------------------------------------------------------------------------------------------
def test_dummy_reports_start_and_success_of_all_and_runs_nothing(
    open_cluster: Callable[[ClusterDistributor], LocalCluster],
) -> None:
    cluster = open_cluster(DummyDistributor("dummy"))
    instances = cluster.run(*["touch ran; exit 1"] * 100)
    for instance in instances:
        start, end = cluster.events_of(instance)
        assert (start.event, start.distributor_id) == (TaskInstanceEvent.START, str(instance))
        assert (end.event, end.exit_code, end.wallclock) == (TaskInstanceEvent.FINISH, 0, 0.0)
    assert list(cluster.directory.iterdir()) == []
    assert cluster.distributor.capabilities.executes_nothing
    assert cluster.distributor.slots > 1_000_000
    cluster.terminate(*instances)


def test_everything_fits_the_queue_of_dummy() -> None:
    queue = DummyQueue(1, "null.q", {})
    assert queue.validate_resources(strict=True, cores=10**6) == (True, "")
    assert queue.coerce_resources(cores=10**6) == {"cores": 10**6}


# -- queues -----------------------------------------------------------------------------------------------
@pytest.fixture
def queue() -> LocalQueue:
    return LocalQueue(7, "null.q", {"cores": [1, 20]})


@pytest.mark.parametrize("cores", [1, 20])
def test_cores_within_the_limits(queue: LocalQueue, cores: int) -> None:
    assert queue.validate_resources(cores=cores) == (True, "")
    assert queue.coerce_resources(cores=cores, memory=3) == {"cores": cores, "memory": 3}


@pytest.mark.parametrize(("cores", "coerced"), [(0, 1), (21, 20), (10**6, 20)])
def test_cores_outside_of_the_limits(queue: LocalQueue, cores: int, coerced: int) -> None:
    fits, why = queue.validate_resources(strict=True, cores=cores)
    assert not fits
    assert why == f"cores={cores} is outside the limits of queue null.q: 1 to 20."
    assert queue.coerce_resources(cores=cores) == {"cores": coerced}


@pytest.mark.parametrize("resources", [{}, {"cores": None}, {"memory": 0.25}, {"memory": None, "runtime": 5}])
def test_resources_without_cores_are_left_alone(queue: LocalQueue, resources: dict[str, object]) -> None:
    assert queue.validate_resources(**resources) == (True, "")
    assert queue.coerce_resources(**resources) == resources


def test_memory_the_machine_does_not_have(queue: LocalQueue) -> None:
    """Refused where it is strict; else all there is."""
    there = machine_gib()
    assert 0 < there < 10**6
    assert queue.validate_resources(strict=True, memory=there) == (True, "")
    fits, why = queue.validate_resources(strict=True, memory=10**6)
    assert not fits
    assert why == f"memory=1000000 asks for 976.6 TiB, but this machine has {describe_memory(there)}."
    assert queue.validate_resources(memory=10**6) == (True, "")
    assert queue.coerce_resources(memory=10**6, cores=0) == {"memory": there, "cores": 1}


def test_limits_on_memory_and_run_time() -> None:
    queue = LocalQueue(1, "short.q", {"memory": [0, 0.5], "runtime": [1, 60]})
    assert queue.validate_resources(strict=True, memory=0.5, runtime=60, cores=99) == (True, "")
    assert queue.validate_resources(runtime=61) == (
        False,
        "runtime=61 is outside the limits of queue short.q: 1 to 60.",
    )
    assert queue.coerce_resources(memory=2, runtime=0) == {"memory": 0.5, "runtime": 1}


def test_a_queue_without_limits() -> None:
    queue = LocalQueue(1, "null.q", {})
    assert queue.validate_resources(cores=10**6) == (True, "")
    assert (queue.queue_id, queue.queue_name, queue.parameters, queue.required_resources) == (
        1,
        "null.q",
        {},
        [],
    )


# -- the worker node --------------------------------------------------------------------------------------
def test_a_command_knows_its_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    node = LocalWorkerNode()
    monkeypatch.delenv("JOBMON_TASK_INSTANCE_ID", raising=False)
    assert node.distributor_id is None
    monkeypatch.setenv("JOBMON_TASK_INSTANCE_ID", "42")
    assert node.distributor_id == "42"
    assert node.get_usage_stats() == {}
    assert node.get_exit_info(3, "oh") == (TaskInstanceStatus.ERROR, "The command exited with code 3. oh")
    assert node.initialize_logfile("stderr", "/logs", "fit") == "/logs/fit.e42"


# -- names and texts --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fit_1", "fit_1.o7"),
        ("a/b/../c", "a_b_.._c.o7"),
        ("nul\0", "nul_.o7"),
        ("", ".o7"),
        ("x" * 255, "x" * 252 + ".o7"),
        ("é" * 200, "é" * 126 + ".o7"),
        ("\ud83d", "?.o7"),
    ],
)
def test_names_of_log_files(name: str, file: str) -> None:
    path = log_path("/logs", name, "o", "7")
    assert path == f"/logs/{file}"
    assert len(os.fsencode(path.removeprefix("/logs/"))) <= 255


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "exited with code 1."),
        (126, "may not be executed"),
        (127, "did not find it"),
        (-9, "signal 9 (SIGKILL)"),
        (-signal.SIGXCPU, "(SIGXCPU)"),
        (-50, "signal 50 (50)"),
    ],
)
def test_texts_of_failures(code: int, words: str) -> None:
    assert words in describe_end(code, "")
    assert describe_end(code, "one\n\ntwo\n\n", "three").endswith("\none\n\ntwo")
    assert describe_end(code, "\n", "three\n").endswith("\nthree")


# -- processes by their mark ------------------------------------------------------------------------------
def test_only_marked_processes_are_ended() -> None:
    """The same instance id under two runs of two databases; nothing without a mark."""

    def start(mark: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["sh", "-c", f"trap '' TERM; {BLOCK}"], env={**os.environ, ATTEMPT_VARIABLE: mark}
        )

    own, other, longer, bare = start("one/1"), start("two/1"), start("one/11"), start("")
    try:
        end_processes_of(["one/1", "three/1"])
        assert own.wait(10) == -signal.SIGKILL
        assert processes_of(["one/1"]) == []
        assert [process.poll() for process in (other, longer, bare)] == [None] * 3
        end_processes_of([])
        assert other.poll() is None
    finally:
        for process in (own, other, longer, bare):
            process.kill()
            process.wait()
