"""The directory by which several processes behind one address count together.

``prometheus_client`` keeps each figure of a process in a small file there, from which any of them can tell the sums. It decides
whether to do so when it is imported: the variable has to be set before that, by whoever starts the processes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX, _LOCK = "jobmon-metrics-", "owner.lock"
YOUNG_SECONDS = 60.0
"""A directory so young may not be locked yet."""


def current() -> str:
    """The directory this process shares its figures in; empty: it counts alone."""
    return os.environ.get(VARIABLE, "")


@contextmanager
def shared_figures() -> Iterator[None]:
    """Have the processes that are started inside the ``with`` block count together, in a directory that is removed after it.

    To be used before :mod:`jobmon.server.web.api` is imported. A directory the operator has named is emptied of old
    figures and kept. Directories of servers that were killed are removed.
    """
    named = current()
    if not named:
        _remove_abandoned(Path(tempfile.gettempdir()))
    directory = Path(named or tempfile.mkdtemp(prefix=_PREFIX))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in directory.glob("*.db"):
        old.unlink(missing_ok=True)
    os.environ[VARIABLE] = str(directory)
    with open(directory / _LOCK, "wb") as lock:
        _lock_taken(lock)
        try:
            yield
        finally:
            if not named:
                os.environ.pop(VARIABLE, None)
                shutil.rmtree(directory, ignore_errors=True)


def _lock_taken(lock: BinaryIO) -> bool:
    """Take the lock of a directory, which its server holds while it lives; whether that worked."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_abandoned(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        try:
            about = directory.stat()
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < YOUNG_SECONDS:
                continue
            with open(directory / _LOCK, "ab") as lock:
                if _lock_taken(lock):
                    shutil.rmtree(directory, ignore_errors=True)
        except OSError:
            continue  # another server was quicker


def forget_dead(directory: str) -> None:
    """Take away the momentary figures of processes that have ended; what they counted stays."""
    for path in Path(directory).glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)
