"""The Slurm cluster that is measured: whether there is one, what it does without Jobmon, what its jobs used."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bench.place import MeasurementError, NotHereError, Place

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo")
COMMAND_SECONDS = 60.0
POLL_SECONDS = 0.2
RUN_SECONDS = 900.0
RECORDS_SECONDS = 60.0
MEMORY, MINUTES = "64M", 5
_HALF_A_MILLISECOND = 0.0005


def slurm(*words: str) -> str:
    """Output of a command of Slurm.

    Raises:
        NotHereError: there is no Slurm.
        MeasurementError: it failed.
    """
    if shutil.which(words[0]) is None:
        raise NotHereError(f"Slurm is not installed: there is no {words[0]}")
    done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    if done.returncode != 0:
        raise MeasurementError(f"'{' '.join(words)}' ended with exit code {done.returncode}: {done.stderr}")
    return done.stdout


def default_queue() -> str:
    """Name of the partition that jobs go to which name none.

    Raises:
        NotHereError: there is no Slurm, or its controller does not answer.
    """
    try:
        names = slurm("sinfo", "-h", "-o", "%P").split()
    except (MeasurementError, subprocess.TimeoutExpired) as error:
        raise NotHereError(f"no Slurm answers ({error}); `make slurm` starts one on this machine") from error
    return next((name.rstrip("*") for name in names if name.endswith("*")), names[0].rstrip("*"))


@contextmanager
def slurm_place(shimmed: bool = False) -> Iterator[Place]:
    """A place whose tasks run on Slurm; with ``shimmed`` its commands of Slurm are noted (:func:`noted_commands`).

    Raises:
        NotHereError: there is no Slurm.
    """
    default_queue()
    with Place() as place:
        shared = str(place.directory / "shared")
        place.environment = {**place.environment, "JOBMON__DISTRIBUTOR__SHARED_DIRECTORY": shared}
        if shimmed:
            _shim(place)
        yield place


def _shim(place: Place) -> None:
    directory, log = place.directory / "bin", place.directory / "commands"
    directory.mkdir()
    log.touch()
    for name in COMMANDS:
        path = directory / name
        path.write_text(f'#!/bin/sh\necho "$(date +%s) {name}" >> {log}\nexec {shutil.which(name)} "$@"\n')
        path.chmod(0o755)
    path_variable = os.pathsep.join([str(directory), place.environment["PATH"]])
    place.environment = {**place.environment, "PATH": path_variable}


def noted_commands(place: Place) -> list[tuple[int, str]]:
    """When (seconds since the epoch) which command of Slurm was called in a shimmed place."""
    rows = (place.directory / "commands").read_text().splitlines()
    return [(int(row.split()[0]), row.split()[1]) for row in rows]


def bare_array(num_tasks: int, directory: Path) -> float:
    """Seconds from the submission of an array of ``true`` to the end of its last element, without Jobmon."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    words = (
        f"--job-name={name} --array=1-{num_tasks} --partition={default_queue()} --cpus-per-task=1 --mem={MEMORY} "
        f"--time={MINUTES} --output={directory}/%x-%A_%a.log --chdir={directory} --no-requeue --parsable"
    )
    started = time.perf_counter()
    job_id = slurm("sbatch", *words.split(), "--wrap", "true").strip().partition(";")[0]
    try:
        while slurm("squeue", "-h", "-j", job_id, "-o", "%i").strip():
            if time.perf_counter() - started > RUN_SECONDS:
                raise MeasurementError(f"the array {job_id} did not end within {RUN_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
    except BaseException:
        slurm("scancel", job_id)
        raise
    return time.perf_counter() - started


def cpu_of_jobs(arrays: Sequence[str], num_jobs: int) -> float:
    """CPU seconds of all processes of the jobs of these arrays, as Slurm's accounting has them.

    The accounting cuts off below a millisecond, so half of one is added for each.

    Raises:
        MeasurementError: the accounting does not have them all in time.
    """
    deadline = time.monotonic() + RECORDS_SECONDS
    while True:
        rows = slurm("sacct", "-n", "-P", "-j", ",".join(arrays), "-o", "JobID,End,TotalCPU").splitlines()
        steps = [row.split("|") for row in rows if ".batch|" in row]
        ended = [seconds_of(step[2]) + _HALF_A_MILLISECOND for step in steps if step[1] != "Unknown"]
        if len(ended) >= num_jobs:
            return sum(ended)
        if time.monotonic() > deadline:
            raise MeasurementError(f"the accounting of Slurm tells of {len(ended)} of {num_jobs} jobs only")
        time.sleep(1)


def seconds_of(text: str) -> float:
    """``[DD-[hh:]]mm:ss.mmm`` in seconds."""
    days, _, rest = text.rpartition("-")
    seconds = 0.0
    for part in rest.split(":"):
        seconds = seconds * 60 + float(part)
    return int(days or 0) * 86_400 + seconds


def arrays_of(database: Path) -> list[str]:
    """Ids of the job arrays that attempts ran in, as the database of a place knows them."""
    import sqlite3

    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT DISTINCT distributor_id FROM task_instance").fetchall()
    return sorted({row[0].partition("_")[0] for row in rows if row[0]})
