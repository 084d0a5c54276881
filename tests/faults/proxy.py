"""A proxy between scripts and the server that performs every request and then loses or delays the answer."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

DROPPED_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


class Proxy(ThreadingHTTPServer):
    """Listens on loopback.

    Args:
        target: address of the real server.
        cut: part of the answers that are cut off: a third before the first byte, a third in the middle, and a
            third of the requests are sent a second time by the proxy itself, as if by an impatient network.
        delay_seconds: how long an answer is held back.
        delayed: part of the answers that are.
        seed: of the dice.
    """

    daemon_threads = True
    request_queue_size = 100

    def __init__(
        self, target: str, cut: float = 0, delay_seconds: float = 0, delayed: float = 1, seed: int = 1
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target)
        self.cut, self.delay_seconds, self.delayed = cut, delay_seconds, delayed
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self.num_requests = self.num_lost = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def roll(self) -> str:
        """What becomes of the next answer."""
        with self._lock:
            self.num_requests += 1
            if self._dice.random() < self.cut:
                self.num_lost += 1
                return self._dice.choice(["silence", "half", "twice"])
            return "late" if self._dice.random() < self.delayed else ""

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fate = self.server.roll()
        status, headers, content = self._ask(body)
        if fate == "twice":
            status, headers, content = self._ask(body)
        if fate == "late" and self.server.delay_seconds:
            time.sleep(self.server.delay_seconds)
        if fate == "silence":
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in DROPPED_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fate == "half":
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815 - names the standard library looks for

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        target = self.server.target
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in DROPPED_HEADERS}
        try:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def proxy_to(target: str, **behaviour: float) -> Iterator[Proxy]:
    """A proxy that serves for the time of a ``with`` block."""
    proxy = Proxy(target, **behaviour)  # type: ignore[arg-type]
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
