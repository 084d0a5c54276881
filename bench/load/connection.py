"""Requests over many connections, as cheap for the sender as can be: it shares the machine with what it measures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from jobmon.core.requester import current_user

PREFIX = "/api/v3"
MAX_HEAD_BYTES = 2**20


class Answer(NamedTuple):
    """An answer of the server.

    Attributes:
        status: HTTP status.
        body: its body.
        retry_after: seconds after which the server wants to be asked again; 0: it does not say.
    """

    status: int
    body: bytes
    retry_after: float


class Connection:
    """One connection over which requests go one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection(*address, limit=MAX_HEAD_BYTES))

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and wait for the answer.

        Raises:
            OSError, EOFError: the connection broke.
        """
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        body = await self._reader.readexactly(int(_header(head, b"content-length:") or 0))
        return Answer(int(head[9:12]), body, float(_header(head, b"retry-after:") or 0))

    async def send(self, request: bytes) -> None:
        """Send a request and wait for the answer.

        Raises:
            RuntimeError: the server did not answer with 200.
        """
        answer = await self.exchange(request)
        if answer.status != 200:
            raise RuntimeError(f"The server answered {answer.status} {answer.body[:300]!r}")

    async def close(self) -> None:
        """Close the connection."""
        self.cut()
        with suppress(OSError):
            await self._writer.wait_closed()

    def cut(self) -> None:
        """Close the connection without waiting for its end."""
        self._writer.close()


def _header(head: bytes, name: bytes) -> bytes:
    start = head.find(name)
    return b"" if start < 0 else head[start + len(name) : head.index(b"\r\n", start)].strip()


class Target:
    """A server, and how requests to it look.

    Args:
        url: its address, without route prefix.
        prefix: its route prefix.
        token: bearer token; empty: none is shown.
    """

    def __init__(self, url: str, prefix: str = PREFIX, token: str = "") -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = (parts.hostname, parts.port)
        headers = {"Host": parts.netloc, "X-Jobmon-User": current_user(), "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        self._prefix = prefix

    def request(self, path: str, body: bytes | None, method: str = "POST") -> bytes:
        """A request in full."""
        start = f"{method} {self._prefix}{path} HTTP/1.1\r\n".encode()
        body = body or b""
        return b"%s%sContent-Length: %d\r\n\r\n%s" % (start, self._head, len(body), body)

    @asynccontextmanager
    async def connections(self, count: int) -> AsyncIterator[list[Connection]]:
        """So many connections, closed afterwards."""
        opened = [await Connection.open(self.address) for _ in range(count)]
        try:
            yield opened
        finally:
            for connection in opened:
                await connection.close()


async def flood(target: Target, stories: Sequence[Sequence[bytes]], num_connections: int) -> float:
    """Send all requests as fast as the answers come; seconds it took.

    The requests of a story go in order, stories side by side, one at a time over each connection.
    """
    todo = iter(stories)

    async def work(connection: Connection) -> None:
        for story in todo:
            for request in story:
                await connection.send(request)

    async with target.connections(num_connections) as connections:
        before = time.perf_counter()
        await asyncio.gather(*map(work, connections))
        return time.perf_counter() - before


async def flood_by_new_connections(
    target: Target, stories: Sequence[Sequence[bytes]], num_senders: int
) -> float:
    """As :func:`flood`, but with a connection of its own for each request, as wrappers of long tasks have it."""
    todo = iter(stories)

    async def work() -> None:
        for story in todo:
            for request in story:
                connection = await Connection.open(target.address)
                await connection.send(request)
                await connection.close()

    before = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(num_senders)))
    return time.perf_counter() - before


async def paced(
    target: Target, requests: Sequence[bytes], per_second: float, num_connections: int
) -> list[float]:
    """Send requests at fixed times, whether the answers come or not; seconds each took from its time on."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    taken: list[float] = []

    async def work(connection: Connection) -> None:
        while True:
            due, request = await queue.get()
            await connection.send(request)
            taken.append(time.perf_counter() - due)
            queue.task_done()

    async with target.connections(num_connections) as connections, asyncio.TaskGroup() as group:
        workers = [group.create_task(work(connection)) for connection in connections]
        start = time.perf_counter()
        for number, request in enumerate(requests):
            due = start + number / per_second
            delay = due - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            queue.put_nowait((due, request))
        await queue.join()
        for worker in workers:
            worker.cancel()
    return taken
