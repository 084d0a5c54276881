"""Whether requests should be sent to this server now: the database answers, takes what the role needs, and has the right schema.

One look at a time, in a thread of its own, with a time limit; its result is good for a second, so that impatient balancers cost
nothing. Who leads is told, but is no reason to be unready: a server without a leader still serves.
"""

from __future__ import annotations

import logging
import time

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from jobmon.core import __version__
from jobmon.serializers.monitor import LeaseRow, ReadyResponse
from jobmon.server.web import db_admin, dialect
from jobmon.server.web.bounded_look import BoundedLook
from jobmon.server.web.database import Database
from jobmon.server.web.db_admin import SchemaError
from jobmon.server.web.models import Lease
from jobmon.server.web.store.census import leases_read

logger = logging.getLogger("jobmon.server")

GOOD_FOR_SECONDS = 1.0
LIMIT_SECONDS = 2.0
_CHANGE_NOTHING = update(Lease).where(Lease.name == "").values(term=Lease.term)


class Readiness:
    """Looks whether a server is ready.

    Args:
        database: of the server.
        writes: whether its role writes to it.
        limit_seconds: how long a look is waited for.
        good_for_seconds: how long its result counts.
    """

    def __init__(
        self,
        database: Database,
        *,
        writes: bool = True,
        limit_seconds: float = LIMIT_SECONDS,
        good_for_seconds: float = GOOD_FOR_SECONDS,
    ) -> None:
        self._database, self._writes = database, writes
        self._limit_seconds, self._good_for_seconds = limit_seconds, good_for_seconds
        self._look = BoundedLook(self._examine, "jobmon-ready")
        self._answer: ReadyResponse | None = None
        self._answered_at = 0.0
        self._was_ready = True
        self.is_closing = False

    async def look(self) -> ReadyResponse:
        """The result of a look that is hardly a second old, or that it takes too long."""
        if self.is_closing:
            return _not_ready("The server is closing.")
        if self._answer is None or time.monotonic() - self._answered_at >= self._good_for_seconds:
            found = await self._look.result(self._limit_seconds)
            if found is None:
                seconds = self._look.running_seconds
                found = _not_ready(f"The database has not answered for {seconds:.0f} s.")
            self._answer, self._answered_at = found, time.monotonic()
            self._log_change(found)
        return self._answer

    def _log_change(self, answer: ReadyResponse) -> None:
        if answer.is_ready == self._was_ready:
            return
        self._was_ready = answer.is_ready
        if answer.is_ready:
            logger.info("the server is ready again")
        else:
            logger.error("the server is not ready: %s", " ".join(answer.reasons))

    def _examine(self) -> ReadyResponse:
        """Look, however long it takes. The reasons are open to all: they name no address and no user."""
        what = "does not answer"
        try:
            with self._database.read() as connection:
                now = dialect.utcnow(connection)
                what = "has no schema of Jobmon's: run 'jobmon-server db init'"
                leases = leases_read(connection, now)
            db_admin.require_schema(self._database.engine)
            what = "takes no changes"
            if self._writes:
                with self._database.write() as connection:
                    connection.execute(_CHANGE_NOTHING)
        except SQLAlchemyError as error:
            logger.debug("not ready", exc_info=error)
            reason = type(getattr(error, "orig", None) or error).__name__
            return _not_ready(f"The database {what} ({reason}).")
        except SchemaError as error:
            if error.__cause__ is None:
                return _not_ready(str(error))
            return _not_ready(
                f"The schema of the database cannot be read ({type(error.__cause__).__name__})."
            )
        rows = [
            LeaseRow(name, lease.holder, lease.term, round(lease.remaining_seconds, 3))
            for name, lease in sorted(leases.items())
        ]
        return ReadyResponse(True, __version__, [], rows)


def _not_ready(*reasons: str) -> ReadyResponse:
    return ReadyResponse(False, __version__, list(reasons))
