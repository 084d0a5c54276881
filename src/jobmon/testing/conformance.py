"""What every cluster that runs commands itself must do, as a test class to subclass.

The tests of a plugin say no more than::

    class TestMyCluster(LocalClusterConformance):
        @pytest.fixture
        def distributor(self) -> ClusterDistributor:
            return MyDistributor("my cluster")

The commands are real: this needs a POSIX shell and ``/proc``. Nothing sleeps for luck; every wait is bounded.
"""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from jobmon.core.cluster_protocol import (
    ATTEMPT_VARIABLE,
    ClusterDistributor,
    Command,
    Leftover,
    attempt_mark,
)
from jobmon.core.constants import LOG_TAIL_CHARACTERS
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent

T = TypeVar("T")

WAIT_SECONDS = 20.0
POLL_SECONDS = 0.01
ENDS = frozenset(set(TaskInstanceEvent) - {TaskInstanceEvent.START, TaskInstanceEvent.HEARTBEAT})
BLOCK = "exec sleep 600"
"""A command that ends only when it is ended."""


def wait_until(condition: Callable[[], T], what: str, timeout_seconds: float = WAIT_SECONDS) -> T:
    """The first true value of a condition.

    Raises:
        AssertionError: there was none in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Waited {timeout_seconds:.0f} s in vain for {what}.")
        time.sleep(POLL_SECONDS)
    return value


def processes_with(variables: Collection[bytes]) -> list[int]:
    """Processes of this machine that have one of these ``NAME=value`` in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # ended, or another user's
            if any(variable in variables for variable in environment):
                found.append(int(entry.name))
    return found


