"""A Jobmon server that counts: ``python -m bench.counting_server``, a process of its own.

It listens on a free loopback port, writes its address to stdout, serves until SIGTERM, and then writes its
:class:`Counts` to stdout.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from types import TracebackType
from typing import Any

import msgspec
import uvicorn
from sqlalchemy import event
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.place import Place
from jobmon.core.configuration import JobmonConfig
from jobmon.server.web.api import get_app
from jobmon.server.web.db_admin import init_db


class Counts(msgspec.Struct):
    """What a server was asked, and what it asked its database.

    Attributes:
        requests: HTTP requests.
        statements: calls of the database's driver; one call may carry many rows.
        rows_updated_singly: rows of those calls that were an UPDATE for many rows. Drivers that do not pipeline
            (MariaDB's, MySQL's) send a statement for each.
    """

    requests: int = 0
    statements: int = 0
    rows_updated_singly: int = 0


class CountingServer:
    """Such a server, in a place, as long as the block lasts; ``counts`` is there afterwards."""

    counts: Counts

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> CountingServer:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.counting_server", str(self._place.directory / "counted.sqlite")],
            env=dict(self._place.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        said, _ = self._process.communicate(timeout=30)
        if kind is None:
            self.counts = msgspec.json.decode(said.encode(), type=Counts)


def serve(file: str) -> Counts:
    """Serve a new database until told to end; what was counted."""
    counts = Counts()
    uri = f"sqlite:///{file}"
    init_db(uri)
    app = get_app(JobmonConfig(dict_config={"db": {"sqlalchemy_database_uri": uri}}))

    def count_statement(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, is_many: bool) -> None:
        counts.statements += 1
        if is_many and statement.startswith("UPDATE"):
            counts.rows_updated_singly += len(parameters)

    event.listen(app.state.jobmon.database.engine, "before_cursor_execute", count_statement)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    gate = _count_requests(app, counts)
    uvicorn.Server(
        uvicorn.Config(gate, log_config=None, access_log=False, timeout_graceful_shutdown=3, ws="none")
    ).run([listener])
    return counts


def _count_requests(app: ASGIApp, counts: Counts) -> ASGIApp:
    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        counts.requests += scope["type"] == "http"
        await app(scope, receive, send)

    return gate


def main() -> None:
    """Serve; what was counted goes to stdout."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it once more when it has ended
    print(msgspec.json.encode(serve(sys.argv[1])).decode())


if __name__ == "__main__":
    main()
