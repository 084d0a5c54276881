"""Commands on this machine, by real processes: what is told of them, and that nothing of them is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from jobmon.core.cluster_protocol import ATTEMPT_VARIABLE, Command, Leftover
from jobmon.core.configuration import JobmonConfig
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent
from jobmon.plugins import dummy, multiprocess, sequential
from jobmon.plugins.multiprocess.distributor import (
    NAME_BYTES,
    MultiprocessDistributor,
    describe_end,
    log_path,
)
from jobmon.plugins.multiprocess.processes import processes_of
from jobmon.worker_node import launcher

T = TypeVar("T")
Event = TaskInstanceEvent
ENDS = frozenset({Event.FINISH, Event.FAIL, Event.REFUSE, Event.ABORT, Event.LOSE})
SECONDS = 20.0


def wait_until(condition: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)
    return value


class Machine:
    """The cluster of this machine with everything it reported."""

    def __init__(self, directory: Path, slots: int = 2) -> None:
        self.directory = directory
        self.plugin = MultiprocessDistributor("multiprocess", parallelism=slots)
        self.events: list[InstanceEvent] = []
        self.lock = threading.Lock()
        self.plugin.open(self.take)
        self.ids: list[int] = []

    def take(self, events: Any) -> None:
        with self.lock:
            self.events.extend(events)

    def mark(self, attempt: int) -> str:
        return f"{self.directory}/{attempt}"

    def run(
        self, command: str, *, name: str = "task", environment: Mapping[str, str] | None = None, **more: Any
    ) -> int:
        attempt = len(self.ids) + 1
        self.ids.append(attempt)
        resources = {"stdout": str(self.directory), "stderr": str(self.directory), **more}
        variables = {
            "JOBMON_TASK_INSTANCE_ID": str(attempt),
            ATTEMPT_VARIABLE: self.mark(attempt),
            "HERE": str(self.directory),
            **(environment or {}),
        }
        self.plugin.run_commands([Command(attempt, name, command, variables, resources)])
        return attempt

    def events_of(self, attempt: int) -> list[InstanceEvent]:
        with self.lock:
            return [event for event in self.events if event.task_instance_id == attempt]

    def end(self, attempt: int) -> InstanceEvent:
        """Its last event, when it has come."""
        return wait_until(
            lambda: next((e for e in self.events_of(attempt) if e.event in ENDS), None), f"end of {attempt}"
        )

    def started(self, attempt: int) -> InstanceEvent:
        return wait_until(
            lambda: next((e for e in self.events_of(attempt) if e.event is Event.START), None),
            f"start of {attempt}",
        )

    def file(self, name: str) -> str:
        """The text of a file the command writes, when it is complete (ends a line)."""
        path = self.directory / name
        wait_until(lambda: path.exists() and path.read_text().endswith("\n"), f"file {name}")
        return path.read_text()

    def left(self) -> list[int]:
        return processes_of([self.mark(attempt) for attempt in self.ids])

    def close(self) -> None:
        self.plugin.stop()
        wait_until(lambda: not self.left(), "the end of all processes", 5)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Two slots; at the end no process may be left."""
    monkeypatch.setenv("JOBMON__WORKER_NODE__COMMAND_INTERRUPT_TIMEOUT", "0.3")
    machine = Machine(tmp_path)
    yield machine
    machine.close()


# -- how commands end ----------------------------------------------------------------------------------------
def test_success(machine: Machine) -> None:
    """One start, one end, the output in files and in the events."""
    attempt = machine.run("echo out; echo err >&2", name="my_task")
    event = machine.end(attempt)
    assert [each.event for each in machine.events_of(attempt)] == [Event.START, Event.FINISH]
    assert (event.exit_code, event.stdout_log, event.stderr_log) == (0, "out\n", "err\n")
    assert (machine.directory / f"my_task.o{attempt}").read_text() == "out\n"
    assert (machine.directory / f"my_task.e{attempt}").read_text() == "err\n"
    start = machine.started(attempt)
    assert start.stdout == str(machine.directory / f"my_task.o{attempt}")
    assert start.distributor_id == str(attempt)
    assert start.process_group_id > 1


def test_no_output(machine: Machine) -> None:
    """Empty texts, not missing ones."""
    event = machine.end(machine.run("true"))
    assert (event.stdout_log, event.stderr_log) == ("", "")


