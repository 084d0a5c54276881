"""Telling whether a process that was noted down earlier is still the same one, and still alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec


class ProcessIdentity(msgspec.Struct, frozen=True):
    """A process, for good: process ids are used again, but not with the same start on the same boot.

    Attributes:
        hostname: host it runs on.
        domain: boot of that host and process-id namespace; processes of other domains cannot be looked up.
        pid: process id.
        started: start of the process in clock ticks since boot (field 22 of proc(5) stat).
    """

    hostname: str
    domain: str
    pid: int
    started: int


def _domain() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Start of a live process in clock ticks since boot; ``None`` when there is no such (unreaped) process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def this_process() -> ProcessIdentity:
    """Identity of the calling process."""
    pid = os.getpid()
    return ProcessIdentity(socket.gethostname(), _domain(), pid, start_ticks(pid) or 0)


def is_alive(identity: ProcessIdentity) -> bool | None:
    """Whether the process lives; ``None`` when it cannot be told from here (another host, boot or namespace)."""
    if not identity.domain or identity.hostname != socket.gethostname():
        return None
    here = _domain()
    if identity.domain != here:
        same_boot = identity.domain.split("/")[0] == here.split("/")[0]
        return None if same_boot else False  # the machine was started anew since: nothing of then is left
    return start_ticks(identity.pid) == identity.started
