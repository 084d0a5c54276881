"""The launcher or its controller dies at some moment: nothing is left, and every command has an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.exceptions import ClusterError
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.plugins.multiprocess.distributor import MultiprocessDistributor
from jobmon.testing.conformance import BLOCK, LocalCluster, processes_with
from processes import children_of, is_gone, wait_until

DEAF = "trap '' TERM HUP; echo >> up; while :; do sleep 0.05; done"
FAMILY = f'({DEAF}) & setsid sh -c "{DEAF}" & {DEAF}'


def launchers_of(pid: int) -> list[int]:
    """Launchers a process has started."""
    return [
        child for child in children_of(pid) if b"launcher.py" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def kill_launcher(number: int = signal.SIGKILL) -> int:
    (pid,) = launchers_of(os.getpid())
    os.kill(pid, number)
    return pid


def wait_lines(path: Path, count: int) -> None:
    wait_until(
        lambda: path.exists() and len(path.read_text().splitlines()) >= count, f"{count} lines in {path}"
    )


# -- the launcher -----------------------------------------------------------------------------------------
def test_the_launcher_is_killed(cluster: LocalCluster) -> None:
    """What ran is lost, what waited was never taken; neither is the task's fault. The next launcher takes over."""
    *running, waiting = cluster.run(FAMILY, FAMILY, "true")
    wait_lines(cluster.directory / "up", 6)
    kill_launcher()
    for instance in running:
        end = cluster.wait_end(instance)
        assert (end.event, end.cause) == (TaskInstanceEvent.LOSE, Cause.INFRASTRUCTURE)
        assert "launcher" in end.description
        assert "-9" in end.description
    end = cluster.wait_end(waiting)
    assert (end.event, end.cause) == (TaskInstanceEvent.REFUSE, Cause.INFRASTRUCTURE)
    cluster.wait_gone()
    assert cluster.outcome("echo again").stdout_log == "again\n"


def test_the_launcher_is_killed_while_it_has_nothing_to_do(cluster: LocalCluster) -> None:
    """The next command may be refused, without fault of its own; the one after it runs."""
    cluster.outcome("true")
    kill_launcher()
    end = cluster.outcome("true")
    if end.event is not TaskInstanceEvent.FINISH:
        assert (end.event, end.cause) == (TaskInstanceEvent.REFUSE, Cause.INFRASTRUCTURE)
        assert cluster.outcome("true").event is TaskInstanceEvent.FINISH


def test_the_launcher_is_asked_to_end(cluster: LocalCluster) -> None:
    """As by a machine that is shut down: it ends what it runs before it goes."""
    running, _, waiting = cluster.run(FAMILY, BLOCK, "true")
    wait_lines(cluster.directory / "up", 3)
    pid = kill_launcher(signal.SIGTERM)
    assert cluster.wait_end(running).event is TaskInstanceEvent.ABORT
    assert cluster.wait_end(waiting).event is TaskInstanceEvent.ABORT
    cluster.wait_gone()
    wait_until(lambda: is_gone(pid), "the end of the launcher")
    while (end := cluster.outcome("true")).event is not TaskInstanceEvent.FINISH:
        assert end.cause is Cause.INFRASTRUCTURE


def test_launchers_that_die_while_commands_are_handed_over(cluster: LocalCluster) -> None:
    """Each command ends once, whichever launcher had it, and the cluster works in the end."""
    for _ in range(15):
        wait_until(lambda: launchers_of(os.getpid()) or cluster.run("true"), "a launcher")
        killer = threading.Thread(target=lambda: [os.kill(pid, 9) for pid in launchers_of(os.getpid())])
        killer.start()
        instances = cluster.run("true") + cluster.run("true") + cluster.run("true")
        killer.join()
        for instance in instances:
            assert cluster.wait_end(instance).cause in (None, Cause.INFRASTRUCTURE)
    while (end := cluster.outcome("true")).event is not TaskInstanceEvent.FINISH:
        assert end.cause is Cause.INFRASTRUCTURE


