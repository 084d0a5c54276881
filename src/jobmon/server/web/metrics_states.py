"""What the database knows and Prometheus is told: asked rarely, by one at a time, and never waited for long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from jobmon.server.web.bounded_look import BoundedLook
from jobmon.server.web.database import Database
from jobmon.server.web.store.census import Census, census_read

logger = logging.getLogger("jobmon.server")

WAIT_SECONDS = 2.0
"""How long a scrape waits for new figures; after that it tells the ones there are."""
SHARE = 30
"""Counting takes one part in so many of the time of one connection, at most."""


class DatabaseFigures(Collector):
    """The latest census, as Prometheus reads it.

    Args:
        database: where to count.
        interval_seconds: age at which figures are counted again; 0: never, nothing is told.
        monotonic: the clock.
    """

    def __init__(
        self,
        database: Database,
        interval_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._interval, self._monotonic = database, interval_seconds, monotonic
        self._look = BoundedLook(self._count, "jobmon-census")
        self._census: Census | None = None
        self._counted_at = self._began_at = float("-inf")
        self._took = 0.0
        self._is_up = True

    async def refresh(self) -> None:
        """Count again where the figures are old; returns when that is done or taking long."""
        age = self._monotonic() - self._began_at
        if self._interval > 0 and age >= max(self._interval, SHARE * self._took):
            await self._look.result(WAIT_SECONDS)

    def _count(self) -> None:
        self._began_at = self._monotonic()
        try:
            with self._database.read() as connection:
                self._census = census_read(connection)
            self._counted_at = self._monotonic()
            self._is_up = True
        except SQLAlchemyError as error:
            if self._is_up:
                logger.warning("the states could not be counted: %s", getattr(error, "orig", None) or error)
            self._is_up = False
        finally:
            self._took = self._monotonic() - self._began_at

    def collect(self) -> Iterator[Metric]:
        """The figures."""
        if self._interval <= 0:
            return
        yield GaugeMetricFamily(
            "jobmon_database_up", "Whether the latest census succeeded.", value=float(self._is_up)
        )
        census = self._census
        if census is None:
            return
        yield GaugeMetricFamily(
            "jobmon_census_age_seconds",
            "How old the counts of states are.",
            value=self._monotonic() - self._counted_at,
        )
        yield GaugeMetricFamily(
            "jobmon_census_seconds", "How long the latest count of states took.", value=self._took
        )
        yield _by_state("jobmon_workflows", "Workflows by state.", census.workflows)
        yield _by_state("jobmon_workflow_runs", "Alive runs by state.", census.runs)
        yield _by_state("jobmon_tasks", "Tasks of workflows that are being run, by state.", census.tasks)
        yield _by_state("jobmon_attempts", "Live attempts of alive runs by state.", census.attempts)
        term = GaugeMetricFamily(
            "jobmon_lease_term",
            "How often a lease has changed its holder; labelled with the one it has.",
            labels=["lease", "holder"],
        )
        remaining = GaugeMetricFamily(
            "jobmon_lease_remaining_seconds",
            "For how long a lease was good when it was looked at; negative: nobody acts.",
            labels=["lease"],
        )
        for name, lease in census.leases.items():
            term.add_metric([name, lease.holder], lease.term)
            remaining.add_metric([name], lease.remaining_seconds)
        yield term
        yield remaining


def _by_state(name: str, text: str, counts: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["status"])
    for state, number in counts.items():
        family.add_metric([state], number)
    return family
