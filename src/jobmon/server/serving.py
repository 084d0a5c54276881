"""One serving process: ``python -m jobmon.server.serving LISTENER LINK``, started by :mod:`jobmon.server.supervisor`.

Both arguments are numbers of inherited descriptors. It beats on the link once it serves, and ends when told to by SIGTERM or by
the end of the link: it takes no new connections then, answers what it has begun with, long polls at once, and is gone.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError
from jobmon.server.garbage_collection import collect_rarely
from jobmon.server.supervisor import BACKLOG, BEAT_SECONDS, server_logging

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle: longer than clients and proxies keep theirs, so that they close them."""


class ServingProcess(uvicorn.Server):
    """A server that says it lives, and answers its long polls when it is to end.

    Args:
        config: how it speaks HTTP.
        state: what its routes share.
        link: connected to the supervisor.
    """

    def __init__(self, config: uvicorn.Config, state: ServerState, link: socket.socket) -> None:
        super().__init__(config)
        self._state, self._link = state, link
        self._beating: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of a signal to end."""
        self._end()

    def _end(self) -> None:
        self.should_exit = True
        self._state.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        if self.started:
            collect_rarely()
            self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        """Give signs of life; nobody to hear them means the end."""
        loop = asyncio.get_running_loop()
        self._link.setblocking(False)
        loop.add_reader(self._link, self._hear)
        while True:
            try:
                self._link.send(b".")
            except BlockingIOError:
                pass  # the supervisor is stopped
            except OSError:
                self._end()
                return
            await asyncio.sleep(BEAT_SECONDS)

    def _hear(self) -> None:
        """The supervisor never says anything: there is something to read only when it is gone."""
        asyncio.get_running_loop().remove_reader(self._link)
        self._end()


def http_config(config: JobmonConfig, app: object) -> uvicorn.Config:
    """How a server speaks HTTP.

    Args:
        config: the configuration.
        app: the ASGI application.
    """
    trusted = [proxy.strip() for proxy in str(config.get("server", "trusted_proxies")).split(",")]
    trusted = [proxy for proxy in trusted if proxy]
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        access_log=False,
        log_config=server_logging(config),
        timeout_graceful_shutdown=max(1, round(config.get_float("server", "shutdown_seconds"))),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=trusted,
        server_header=False,
        backlog=BACKLOG,
        ws="none",
        lifespan="on",
    )


def serve(listener: socket.socket, link: socket.socket) -> None:
    """Serve at a listening socket, as the configuration says.

    Raises:
        JobmonError: the configuration or the database is not what it should be.
    """
    from jobmon.server.web.api import get_app
    from jobmon.server.web.sub_path import below

    config = JobmonConfig()
    app = get_app(config)
    shown = below(app, str(config.get("server", "root_path")), str(config.get("http", "route_prefix")))
    ServingProcess(http_config(config, shown), app.state.jobmon, link).run([listener])


def main() -> int:
    """Serve; the exit status."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # for the supervisor to act on
    listener, link = (socket.socket(fileno=int(word)) for word in sys.argv[1:3])
    try:
        serve(listener, link)
    except JobmonError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
