"""The cluster itself: jobs in a directory, each a process in the background.

``jobs/7`` holds ``command`` and ``name`` of job 7, later ``submitted``, ``started`` and ``exit``. As long as anybody holds the
lock on ``jobs/7/alive``, the job lives: that is true of the process that runs it and of nobody else, so nothing is
concluded from process ids, which the system uses again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "ATPOOL_JOB"
"""Environment variable that all processes of a job inherit."""
END_SECONDS = 1.0
"""Between asking a job to end and killing it."""


class UnknownJob(Exception):
    """The pool has no such job."""


@dataclass(frozen=True)
class JobState:
    """A job as the pool knows it.

    Attributes:
        is_alive: it waits or runs.
        is_started: it has, or had, a slot.
        exit_code: of its command; negative: the signal that ended it; ``None``: it left none.
    """

    is_alive: bool
    is_started: bool
    exit_code: int | None


class Pool:
    """A pool of slots.

    Args:
        directory: where it lives; it is made.
        slots: jobs that run at once.
    """

    def __init__(self, directory: Path, slots: int) -> None:
        self._directory, self._slots = directory, slots
        (directory / "jobs").mkdir(parents=True, exist_ok=True)

    def submit(self, command: str, name: str, working_directory: Path) -> str:
        """Start a job in the background; its id.

        Raises:
            FileNotFoundError: there is no such directory to run in.
        """
        if not working_directory.is_dir():
            raise FileNotFoundError(f"There is no directory {working_directory}.")
        job = self._make_place()
        (job / "name").write_text(name)
        (job / "command").write_text(command)
        with (job / "alive").open("w") as alive, (job / "log").open("w") as log:
            fcntl.flock(alive, fcntl.LOCK_EX)  # the process inherits the lock: there is no gap
            words = [sys.executable, "-m", "jobmon_atpool.run_job", str(job), str(self._slots)]
            process = subprocess.Popen(
                words,
                cwd=working_directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[alive.fileno()],
                start_new_session=True,
                env={**os.environ, "ATPOOL_JOB_ID": job.name, MARK: str(job)},
            )
            (job / "submitted").touch()
        process.returncode = 0  # it is nobody's child any more: the pool asks the lock
        return job.name

    def _make_place(self) -> Path:
        """A directory for the next job; two who submit at once get two."""
        number = max((int(entry.name) for entry in (self._directory / "jobs").iterdir()), default=0) + 1
        while True:
            try:
                job = self._directory / "jobs" / str(number)
                job.mkdir()
            except FileExistsError:
                number += 1
            else:
                return job

    def job_ids(self) -> list[str]:
        """Every job there ever was."""
        return [
            entry.name for entry in (self._directory / "jobs").iterdir() if (entry / "submitted").exists()
        ]

    def named(self, name: str) -> list[str]:
        """Jobs of that name, in the order they were submitted in."""
        jobs = sorted(self.job_ids(), key=int)
        return [job_id for job_id in jobs if (self._directory / "jobs" / job_id / "name").read_text() == name]

    def state(self, job_id: str) -> JobState:
        """What became of a job.

        Raises:
            UnknownJob: there is none of this id.
        """
        job = self._place(job_id)
        is_alive = self._is_alive(job)  # before its exit code: it may end in between
        exit_file = job / "exit"
        exit_code = int(exit_file.read_text()) if exit_file.exists() else None
        return JobState(is_alive and exit_code is None, (job / "started").exists(), exit_code)

    def end(self, job_id: str) -> None:
        """End a job with all of its processes; one that has ended, or never was, is passed over."""
        try:
            job = self._place(job_id)
        except UnknownJob:
            return
        processes = _processes_of(job)
        for ask in (psutil.Process.terminate, psutil.Process.kill):
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    ask(process)
            psutil.wait_procs(processes, timeout=END_SECONDS)
            processes = _processes_of(job)

    def _place(self, job_id: str) -> Path:
        job = self._directory / "jobs" / job_id
        if not job_id.isdigit() or not (job / "submitted").exists():
            raise UnknownJob(job_id)
        return job

    @staticmethod
    def _is_alive(job: Path) -> bool:
        with (job / "alive").open() as alive:
            try:
                fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


def _processes_of(job: Path) -> list[psutil.Process]:
    """Every process that a job has started, whatever became of its parents."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(job):
                found.append(process)
    return found
