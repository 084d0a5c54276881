"""A process that was noted down: the same one, and alive?"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass

import msgspec
import pytest

from jobmon.core import process_identity
from jobmon.core.process_identity import ProcessIdentity, is_alive, start_ticks, this_process


def identity_of(pid: int) -> ProcessIdentity:
    ticks = start_ticks(pid)
    assert ticks is not None
    return msgspec.structs.replace(this_process(), pid=pid, started=ticks)


def test_this_process_is_alive() -> None:
    """Also after a journey as JSON."""
    here = this_process()
    assert here.pid == os.getpid()
    assert is_alive(msgspec.json.decode(msgspec.json.encode(here), type=ProcessIdentity)) is True


def test_an_ended_process_is_dead_also_as_a_zombie() -> None:
    """Before its parent has looked."""
    process = subprocess.Popen(["sleep", "60"])
    identity = identity_of(process.pid)
    assert is_alive(identity) is True
    process.kill()
    deadline = time.monotonic() + 10
    while is_alive(identity) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert is_alive(identity) is False
    process.wait()
    assert is_alive(identity) is False


def test_another_process_of_the_same_id_is_not_the_same() -> None:
    """Ids are used again; starts are not."""
    here = this_process()
    assert is_alive(msgspec.structs.replace(here, started=here.started - 1)) is False


@pytest.mark.parametrize(
    "elsewhere", [{"hostname": "other.example"}, {"domain": ""}, {"domain": "BOOT/pid:[1]"}]
)
def test_what_cannot_be_seen_from_here_is_unknown(elsewhere: dict[str, str]) -> None:
    """Another host, no /proc, another process-id namespace of this boot."""
    here = this_process()
    boot = here.domain.split("/")[0]
    elsewhere = {name: value.replace("BOOT", boot) for name, value in elsewhere.items()}
    assert is_alive(msgspec.structs.replace(here, **elsewhere)) is None


def test_nothing_of_an_earlier_boot_is_left() -> None:
    """The machine went down since."""
    assert is_alive(msgspec.structs.replace(this_process(), domain="earlier-boot/pid:[1]")) is False


@dataclass
class _NoProc:
    text: str

    def read_text(self, **_: object) -> str:
        raise OSError(self.text)


def test_without_proc_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No /proc: no identity that could be mistaken for another."""
    monkeypatch.setattr(process_identity, "Path", _NoProc)
    here = this_process()
    assert (here.domain, here.started) == ("", 0)
    assert is_alive(here) is None
