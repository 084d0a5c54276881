"""Parts of pages that change by themselves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from anyio import CapacityLimiter

from jobmon.server.web.ui.live import WAITING, LiveSource, LiveTopics


def test_a_topic_with_many_parts_arrives_whole() -> None:
    """A list has more parts than draws may wait for a browser."""
    parts = {f"row{number}": f"<b>{number}</b>" for number in range(4 * WAITING)}

    async def watch() -> bytes:
        state: Any = SimpleNamespace(is_closing=False, limiter=CapacityLimiter(2))
        topics = LiveTopics(state, {"list": LiveSource(lambda _state, _key: 1, lambda _state, _key: parts)})
        request: Any = SimpleNamespace(is_disconnected=_is_never)
        stream = topics.watch(request, "list", "1")
        received = b""
        async with asyncio.timeout(30):
            async for message in stream:
                received += message
                if b"row0" in received:
                    break
        await stream.aclose()  # type: ignore[attr-defined]
        assert topics.num_watchers == 0
        return received

    received = asyncio.run(watch()).decode()
    for name, html in parts.items():
        assert f"event: {name}\ndata: {html}\n\n" in received


async def _is_never() -> bool:
    return False
