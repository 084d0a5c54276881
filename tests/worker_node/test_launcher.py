"""The launcher by its two pipes, and the parts of it that read files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobmon.core.constants import LOG_TAIL_CHARACTERS
from jobmon.worker_node import launcher
from processes import children_of, is_gone, wait_until

BLOCK = "exec sleep 600"


class Launched:
    """A launcher that runs."""

    def __init__(self, directory: Path, slots: int = 1, grace_seconds: float = 0.3) -> None:
        self.directory = directory
        argv = [sys.executable, "-I", "-S", launcher.__file__, str(slots), str(grace_seconds)]
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "OF_THE_CONTROLLER": "yes"},
        )
        self.events = self._events()

    def entry(self, id: int, command: str, **more: Any) -> dict[str, Any]:
        logs = {"stdout": str(self.directory / f"{id}.o"), "stderr": str(self.directory / f"{id}.e")}
        return {"id": id, "command": command, "environment": {}, **logs, **more}

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def tell(self, **message: Any) -> None:
        self.send(json.dumps(message).encode() + b"\n")

    def _events(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield from json.loads(line)

    def wait_for(self, event: str, id: int) -> dict[str, Any]:
        return next(each for each in self.events if (each["event"], each["id"]) == (event, id))

    def end(self) -> list[dict[str, Any]]:
        """Close its stdin and read what is left; it says nothing else."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        left = list(self.events)
        assert self.process.wait(10) == 0
        assert self.process.stderr is not None
        assert self.process.stderr.read() == b""
        return left

    def close(self) -> None:
        pids = children_of(self.process.pid) if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Launched]:
    launched = Launched(tmp_path)
    yield launched
    launched.close()


# -- the two pipes ----------------------------------------------------------------------------------------
def test_it_ends_when_nothing_was_asked_of_it(launched: Launched) -> None:
    assert launched.end() == []


def test_started_and_ended(launched: Launched) -> None:
    launched.tell(run=[launched.entry(1, "echo $OF_THE_CONTROLLER $MORE", environment={"MORE": "é"})])
    started = launched.wait_for("started", 1)
    ended = launched.wait_for("ended", 1)
    assert set(started) == {"event", "id", "pid"}
    assert (ended["exit_code"], ended["was_killed"]) == (0, False)
    assert (ended["stdout_log"], ended["stderr_log"]) == ("yes é\n", "")
    assert all(ended[name] >= 0 for name in ("wallclock", "maxrss", "cpu", "io"))
    assert launched.end() == []


def test_messages_in_pieces_and_several_at_once(launched: Launched) -> None:
    """Lines count, not how they arrive."""
    first, second, third = (
        json.dumps({"run": [launched.entry(i, f"echo {i}")]}).encode() + b"\n" for i in (1, 2, 3)
    )
    launched.send(first[:7])
    launched.send(first[7:] + second + third[:-1])
    launched.wait_for("ended", 2)
    launched.send(third[-1:])
    assert launched.wait_for("ended", 3)["stdout_log"] == "3\n"


def test_the_next_starts_only_when_one_has_ended(launched: Launched) -> None:
    launched.tell(run=[launched.entry(i, "true") for i in range(5)])
    told = []
    for event in launched.events:
        told.append((event["event"], event["id"]))
        if told[-1] == ("ended", 4):
            break
    assert told == [(event, i) for i in range(5) for event in ("started", "ended")]


def test_what_cannot_be_started_fails_and_takes_no_slot(launched: Launched) -> None:
    launched.tell(run=[launched.entry(1, "true", working_dir="/no/where"), launched.entry(2, "true")])
    assert launched.wait_for("failed", 1)["reason"] == "No such file or directory: /no/where"
    launched.wait_for("ended", 2)


def test_a_variable_that_cannot_be_passed_fails_that_command_only(launched: Launched) -> None:
    for i, environment in enumerate([{"A": "\ud83d"}, {"A": "\0"}, {"A=B": "c"}]):
        launched.tell(run=[launched.entry(i, "true", environment=environment)])
        assert launched.wait_for("failed", i)["reason"]
    launched.tell(run=[launched.entry(9, "true")])
    launched.wait_for("ended", 9)


def test_what_waits_is_dropped_and_what_runs_is_ended(launched: Launched) -> None:
    launched.tell(run=[launched.entry(1, BLOCK), launched.entry(2, "true"), launched.entry(3, "true")])
    launched.wait_for("started", 1)
    launched.tell(kill=[1, 2, 99])
    told = {(event["event"], event["id"]): event for _, event in zip(range(4), launched.events, strict=False)}
    assert set(told) == {("killed", 2), ("ended", 1), ("started", 3), ("ended", 3)}
    assert told["ended", 1]["was_killed"]
    assert told["ended", 1]["exit_code"] == -signal.SIGTERM


