"""Fail points: kill a process of Jobmon with SIGKILL just before or just after it does something that matters.

``python -m jobmon.testing.fail_points [--once FILE] POINT[:N] (-m MODULE | -- SCRIPT) ARGUMENT…`` runs a module or a script
in this process, which kills itself when it passes the point for the Nth time::

    python -m jobmon.testing.fail_points server.commit.after:3 -- jobmon-server start
    python -m jobmon.testing.fail_points --once /tmp/killed controller.submit.after -- my_workflow.py

Rules
-----
1. Nothing in Jobmon knows of fail points: a function is replaced in the process that is to die.
2. ``before``: nothing of it has happened. ``after``: all of it has, and nobody has been told.
3. A server's own process only watches over those that serve: the points are in the latter, each of which counts for itself.
4. With ``--once`` only the first process to get there dies; the file it leaves says which point and passage it was.

``POINTS`` is the table of them; the page of guarantees and the crash tests are made from it.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import runpy
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MODULE = "jobmon.testing.fail_points"
SERVING = "jobmon.server.serving"


class Process(StrEnum):
    """Kinds of processes that are killed."""

    SERVER = "server"
    CONTROLLER = "controller"
    WRAPPER = "wrapper"


class Cluster(StrEnum):
    """Where the tasks of a crash test run."""

    MULTIPROCESS = "multiprocess"
    SLURM = "slurm"


class Outcome(StrEnum):
    """What follows a death, when the process is started again or the workflow resumed."""

    RIDES_THROUGH = "the run goes on by itself; every task has one attempt"
    GOES_ON = "resumed; every task has one attempt, those that live are adopted"
    RESUMED = "resumed; attempts that were under way have ended, and have a second one"
    KEPT = "the run goes on by itself; the attempt counts as it ended"
    TRIED_AGAIN = "the run goes on by itself; the attempt is lost, and has a second one"


@dataclass(frozen=True)
class Point:
    """A place at which a process can be made to die.

    Attributes:
        name: as users give it; its last word is ``before`` or ``after``.
        process: what dies.
        target: the function, as ``module:Class.function``. For one that is a context manager the end of the block counts.
        meaning: what has happened by then, and what has not.
        cluster: where the tasks of its crash test run.
        outcome: what follows.
        passage: which passage is meant unless another is given, from 1.
    """

    name: str
    process: Process
    target: str
    meaning: str
    cluster: Cluster
    outcome: Outcome
    passage: int = 1

    @property
    def is_before(self) -> bool:
        """Whether the process dies before the function does its work."""
        return self.name.endswith(".before")


_DATABASE = "jobmon.server.web.database:Database"
_GATEWAY = "jobmon.swarm.gateway:Gateway"
_LOCAL = "jobmon.plugins.multiprocess.distributor:MultiprocessDistributor"
_SLURM = "jobmon.plugins.slurm.distributor:SlurmDistributor"
_ATTEMPT, _REPORTER = "jobmon.worker_node.attempt:Attempt", "jobmon.worker_node.reporter:Reporter"


def _points(
    process: Process, cluster: Cluster, rows: Sequence[tuple[str, str, int, str, Outcome, str, Outcome]]
) -> Iterator[Point]:
    for name, target, passage, before, follows_before, after, follows_after in rows:
        full = f"{process}.{name}"
        yield Point(f"{full}.before", process, target, before, cluster, follows_before, passage)
        yield Point(f"{full}.after", process, target, after, cluster, follows_after, passage)


_RIDES, _GOES_ON, _RESUMED, _KEPT, _AGAIN = Outcome
_ALL = (
    *_points(
        Process.SERVER,
        Cluster.MULTIPROCESS,
        [
            (
                "request",
                f"{_DATABASE}.retrying_write",
                8,
                "a request that changes something has come, nothing is written",
                _RIDES,
                "what it asked for is committed, nobody is answered",
                _RIDES,
            ),
            (
                "commit",
                f"{_DATABASE}.write",
                12,
                "all of a transaction is written, it is not committed",
                _RIDES,
                "a transaction is committed",
                _RIDES,
            ),
        ],
    ),
    *_points(
        Process.SERVER,
        Cluster.SLURM,
        [
            (
                "group_commit",
                "jobmon.server.web.group_commit:GroupCommit._store",
                1,
                "events of wrappers have come, none is written",
                _RIDES,
                "events of wrappers are committed, no wrapper is answered",
                _RIDES,
            ),
        ],
    ),
    *_points(
        Process.CONTROLLER,
        Cluster.MULTIPROCESS,
        [
            (
                "request",
                "jobmon.core.requester:Requester.send",
                7,
                "the workflow is registered in part, the next request is not sent",
                _GOES_ON,
                "the workflow is registered in part, the last answer is not used",
                _GOES_ON,
            ),
            (
                "create_run",
                f"{_GATEWAY}.create_run",
                1,
                "the workflow is registered, there is no run",
                _GOES_ON,
                "there is a run, in which nothing was done",
                _GOES_ON,
            ),
            (
                "reset_tasks",
                f"{_GATEWAY}.reset_tasks",
                1,
                "there is a run, its tasks are not made ready",
                _GOES_ON,
                "its tasks are ready, none is queued",
                _GOES_ON,
            ),
            (
                "run_events",
                f"{_GATEWAY}.run_events",
                1,
                "the server does not know that the run has begun",
                _GOES_ON,
                "the run has begun, nothing is queued",
                _GOES_ON,
            ),
            (
                "sync",
                f"{_GATEWAY}.sync",
                2,
                "commands run, the server does not know",
                _RESUMED,
                "what a turn told is stored, its attempts are created, and the controller does not know",
                _RESUMED,
            ),
            (
                "run_commands",
                f"{_LOCAL}.run_commands",
                1,
                "attempts are created, the launcher has no commands",
                _RESUMED,
                "the launcher has the commands, the server does not know",
                _RESUMED,
            ),
            (
                "terminate",
                f"{_LOCAL}.terminate_task_instances",
                1,
                "commands are to be ended, and run on",
                _RESUMED,
                "commands are ended, the server does not know",
                _RESUMED,
            ),
        ],
    ),
    *_points(
        Process.CONTROLLER,
        Cluster.SLURM,
        [
            (
                "submit",
                f"{_SLURM}.submit_batch",
                1,
                "attempts are created and their batch file is written, the cluster has no jobs",
                _RESUMED,
                "the cluster has the jobs, nobody knows their ids",
                _GOES_ON,
            ),
            (
                "cancel",
                f"{_SLURM}.cancel",
                1,
                "jobs are to be cancelled, and go on",
                _GOES_ON,
                "jobs are cancelled, the server does not know",
                _RESUMED,
            ),
        ],
    ),
    *_points(
        Process.WRAPPER,
        Cluster.SLURM,
        [
            (
                "start",
                f"{_REPORTER}.deliver",
                1,
                "the job has begun, the server was not told",
                _AGAIN,
                "the server knows of the start, the command does not run",
                _AGAIN,
            ),
            (
                "spawn",
                f"{_ATTEMPT}._spawn",
                1,
                "the log files are open, the command does not run",
                _AGAIN,
                "the command has just been started",
                _AGAIN,
            ),
            (
                "command",
                f"{_ATTEMPT}._run_command",
                1,
                "the start is told, nothing is prepared",
                _AGAIN,
                "the command has ended, its end is noted in memory only",
                _AGAIN,
            ),
            (
                "finish",
                f"{_REPORTER}.deliver",
                2,
                "the command has ended, the server was not told",
                _AGAIN,
                "the server knows of the end, the cluster does not",
                _KEPT,
            ),
            (
                "spool",
                f"{_REPORTER}.spool",
                1,
                "the server is away, the end is not in the spool",
                _AGAIN,
                "the server is away, the end is in the spool",
                _KEPT,
            ),
        ],
    ),
)
POINTS: dict[str, Point] = {point.name: point for point in _ALL}
"""Every fail point, by its name."""


DATABASES = ("sqlite", "mariadb", "postgresql")


def usual_database(point: Point) -> str:
    """The kind of database on which ``make test`` has a process die there; ``make chaos`` has it on each."""
    return DATABASES[list(POINTS).index(point.name) % len(DATABASES)]


class FailPointError(Exception):
    """The command line names no fail point, or nothing to run."""


class Trap:
    """Kills this process at a passage of a point.

    Args:
        point: the point.
        passage: which passage, from 1.
        once: a file; whoever can make it dies, all others go on.
    """

    def __init__(self, point: Point, passage: int, once: Path | None = None) -> None:
        self.point, self.passage, self.once = point, passage, once
        self._count = 0
        self._lock = threading.Lock()

    def pass_by(self) -> None:
        """Count a passage; die if it is the one."""
        with self._lock:
            self._count += 1
            if self._count == self.passage and self._is_first():
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_first(self) -> bool:
        if self.once is None:
            return True
        try:
            descriptor = os.open(self.once, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        os.write(descriptor, f"{self.point.name}:{self.passage} in process {os.getpid()}\n".encode())
        os.close(descriptor)
        return True

    def set(self) -> None:
        """Replace the function of the point, in this process.

        Raises:
            AttributeError: there is no such function.
        """
        module, _, path = self.point.target.partition(":")
        owner: object = importlib.import_module(module)
        *owners, name = path.split(".")
        for each in owners:
            owner = getattr(owner, each)
        setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, function: Callable[P, T]) -> Callable[P, T]:
        if inspect.isgeneratorfunction(inspect.unwrap(function)):
            return self._around_block(function)  # type: ignore[arg-type,return-value]

        @wraps(function)
        def trapped(*args: P.args, **kwargs: P.kwargs) -> T:
            if self.point.is_before:
                self.pass_by()
            result = function(*args, **kwargs)
            if not self.point.is_before:
                self.pass_by()
            return result

        return trapped

    def _around_block(
        self, function: Callable[P, AbstractContextManager[T]]
    ) -> Callable[P, AbstractContextManager[T]]:
        @contextmanager
        def trapped(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            with function(*args, **kwargs) as value:
                yield value
                if self.point.is_before:
                    self.pass_by()
            if not self.point.is_before:
                self.pass_by()

        return trapped


def words_of(
    point: str, what: Sequence[str], passage: int | None = None, once: Path | None = None
) -> list[str]:
    """A command line that runs something with a fail point.

    Args:
        point: name of the point.
        what: ``["-m", MODULE, …]`` or ``["--", SCRIPT, …]``.
        passage: which passage, from 1; ``None``: the point's own.
        once: a file; only the first process to get there dies.
    """
    options = [] if once is None else ["--once", str(once)]
    name = point if passage is None else f"{point}:{passage}"
    return [sys.executable, "-m", MODULE, *options, name, *what]


def _trap_of(text: str, once: Path | None) -> Trap:
    name, _, number = text.partition(":")
    point = POINTS.get(name)
    if point is None:
        raise FailPointError(f"There is no fail point '{name}'. There are: {', '.join(POINTS)}.")
    if number and (not number.isdecimal() or number == "0"):
        raise FailPointError(f"'{number}' of '{text}' is no number of a passage: 1, 2, …")
    return Trap(point, int(number or point.passage), once)


def _in_serving_processes(trap: Trap) -> None:
    """Have the processes that a supervisor starts set the trap."""
    from jobmon.server import supervisor

    def worker_command() -> list[str]:
        return words_of(trap.point.name, ["-m", SERVING], trap.passage, trap.once)

    supervisor.worker_command = worker_command


def _run(words: Sequence[str]) -> None:
    """Run a module or script as Python would, in this process."""
    if words[0] == "-m":
        sys.argv = list(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    path = words[0] if os.path.exists(words[0]) else shutil.which(words[0])
    if path is None:
        raise FailPointError(f"There is no script '{words[0]}', here or on PATH.")
    sys.argv = [path, *words[1:]]
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    runpy.run_path(path, run_name="__main__")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line says, and die where it says."""
    parser = argparse.ArgumentParser(f"python -m {MODULE}", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--once", type=Path, metavar="FILE", help="only the first process to get there dies; it makes this"
    )
    parser.add_argument("point", metavar="POINT[:N]", help="where, and at which passage")
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="-m MODULE | -- SCRIPT", help="what to run"
    )
    given = parser.parse_args(arguments)
    words = given.words[1:] if given.words[:1] == ["--"] else given.words
    if not words or (words[0] == "-m" and len(words) == 1):
        parser.error("nothing to run: -m MODULE or -- SCRIPT")
    try:
        trap = _trap_of(given.point, given.once)
        if trap.point.process is Process.SERVER and words[:2] != ["-m", SERVING]:
            _in_serving_processes(trap)
        else:
            trap.set()
        _run(words)
    except FailPointError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
