"""What does the wrapper cost that runs a command on a compute node? With a real server that takes what it tells."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from statistics import median

import msgspec

from bench.place import MeasurementError, measure
from bench.row import Row
from bench.worker_events import launched_attempts
from jobmon.core import __version__
from jobmon.core.batch_cluster import WRAPPER_ID_OPTION, WRAPPER_STEP_OPTION
from jobmon.core.configuration import JobmonConfig
from jobmon.core.local_server import find_or_start
from jobmon.distributor.batch_file import BatchElement, BatchHeader, wrapper_words, write_batch
from jobmon.distributor.shared_directory import SharedDirectory

NUM_WRAPPERS = 60
COMMAND = "cat /proc/$PPID/schedstat"
"""What the command does in the first half: it writes down the CPU time of its parent, the wrapper."""


class WrapperCosts(msgspec.Struct):
    """What wrappers cost, the middle of many.

    Attributes:
        cpu: CPU seconds of a wrapper with its command, ``true``.
        before: CPU seconds of a wrapper until its command runs.
        wall: seconds from its start to its end.
        peak: peak resident memory in bytes, the highest.
    """

    cpu: float
    before: float
    wall: float
    peak: int


def wrappers(num_wrappers: int) -> WrapperCosts:
    """Run wrappers one after the other."""
    shared = _shared_directory()
    attempts = launched_attempts(2 * num_wrappers)
    batch = shared.batches / "1"
    commands = [COMMAND] * num_wrappers + ["true"] * num_wrappers
    elements = [BatchElement(i, i, "nothing", command) for i, command in zip(attempts, commands, strict=True)]
    write_batch(batch, _header(shared), elements)
    words = wrapper_words(batch, JobmonConfig())
    peaks = [_run([*words, *_options(step)])[1] for step in range(num_wrappers)]
    before = [int(path.read_text().split()[0]) / 1e9 for path in shared.logs.glob("*.o*")]
    cpu, wall = [], []
    for step in range(num_wrappers, 2 * num_wrappers):
        started = time.perf_counter()
        cpu.append(_run([*words, *_options(step)], is_watched=False)[0])
        wall.append(time.perf_counter() - started)
    return WrapperCosts(median(cpu), median(before), median(wall), max(peaks))


def _shared_directory() -> SharedDirectory:
    """The directory that tells wrappers where the local server is."""
    config = JobmonConfig()
    server = find_or_start(config)
    shared = SharedDirectory(Path.home() / "shared", 1)
    shared.prepare()
    shared.write_server(f"{server.url}{config.get('http', 'route_prefix')}", server.token, "bench")
    return shared


def _header(shared: SharedDirectory) -> BatchHeader:
    return BatchHeader(
        version=__version__,
        workflow_id=1,
        workflow_run_id=1,
        cluster_name="bench",
        user="bench",
        server_file=str(shared.server),
        spool=str(shared.spool),
        stdout=str(shared.logs),
        stderr=str(shared.logs),
        working_dir=str(shared.root),
        heartbeat_seconds=90,
        report_seconds=300,
        interrupt_seconds=10,
        start_wait_seconds=10,
        report_wait_seconds=10,
    )


def _options(step: int) -> tuple[str, str, str, str]:
    return (WRAPPER_STEP_OPTION, str(step), WRAPPER_ID_OPTION, f"1_{step + 1}")


def _run(words: list[str], is_watched: bool = True) -> tuple[float, int]:
    """Run a wrapper; its CPU seconds with its command, and its peak memory where that is watched.

    The peak the kernel tells of with the end of a process counts what it was forked from, so it is watched, which takes
    CPU time of who watches only.
    """
    pid = os.posix_spawn(words[0], words, os.environ)
    peak = 0
    while is_watched and (now := _peak(pid)):
        peak = now
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise MeasurementError(f"a wrapper ended with exit code {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, peak


def _peak(pid: int) -> int:
    """Peak resident memory of a process in bytes; 0 when it has ended."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


@cache
def costs() -> WrapperCosts:
    """The same, in a place of its own."""
    return measure(wrappers, NUM_WRAPPERS)


ROWS = (
    Row("wrapper: CPU before the command starts", "ms", lambda: costs().before * 1e3, 40, "peer 700 ms"),
    Row("wrapper: CPU with the command, true", "ms", lambda: costs().cpu * 1e3, 40),
    Row("  from its start to its end", "ms", lambda: costs().wall * 1e3),
    Row("wrapper: peak memory", "MB", lambda: costs().peak / 1e6, 20, "peer 113 MB"),
)
