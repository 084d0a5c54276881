"""Spans of the server: one for each request, within it one for each statement, and one for each group commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from starlette.types import Scope

from jobmon.core.configuration import JobmonConfig
from jobmon.core.log_format import Fact
from jobmon.core.tracing import Tracing, is_enabled, span_without_texts

if TYPE_CHECKING:
    from jobmon.server.web.slow_statements import EndSpan

SERVICE_NAME = "jobmon-server"
EndRequest = Callable[[str, int, Mapping[str, Fact]], None]
_SYSTEMS = {"mysql": "mariadb"}


def server_tracing(config: JobmonConfig) -> ServerTracing | None:
    """The server's tracing; ``None`` where it is off.

    Raises:
        ConfigError: it is on but cannot be had.
    """
    return ServerTracing(config) if is_enabled(config, "server_enabled") else None


class ServerTracing(Tracing):
    """Where the server's spans are begun.

    Args:
        config: the configuration.
    """

    def __init__(self, config: JobmonConfig) -> None:
        super().__init__(config, SERVICE_NAME)

    @contextmanager
    def request_span(self, scope: Scope) -> Iterator[EndRequest]:
        """The span of a request, part of its sender's trace where that has one; to be told how it ended."""
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {
            str(name, "latin-1"): str(value, "latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        method = scope["method"]
        with span_without_texts(
            self.tracer,
            method,
            context=TraceContextTextMapPropagator().extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
        ) as span:

            def end(route: str, status: int, facts: Mapping[str, Fact]) -> None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                for name, value in facts.items():
                    if name not in ("method", "route") and isinstance(value, str | int | float):
                        span.set_attribute(f"jobmon.{name}", value)
                if status >= 500:
                    span.set_status(Status(StatusCode.ERROR))

            yield end

    @contextmanager
    def commit_span(self, num_events: int) -> Iterator[None]:
        """The span of one group commit, a trace of its own: it is part of many requests."""
        from opentelemetry.context import Context

        attributes = {"jobmon.num_events": num_events}
        with span_without_texts(self.tracer, "group commit", context=Context(), attributes=attributes):
            yield

    def statement_span(self, statement: str, database: str) -> EndSpan | None:
        """Begin the span of a statement, where there is one it is part of; what ends it.

        Args:
            statement: its text, without values.
            database: kind of database.
        """
        from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span

        if not get_current_span().is_recording():
            return None
        span = self.tracer.start_span(
            statement.partition(" ")[0].upper()[:20],
            kind=SpanKind.CLIENT,
            attributes={"db.system.name": _SYSTEMS.get(database, database), "db.query.text": statement},
        )

        def end(error: BaseException | None) -> None:
            if error is not None:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            span.end()

        return end
