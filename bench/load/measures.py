"""The lines of the institute's table: what is measured on each database, and what is promised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from bench.load import bare, floods, soak
from bench.load.place import Kind, Servers, database
from bench.load.simulation import Outcome, Shape, Simulation
from bench.workflows import independent
from jobmon.core.requester import Requester

PREFIX = "/api/v3"


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        kind: the database.
        processes: of the server.
        scale: of the load; 1: that of the promise.
        seconds: for which steady loads go on.
    """

    kind: Kind
    processes: int = 1
    scale: float = 1.0
    seconds: float = 10.0

    def scaled(self, number: int, at_least: int = 1) -> int:
        """A number of things by the scale."""
        return max(at_least, round(number * self.scale))


@dataclass(frozen=True)
class Measure:
    """One line of the table, with a number for each database.

    Attributes:
        name: what, in words.
        unit: unit of budget and answers.
        of: finds the number.
        budget: what is promised for one process.
        at_least: the budget is a lower limit.
        is_long: takes minutes; measured on demand.
    """

    name: str
    unit: str
    of: Callable[[Setting], float]
    budget: float | None = None
    at_least: bool = False
    is_long: bool = field(default=False, kw_only=True)


class _Served:
    """Servers over a new database, for the time of a block."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def __enter__(self) -> Servers:
        self._directory = TemporaryDirectory(prefix="jobmon-load-", ignore_cleanup_errors=True)
        self._database = database(self._setting.kind)
        directory = Path(self._directory.name)
        self._servers = Servers(self._database.__enter__(), directory, workers=self._setting.processes)
        return self._servers.__enter__()

    def __exit__(self, *error: object) -> None:
        try:
            self._servers.stop()
        finally:
            self._database.__exit__(None, None, None)
            self._directory.cleanup()


@cache
def singles(setting: Setting) -> float:
    """Events per second, one by one."""
    with _Served(setting) as servers:
        return uvloop.run(floods.singles(servers.urls, setting.scaled(8000, 40), 64))


@cache
def paced(setting: Setting) -> list[float]:
    """Seconds that events took at 1 000 per second, ascending."""
    with _Served(setting) as servers:
        num_attempts = setting.scaled(int(500 * setting.seconds), 40)
        return uvloop.run(floods.at_a_pace(servers.urls, num_attempts, 1000, 500))


@cache
def in_batches(setting: Setting) -> float:
    """Events per second in batches."""
    with _Served(setting) as servers:
        return uvloop.run(floods.in_batches(servers.urls, 8, setting.scaled(5000, 50)))


@cache
def bare_rows(setting: Setting) -> float:
    """Events per second whose rows the database takes, without a server."""
    with database(setting.kind) as uri:
        return bare.rows_per_second(uri, 4, setting.scaled(5000, 50), 3)


@cache
def heartbeats(setting: Setting) -> float:
    """Signs of life per second in batches."""
    with _Served(setting) as servers:
        return uvloop.run(floods.heartbeats(servers.urls, 8, setting.scaled(2500, 50), 5))


@cache
def bind(setting: Setting) -> float:
    """Seconds to register 100 000 tasks."""
    with _Served(setting) as servers:
        requester = Requester(servers.urls[0] + PREFIX)
        workflow = independent(setting.scaled(100_000, 100), "dummy", requester)
        before = time.perf_counter()
        workflow.bind()
        seconds = time.perf_counter() - before
        requester.close()
        return seconds


@cache
def institute(setting: Setting, task_seconds: float) -> Outcome:
    """200 workflows of 500 running tasks each."""
    shape = Shape(
        setting.scaled(200), 500 if setting.scale >= 1 else setting.scaled(500), 2, task_seconds, 90
    )
    with _Served(setting) as servers:
        return uvloop.run(Simulation(shape, servers.urls).run(setting.seconds))


@cache
def memory(setting: Setting) -> soak.Slope:
    """Memory of the server while workflows begin and end."""
    with _Served(setting) as servers:
        return uvloop.run(_soaked(servers, setting.seconds))


async def _soaked(servers: Servers, seconds: float) -> soak.Slope:
    """Small workflows one after the other; the first fifth of the time is not looked at."""
    samples: list[float] = []
    watching: asyncio.Task[None] | None = None
    begun = time.monotonic()
    while (gone := time.monotonic() - begun) < seconds:
        if watching is None and gone > seconds / 5:
            watching = asyncio.create_task(soak.watch(servers.serving(), samples))
        await Simulation(Shape(4, 40, 3, 0.2), servers.urls).run()
    if watching is not None:
        watching.cancel()
    return soak.slope_of(samples)


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ascending = sorted(values)
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


SLOW, FAST = 1000.0, 500.0
"""Mean seconds of the institute's tasks: 100 and 200 ends a second."""


def _institute(name: str, task_seconds: float, budget: float | None) -> tuple[Measure, ...]:
    def outcome(setting: Setting) -> Outcome:
        return institute(setting, task_seconds)

    return (
        Measure(name, "s", lambda s: percentile(outcome(s).step_seconds, 0.99), budget, is_long=True),
        Measure("  median", "s", lambda s: percentile(outcome(s).step_seconds, 0.5), is_long=True),
        Measure("  ends of tasks per second", "/s", lambda s: outcome(s).ended / s.seconds, is_long=True),
        Measure(
            "  events of wrappers per second", "/s", lambda s: outcome(s).events / s.seconds, is_long=True
        ),
    )


MEASURES: dict[str, tuple[Measure, ...]] = {
    "singles": (Measure("single events of wrappers, 64 connections", "/s", singles, 3000, True),),
    "paced": (
        Measure(
            "events at 1 000/s over 500 connections: p99",
            "ms",
            lambda s: percentile(paced(s), 0.99) * 1e3,
            150,
        ),
        Measure("  median", "ms", lambda s: percentile(paced(s), 0.5) * 1e3),
    ),
    "batches": (
        Measure("events in batches of 500", "/s", in_batches, 50_000, True),
        Measure("  their rows alone, written without a server", "/s", bare_rows),
    ),
    "heartbeats": (Measure("heartbeats in batches of 500", "/s", heartbeats, 10_000, True),),
    "bind": (Measure("bind 100 000 tasks", "s", bind, 15),),
    "institute": (
        *_institute("200 workflows, 500 running tasks each: end to next start, p99", SLOW, 1),
        *_institute("  the same at twice the rate, p99", FAST, None),
    ),
    "memory": (
        Measure(
            "memory of the server: growth per hour", "MB", lambda s: memory(s).per_hour / 1e6, is_long=True
        ),
        Measure("  standard error of that", "MB", lambda s: memory(s).error / 1e6, is_long=True),
        Measure("  mean", "MB", lambda s: memory(s).level / 1e6, is_long=True),
    ),
}
"""The lines, by the name under which they are measured."""
