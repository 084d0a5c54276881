"""The machine that was measured, in words."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from pathlib import Path

import psutil

from jobmon.core.local_server import filesystem_type


def description() -> str:
    """Processor, cores, memory, system, Python, and where the measurements keep their files."""
    memory = psutil.virtual_memory().total / 2**30
    kind = filesystem_type(Path(tempfile.gettempdir())) or "an unknown filesystem"
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory:.1f} GiB of memory; "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; files on {kind}"
    )


def processor() -> str:
    """Model of the processor."""
    try:
        for text in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = text.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass  # not Linux: what Python knows must do
    return platform.processor() or platform.machine()


def load() -> float:
    """Processes that wanted to run, on average over the last minute."""
    return os.getloadavg()[0]