class LocalCluster:
    """Drives a cluster that runs commands itself, in place of a controller, and keeps what it reports.

    Args:
        distributor: drives the cluster; not opened yet.
        directory: where commands run and their logs go; it exists.
    """

    def __init__(self, distributor: ClusterDistributor, directory: Path) -> None:
        self.distributor, self.directory = distributor, directory
        self.run_key = uuid.uuid4().hex
        self.events: list[InstanceEvent] = []
        self._events_of: dict[int, list[InstanceEvent]] = defaultdict(list)
        self.commands: dict[int, Command] = {}
        self._ids = itertools.count(1)
        self._changed = threading.Condition()

    # -- life -----------------------------------------------------------------------------------------
    def open(self) -> None:
        """Connect to the cluster."""
        self.distributor.start()
        self.distributor.open(self._report)

    def _report(self, events: Sequence[InstanceEvent]) -> None:
        with self._changed:
            self.events.extend(events)
            for event in events:
                self._events_of[event.task_instance_id].append(event)
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of the cluster; nothing may be left of any command, and each has ended once at most.

        Raises:
            AssertionError: a process is left, or a command was reported to have ended twice.
        """
        try:
            self.distributor.stop()
            wait_until(lambda: not self.processes(), "the end of all commands after stop()", 5)
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
        ended = [event.task_instance_id for event in self.events if event.event in ENDS]
        assert len(ended) == len(set(ended)), f"a command ended twice: {self.events}"

    # -- commands -------------------------------------------------------------------------------------
    def command(self, text: str, name: str = "task", **resources: Any) -> Command:
        """A command with an id of its own; ``resources`` are added to what it asks for."""
        instance = next(self._ids)
        command = Command(
            instance,
            name,
            text,
            environment={
                "JOBMON_TASK_INSTANCE_ID": str(instance),
                "JOBMON_TASK_ID": str(1000 + instance),
                "JOBMON_WORKFLOW_ID": "17",
                "JOBMON_WORKFLOW_RUN_ID": "23",
                ATTEMPT_VARIABLE: self.mark(instance),
            },
            requested_resources={
                "stdout": str(self.directory),
                "stderr": str(self.directory),
                "working_dir": str(self.directory),
                **resources,
            },
        )
        self.commands[instance] = command
        return command

    def mark(self, task_instance_id: int) -> str:
        """The mark that the processes of a command bear."""
        return attempt_mark(self.run_key, task_instance_id)

    def run(self, *texts: str, **resources: Any) -> list[int]:
        """Hand over commands at once; their ids."""
        commands = [self.command(text, **resources) for text in texts]
        self.distributor.run_commands(commands)
        return [command.task_instance_id for command in commands]

    def terminate(self, *task_instance_ids: int) -> None:
        """End commands."""
        self.distributor.terminate_task_instances([str(i) for i in task_instance_ids])

    def outcome(self, text: str, **resources: Any) -> InstanceEvent:
        """Run one command; the event that ends it."""
        return self.wait_end(*self.run(text, **resources))

    # -- what became of them ----------------------------------------------------------------------------
    def events_of(self, task_instance_id: int) -> list[InstanceEvent]:
        """What was reported of one command, in order."""
        return list(self._events_of.get(task_instance_id, ()))

    def _wait_event(self, task_instance_id: int, kinds: frozenset[TaskInstanceEvent]) -> InstanceEvent:
        def found() -> InstanceEvent | None:
            events = self.events_of(task_instance_id)
            return next((event for event in events if event.event in kinds), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None, WAIT_SECONDS)
        event = found()
        assert event is not None, f"no {sorted(kinds)} of {task_instance_id} in time; events: {self.events}"
        return event

    def wait_start(self, task_instance_id: int) -> InstanceEvent:
        """Wait until a command has started."""
        return self._wait_event(task_instance_id, frozenset({TaskInstanceEvent.START}))

    def wait_end(self, task_instance_id: int) -> InstanceEvent:
        """Wait until a command has ended, or could not be started."""
        return self._wait_event(task_instance_id, ENDS)

    def wait_file(self, name: str) -> str:
        """Wait until a command has written a file to its end (a line break); its text without that."""
        path = self.directory / name
        wait_until(lambda: path.exists() and path.read_text().endswith("\n"), f"the file {path}")
        return path.read_text().rstrip("\n")

    def processes(self, *task_instance_ids: int) -> list[int]:
        """Processes that bear the mark of commands, by default of any of them."""
        instances = task_instance_ids or tuple(self.commands)
        return processes_with({f"{ATTEMPT_VARIABLE}={self.mark(i)}".encode() for i in instances})

    def wait_gone(self, *task_instance_ids: int) -> None:
        """Wait until no process of these commands is left; those just killed may take a moment to go."""
        wait_until(lambda: not self.processes(*task_instance_ids), f"the end of {task_instance_ids}", 5)

    def most_at_once(self) -> int:
        """The largest number of commands that ran at once, by the order of events."""
        running = most = 0
        for event in self.events:
            running += (event.event is TaskInstanceEvent.START) - (event.event in ENDS)
            most = max(most, running)
        return most


class LocalClusterConformance:
    """The essential behaviour of a cluster that runs commands itself.

    A subclass has a fixture ``distributor``: the plugin's ``ClusterDistributor``, not opened yet.
    """

    @pytest.fixture
    def cluster(self, distributor: ClusterDistributor, tmp_path: Path) -> Iterator[LocalCluster]:
        """The cluster, opened; nothing of its commands may be left at the end."""
        directory = tmp_path / "cluster"
        directory.mkdir()
        cluster = LocalCluster(distributor, directory)
        cluster.open()
        try:
            yield cluster
        finally:
            cluster.close()

    def test_it_says_what_it_is(self, cluster: LocalCluster) -> None:
        """It runs commands itself, at least one at a time."""
        assert cluster.distributor.capabilities.runs_commands
        assert cluster.distributor.slots >= 1

    def test_success(self, cluster: LocalCluster) -> None:
        """Start and end are told, with all that a record of the attempt needs."""
        (instance,) = cluster.run("echo out; echo err >&2")
        end = cluster.wait_end(instance)
        start, *_ = events = cluster.events_of(instance)
        assert [event.event for event in events] == [TaskInstanceEvent.START, TaskInstanceEvent.FINISH]
        assert start.nodename
        assert start.distributor_id == str(instance)
        assert start.process_group_id > 0
        assert Path(start.stdout).read_text() == "out\n"
        assert Path(start.stderr).read_text() == "err\n"
        assert (end.exit_code, end.cause, end.stdout_log, end.stderr_log) == (0, None, "out\n", "err\n")
        assert end.wallclock is not None
        assert 0 < end.wallclock < WAIT_SECONDS

    def test_failure(self, cluster: LocalCluster) -> None:
        """A failure is the command's own; the text has its exit code and what it said last."""
        end = cluster.outcome("echo what went wrong >&2; exit 3")
        assert (end.event, end.cause, end.exit_code) == (TaskInstanceEvent.FAIL, Cause.CODE, 3)
        assert "code 3" in end.description
        assert "what went wrong" in end.description

    def test_death_by_signal(self, cluster: LocalCluster) -> None:
        """The exit code is the signal's number, negative; the text names it."""
        end = cluster.outcome("kill -SEGV $$")
        assert (end.event, end.cause) == (TaskInstanceEvent.FAIL, Cause.CODE)
        assert end.exit_code == -signal.SIGSEGV
        assert "SIGSEGV" in end.description

    def test_environment_and_working_directory(self, cluster: LocalCluster, tmp_path: Path) -> None:
        """The command's own variables are added to the controller's, and it runs where it is told to."""
        (instance,) = cluster.run("env -0; pwd -P >&2", working_dir=str(tmp_path))
        end = cluster.wait_end(instance)
        variables = (end.stdout_log or "").split("\0")
        environment = cluster.commands[instance].environment
        assert {f"{name}={value}" for name, value in environment.items()} <= set(variables)
        assert f"PATH={os.environ['PATH']}" in variables
        assert (end.stderr_log or "").strip() == os.path.realpath(tmp_path)

    def test_a_working_directory_that_does_not_exist(self, cluster: LocalCluster) -> None:
        """The command is refused with the directory's name, and the next one runs."""
        missing = cluster.directory / "nowhere"
        (instance,) = cluster.run("true", working_dir=str(missing))
        end = cluster.wait_end(instance)
        assert (end.event, end.cause) == (TaskInstanceEvent.REFUSE, Cause.LAUNCH)
        assert str(missing) in end.description
        assert cluster.events_of(instance) == [end]
        assert cluster.outcome("true").event is TaskInstanceEvent.FINISH

    def test_the_text_reaches_the_shell_as_it_is(self, cluster: LocalCluster) -> None:
        """Quotes, dollars, line breaks and every script of the world."""
        text = "a 'b' \"c\" $HOME `d` \\ \n\t* é 日本語 🙂"
        end = cluster.outcome(f"printf %s {shlex.quote(text)}")
        assert (end.event, end.stdout_log) == (TaskInstanceEvent.FINISH, text)

    def test_there_is_nothing_to_read(self, cluster: LocalCluster) -> None:
        """A command that reads from stdin finds the end at once."""
        assert cluster.outcome('test -z "$(cat)"').event is TaskInstanceEvent.FINISH

    def test_megabytes_of_output(self, cluster: LocalCluster) -> None:
        """All of it goes to the file, and the end of it is kept."""
        program = "import sys; sys.stdout.write('0123456789' * 300_000 + 'the end')"
        (instance,) = cluster.run(shlex.join([sys.executable, "-c", program]))
        end = cluster.wait_end(instance)
        assert Path(cluster.events_of(instance)[0].stdout).stat().st_size == 3_000_007
        assert end.stdout_log is not None
        assert len(end.stdout_log) == LOG_TAIL_CHARACTERS
        assert end.stdout_log.endswith("789the end")

    def test_no_more_at_once_than_slots(self, cluster: LocalCluster) -> None:
        """Slots are filled, in the order given, and never exceeded."""
        slots = cluster.distributor.slots
        text = "echo $JOBMON_TASK_INSTANCE_ID >> started; until [ -e gate ]; do sleep 0.01; done"
        instances = cluster.run(*[text] * (slots + 3))
        for instance in instances[:slots]:
            cluster.wait_start(instance)
        (cluster.directory / "gate").touch()
        for instance in instances:
            assert cluster.wait_end(instance).event is TaskInstanceEvent.FINISH
        starts = [e.task_instance_id for e in cluster.events if e.event is TaskInstanceEvent.START]
        assert starts == instances
        assert cluster.most_at_once() == slots

    def test_end_of_what_runs_and_of_what_waits(self, cluster: LocalCluster) -> None:
        """What runs ends with its descendants; what waits never starts; the others are left alone."""
        slots = cluster.distributor.slots
        running = cluster.run(*[f"setsid {BLOCK[5:]} & (sleep 600) & echo > ready.$$; {BLOCK}"] * slots)
        waiting, last = cluster.run(BLOCK, "true")
        for instance in running:
            group = cluster.wait_start(instance).process_group_id
            wait_until((cluster.directory / f"ready.{group}").exists, "the command")
        cluster.terminate(waiting, *running)
        for instance in (waiting, *running):
            end = cluster.wait_end(instance)
            assert (end.event, end.cause) == (TaskInstanceEvent.ABORT, Cause.ORDERED)
        assert len(cluster.events_of(waiting)) == 1
        cluster.wait_gone(*running)
        assert cluster.wait_end(last).event is TaskInstanceEvent.FINISH

    def test_an_unknown_id_is_nothing(self, cluster: LocalCluster) -> None:
        """Ending what has ended long ago, or never was, is no error."""
        (instance,) = cluster.run("true")
        cluster.wait_end(instance)
        cluster.terminate(instance, 10**12)
        assert cluster.outcome("true").event is TaskInstanceEvent.FINISH

    def test_it_ignores_sigterm(self, cluster: LocalCluster) -> None:
        """A command that will not end is ended by force."""
        (instance,) = cluster.run("trap '' TERM; echo > deaf; while :; do sleep 0.05; done")
        cluster.wait_file("deaf")
        cluster.terminate(instance)
        assert cluster.wait_end(instance).event is TaskInstanceEvent.ABORT
        cluster.wait_gone(instance)

    def test_children_do_not_outlive_their_command(self, cluster: LocalCluster) -> None:
        """Neither one in its process group nor a daemon that left it."""
        (instance,) = cluster.run(
            f"({BLOCK}) & setsid sh -c 'echo > apart; {BLOCK}' & until [ -e apart ]; do :; done"
        )
        assert cluster.wait_end(instance).event is TaskInstanceEvent.FINISH
        cluster.wait_gone(instance)

    def test_run_time_that_was_asked_for_is_the_limit(self, cluster: LocalCluster) -> None:
        """What runs longer ends with its descendants, for want of resources; what does not is left alone."""
        (instance,) = cluster.run(f"({BLOCK}) & setsid {BLOCK[5:]} & {BLOCK}", runtime=1)
        end = cluster.wait_end(instance)
        assert (end.event, end.cause) == (TaskInstanceEvent.RESOURCE, Cause.RESOURCE)
        assert "runtime=1" in end.description
        cluster.wait_gone(instance)
        assert cluster.outcome("true", runtime=600, memory=1).event is TaskInstanceEvent.FINISH

    def test_memory_that_was_asked_for_is_the_limit(self, cluster: LocalCluster) -> None:
        """What uses more, all of its processes together, ends for want of resources."""
        program = "import time; x = b'x' * (60 << 20); time.sleep(600)"
        child = shlex.join([sys.executable, "-S", "-c", program])
        (instance,) = cluster.run(f"{child} & {child} & wait", memory=100 / 1024)
        end = cluster.wait_end(instance)
        assert (end.event, end.cause) == (TaskInstanceEvent.RESOURCE, Cause.RESOURCE)
        assert "100 MiB" in end.description
        cluster.wait_gone(instance)

    def test_stop_ends_everything(self, cluster: LocalCluster) -> None:
        """When the controller lets go, what runs and what waits is gone."""
        instances = cluster.run(*[BLOCK] * (cluster.distributor.slots + 2))
        cluster.wait_start(instances[0])
        cluster.distributor.stop()
        cluster.wait_gone()

    def test_leftovers_are_known_by_their_mark(self, cluster: LocalCluster) -> None:
        """Of two attempts with one id in different databases only the one that is meant is ended."""
        (instance,) = cluster.run(BLOCK)
        nodename = cluster.wait_start(instance).nodename
        other = Leftover(instance, str(instance), nodename, attempt_mark(uuid.uuid4().hex, instance))
        assert cluster.distributor.kill_leftovers([other]) == [instance]
        wait_until(lambda: cluster.processes(instance), "the command, which is left alone")
        own = Leftover(instance, str(instance), nodename, cluster.mark(instance))
        assert cluster.distributor.kill_leftovers([own]) == [instance]
        assert cluster.wait_end(instance).exit_code == -signal.SIGKILL
        cluster.wait_gone(instance)
