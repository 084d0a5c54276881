"""Statements that take long are told of, with the route and the request they were for.

The text of a statement is told, never the values bound to it. What counts is the time until the database answered: a
statement whose many rows are fetched afterwards may take longer in all. A statement that failed late is told of as well.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, ExceptionContext, event

from jobmon.core.log_format import FACTS, current_facts

logger = logging.getLogger("jobmon.server.statements")

MOST_CHARACTERS = 2000
OUTSIDE = "(outside requests)"
"""Stands for the route of statements no request asked for: those of services and of start-up."""
_BEGUN = "jobmon_begun"
_SPACE = re.compile(r"\s+")

EndSpan = Callable[[BaseException | None], None]


class StatementSpans(Protocol):
    """Begins a span for a statement; ``None`` where there is nothing to trace."""

    def statement_span(self, statement: str, database: str) -> EndSpan | None:
        """What ends it."""
        ...


def shortened(statement: str) -> str:
    """The text of a statement on one line, cut off where it is very long."""
    text = _SPACE.sub(" ", statement).strip()
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]} … ({len(text)} characters)"


def watch_statements(
    engine: Engine,
    slow_seconds: float,
    *,
    note: Callable[[str], None] = lambda _route: None,
    spans: Callable[[], StatementSpans | None] = lambda: None,
) -> None:
    """Tell of slow statements, and trace all of them where that is asked for.

    Args:
        engine: whose statements.
        slow_seconds: from when on a statement is slow; 0: none is.
        note: called with the route of a slow statement.
        spans: where to trace now; ``None``: nowhere.
    """

    @event.listens_for(engine, "before_cursor_execute")
    def _before(
        _connection: Connection, _cursor: Any, statement: str, _: Any, context: Any, *__: Any
    ) -> None:
        tracing = spans()
        end = None if tracing is None else tracing.statement_span(shortened(statement), engine.dialect.name)
        setattr(context, _BEGUN, (time.perf_counter(), end))

    @event.listens_for(engine, "after_cursor_execute")
    def _after(_connection: Connection, cursor: Any, statement: str, _: Any, context: Any, *__: Any) -> None:
        seconds, end = _finish(context)
        if end is not None:
            end(None)
        if 0 < slow_seconds <= seconds:
            _tell(statement, seconds, cursor.rowcount, None, note)

    @event.listens_for(engine, "handle_error")
    def _failed(failure: ExceptionContext) -> None:
        seconds, end = _finish(failure.execution_context)
        error = failure.original_exception
        if end is not None:
            end(error)
        if failure.statement is not None and 0 < slow_seconds <= seconds:
            _tell(failure.statement, seconds, -1, error, note)


def _finish(context: Any) -> tuple[float, EndSpan | None]:
    """Seconds since a statement was begun, and what ends its span; zero where nobody saw it begin."""
    began, end = getattr(context, _BEGUN, (None, None))
    if began is None:
        return 0.0, None
    delattr(context, _BEGUN)
    return time.perf_counter() - began, end


def _tell(
    statement: str, seconds: float, rows: int, error: BaseException | None, note: Callable[[str], None]
) -> None:
    known = current_facts()
    route = str(known.get("route") or OUTSIDE)
    note(route)
    text = shortened(statement)
    facts = {
        "route": route,
        "request_id": known.get("request_id", ""),
        "statement": text,
        "duration_seconds": round(seconds, 6),
        "rows": rows,
        "error": "" if error is None else type(error).__name__,
    }
    logger.warning(
        "slow statement: %.3f s, %s, for %s, request %s: %s",
        seconds,
        f"failed ({type(error).__name__})" if error is not None else f"{max(rows, 0)} rows",
        route,
        known.get("request_id") or "-",
        text,
        extra={FACTS: facts},
    )
