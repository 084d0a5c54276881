"""What watches one server process, in one place: figures, traces, readiness, slow statements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from jobmon.core.configuration import JobmonConfig
from jobmon.core.log_format import bind_facts
from jobmon.server.web.database import Database
from jobmon.server.web.metrics import ServerMetrics
from jobmon.server.web.metrics_states import DatabaseFigures
from jobmon.server.web.readiness import Readiness
from jobmon.server.web.roles import Role
from jobmon.server.web.slow_statements import watch_statements
from jobmon.server.web.tracing import ServerTracing, server_tracing

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState
    from jobmon.server.web.store.attempts import Applied

GROUP_COMMIT = "(group commit)"
"""Stands for the route of what is done for many requests at once."""


class Watching:
    """Figures, traces and readiness of one server process.

    Args:
        config: the configuration.
        database: where everything is kept.
        role: what it serves.
    """

    def __init__(self, config: JobmonConfig, database: Database, role: Role = Role.ALL) -> None:
        self.metrics = ServerMetrics(database.engine.dialect.name, role)
        self.tracing: ServerTracing | None = server_tracing(config)
        self.readiness = Readiness(database, writes=role.may_write)
        self.database_figures = DatabaseFigures(database, config.get_float("metrics", "states_seconds"))
        slow_seconds = config.get_float("db", "slow_statement_seconds")
        if slow_seconds > 0 or self.tracing is not None:
            watch_statements(
                database.engine,
                slow_seconds,
                note=self.metrics.count_slow_statement,
                spans=lambda: self.tracing,
            )

    @asynccontextmanager
    async def running(self, state: ServerState) -> AsyncIterator[None]:
        """Watch as long as the server runs."""
        sampling = asyncio.create_task(self.metrics.sample_forever(state))
        try:
            yield
        finally:
            sampling.cancel()
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.close)

    async def figures(self, state: ServerState) -> bytes:
        """All figures, as Prometheus reads them."""
        self.metrics.sample(state)
        await self.database_figures.refresh()
        return await asyncio.to_thread(self.metrics.render, [self.database_figures])

    @contextmanager
    def committing(self, num_events: int) -> Iterator[Callable[[Applied], None]]:
        """One transaction of the group commit; to be told what its events did."""
        metrics, tracing = self.metrics, self.tracing
        bind_facts(_facts_of_group_commit)
        began = time.perf_counter()
        with nullcontext() if tracing is None else tracing.commit_span(num_events):
            yield lambda applied: metrics.count_events("worker", num_events, applied)
        metrics.observe_commit(num_events, time.perf_counter() - began)


def _facts_of_group_commit() -> dict[str, str]:
    return {"route": GROUP_COMMIT}
