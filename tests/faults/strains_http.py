"""What happens to requests of the load on their way: each is a way to exchange one request for its answer."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence

import pytest
from bench.load.connection import Answer, Connection

from server_place import RealServer

Exchange = Callable[[Connection, bytes], Awaitable[Answer]]
REFUSALS = frozenset({429, 503, 507})
_RESET = struct.pack("ii", 1, 0)


class Ways:
    """Replaces the usual way of the load's requests.

    Args:
        patch: ends with the test.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch, self._usual = patch, Connection.exchange
        self._dice = random.Random(1)
        self.without_advice = 0
        """Refusals that did not say when to try again."""
        self.count = 0
        """How often the fault happened."""
        self.twins: list[int] = []
        """Statuses of the answers to second copies."""
        self._use(self._watched)

    def _use(self, way: Exchange) -> None:
        async def exchange(connection: Connection, request: bytes) -> Answer:
            return await way(connection, request)

        self._patch.setattr(Connection, "exchange", exchange)

    async def _watched(self, connection: Connection, request: bytes) -> Answer:
        answer = await self._usual(connection, request)
        self.without_advice += answer.status in REFUSALS and answer.retry_after <= 0
        return answer

    def drop_replies(self, part: float) -> None:
        """Carry out requests, and break off this part of the answers at their first byte."""

        async def way(connection: Connection, request: bytes) -> Answer:
            if self._dice.random() >= part:
                return await self._watched(connection, request)
            self.count += 1
            connection._writer.write(request)
            await connection._reader.read(1)
            raise EOFError

        self._use(way)

    def send_twice(self, servers: Sequence[RealServer]) -> None:
        """Send what changes something to two servers at the same time."""

        async def way(connection: Connection, request: bytes) -> Answer:
            if not request.startswith(b"POST"):
                return await self._watched(connection, request)
            self.count += 1
            twin = await Connection.open(("127.0.0.1", self._dice.choice(servers).port))
            answer, second = await asyncio.gather(
                self._watched(connection, request), self._usual(twin, request)
            )
            self.twins.append(second.status)
            await twin.close()
            return answer

        self._use(way)

    def break_off_uploads(self, part: float) -> None:
        """Before this part of the requests, begin to send the same and go away in its middle."""

        async def way(connection: Connection, request: bytes) -> Answer:
            if request.startswith(b"POST") and self._dice.random() < part:
                self.count += 1
                await self._break_off(connection, request)
            return await self._watched(connection, request)

        self._use(way)

    async def _break_off(self, connection: Connection, request: bytes) -> None:
        address = connection._writer.get_extra_info("peername")
        upload = await Connection.open(address[:2])
        upload._writer.write(request[: self._dice.randrange(1, len(request))])
        await upload._writer.drain()
        await asyncio.sleep(0)
        if self._dice.random() < 0.5:
            own: socket.socket = upload._writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        upload.cut()
