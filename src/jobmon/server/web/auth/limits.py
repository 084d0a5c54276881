"""How much may be asked for: size of a request, requests at once, requests of one user over time."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import Message, Receive

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import RequestTooLarge
from jobmon.server.web.identity import Identity

BURST_SECONDS = 5.0
"""Requests of so many seconds may come at once, after a pause of as long."""
MAX_BUCKETS = 10_000
BUSY_SECONDS = 2
"""After how long somebody may try again whom the server has no room for."""


def too_large(limit: int) -> RequestTooLarge:
    """The error of a request that is larger than the limit, in bytes."""
    return RequestTooLarge(
        f"The request is larger than the {limit} bytes this server takes (server.max_request_bytes). "
        "Send less at once, or ask who runs the server to raise the limit."
    )


def limited(receive: Receive, limit: int) -> Receive:
    """Receives a request, as far as it is not larger than the limit in bytes.

    What it returns raises RequestTooLarge.
    """
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > limit:
                raise too_large(limit)
        return message

    return receive_limited


class RateLimit:
    """A bucket of requests for each user, filled at a constant rate.

    Args:
        per_second: requests a second; 0: any number.
        clock: monotonic seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self._clock = per_second, clock
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._left: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # requests, and when they were counted

    def seconds_to_wait(self, identity: Identity) -> int:
        """Take one request from a user's bucket; 0: it was there, otherwise after how many seconds it will be."""
        if self.per_second <= 0:
            return 0
        now = self._clock()
        left, counted_at = self._left.get(identity.user, (self._most, now))
        left = min(self._most, left + (now - counted_at) * self.per_second)
        is_granted = left >= 1
        self._left[identity.user] = (left - 1 if is_granted else left, now)
        self._left.move_to_end(identity.user)
        while len(self._left) > MAX_BUCKETS:
            self._left.popitem(last=False)
        return 0 if is_granted else max(1, math.ceil((1 - left) / self.per_second))


class RequestLimits:
    """The limits of one process.

    Attributes:
        max_bytes: largest body; 0: any.
        max_concurrent: requests worked on at once; 0: any number.
        rate: requests of one user.
        num_running: requests that are worked on.
    """

    def __init__(self, max_bytes: int = 0, max_concurrent: int = 0, per_second: float = 0) -> None:
        self.max_bytes, self.max_concurrent = max_bytes, max_concurrent
        self.rate = RateLimit(per_second)
        self.num_running = 0

    @classmethod
    def from_config(cls, config: JobmonConfig) -> RequestLimits:
        """The limits of the section ``server``."""
        return cls(
            config.get_int("server", "max_request_bytes"),
            config.get_int("server", "max_concurrent_requests"),
            config.get_float("server", "requests_per_second"),
        )

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more request."""
        return 0 < self.max_concurrent <= self.num_running