@pytest.mark.parametrize("code", [1, 2, 126, 255])
def test_exit_codes(machine: Machine, code: int) -> None:
    """As the command gave them."""
    event = machine.end(machine.run(f"echo why >&2; exit {code}"))
    assert (event.event, event.cause, event.exit_code) == (Event.FAIL, Cause.CODE, code)
    assert event.description.endswith("why")
    assert str(code) in event.description


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGPIPE])
def test_signals(machine: Machine, number: signal.Signals) -> None:
    """The negative number, the name in the words; the shell is not protected from any."""
    event = machine.end(machine.run(f"kill -{int(number)} $$"))
    assert (event.event, event.exit_code) == (Event.FAIL, -int(number))
    assert number.name in event.description


def test_a_missing_command(machine: Machine) -> None:
    """127, in words, with what the shell said."""
    event = machine.end(machine.run("no_such_command_here"))
    assert event.exit_code == 127
    assert "PATH" in event.description
    assert "no_such_command_here" in event.description


def test_megabytes_of_output(machine: Machine) -> None:
    """All of it in the file, the end in the events."""
    event = machine.end(machine.run("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo the end"))
    assert event.event is Event.FINISH
    assert event.stdout_log is not None
    assert len(event.stdout_log) == launcher.TAIL_CHARACTERS
    assert event.stdout_log.endswith("xxx\nthe end\n")
    assert (machine.directory / "task.o1").stat().st_size == 5_000_009


def test_output_that_is_no_utf_8(machine: Machine) -> None:
    """Replaced where it is none; a character cut in two at the border does not count."""
    event = machine.end(machine.run("printf 'a\\377b'; printf '\\303' >&2"))
    assert (event.stdout_log, event.stderr_log) == ("a\ufffdb", "\ufffd")
    event = machine.end(machine.run("yes 'é' | head -n 60000 | tr -d '\\n'"))
    assert event.stdout_log == "é" * launcher.TAIL_CHARACTERS


@pytest.mark.parametrize(
    "text", ['it\'s "quoted"', "$HOME `id` \\ !", "two\nlines", "äöü 你好 🧬", "", "  spaces  ", "%s {x} *"]
)
def test_arguments_reach_the_command_as_they_are(machine: Machine, text: str) -> None:
    """In the environment; and quoted for the shell in the command."""
    import shlex

    event = machine.end(machine.run(f"printf '%s' {shlex.quote(text)}"))
    assert event.stdout_log == text
    event = machine.end(machine.run("printf '%s' \"$TEXT\"", environment={"TEXT": text}))
    assert event.stdout_log == text


def test_stdin_is_empty(machine: Machine) -> None:
    """A command that reads does not hang."""
    assert machine.end(machine.run("cat; echo done")).stdout_log == "done\n"


def test_the_working_directory_is_the_tasks_own(machine: Machine, tmp_path: Path) -> None:
    """For this command only; one that does not exist is said."""
    (tmp_path / "work").mkdir()
    event = machine.end(machine.run("pwd", working_dir=str(tmp_path / "work")))
    assert event.stdout_log == f"{tmp_path}/work\n"
    assert machine.end(machine.run("pwd")).stdout_log == f"{os.getcwd()}\n"
    event = machine.end(machine.run("pwd", working_dir=str(tmp_path / "none")))
    assert event.event is Event.REFUSE
    assert "No such file or directory" in event.description


def test_a_log_directory_is_made_where_it_is_missing(machine: Machine, tmp_path: Path) -> None:
    """With its parents."""
    event = machine.end(machine.run("echo x", stdout=str(tmp_path / "a/b"), stderr=str(tmp_path / "c")))
    assert event.event is Event.FINISH
    assert (tmp_path / "a/b/task.o1").read_text() == "x\n"


def test_a_log_directory_that_cannot_be_written_refuses_the_attempt(machine: Machine, tmp_path: Path) -> None:
    """With the reason and the path; the command is not run."""
    (tmp_path / "file").touch()
    event = machine.end(machine.run("touch $HERE/ran", stdout=str(tmp_path / "file/below")))
    assert (event.event, event.cause) == (Event.REFUSE, Cause.LAUNCH)
    assert "could not be started" in event.description
    assert "file" in event.description
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["x" * 300, "ä" * 200, "a/b", "new\nline", "nul\0", "ends in ."])
def test_names_of_logs_fit_every_file_system(machine: Machine, name: str) -> None:
    """Cut and without separators; found again by the path that is told."""
    attempt = machine.run("echo x", name=name)
    assert machine.end(attempt).event is Event.FINISH
    path = Path(machine.started(attempt).stdout)
    assert path.read_text() == "x\n"
    assert path.parent == machine.directory
    assert len(os.fsencode(path.name)) <= NAME_BYTES


