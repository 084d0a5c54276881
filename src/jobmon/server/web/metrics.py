"""What one server process counts and measures of itself, for Prometheus.

Rules
-----
1. Nothing on the way of a request but one observation: what can be read off when somebody asks is read off then.
2. Labels have few values: templates of routes, never paths; no users, no ids of workflows.
3. Several processes behind one address share a directory (:mod:`jobmon.server.web.metrics_directory`): whichever answers
   tells of all of them. What they cannot count together, such as the length of a queue, each writes down every few seconds.
4. What the database knows (:mod:`jobmon.server.web.metrics_states`) is asked rarely, and a scrape does not wait for it long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import psutil
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from jobmon.core import __version__
from jobmon.server.web import metrics_directory
from jobmon.server.web.request_watch import METHODS, OTHER_ROUTE, Observe

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState
    from jobmon.server.web.store.attempts import Applied

CONTENT_TYPE = CONTENT_TYPE_LATEST
SAMPLE_SECONDS = 2.0
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COMMIT_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZE_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)

disable_created_metrics()  # type: ignore[no-untyped-call] # when a figure began tells nobody anything


class ServerMetrics:
    """The figures of one server process.

    Args:
        database: kind of database, told beside the version.
        role: role of this server, told there as well.
    """

    def __init__(self, database: str = "", role: str = "all") -> None:
        self.in_flight = 0
        self.registry = CollectorRegistry()
        self._process = psutil.Process()
        self._cpu_seconds = 0.0
        self._counted: dict[str, int] = {}
        kept = None if metrics_directory.current() else self.registry
        self._requests = Histogram(
            "jobmon_request_seconds",
            "Time from the arrival of a request to the end of its answer; _count is the number of requests.",
            ["route", "method", "status"],
            buckets=_REQUEST_BUCKETS,
            registry=kept,
        )
        self._commit_seconds = Histogram(
            "jobmon_group_commit_seconds",
            "Time of one transaction of the group commit, waiting for the database included.",
            buckets=_COMMIT_BUCKETS,
            registry=kept,
        )
        self._commit_events = Histogram(
            "jobmon_group_commit_events",
            "Events of single attempts in one transaction of the group commit.",
            buckets=_SIZE_BUCKETS,
            registry=kept,
        )
        self._events = Counter(
            "jobmon_events",
            "Events of attempts by what became of them: changed something, unchanged (signs of life and repeats), late "
            "(the attempt had ended), illegal, unknown (no such attempt).",
            ["source", "outcome"],
            registry=kept,
        )
        self._slow = Counter(
            "jobmon_slow_statements",
            "Statements that took longer than db.slow_statement_seconds, by the route they were for.",
            ["route"],
            registry=kept,
        )
        self._actions = Counter(
            "jobmon_service_actions",
            "What the services of this process did on their own: looks, rules that acted, notices.",
            ["action"],
            registry=kept,
        )
        self._gauges = {
            name: Gauge(f"jobmon_{name}", text, registry=kept, multiprocess_mode=mode)  # type: ignore[arg-type]
            for name, (text, mode) in _GAUGES.items()
        }
        self._cpu = Counter("jobmon_process_cpu_seconds", "CPU time the processes used.", registry=kept)
        about = Gauge(
            "jobmon_server_info",
            "1; its labels say what runs here.",
            ["version", "database", "role"],
            registry=kept,
            multiprocess_mode="livemax",
        )
        about.labels(__version__, database, role).set(1)
        self._gauges["process_start_time_seconds"].set(self._process.create_time())

    # -- what is counted when it happens ------------------------------------------------------------
    def request_observer(self, route: str, method: str, status: int) -> Observe:
        """What takes the seconds of requests of one kind; ``route`` is a template."""
        known = method if method in METHODS else "OTHER"
        observe: Observe = self._requests.labels(route or OTHER_ROUTE, known, str(status)).observe
        return observe

    def observe_commit(self, num_events: int, seconds: float) -> None:
        """Note one transaction of the group commit."""
        self._commit_seconds.observe(seconds)
        self._commit_events.observe(num_events)

    def count_events(self, source: str, num_events: int, applied: Applied) -> None:
        """Note what became of events; ``source`` is who told them: ``worker`` or ``controller``."""
        for outcome, number in outcomes(num_events, applied).items():
            if number:
                self._events.labels(source, outcome).inc(number)

    def count_slow_statement(self, route: str) -> None:
        """Note a statement that took long."""
        self._slow.labels(route or OTHER_ROUTE).inc()

    # -- what is read off ------------------------------------------------------------------------------
    def sample(self, state: ServerState) -> None:
        """Read off what this process knows of itself now."""
        gauges, pool = self._gauges, state.database.engine.pool
        gauges["requests_in_flight"].set(self.in_flight)
        threads = state.limiter.statistics()
        gauges["request_threads_in_use"].set(threads.borrowed_tokens)
        gauges["requests_waiting_for_a_thread"].set(threads.tasks_waiting)
        gauges["group_commit_waiting"].set(state.group_commit.num_waiting)
        gauges["long_polls_open"].set(state.feed.num_listeners)
        checked_out = getattr(pool, "checkedout", None)  # not every kind of pool counts
        gauges["database_connections_in_use"].set(checked_out() if checked_out else 0)
        with self._process.oneshot():
            gauges["process_resident_bytes"].set(self._process.memory_info().rss)
            gauges["process_threads"].set(self._process.num_threads())
            gauges["process_open_files"].set(self._process.num_fds())
            times = self._process.cpu_times()
        used = times.user + times.system
        self._cpu.inc(max(0.0, used - self._cpu_seconds))
        self._cpu_seconds = used
        for action, number in dict(state.services.counters if state.services is not None else {}).items():
            self._actions.labels(action).inc(number - self._counted.get(action, 0))
            self._counted[action] = number

    async def sample_forever(self, state: ServerState) -> None:
        """Read off every few seconds, for the other processes of this server, and see how late the loop is."""
        loop, latest = asyncio.get_running_loop(), self._gauges["event_loop_lag_seconds"]
        while True:
            due = loop.time() + SAMPLE_SECONDS
            await asyncio.sleep(SAMPLE_SECONDS)
            latest.set(max(0.0, loop.time() - due))
            self.sample(state)

    def render(self, more: Sequence[Collector] = ()) -> bytes:
        """All figures as Prometheus reads them, those of the other processes of this server included.

        Args:
            more: what else to tell, such as what the database knows.
        """
        directory = metrics_directory.current()
        parts = []
        if directory:
            metrics_directory.forget_dead(directory)
            together = CollectorRegistry()
            MultiProcessCollector(together, path=directory)  # type: ignore[no-untyped-call]
            parts.append(generate_latest(together))
        else:
            parts.append(generate_latest(self.registry))
        for collector in more:
            own = CollectorRegistry()
            own.register(collector)
            parts.append(generate_latest(own))
        return b"".join(parts)


_GAUGES = {
    "requests_in_flight": ("Requests that are not answered yet, long polls included.", "livesum"),
    "request_threads_in_use": ("Threads that work on requests.", "livesum"),
    "requests_waiting_for_a_thread": ("Requests that wait until a thread is free.", "livesum"),
    "group_commit_waiting": ("Events of single attempts that wait for their transaction.", "livesum"),
    "long_polls_open": ("Controllers that listen for news of their run.", "livesum"),
    "database_connections_in_use": ("Connections to the database that are in use.", "livesum"),
    "event_loop_lag_seconds": ("How much later than asked the loop woke up; the worst process.", "livemax"),
    "process_resident_bytes": ("Memory of a process.", "liveall"),
    "process_threads": ("Threads of a process.", "liveall"),
    "process_open_files": ("Files and connections a process has open.", "liveall"),
    "process_start_time_seconds": ("When a process was started (Unix time).", "liveall"),
}
"""Name to meaning, and how the values of several processes become one."""


def outcomes(num_events: int, applied: Applied) -> dict[str, int]:
    """How many of so many events had which effect."""
    illegal, unknown, late = len(applied.illegal), len(applied.unknown), len(applied.stop)
    rest = num_events - applied.num_changed - illegal - unknown - late
    return {
        "changed": applied.num_changed,
        "unchanged": max(0, rest),
        "late": late,
        "illegal": illegal,
        "unknown": unknown,
    }