# -- its end ----------------------------------------------------------------------------------------------
def test_end_of_file_ends_everything(launched: Launched) -> None:
    """Asked first, then by force; what waits is dropped."""
    deaf = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo > apart; while :; do sleep 0.02; done' & while :; do :; done"
    launched.tell(
        run=[launched.entry(1, deaf, working_dir=str(launched.directory)), launched.entry(2, "true")]
    )
    pid = launched.wait_for("started", 1)["pid"]
    wait_until((launched.directory / "apart").exists, "the child in its own session")
    pids = [pid, *children_of(pid)]
    told = {(event["event"], event["id"]): event for event in launched.end()}
    assert set(told) == {("killed", 2), ("ended", 1)}
    assert told["ended", 1]["exit_code"] == -signal.SIGKILL
    wait_until(lambda: all(map(is_gone, pids)), "the end of all", 5)


def test_nobody_reads_any_more(launched: Launched) -> None:
    """Its stdout is closed: the same as the end of its controller."""
    launched.tell(run=[launched.entry(1, BLOCK)])
    pid = launched.wait_for("started", 1)["pid"]
    assert launched.process.stdout is not None
    launched.process.stdout.close()
    launched.tell(run=[launched.entry(2, "true")], kill=[2])
    assert launched.process.wait(10) == 0
    wait_until(lambda: is_gone(pid), "the end of the command", 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_of_the_terminal_are_not_for_it(launched: Launched, number: int) -> None:
    """Ctrl-C is the controller's business."""
    launched.tell(run=[launched.entry(1, "true")])
    launched.wait_for("ended", 1)
    launched.process.send_signal(number)
    launched.tell(run=[launched.entry(2, "true")])
    launched.wait_for("ended", 2)


def test_sigterm_ends_everything(launched: Launched) -> None:
    launched.tell(run=[launched.entry(1, BLOCK), launched.entry(2, "true")])
    pid = launched.wait_for("started", 1)["pid"]
    launched.process.send_signal(signal.SIGTERM)
    assert {(event["event"], event["id"]) for event in launched.events} == {("killed", 2), ("ended", 1)}
    assert launched.process.wait(10) == 0
    assert is_gone(pid)


def test_many_sigterms_while_commands_start(tmp_path: Path) -> None:
    """Whatever it was about to do: nothing it had started is left when it has gone."""
    for slots in (1, 4):
        launched = Launched(tmp_path, slots=slots)
        try:
            launched.tell(run=[launched.entry(i, "sleep 600") for i in range(50)])
            launched.wait_for("started", 0)
            for _ in range(20):
                launched.process.send_signal(signal.SIGTERM)
            events = list(launched.events)
            # the last one may find Python on its way out
            assert launched.process.wait(10) in (0, -signal.SIGTERM)
            pids = [event["pid"] for event in events if event["event"] == "started"]
            assert all(map(is_gone, pids))
        finally:
            launched.close()


# -- reading files ----------------------------------------------------------------------------------------
def test_it_keeps_as_much_of_a_tail_as_the_database() -> None:
    assert launcher.TAIL_CHARACTERS == LOG_TAIL_CHARACTERS


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ""),
        (b"a", "a"),
        (b"a" * 10_000, "a" * 10_000),
        (b"b" + b"a" * 10_000, "a" * 10_000),
        ("é".encode() * 10_000, "é" * 10_000),
        ("🙂".encode() * 10_001, "🙂" * 10_000),
        (b"x" + "🙂".encode() * 10_001, "🙂" * 10_000),
        ("🙂".encode()[:3], "\ufffd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\x80" * 50_000, ""),
        (b"a\r\nb\0c", "a\r\nb\0c"),
    ],
)
def test_tails(tmp_path: Path, data: bytes, expected: str) -> None:
    (tmp_path / "log").write_bytes(data)
    assert launcher.tail(str(tmp_path / "log")) == expected


def test_the_tail_of_a_file_that_was_removed_is_empty(tmp_path: Path) -> None:
    assert launcher.tail(str(tmp_path / "log")) == ""


def test_a_log_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log"
    for text in (b"longer", b"new"):
        descriptor = launcher.open_log(str(path))
        os.write(descriptor, text)
        os.close(descriptor)
    assert path.read_bytes() == b"new"


def test_errors_in_words() -> None:
    assert launcher.describe(FileNotFoundError(2, "No such file", "/x")) == "No such file: /x"
    assert launcher.describe(OSError(11, "Try again")) == "Try again"
    assert launcher.describe(ValueError("embedded null byte")) == "embedded null byte"
    assert "131071 bytes" in launcher.describe(OSError(7, "Argument list too long", "/bin/sh"))


def test_families_reach_all_generations(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["sh", "-c", f"sh -c 'sleep 600 & echo up > {tmp_path}/up; wait' & wait"], start_new_session=True
    )
    try:
        wait_until((tmp_path / "up").exists, "the grandchild")
        found = launcher.families_of([process.pid, 2**22 + 1])
        assert len(found[process.pid]) == 2
        assert found[2**22 + 1] == []
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_owners_are_known_by_their_environment() -> None:
    for value, owner in ((b"12", 12), (b"x", None)):
        process = subprocess.Popen(["sleep", "600"], env={"JOBMON_TASK_INSTANCE_ID": value.decode()})
        try:
            wait_until(lambda pid=process.pid: Path(f"/proc/{pid}/environ").read_bytes(), "the process")
            assert launcher.owner_of(process.pid) == owner
        finally:
            process.kill()
            process.wait()
    assert launcher.owner_of(2**22 + 1) is None
