"""Random SIGKILLs of serving processes under load, and every acknowledged change beside the database afterwards."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Outcome, Shape, Simulation

from jobmon.testing.history import check_history
from jobmon.testing.journal import Journal

MOST_PROCESSES = 3
SHAPE = Shape(workflows=3, lanes=12, links=5, seconds=0.25, heartbeat_seconds=0.1)
PAUSES_SECONDS = (0.01, 0.35)
"""Between a moment at which somebody serves and the next kill, drawn evenly."""
START_SECONDS = 60.0
FORKED = Path(__file__).with_name("forked_server.py")


@dataclass
class Tally:
    """What a loop did.

    Attributes:
        kills: processes that were killed.
        acknowledged: changes that were acknowledged.
        problems: what the database lost of them or has twice, in words, and what in its history is illegal.
        finished: workflows that ran to their end.
        rounds: times that servers were started over a database; how many processes each time.
        seconds: it took.
    """

    kills: int = 0
    acknowledged: int = 0
    problems: list[str] = field(default_factory=list)
    finished: int = 0
    rounds: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Add up."""
        self.kills += other.kills
        self.acknowledged += other.acknowledged
        self.problems += other.problems
        self.finished += other.finished
        self.rounds += other.rounds
        self.seconds += other.seconds


class ForkedServer:
    """Serving processes over a database. A context manager.

    Args:
        uri: the database; it has the tables.
        directory: for their log.
        count: how many.
    """

    def __init__(self, uri: str, directory: Path, count: int) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON_")}
        self._environment = {
            **kept,
            "HOME": str(directory),
            "JOBMON__EMBEDDED__DIRECTORY": str(directory / "embedded"),
            "JOBMON__DB__SQLALCHEMY_DATABASE_URI": uri,
            "JOBMON__SERVER__WORKERS": str(count),  # each must know that it is not alone
            "JOBMON__REAPER__ENABLED": "false",
        }
        self._directory, self._count = directory, count
        self._serving: dict[int, int] = {}
        self._changed = threading.Condition()
        self.urls: list[str] = []

    def __enter__(self) -> ForkedServer:
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, FORKED, str(self._count)],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        ports = self._process.stdout.readline().split()[1:]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(START_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            _, number, pid = line.split()
            with self._changed:
                self._serving[int(number)] = int(pid)
                self._changed.notify_all()

    def kill_one(self, dice: random.Random) -> None:
        """Kill one that serves; waits for one."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._serving, START_SECONDS), "no process serves"
            number = dice.choice(sorted(self._serving))
            os.kill(self._serving.pop(number), signal.SIGKILL)

    def wait_serving(self, timeout_seconds: float) -> bool:
        """Wait until one serves; whether one does."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._serving), timeout_seconds)


def kill_round(
    uri: str, directory: Path, kills: int, dice: random.Random, tell: Callable[[int], None] = lambda _: None
) -> Tally:
    """Kill serving processes of a database so often, under load, and compare.

    Args:
        uri: the database; it has the tables.
        directory: for the log of the servers.
        kills: how many.
        dice: how many processes there are, which is killed, and when.
        tell: is called after each kill with their number so far.
    """
    began = time.monotonic()
    count = dice.randint(1, MOST_PROCESSES)
    tally, journal = Tally(rounds=[count]), Journal()
    with ForkedServer(uri, directory, count) as server:

        def kill(is_over: threading.Event) -> None:
            while tally.kills < kills and not is_over.wait(dice.uniform(*PAUSES_SECONDS)):
                if server.wait_serving(0.1) and not is_over.is_set():
                    server.kill_one(dice)
                    tally.kills += 1
                    tell(tally.kills)

        while tally.kills < kills:
            outcome = asyncio.run(_simulate(server.urls, journal, dice.random(), kill))
            tally.finished += outcome.finished
            if outcome.finished != SHAPE.workflows:
                tally.problems.append(f"{SHAPE.workflows - outcome.finished} workflows did not end")
    tally.acknowledged = len(journal.changes)
    tally.problems += journal.problems(uri) + check_history(uri)
    tally.seconds = time.monotonic() - began
    return tally


async def _simulate(
    urls: list[str], journal: Journal, seed: float, kill: Callable[[threading.Event], None]
) -> Outcome:
    """Run workflows to their end while processes are killed."""
    is_over = threading.Event()
    killing = asyncio.create_task(asyncio.to_thread(kill, is_over))
    try:
        return await Simulation(SHAPE, urls, journal=journal, seed=int(seed * 2**32)).run()
    finally:
        is_over.set()
        await killing
