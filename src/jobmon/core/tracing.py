"""Traces of requests, by OpenTelemetry (``pip install 'jobmon[otel]'``), switched on by ``telemetry.tracing``.

Rules
-----
1. Off, nothing of OpenTelemetry is imported and nothing is paid.
2. Nobody waits for a collector: spans wait in a bounded queue, a thread of its own sends them, and what it cannot send is lost.
   At the end of the process it has a moment to send the rest.
3. Values bound to statements, bodies, tokens and query strings are in no span.
4. Jobmon has a provider of its own, so a script's is left alone; but the current span is everybody's, and Jobmon's requests
   are part of the script's trace where it has one.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jobmon.core import __version__
from jobmon.core.exceptions import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

    from jobmon.core.configuration import JobmonConfig
    from jobmon.core.requester import HttpClient

END_SECONDS = 2.0
"""How long the end of a process waits for the last spans to be sent."""
EXPORT_SECONDS = 5
"""How long one request to a collector may take, where its exporter's options do not say."""
QUIET_SECONDS = 300.0
"""Between two messages about a collector that cannot be reached."""

EXPORTERS: Mapping[str, Mapping[str, Any]] = {
    "console_span": {"module": "opentelemetry.sdk.trace.export", "class": "ConsoleSpanExporter"},
    "http_span": {
        "module": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "class": "OTLPSpanExporter",
        "timeout": EXPORT_SECONDS,
    },
    "grpc_span": {
        "module": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
        "class": "OTLPSpanExporter",
        "timeout": EXPORT_SECONDS,
    },
}
"""Exporters by name: module and class, and what the class is called with; ``telemetry.tracing.exporters`` changes and adds."""


def is_enabled(config: JobmonConfig, switch: str) -> bool:
    """Whether requests are traced.

    Args:
        config: the configuration.
        switch: ``server_enabled`` or ``requester_enabled``.
    """
    value = _settings(config).get(switch)
    if value is None:
        # where versions up to 3.2 had the switches
        if switch == "server_enabled":
            return config.get_boolean("otlp", "web_enabled")
        return config.get_boolean("otlp", "http_enabled")
    return value is True or str(value).lower() in ("true", "t", "yes", "1")


def _settings(config: JobmonConfig) -> dict[str, Any]:
    settings = config.get("telemetry", "tracing")
    if not isinstance(settings, Mapping):
        raise ConfigError("telemetry.tracing must hold 'key: value' lines: server_enabled, span_exporter ...")
    return dict(settings)


class Tracing:
    """Where spans are begun, and how they get to a collector.

    Args:
        config: the configuration, for ``telemetry.*``.
        service_name: name of the service in the traces.

    Raises:
        ConfigError: OpenTelemetry is not installed, or the exporter cannot be made.
    """

    def __init__(self, config: JobmonConfig, service_name: str) -> None:
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigError(
                f"telemetry.tracing is on, but OpenTelemetry is not installed ({error}): pip install 'jobmon[otel]', or "
                "switch it off (server_enabled, requester_enabled: false)."
            ) from error
        if not config.get_boolean("telemetry", "debug"):
            _quieten()
        self.exporter = make_exporter(_settings(config))
        resource = Resource.create(
            {
                "service.name": service_name,
                "service.version": __version__,
                "deployment.environment.name": str(config.get("telemetry", "deployment_environment")),
                "host.name": os.uname().nodename,
            }
        )
        self.provider: TracerProvider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(self.exporter))
        self.tracer: Tracer = self.provider.get_tracer("jobmon", __version__)
        self._is_closed = False
        atexit.register(self.close)

    def traced(self, client: HttpClient) -> HttpClient:
        """A client whose requests are traced."""
        return _TracedClient(client, self.tracer)

    def flush(self, timeout_seconds: float = END_SECONDS) -> None:
        """Send what waits, for at most so long."""
        _within(timeout_seconds, self.provider.force_flush)

    def close(self) -> None:
        """Send what waits, for a moment, and end; may be called again."""
        if self._is_closed:
            return
        self._is_closed = True
        atexit.unregister(self.close)
        _within(END_SECONDS, self.provider.shutdown)