# -- what a command leaves behind ------------------------------------------------------------------------------
def test_children_in_the_group_end_with_their_command(machine: Machine) -> None:
    """Those that were sent to the background."""
    attempt = machine.run("sleep 600 & echo $! > $HERE/child; exit 0")
    child = int(machine.file("child"))
    assert machine.end(attempt).event is Event.FINISH
    wait_until(lambda: not Path(f"/proc/{child}").exists() or not machine.left(), "the end of the child")


def test_daemons_end_with_their_command(machine: Machine) -> None:
    """Those that left the group and the session."""
    attempt = machine.run(
        "setsid sh -c 'echo $$ > $HERE/daemon; sleep 600' & until [ -s $HERE/daemon ]; do :; done"
    )
    machine.file("daemon")
    assert machine.end(attempt).event is Event.FINISH
    wait_until(lambda: not machine.left(), "the end of the daemon")


def test_daemons_of_others_are_left_alone(machine: Machine) -> None:
    """An ended command does not end its neighbour's children."""
    other = machine.run("setsid sleep 600 & echo > $HERE/other; until [ -e $HERE/go ]; do sleep 0.01; done")
    machine.file("other")
    machine.end(machine.run("true"))
    time.sleep(0.05)
    assert len(machine.left()) >= 2
    (machine.directory / "go").touch()
    assert machine.end(other).event is Event.FINISH


def test_a_killed_command_ends_with_its_descendants(machine: Machine) -> None:
    """Also those that ignore being asked, and those of another session; within the grace."""
    attempt = machine.run(
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 600 & sleep 600' & echo $$ > $HERE/up; sleep 600; sleep 600"
    )
    machine.file("up")
    machine.plugin.terminate_task_instances([str(attempt)])
    event = machine.end(attempt)
    assert (event.event, event.cause) == (Event.ABORT, Cause.ORDERED)
    wait_until(lambda: not machine.left(), "the end of the descendants")


def test_a_killed_command_may_clean_up(machine: Machine) -> None:
    """It is asked first."""
    attempt = machine.run(
        "trap 'echo clean > $HERE/clean; exit 3' TERM; echo > $HERE/up; while :; do sleep 0.01; done"
    )
    machine.file("up")
    machine.plugin.terminate_task_instances([str(attempt)])
    assert machine.end(attempt).event is Event.ABORT
    assert machine.file("clean") == "clean\n"


def test_killing_what_waits_starts_nothing(machine: Machine) -> None:
    """The others go on in their order."""
    gates = [machine.run("until [ -e $HERE/go ]; do sleep 0.01; done") for _ in range(2)]
    waiting, last = machine.run("touch $HERE/ran"), machine.run("true")
    machine.started(gates[1])
    machine.plugin.terminate_task_instances([str(waiting)])
    assert machine.end(waiting).event is Event.ABORT
    (machine.directory / "go").touch()
    assert machine.end(last).event is Event.FINISH
    assert [e.event for e in machine.events_of(waiting)] == [Event.ABORT]
    assert not (machine.directory / "ran").exists()


def test_slots_bound_what_runs(machine: Machine) -> None:
    """Two at once, though ten wait."""
    attempts = [machine.run("echo + >> $HERE/log; sleep 0.02; echo - >> $HERE/log") for _ in range(10)]
    for attempt in attempts:
        machine.end(attempt)
    running = most = 0
    for line in (machine.directory / "log").read_text().split():
        running += 1 if line == "+" else -1
        most = max(most, running)
    assert most == 2


# -- ends of launcher and controller -----------------------------------------------------------------------------
def launcher_of(machine: Machine) -> subprocess.Popen[bytes]:
    process = machine.plugin._launcher
    assert process is not None
    return process


def test_a_killed_launcher_loses_its_commands_through_no_fault_of_theirs(machine: Machine) -> None:
    """Their processes end; the next commands find a new launcher."""
    running = [machine.run("echo > $HERE/up$JOBMON_TASK_INSTANCE_ID; sleep 600") for _ in range(2)]
    waiting = machine.run("true")
    for attempt in running:
        machine.file(f"up{attempt}")
        machine.started(attempt)
    launcher_of(machine).kill()
    for attempt in running:
        event = machine.end(attempt)
        assert (event.event, event.cause) == (Event.LOSE, Cause.INFRASTRUCTURE)
    event = machine.end(waiting)
    assert (event.event, event.cause) == (Event.REFUSE, Cause.INFRASTRUCTURE)
    assert not machine.left()
    assert machine.end(machine.run("true")).event is Event.FINISH


