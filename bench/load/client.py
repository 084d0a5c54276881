"""A client for very many requests at once: asynchronous, with retries and a journal of what was acknowledged."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from bench.load.connection import Answer, Connection, Target
from jobmon.testing.journal import Journal

T = TypeVar("T")

RETRIED = frozenset({423, 429})
PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 60.0


class Refused(Exception):
    """The server refused a request for good; the message says what it said."""


class Client:
    """Sends typed requests to one or several servers, in turn, over kept connections.

    What may have failed on the way is sent again until it is answered, as :class:`~jobmon.core.requester.Requester` does
    it; ``statuses`` counts every answer by its HTTP status, and 0 for connections that broke.

    Args:
        urls: addresses of the servers.
        num_connections: that are open at most; long polls have connections of their own.
        journal: what is told of each acknowledged change.
        token: bearer token.
        patience_seconds: for which a request is sent again.
    """

    def __init__(
        self,
        urls: Sequence[str],
        num_connections: int = 64,
        journal: Journal | None = None,
        token: str = "",
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._targets = [Target(url, token=token) for url in urls]
        self._free: list[list[Connection]] = [[] for _ in urls]
        self._slots = asyncio.Semaphore(num_connections)
        self._journal = journal
        self._closing: set[asyncio.Task[None]] = set()
        self._next = 0
        self._random = random.Random(0)
        self.statuses: Counter[int] = Counter()

    async def send(
        self, method: str, path: str, message: msgspec.Struct | None, kind: type[T], *, is_poll: bool = False
    ) -> T:
        """Send a request until it is answered; the answer.

        Args:
            method: HTTP method.
            path: below the route prefix, with its query.
            message: body.
            kind: type of the answer.
            is_poll: the answer may be long in coming: other requests do not wait for its connection.

        Raises:
            Refused: the server will not have it, or did not answer it in all the time there was.
        """
        content = None if message is None else msgspec.json.encode(message)
        body = await self.send_encoded(method, path, content, is_poll=is_poll)
        return msgspec.json.decode(body, type=kind)

    async def send_encoded(
        self, method: str, path: str, content: bytes | None, *, is_poll: bool = False
    ) -> bytes:
        """What :meth:`send` does, for bodies that are encoded already."""
        pause = PAUSE_SECONDS
        deadline = time.monotonic() + self._patience_seconds
        while True:
            answer = await self._try(method, path, content, is_poll)
            self.statuses[answer.status] += 1
            if 200 <= answer.status < 300:
                if self._journal is not None:
                    self._journal.note(method, path, content, answer.status, answer.body)
                return answer.body
            is_final = 0 < answer.status < 500 and answer.status not in RETRIED
            if is_final or time.monotonic() > deadline:
                raise Refused(
                    f"{method} {path}: {answer.status} {answer.body[:500].decode(errors='replace')}"
                )
            await asyncio.sleep((answer.retry_after or pause) * self._random.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _try(self, method: str, path: str, content: bytes | None, is_poll: bool) -> Answer:
        self._next = (self._next + 1) % len(self._targets)
        number = self._next
        if is_poll:
            return await self._exchange(number, method, path, content)
        async with self._slots:
            return await self._exchange(number, method, path, content)

    async def _exchange(self, number: int, method: str, path: str, content: bytes | None) -> Answer:
        target, free = self._targets[number], self._free[number]
        connection: Connection | None = None
        try:
            connection = free.pop() if free else await Connection.open(target.address)
            answer = await connection.exchange(target.request(path, content, method))
        except (OSError, EOFError):
            self._cut(connection)
            return Answer(0, b"", 0)
        except asyncio.CancelledError:
            self._cut(connection)
            raise
        free.append(connection)
        return answer

    def _cut(self, connection: Connection | None) -> None:
        """Close a connection that broke, or whose answer nobody waits for."""
        if connection is None:
            return
        connection.cut()
        closing = asyncio.create_task(connection.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*self._closing)
        for free in self._free:
            while free:
                await free.pop().close()


def path_with(path: str, **query: Any) -> str:
    """A path with its query."""
    return path + "?" + "&".join(f"{name}={value}" for name, value in query.items())
