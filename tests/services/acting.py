"""A process that acts under the lease again and again: ``python acting.py URI LEASE_SECONDS CLOCK_OFFSET_SECONDS``.

Each action adds a row to the table ``tool``: ``<term> <holder> <number>``. With an offset every clock of the process but the one
nobody can set is wrong by so much.
"""

from __future__ import annotations

import datetime as dt
import signal
import sys
import threading
import time

uri, lease_seconds, offset = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
if offset:
    real_time, real_datetime = time.time, dt.datetime

    class WrongDatetime(real_datetime):
        """A clock that is wrong."""

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return real_datetime.now(tz) + dt.timedelta(seconds=offset)

    time.time = lambda: real_time() + offset
    dt.datetime = WrongDatetime

from sqlalchemy import Connection, insert  # noqa: E402

from jobmon.server.services.lease import LeasedDatabase, LeaseKeeper, LeaseLost  # noqa: E402
from jobmon.server.web.database import Database  # noqa: E402
from jobmon.server.web.models import Tool  # noqa: E402


def main() -> None:
    """Act until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    database = Database(uri)
    keeper = LeaseKeeper(database, lease_seconds)
    leased = LeasedDatabase(keeper)
    keeper.start()
    number = 0
    while not stop.wait(0.01):
        number += 1

        def work(connection: Connection, number: int = number) -> None:
            connection.execute(insert(Tool).values(name=f"{keeper.term} {keeper.holder} {number}"))

        try:
            leased.retrying_write(work)
        except LeaseLost:
            continue
    keeper.stop(10)
    database.dispose()


main()
