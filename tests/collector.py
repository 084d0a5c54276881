"""A fake collector of traces: OTLP over HTTP on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(ThreadingHTTPServer):
    """A fake collector: it keeps what it is sent, refuses it, or never answers."""

    daemon_threads = True

    def __init__(self, status: int, hangs: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.hangs = status, hangs
        self.received: list[ExportTraceServiceRequest] = []
        self.arrived, self.go_on = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"

    def spans(self) -> list[Span]:
        """All spans it was sent."""
        return [
            span
            for sent in self.received
            for each in sent.resource_spans
            for scope in each.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(ExportTraceServiceRequest.FromString(body))
        self.server.arrived.set()
        if self.server.hangs:
            self.server.go_on.wait(60)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""


@contextmanager
def running_collector(status: int, hangs: bool = False) -> Iterator[Collector]:
    """A collector that runs as long as the ``with`` block."""
    own = Collector(status, hangs)
    thread = threading.Thread(target=own.serve_forever, args=[0.01])
    thread.start()
    try:
        yield own
    finally:
        own.go_on.set()
        own.shutdown()
        own.server_close()
        thread.join(10)
