"""Scripts of jobs as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from jobmon.testing.conformance import processes_with

MARK = "FAKE_SLURM_JOB"
"""Environment variable that marks all processes of a job."""


ELSEWHERE = Path("/tmp")  # noqa: S108


class LogNotWritable(Exception):
    """The job's log file could not be opened."""


def start_script(
    script: Path,
    directory: Path,
    environment: Mapping[str, str],
    output: Path,
    error: Path | None,
    append: bool,
) -> subprocess.Popen[bytes]:
    """Run a script in a session of its own, its output in files; without its directory it runs in ``/tmp``.

    Raises:
        LogNotWritable: a log file cannot be opened.
        OSError: the script cannot be run.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    opened: list[int] = []
    try:
        try:
            opened.append(os.open(output, flags, 0o644))
            opened.append(os.dup(opened[0]) if error is None else os.open(error, flags, 0o644))
        except OSError as exc:
            raise LogNotWritable(str(exc)) from exc
        if not directory.is_dir():
            text = f"slurmstepd: error: couldn't chdir to `{directory}': No such file or directory: going to /tmp instead\n"
            os.write(opened[1], text.encode())
            directory = ELSEWHERE
        return subprocess.Popen(
            [script],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=opened[0],
            stderr=opened[1],
            start_new_session=True,
        )
    finally:
        for descriptor in opened:
            os.close(descriptor)


def signal_marked(mark: str, number: int) -> int:
    """Signal every process that bears the mark of a job, whatever its session; how many there were."""
    found = processes_with({f"{MARK}={mark}".encode()})
    for pid in found:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it ended in between
    return len(found)


def kill_marked(mark: str) -> None:
    """End every process of a job, and those it starts meanwhile; no mark, no processes."""
    while mark and signal_marked(mark, signal.SIGKILL):
        pass