def test_stop_after_the_launcher_was_killed(cluster: LocalCluster) -> None:
    (instance,) = cluster.run(BLOCK)
    cluster.wait_start(instance)
    kill_launcher()
    cluster.distributor.stop()
    cluster.wait_gone()


def test_stop_twice(cluster: LocalCluster) -> None:
    cluster.distributor.stop()
    cluster.distributor.stop()


def test_a_launcher_that_cannot_be_started(
    open_cluster: Callable[[ClusterDistributor], LocalCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says of which cluster and why."""
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(ClusterError, match=r"cluster far .*/no/such/python"):
        MultiprocessDistributor("far").open(lambda events: None)


# -- the controller ---------------------------------------------------------------------------------------
CONTROLLER = """
import os, signal, sys, threading
from jobmon.core.cluster_protocol import Command
from jobmon.plugins.multiprocess.distributor import MultiprocessDistributor

directory, mark, how, *texts = sys.argv[1:]
distributor = MultiprocessDistributor("multiprocess", parallelism=2)
started = threading.Semaphore(0)
distributor.open(lambda events: [started.release() for event in events if event.event == "start"])
distributor.run_commands([
    Command(n, "task", text, {"JOBMON_TASK_INSTANCE_ID": str(n), "JOBMON_ATTEMPT": mark},
            {"stdout": directory, "stderr": directory, "working_dir": directory})
    for n, text in enumerate(texts)
])
started.acquire(); started.acquire()
if how == "forks":
    child = os.fork()
    if child == 0:
        signal.pause()
    print("child", child, flush=True)
print("started", os.getpid(), flush=True)
sys.stdin.readline()
if how == "raises":
    raise SystemExit(3)
if how == "leaves":
    os._exit(4)
signal.pause()
"""


class Controller:
    """A process that has two commands running and one waiting."""

    def __init__(self, directory: Path, how: str) -> None:
        self.directory, self.mark = directory, f"{directory.name}-{os.getpid()}-{how}/1"
        self.child = 0
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                CONTROLLER,
                str(directory),
                self.mark,
                how,
                FAMILY,
                FAMILY,
                "echo > third",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, pid = line.split()
            if word == "started":
                break
            self.child = int(pid)
        wait_lines(directory / "up", 6)
        (self.launcher,) = launchers_of(self.process.pid)

    def left(self) -> list[int]:
        """Processes of its commands."""
        return processes_with({f"JOBMON_ATTEMPT={self.mark}".encode()})

    def assert_ends_without_a_trace(self) -> None:
        self.process.wait(10)
        wait_until(lambda: is_gone(self.launcher), "the end of the launcher", 10)
        wait_until(lambda: not self.left(), "the end of the commands", 5)
        assert not (self.directory / "third").exists()

    def close(self) -> None:
        for pid in [self.process.pid, *filter(None, [self.child])]:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=10)
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def start_controller(tmp_path: Path) -> Iterator[Callable[[str], Controller]]:
    started: list[Controller] = []

    def start(how: str) -> Controller:
        started.append(Controller(tmp_path, how))
        return started[-1]

    yield start
    for controller in started:
        controller.close()


@pytest.mark.parametrize("how", ["raises", "leaves"])
def test_the_controller_ends_without_saying_so(
    start_controller: Callable[[str], Controller], how: str
) -> None:
    controller = start_controller(how)
    controller.process.communicate("go\n", timeout=10)
    controller.assert_ends_without_a_trace()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_controller_is_killed(start_controller: Callable[[str], Controller], number: int) -> None:
    """What it ran ends with all descendants, also those that do not listen; what waits never starts."""
    controller = start_controller("waits")
    os.kill(controller.process.pid, number)
    controller.assert_ends_without_a_trace()


def test_the_controller_is_killed_while_a_child_of_it_keeps_the_pipe(
    start_controller: Callable[[str], Controller],
) -> None:
    """A script that had forked a process, as :mod:`multiprocessing` does."""
    controller = start_controller("forks")
    os.kill(controller.process.pid, signal.SIGKILL)
    controller.assert_ends_without_a_trace()
    assert not is_gone(controller.child)
