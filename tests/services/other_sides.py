"""Other sides of notification, in threads of this process: an HTTP server that answers as it is told, an SMTP server."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from processes import free_port, wait_until


@dataclass
class Received:
    """A request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """Fields of a form, or of JSON, as Slack takes both."""
        if self.headers.get("content-type", "").startswith("application/json"):
            return {name: str(value) for name, value in self.json.items()}
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}


Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {"Content-Type": "application/json"}, b'{"ok": true, "ts": "1", "channel": "C1"}')


class FakeWeb:
    """Keeps what it gets and answers what stands in ``answers``, then OK.

    ``gate``: while it is not set, requests are kept waiting, with nothing said.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[Answer] = []
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.received.append(Received(self.path, headers, body))
                outer.gate.wait(30)
                status, extra, content = outer.answers.pop(0) if outer.answers else OK
                try:
                    self.send_response(status)
                    for name, value in extra.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    pass  # nobody waits any more

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    def wait(self, count: int) -> None:
        """Wait for so many requests."""
        wait_until(lambda: len(self.received) >= count, f"{count} requests")


class FakeMail:
    """An SMTP server that keeps what it gets; ``refusal`` is its answer to recipients, empty: it takes them."""

    def __init__(self) -> None:
        from aiosmtpd.controller import Controller

        self.messages: list[Message] = []
        self.refusal = ""
        outer = self

        class Handler:
            async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, to: str, _o: Any) -> str:  # noqa: N802
                if outer.refusal:
                    return outer.refusal
                envelope.rcpt_tos.append(to)
                return "250 OK"

            async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
                outer.messages.append(message_from_bytes(envelope.content))
                return "250 OK"

        self.controller = Controller(Handler(), hostname="127.0.0.1", port=free_port())

    @property
    def port(self) -> int:
        return int(self.controller.port)

    def __enter__(self) -> Self:
        self.controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.controller.stop()
