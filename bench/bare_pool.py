"""What does starting processes cost by itself? Two at a time, nothing recorded."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from bench.costs import Costs, Meter

SLOTS = 2
SHELL = "/bin/sh"


def spawned(num_tasks: int) -> Costs:
    """Commands started by ``posix_spawn``, as Jobmon's launcher does."""
    with Meter() as meter:
        running = 0
        for n in range(num_tasks):
            if running == SLOTS:
                os.wait()
                running -= 1
            os.posix_spawn(SHELL, [SHELL, "-c", f"true {n}"], os.environ, setsid=True)
            running += 1
        for _ in range(running):
            os.wait()
    return meter.costs


def by_subprocess(num_tasks: int) -> Costs:
    """Commands started by ``subprocess`` from two threads, as a script would."""

    def start(n: int) -> None:
        subprocess.run([SHELL, "-c", f"true {n}"], check=True)

    with Meter() as meter, ThreadPoolExecutor(SLOTS) as pool:
        for _ in pool.map(start, range(num_tasks)):
            pass
    return meter.costs