def test_without_its_controller_the_launcher_ends_everything(machine: Machine) -> None:
    """End of file on stdin is all it takes; also for what ignores being asked."""
    machine.run("trap '' TERM; echo > $HERE/up; while :; do sleep 1; done")
    machine.run("setsid sleep 600 & echo > $HERE/up2; sleep 600")
    machine.file("up")
    machine.file("up2")
    process = launcher_of(machine)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0
    wait_until(lambda: not machine.left(), "the end of all commands")


def test_stopping_ends_everything(machine: Machine) -> None:
    """And the launcher."""
    machine.run("sleep 600")
    machine.started(1)
    process = launcher_of(machine)
    machine.plugin.stop()
    assert process.poll() is not None
    assert not machine.left()


def test_what_a_dead_controller_left_behind_is_ended_by_its_marks(tmp_path: Path) -> None:
    """On this machine; what was elsewhere went with its launcher."""
    mark = f"{tmp_path}/77"
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, ATTEMPT_VARIABLE: mark})
    wait_until(lambda: processes_of([mark]), "the mark")
    plugin = MultiprocessDistributor("multiprocess")
    assert plugin.kill_leftovers(
        [Leftover(77, "77", "", mark), Leftover(78, "78", "elsewhere", mark + "x")]
    ) == [77, 78]
    assert process.wait(5) == -signal.SIGKILL


# -- usage ---------------------------------------------------------------------------------------------------------
def test_usage_is_measured(machine: Machine) -> None:
    """Peak memory in bytes, seconds of time and of CPU, also of children."""
    program = "x = bytearray(50_000_000); x[::4096] = b'1' * len(x[::4096]); sum(range(2_000_000))"
    event = machine.end(machine.run(f'sh -c "{sys.executable} -S -c \\"{program}\\""; true'))
    assert event.event is Event.FINISH
    assert event.maxrss is not None
    assert 50e6 < event.maxrss < 150e6
    assert event.cpu is not None
    assert event.wallclock is not None
    assert 0.01 < event.cpu <= event.wallclock * 2 + 0.1
    assert event.wallclock < 10
    assert event.io is not None
    assert event.io >= 0


# -- words and names ---------------------------------------------------------------------------------------------
def test_a_failure_is_described_with_the_end_of_stderr() -> None:
    """Twenty lines are enough."""
    text = describe_end(3, "\n".join(map(str, range(100))))
    assert text.startswith("The command exited with code 3.\n80\n")
    assert text.endswith("\n99")
    assert "memory" in describe_end(-9, "")
    assert "signal 65" in describe_end(-65, "")


def test_log_paths_never_split_a_character() -> None:
    """The name is cut between characters."""
    path = log_path("/logs", "é" * 200, "o", "5")
    assert path.endswith("é.o5")
    assert len(os.fsencode(os.path.basename(path))) <= NAME_BYTES


def test_the_parallelism_is_that_of_cluster_configuration_or_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order."""
    make = multiprocess.get_cluster_distributor_class()
    assert make("multiprocess").slots == len(os.sched_getaffinity(0))
    monkeypatch.setenv("JOBMON__MULTIPROCESS__PARALLELISM", "7")
    assert JobmonConfig().get_int("multiprocess", "parallelism") == 7
    assert make("multiprocess").slots == 7
    assert make("multiprocess", parallelism=3).slots == 3
    assert sequential.get_cluster_distributor_class()("sequential").slots == 1


def test_dummy_runs_nothing_and_reports_success(tmp_path: Path) -> None:
    """Start and end of each."""
    plugin = dummy.get_cluster_distributor_class()("dummy")
    events: list[InstanceEvent] = []
    plugin.open(events.extend)
    plugin.run_commands([Command(i, "x", f"touch {tmp_path}/ran") for i in (1, 2)])
    assert [(e.task_instance_id, e.event) for e in events] == [
        (1, Event.START),
        (1, Event.FINISH),
        (2, Event.START),
        (2, Event.FINISH),
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_launchers_lines_are_json(tmp_path: Path) -> None:
    """The protocol of its docstring, spoken by hand."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", launcher.__file__, "1", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    entry = {
        "id": 5,
        "command": "exit 4",
        "environment": {},
        "stdout": f"{tmp_path}/o",
        "stderr": f"{tmp_path}/e",
    }
    bad = {**entry, "id": 6, "stdout": "/dev/null/x"}
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"run": [entry, bad]}).encode() + b"\n")
    process.stdin.flush()
    told: list[dict[str, Any]] = []
    while len(told) < 3:
        told += json.loads(process.stdout.readline())
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()
    assert sorted((each["event"], each["id"]) for each in told) == [
        ("ended", 5),
        ("failed", 6),
        ("started", 5),
    ]
    assert next(each for each in told if each["event"] == "ended")["exit_code"] == 4
