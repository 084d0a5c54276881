"""What something costs: time by the clock, time of the processors, memory."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from types import TracebackType

import msgspec
import psutil

from jobmon.core.configuration import JobmonConfig
from jobmon.core.local_server import LocalServerFiles, read_record


class Costs(msgspec.Struct):
    """What something cost.

    Attributes:
        wall: seconds by the clock.
        client, server, children: CPU seconds of this process, of the local server, and of the processes this one
            has started and that have ended.
        peak: peak resident memory of this process so far, in bytes.
    """

    wall: float
    client: float
    server: float
    children: float
    peak: int

    @property
    def cpu(self) -> float:
        """CPU seconds of all processes."""
        return self.client + self.server + self.children


class Meter:
    """Measures what its block costs; ``costs`` is there afterwards. The local server is up before it begins."""

    costs: Costs

    def __enter__(self) -> Meter:
        record = read_record(LocalServerFiles.from_config(JobmonConfig()))
        self._server = psutil.Process(record.pid) if record else None
        self._before = self._processors()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall = time.perf_counter() - self._started
        used = [after - before for before, after in zip(self._before, self._processors(), strict=True)]
        self.costs = Costs(wall, used[0], used[1], used[2], peak_memory())

    def _processors(self) -> tuple[float, float, float]:
        """CPU seconds so far: this process, the server, ended children."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        server = self._server.cpu_times() if self._server else None
        return (
            time.process_time(),
            server.user + server.system if server else 0.0,
            children.ru_utime + children.ru_stime,
        )


def peak_memory(pid: int | None = None) -> int:
    """Peak resident memory of a process in bytes; getrusage would count what it was forked from."""
    text = Path(f"/proc/{pid or os.getpid()}/status").read_text(encoding="utf-8", errors="replace")
    found = next(each for each in text.splitlines() if each.startswith("VmHWM:"))
    return int(found.split()[1]) * 1024
