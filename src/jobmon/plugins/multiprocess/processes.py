"""Finding and ending the processes of attempts whose launcher is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from jobmon.core.cluster_protocol import ATTEMPT_VARIABLE

WAIT_SECONDS = 5.0
LOOK_SECONDS = 0.02
LOOKS_IN_VAIN = 2


def processes_of(marks: Iterable[str]) -> list[int]:
    """Processes of this machine whose environment bears the mark of one of the attempts."""
    wanted = {f"{ATTEMPT_VARIABLE}={mark}".encode() for mark in marks}
    own = os.getpid()
    found = []
    for entry in os.listdir("/proc") if wanted else ():
        if entry.isdigit() and int(entry) != own:
            try:
                environment = Path("/proc", entry, "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # ended, or another user's
            if not wanted.isdisjoint(environment):
                found.append(int(entry))
    return found


def end_processes_of(marks: Iterable[str]) -> None:
    """End them by SIGKILL and wait until they are gone; whoever is born meanwhile is found by the next look.

    A process that is just being replaced by ``exec`` shows no environment: only two looks in vain mean that none is left.
    """
    wanted = list(marks)
    deadline = time.monotonic() + WAIT_SECONDS
    looks_in_vain = 0 if wanted else LOOKS_IN_VAIN
    while looks_in_vain < LOOKS_IN_VAIN and time.monotonic() < deadline:
        found = processes_of(wanted)
        looks_in_vain = 0 if found else looks_in_vain + 1
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass  # ended meanwhile
        if looks_in_vain < LOOKS_IN_VAIN:
            time.sleep(LOOK_SECONDS)
