"""Parts of pages that change by themselves: drawn once, sent to everybody who watches the same.

A topic is what several browsers may watch, such as a workflow. While somebody watches it, a task looks every few seconds
whether its stamp has changed, one cheap query, and only then draws its parts again; those that differ are sent. However many
watch, a topic is drawn once, and all topics together may take a bounded share of a core: the more they cost, the rarer they
are looked at.

A part holds nothing of who looks: no forms, no names of the viewer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import StreamingResponse

from jobmon.server.web.ui.page_router import SECURITY_HEADERS

if TYPE_CHECKING:
    from jobmon.server.web.state import ServerState

logger = logging.getLogger("jobmon.server")

LOOK_SECONDS = 2.0
SHARE = 0.05
"""Share of one core that all topics together may take."""
BEAT_SECONDS = 15.0
"""A line is sent at least so often, so that proxies keep the connection."""
WAITING = 16
"""Messages that may wait for a browser; one that is slower is told to load the page again."""

Parts = Mapping[str, str]
"""HTML by name of the event."""


@dataclass(frozen=True)
class LiveSource:
    """How a kind of topic is looked at and drawn; both run in a thread.

    Attributes:
        stamp: changes when the parts may have.
        draw: the parts.
    """

    stamp: Callable[[ServerState, str], Hashable]
    draw: Callable[[ServerState, str], Parts]


@dataclass
class _Topic:
    watchers: set[asyncio.Queue[bytes | None]] = field(default_factory=set)
    task: asyncio.Task[None] | None = None
    sent: dict[str, str] = field(default_factory=dict)
    cost: float = 0.0


class LiveTopics:
    """Everything that is being watched on this server process.

    Args:
        state: the server.
        sources: by kind of topic.
    """

    def __init__(self, state: ServerState, sources: Mapping[str, LiveSource]) -> None:
        self.state, self.sources = state, sources
        self._topics: dict[tuple[str, str], _Topic] = {}

    @property
    def num_watchers(self) -> int:
        """Browsers that watch something."""
        return sum(len(topic.watchers) for topic in self._topics.values())

    async def watch(self, request: Request, kind: str, key: str) -> AsyncIterator[bytes]:
        """What is sent to a browser that watches a topic."""
        topic = self._topics.setdefault((kind, key), _Topic())
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        topic.watchers.add(queue)
        if topic.task is None:
            topic.task = asyncio.create_task(self._keep(kind, key, topic))
        try:
            yield b"retry: 3000\n: watching\n\n"
            while not self.state.is_closing:
                try:
                    message = await asyncio.wait_for(queue.get(), BEAT_SECONDS)
                except TimeoutError:
                    message = b": still here\n\n"
                if message is None or await request.is_disconnected():
                    return
                yield message
        finally:
            topic.watchers.discard(queue)
            if not topic.watchers:
                self._topics.pop((kind, key), None)
                topic.task.cancel()

    async def _keep(self, kind: str, key: str, topic: _Topic) -> None:
        source = self.sources[kind]
        stamp: Hashable = None
        is_first = True
        while not self.state.is_closing:
            began = time.monotonic()
            try:
                seen = await to_thread.run_sync(source.stamp, self.state, key, limiter=self.state.limiter)
                if seen != stamp:
                    parts = await to_thread.run_sync(source.draw, self.state, key, limiter=self.state.limiter)
                    self._send(topic, parts, everything=is_first)
                    stamp, is_first = seen, False
            except Exception as error:  # noqa: BLE001 - the database may be away; the page stays as it is
                logger.warning("what %s %s shows cannot be kept up to date: %s", kind, key, error)
            topic.cost = 0.5 * topic.cost + 0.5 * (time.monotonic() - began)
            all_costs = sum(each.cost for each in self._topics.values())
            await asyncio.sleep(max(LOOK_SECONDS, all_costs / SHARE))

    def _send(self, topic: _Topic, parts: Parts, *, everything: bool) -> None:
        """Send the parts that differ from those sent last; all of them first, for a page may be older than its stream."""
        events = []
        for name, html in parts.items():
            if not everything and topic.sent.get(name) == html:
                continue
            topic.sent[name] = html
            lines = "".join(f"data: {line}\n" for line in html.splitlines() or [""])
            events.append(f"event: {name}\n{lines}\n")
        if not events:
            return
        # One message for all: what waits for a browser are draws, however many parts they have.
        message = "".join(events).encode()
        for queue in topic.watchers:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)  # it connects again and loads everything
            else:
                queue.put_nowait(message)

    def close(self) -> None:
        """Let everybody go; called on the loop, when the server closes."""
        for topic in self._topics.values():
            for queue in topic.watchers:
                if not queue.full():
                    queue.put_nowait(None)

    def respond(self, request: Request, kind: str, key: str) -> StreamingResponse:
        """The stream of a topic."""
        return StreamingResponse(
            self.watch(request, kind, key),
            media_type="text/event-stream",
            headers={**SECURITY_HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
