"""A load of worker events: many wrappers' requests, over many connections, as cheap for the sender as can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from jobmon.core.local_server import ServerRecord


class Connection:
    """One connection over which requests go one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection(*address))

    async def send(self, request: bytes) -> None:
        """Send a request and wait for the answer.

        Raises:
            RuntimeError: the server did not answer with 200.
        """
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        start = lower.index(b"content-length:") + len(b"content-length:")
        body = await self._reader.readexactly(int(lower[start : lower.index(b"\r\n", start)]))
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"The server answered {head[:60]!r} {body[:300]!r}")

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()


class Target:
    """A server, and how requests to it look.

    Args:
        record: the local server.
        prefix: its route prefix.
    """

    def __init__(self, record: ServerRecord, prefix: str) -> None:
        parts = urlsplit(record.url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = (parts.hostname, parts.port)
        self._head = (
            f"Host: {parts.netloc}\r\nAuthorization: Bearer {record.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._prefix = prefix

    def request(self, path: str, body: bytes) -> bytes:
        """A POST in full."""
        start = f"POST {self._prefix}{path} HTTP/1.1\r\n".encode()
        return b"%s%s%d\r\n\r\n%s" % (start, self._head, len(body), body)

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
