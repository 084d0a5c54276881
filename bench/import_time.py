"""How long does a user wait before anything happens?"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.place import Place, median_of
from bench.row import Row

TIMES = 7


IMPORT = """\
import time
before = time.perf_counter()
import jobmon.client.api
print(time.perf_counter() - before)
"""


def import_seconds() -> float:
    """Seconds ``import jobmon.client.api`` takes, in the middle of several new processes."""
    with Place() as place:
        return median_of(TIMES, lambda: float(place.command(sys.executable, "-c", IMPORT).output), key=float)


def program(name: str) -> str:
    """Path of a program that was installed with this Python."""
    return str(Path(sys.executable).parent / name)


def help_seconds() -> float:
    """Seconds ``jobmon --help`` takes from start to end, in the middle of several."""
    with Place() as place:
        return median_of(TIMES, lambda: place.command(program("jobmon"), "--help").seconds, key=float)


ROWS = (
    Row("import jobmon.client.api", "s", import_seconds, 0.15, "peer 0.4 s"),
    Row("`jobmon --help`", "s", help_seconds, 0.15, "peer 0.7 s"),
)
