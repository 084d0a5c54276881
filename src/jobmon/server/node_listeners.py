"""Where compute nodes reach the local server: listeners beside the one on loopback, opened when a controller asks.

Rules
-----
1. A listener is opened on one address of this machine, never on all of them, and only while something is run.
2. By it come reports of attempts only, with a token that is good for nothing else. Controllers that run on nodes
   themselves need more: for them its owner opens it to all routes, with the owner's token.
3. Asked again for the same address, the same listener is told. All of them end with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from jobmon.core.exceptions import UsageError
from jobmon.serializers.local import NodeAccessRequest, NodeAccessResponse
from jobmon.server.web.gate import WORKERS_ONLY
from jobmon.server.web.identity import Access
from jobmon.server.web.wire import RequestContext, WireRouter

logger = logging.getLogger("jobmon.server")

BACKLOG = 512


def listen(family: int, address: tuple[str | int, ...]) -> socket.socket:
    """A TCP socket that listens on a free port of an address (host first, as the family has it).

    Raises:
        OSError: the address is not of this machine, or must not be used.
    """
    # asyncio switches Nagle's algorithm off only where it sees that the protocol is TCP
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((address[0], 0, *address[2:]))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def uvicorn_config(app: ASGIApp, lifespan: str = "on") -> uvicorn.Config:
    """How the local server speaks HTTP, on whatever address."""
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=75,
        ws="none",
        lifespan="on" if lifespan == "on" else "off",
    )


class _SideServer(uvicorn.Server):
    """Serves one more address of an application that is served already."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the main one."""
        yield


class _Doorway:
    """The application as it is seen from an address that nodes can reach."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.is_for_controllers = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Mark the request for the gate."""
        if not self.is_for_controllers:
            scope[WORKERS_ONLY] = True
        await self.app(scope, receive, send)


@dataclass
class _Open:
    url: str
    doorway: _Doorway
    server: _SideServer
    serving: asyncio.Task[None]


class NodeListeners:
    """The addresses by which nodes reach one local server; to be used on its loop.

    Args:
        app: the application, with its gate.
        home: address the server listens at anyway, as host and port.
        prefix: route prefix, part of the URLs told.
        worker_token: token that is good for reports of attempts only.
    """

    def __init__(self, app: ASGIApp, home: tuple[str, int], prefix: str, worker_token: str) -> None:
        self._app, self._home, self._prefix, self._worker_token = app, home, prefix, worker_token
        self._open: dict[str, _Open] = {}
        self._lock = asyncio.Lock()

    @property
    def addresses(self) -> list[str]:
        """Addresses that were opened."""
        return list(self._open)

    async def access(self, host: str, is_for_controllers: bool) -> NodeAccessResponse:
        """Be reachable at an address of this machine; where, and with which token.

        Raises:
            UsageError: the address is not of this machine, must not be used, or is none.
        """
        family, address = await _resolve(host)
        name = str(address[0])
        if name == self._home[0]:
            return NodeAccessResponse(_url(*self._home, self._prefix), self._worker_token)
        async with self._lock:
            if name not in self._open:
                self._open[name] = await self._begin(host, family, address)
            opened = self._open[name]
        if is_for_controllers and not opened.doorway.is_for_controllers:
            opened.doorway.is_for_controllers = True
            logger.info("%s is open to the controllers of its owner as well", opened.url)
        return NodeAccessResponse(opened.url, self._worker_token)

    async def _begin(self, host: str, family: int, address: tuple[str | int, ...]) -> _Open:
        try:
            listener = listen(family, address)
        except OSError as error:
            raise UsageError(_why_not(host, str(address[0]), error)) from error
        doorway = _Doorway(self._app)
        server = _SideServer(uvicorn_config(doorway, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = _url(str(address[0]), listener.getsockname()[1], self._prefix)
        logger.info("the local server listens for compute nodes at %s", url)
        return _Open(url, doorway, server, serving)

    async def close(self) -> None:
        """Close all of them."""
        async with self._lock:
            for each in self._open.values():
                each.server.should_exit = True
                logger.info("the local server does not listen at %s any more", each.url)
            await asyncio.gather(*(each.serving for each in self._open.values()))
            self._open.clear()


async def _resolve(host: str) -> tuple[int, tuple[str | int, ...]]:
    """Family and socket address of a host; of several addresses the first that is not loopback."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"'{host}' is neither an address nor a known host name ({error}).") from error
    addresses: list[tuple[int, tuple[str | int, ...]]] = [
        (family, (str(address[0]), *(int(part) for part in address[1:])))
        for family, _, _, _, address in found
    ]
    for family, address in addresses:
        what = ipaddress.ip_address(str(address[0]).partition("%")[0])
        if what.is_unspecified or what.is_multicast:
            raise UsageError(
                f"{host} is not one address of this machine; name the one that leads to the nodes."
            )
        if not what.is_loopback:
            return family, address
    return addresses[0]


def _why_not(host: str, address: str, error: OSError) -> str:
    named = address if address == host else f"{address} ({host})"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{named} is not an address of {socket.gethostname()}, where the local server runs."
    return f"{socket.gethostname()} does not let the local server listen at {named}: {error.strerror}."


def _url(host: str, port: int, prefix: str) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{prefix}"


def node_access_router(listeners: NodeListeners) -> WireRouter:
    """The route by which a controller asks for an address; only a local server has it."""
    router = WireRouter("/local")

    @router.route(
        "POST", "/node_access", access=Access.USER, request=NodeAccessRequest, response=NodeAccessResponse
    )
    async def node_access(context: RequestContext, message: NodeAccessRequest) -> NodeAccessResponse:
        """Listen where compute nodes can reach this server."""
        return await listeners.access(message.host, message.is_for_controllers)

    return router
