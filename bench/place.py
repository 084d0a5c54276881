"""A place to measure in: an empty directory with a database and a local server of its own, gone afterwards."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar, get_type_hints

import msgspec

from jobmon.core.local_server import LocalServerFiles, stop

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parent.parent
TIME_LIMIT_SECONDS = 1800


class MeasurementError(Exception):
    """Something could not be measured; the message says what went wrong."""


class NotHereError(MeasurementError):
    """What would be measured is not on this machine; the message says what."""


class Finished(NamedTuple):
    """A command that has ended.

    Attributes:
        seconds: from its start to its end.
        output: its standard output.
    """

    seconds: float
    output: str


class Place:
    """An empty home directory; what is started in it knows of no other Jobmon, and its server ends with it."""

    def __enter__(self) -> Place:
        self._temporary = tempfile.TemporaryDirectory(prefix="jobmon-bench-", ignore_cleanup_errors=True)
        self.directory = Path(self._temporary.name)
        self.files = LocalServerFiles(self.directory / "jobmon")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON_")}
        self.environment: Mapping[str, str] = {
            **kept,
            "HOME": str(self.directory),
            "JOBMON__EMBEDDED__DIRECTORY": str(self.files.directory),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(CHECKOUT), kept.get("PYTHONPATH")])),
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            stop(self.files)
        finally:
            self._temporary.cleanup()

    def command(self, *words: str) -> Finished:
        """Run a command here.

        Raises:
            MeasurementError: it failed; the message ends with the last of what it said.
        """
        before = time.perf_counter()
        done = subprocess.run(
            words,
            env=dict(self.environment),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_SECONDS,
        )
        seconds = time.perf_counter() - before
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise MeasurementError(f"'{' '.join(words)}' ended with exit code {done.returncode}: {said}")
        return Finished(seconds, done.stdout)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function of this package in a Python process of its own, here; its answer.

        The answer's type is the function's annotation; it must be one that goes through JSON.
        """
        return self.timed_call(function, *arguments)[0]

    def timed_call(self, function: Callable[..., T], *arguments: Any) -> tuple[T, float]:
        """The answer of :meth:`call`, and the seconds from the start of its process to the end."""
        answer = self.directory / "answer.json"
        done = self.command(
            sys.executable,
            "-m",
            "bench.place",
            function.__module__,
            function.__qualname__,
            json.dumps(arguments),
            str(answer),
        )
        kind = get_type_hints(function)["return"]
        return msgspec.json.decode(answer.read_bytes(), type=kind), done.seconds


def measure(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a Python process of its own, in a place of its own; its answer."""
    with Place() as place:
        return place.call(function, *arguments)


def median_of(times: int, function: Callable[[], T], key: Callable[[T], float]) -> T:
    """The answer in the middle of several."""
    return sorted((function() for _ in range(times)), key=key)[times // 2]


def main() -> None:
    """Answer :meth:`Place.call`, in the process it has started."""
    module, name, arguments, answer = sys.argv[1:]
    function = getattr(importlib.import_module(module), name)
    Path(answer).write_bytes(msgspec.json.encode(function(*json.loads(arguments))))


if __name__ == "__main__":
    main()