class _TracedClient:
    """Sends each request within a span, and with it what lets the server go on with the trace."""

    def __init__(self, client: HttpClient, tracer: Tracer) -> None:
        self._client, self._tracer = client, tracer

    def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        where = urlsplit(url)
        known = {
            "http.request.method": method,
            "url.path": where.path,
            "server.address": where.hostname or "",
        }
        with span_without_texts(
            self._tracer, f"{method} {path_shape(where.path)}", kind=SpanKind.CLIENT, attributes=known
        ) as span:
            carried = dict(headers or {})
            TraceContextTextMapPropagator().inject(carried)
            response = self._client.request(
                method, url, content=content, params=params, headers=carried, timeout=timeout
            )
            status = int(response.status_code)
            span.set_attribute("http.response.status_code", status)
            if status >= 400:
                span.set_status(Status(StatusCode.ERROR))
            return response

    def close(self) -> None:
        self._client.close()


_of_requesters: Tracing | None = None


def requester_tracing(config: JobmonConfig) -> Tracing | None:
    """The tracing of this process's requests; ``None`` where it is off.

    Raises:
        ConfigError: it is on but cannot be had.
    """
    global _of_requesters
    if not is_enabled(config, "requester_enabled"):
        return None
    if _of_requesters is None:
        _of_requesters = Tracing(config, "jobmon-client")
    return _of_requesters


@contextmanager
def span_without_texts(tracer: Tracer, name: str, **options: Any) -> Iterator[Span]:
    """A span, current in the ``with`` block; of an exception it tells the kind, for its text may hold values.

    Args:
        tracer: where it is begun.
        name: of the span.
        options: for ``start_as_current_span``.
    """
    from opentelemetry.trace import Status, StatusCode

    with tracer.start_as_current_span(
        name, record_exception=False, set_status_on_exception=False, **options
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def path_shape(path: str) -> str:
    """A path with its numbers replaced, so that many requests share the name of a span."""
    return "/".join("{id}" if part.isdigit() else part for part in path.split("/"))


def _within(seconds: float, work: Callable[[], Any]) -> None:
    """Do something in a thread that nobody waits for longer than that."""
    thread = threading.Thread(target=work, name="jobmon-tracing-end", daemon=True)
    thread.start()
    thread.join(seconds)


def make_exporter(settings: Mapping[str, Any]) -> Any:
    """The exporter that ``span_exporter`` names.

    Raises:
        ConfigError: there is none of this name, or it cannot be made.
    """
    name = str(settings.get("span_exporter") or "console_span")
    given = settings.get("exporters") or {}
    known = {**EXPORTERS, **{key: {**EXPORTERS.get(key, {}), **(own or {})} for key, own in given.items()}}
    where = f"telemetry.tracing.span_exporter '{name}'"
    if name not in known:
        raise ConfigError(f"{where} is not known; there are {', '.join(sorted(known))}.")
    options = dict(known[name])
    try:
        module, kind = options.pop("module"), options.pop("class")
        exporter: Any = getattr(importlib.import_module(module), kind)(**options)
    except KeyError as error:
        raise ConfigError(
            f"{where} needs a module and a class (telemetry.tracing.exporters.{name})."
        ) from error
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{where} cannot be made ({type(error).__name__}: {error}). OpenTelemetry's exporters come with "
            "pip install 'jobmon[otel]'."
        ) from error
    return exporter


class _Rarely(logging.Filter):
    """Lets one message through in a while: a collector that is away is no news after the first time."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one may pass."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + QUIET_SECONDS
        record.exc_info = record.exc_text = None
        return True


_rarely: _Rarely | None = None


def _quieten() -> None:
    """Have OpenTelemetry say little about its troubles, once in this process."""
    global _rarely
    if _rarely is not None:
        return
    _rarely = _Rarely()
    for name in (
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "opentelemetry.exporter.otlp.proto.grpc.exporter",
        "opentelemetry.sdk._shared_internal",
        "opentelemetry.sdk.trace",
    ):
        logging.getLogger(name).addFilter(_rarely)
