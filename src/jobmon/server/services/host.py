"""The services of one process: threads that wait for the lease and, while they have it, do the work.

- ``jobmon-lease`` takes and renews the lease.
- ``jobmon-services`` runs reaper, monitor and deliveries, one after the other, each at its interval.
- ``jobmon-usage`` runs the usage integrator, where that is enabled: a cluster may take minutes to answer.
- the notifier has a thread for each channel that is used.

Nothing that goes wrong in one of them ends it, or reaches the web service; it is logged, once for as long as it stays the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from anyio import to_thread

from jobmon.core.configuration import JobmonConfig
from jobmon.server.services.deliveries import Deliveries
from jobmon.server.services.lease import LeasedDatabase, LeaseKeeper, LeaseLost
from jobmon.server.services.monitor import Monitor
from jobmon.server.services.notify.notifier import Notifier
from jobmon.server.services.reaper import Reaper, describe
from jobmon.server.services.rules import ReaperLimits
from jobmon.server.services.usage_integrator import UsageIntegrator
from jobmon.server.web.database import Database

logger = logging.getLogger("jobmon.server.services")

START_DELAY_SECONDS = 1.0
"""A server answers first and looks for work after that."""
DELIVERY_SECONDS = 2.0
"""Between two looks for something to tell."""
FORGET_SECONDS = 3600.0
STOP_SECONDS = 10.0


@dataclass
class Duty:
    """Something that is done again and again while the lease is held.

    Attributes:
        name: for logs and counters.
        interval_seconds: between two times.
        work: does it once.
        due: when it is next due, on the monotonic clock.
        trouble: what went wrong the last time; empty: nothing.
    """

    name: str
    interval_seconds: float
    work: Callable[[], None]
    due: float = 0.0
    trouble: str = field(default="", repr=False)


class ServiceHost:
    """The services of one process.

    Args:
        config: the configuration.
        database: theirs; it is not disposed of.

    Attributes:
        counters: how often each rule, service and channel did something; only ever grows.
        keeper: the lease, as this process sees it.
    """

    def __init__(self, config: JobmonConfig, database: Database) -> None:
        self.keeper = LeaseKeeper(database, max(1.0, config.get_float("lease", "seconds")))
        self.database = LeasedDatabase(self.keeper)
        self.notifier = Notifier.from_config(config)
        self.counters: Counter[str] = Counter()
        fold_seconds = self.notifier.settings.fold_seconds
        self.reaper = Reaper(
            self.database,
            config.get_int("task", "max_infrastructure_losses"),
            ReaperLimits.from_config(config),
            fold_seconds,
        )
        self.monitor = (
            Monitor.from_config(config, self.database) if config.get_boolean("monitor", "enabled") else None
        )
        self.usage = (
            UsageIntegrator.from_config(config, self.database)
            if config.get_boolean("usage_integrator", "enabled")
            else None
        )
        self.deliveries = Deliveries(self.database, self.notifier, str(config.get("http", "gui_url")))
        self.duties = self._duties(config)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._led_in: int | None = None

    def _duties(self, config: JobmonConfig) -> list[Duty]:
        poll = max(1.0, config.get_float("reaper", "poll_interval_minutes") * 60)
        # A run is watched before it counts as lost, so there are at least two looks within that time.
        watch = max(1.0, self.reaper.limits.grace_seconds)
        duties = [
            Duty("reaper", min(poll, watch), self._reap),
            Duty("deliveries", DELIVERY_SECONDS, self._deliver),
            Duty("forget", FORGET_SECONDS, self.deliveries.forget_old),
        ]
        if self.monitor is not None:
            interval = max(1.0, config.get_float("monitor", "poll_interval_seconds"))
            duties.append(Duty("monitor", interval, self._watch))
        return duties

    # -- life ---------------------------------------------------------------------------------------------
    def start(self, delay_seconds: float = START_DELAY_SECONDS) -> None:
        """Begin, in threads of their own."""
        self.keeper.start(delay_seconds)
        works = [("jobmon-services", self._serve)]
        if self.usage is not None:
            works.append(("jobmon-usage", self._integrate))
        for name, work in works:
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """End what is being done, tell what is due, give the lease back; never longer than the time."""
        deadline = time.monotonic() + timeout_seconds
        self._stop.set()
        self.keeper.wake()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.notifier.stop(min(timeout_seconds / 2, max(0.0, deadline - time.monotonic())))
        self.keeper.stop(max(0.5, deadline - time.monotonic()))
        if self.usage is not None:
            self.usage.close()

    def look(self) -> None:
        """Do everything that is due, once, if this process holds the lease."""
        term = self.keeper.term
        if term is None:
            return
        if term != self._led_in:
            self._begin_term(term)
        for duty in self.duties:
            if self._stop.is_set():
                return
            if time.monotonic() >= duty.due:
                self._do(duty)

    def _begin_term(self, term: int) -> None:
        """What was known is old: another process led meanwhile."""
        self._led_in = term
        self.reaper.forget()
        if self.monitor is not None:
            self.monitor.forget()

    def _do(self, duty: Duty) -> None:
        try:
            duty.work()
        except LeaseLost as error:
            logger.info("%s: %s", duty.name, error)
            self.keeper.look()
            return  # due again at once, for whoever leads then
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            if words != duty.trouble:
                logger.exception("%s failed; it is tried again every %g s", duty.name, duty.interval_seconds)
            duty.trouble = words
            self.counters[f"{duty.name}_failed"] += 1
        else:
            if duty.trouble:
                logger.info("%s works again", duty.name)
            duty.trouble = ""
            self.counters[duty.name] += 1
        duty.due = time.monotonic() + duty.interval_seconds

    def _serve(self) -> None:
        while not self._stop.is_set():
            self.look()
            if self.keeper.term is None:
                self.keeper.wait_for_change(None, DELIVERY_SECONDS)
                continue
            next_due = min(duty.due for duty in self.duties)
            self._stop.wait(min(DELIVERY_SECONDS, max(0.05, next_due - time.monotonic())))

    def _integrate(self) -> None:
        assert self.usage is not None
        duty = Duty("usage_integrator", self.usage.poll_interval_seconds, self._fill_in)
        while not self._stop.is_set():
            if self.keeper.term is not None and time.monotonic() >= duty.due:
                self._do(duty)
            self._stop.wait(1.0)

    # -- duties -------------------------------------------------------------------------------------------
    def _reap(self) -> None:
        result = self.reaper.run_once()
        for rule, count in result.by_rule.items():
            self.counters[f"rule_{rule}"] += count
        words = describe(result)
        if words:
            logger.warning("the reaper acted: %s", words)

    def _watch(self) -> None:
        assert self.monitor is not None
        result = self.monitor.run_once()
        self.counters["suspected_nodes"] += sum(map(len, result.suspects.values()))

    def _deliver(self) -> None:
        self.counters["notices"] += self.deliveries.run_once()

    def _fill_in(self) -> None:
        assert self.usage is not None
        result = self.usage.run_once()
        self.counters["usage_filled"] += len(result.filled)


@asynccontextmanager
async def services_running(
    config: JobmonConfig, database: Database | None
) -> AsyncIterator[ServiceHost | None]:
    """The services, for as long as the ``with`` block lasts; none where ``reaper.enabled`` is false.

    Args:
        config: the configuration.
        database: theirs; ``None`` in a server that must not write.
    """
    if database is None or not config.get_boolean("reaper", "enabled"):
        yield None
        return
    host = ServiceHost(config, database)
    host.start()
    try:
        yield host
    finally:
        await to_thread.run_sync(host.stop)
