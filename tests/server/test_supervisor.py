"""What a supervisor does with workers that misbehave, tried with small programs in their place."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobmon.server import supervisor as module
from jobmon.server.supervisor import Supervisor, listen
from processes import wait_until

pytestmark = pytest.mark.e2e

PROGRAM = """
import os, signal, socket, sys, time
log, behaviour = sys.argv[1:3]
listener, link = (socket.socket(fileno=int(word)) for word in sys.argv[3:5])
def say(word):
    with open(log, "a") as file:
        file.write(f"{word} {os.getpid()}\\n")
say("start")
if behaviour == "broken" or (behaviour == "later broken" and os.path.exists(log + ".broken")):
    sys.exit(7)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, lambda *_: say("told to end"))
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
link.send(b".")
say("serves")
while True:
    time.sleep(0.05)
    if behaviour != "silent":
        link.send(b".")
"""


class Site:
    """A supervisor in a child process of its own, for signals go to processes."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "log"
        self.broken = directory / "log.broken"
        self.program = directory / "program.py"
        self.program.write_text(PROGRAM)
        self.log.touch()
        self.pid = 0

    def start(self, behaviour: str, num_workers: int = 1, shutdown_seconds: float = 20.0) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                command = [sys.executable, "-S", str(self.program), str(self.log), behaviour]
                own = Supervisor(command, listen("127.0.0.1", 0), num_workers, shutdown_seconds)
                status = own.run()
            finally:
                os._exit(status)

    def said(self, word: str) -> list[int]:
        """Processes that said it."""
        lines = self.log.read_text().splitlines()
        return [int(line.rpartition(" ")[2]) for line in lines if line.startswith(word + " ")]

    def wait_said(self, word: str, times: int) -> list[int]:
        wait_until(lambda: len(self.said(word)) >= times, f"{times} times '{word}'")
        return self.said(word)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        """Wait for its end; the exit status."""
        wait_until(lambda: os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), "its end")
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for pid in self.said("start"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def test_the_first_that_cannot_start_ends_it_all(site: Site) -> None:
    """With its exit status, after one try."""
    site.start("broken", num_workers=3)
    assert site.end() == 7
    assert len(site.said("start")) == 1


def test_a_new_one_that_cannot_start_leaves_the_old_ones_alone(site: Site) -> None:
    """The configuration was broken meanwhile: who serves goes on."""
    site.start("later broken", num_workers=2)
    old = site.wait_said("serves", 2)
    site.broken.touch()
    site.signal(signal.SIGHUP)
    site.wait_said("start", 3)
    site.broken.unlink()
    site.signal(signal.SIGHUP)
    assert not set(site.wait_said("serves", 4)[2:]) & set(old)
    site.signal(signal.SIGTERM)
    assert site.end() == 0


def test_one_that_does_not_end_is_killed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, or at once by a second signal; the exit status tells."""
    monkeypatch.setattr(module, "KILL_AFTER_SECONDS", 0.1)
    site.start("stubborn", shutdown_seconds=0.1)
    site.wait_said("serves", 1)
    site.signal(signal.SIGTERM)
    assert site.end() == module.CUT_OFF


def test_a_second_signal_kills_at_once(site: Site) -> None:
    site.start("stubborn", shutdown_seconds=1000)
    site.wait_said("serves", 1)
    site.signal(signal.SIGINT)
    site.wait_said("told to end", 1)
    site.signal(signal.SIGINT)
    assert site.end() == module.CUT_OFF


def test_one_that_falls_silent_is_replaced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.2)
    site.start("silent")
    first, second = site.wait_said("serves", 2)[:2]
    assert first != second
    site.signal(signal.SIGTERM)
    assert site.end() == 0


def test_a_name_or_an_address_can_be_listened_at() -> None:
    """IPv6 too, where the machine has it."""
    with listen("localhost", 0) as listener:
        assert listener.getsockname()[1] > 0
    if socket.has_ipv6:
        try:
            with listen("::1", 0) as listener:
                assert listener.family == socket.AF_INET6
        except OSError:
            assert not Path("/proc/net/if_inet6").read_text().strip()
