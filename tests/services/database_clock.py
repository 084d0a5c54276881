"""A clock of the database that tests set."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection


@dataclass
class DatabaseClock:
    """What the database's clock says; tests move it."""

    now: datetime = field(default_factory=lambda: datetime(2026, 1, 1, 12))  # noqa: DTZ001 - UTC, as the database keeps it

    def __call__(self, _connection: Connection) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> datetime:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        return self.now
