"""Blocking calls beside an event loop, in threads that never hold up the end of the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Channel:
    """One daemon thread that makes blocking calls, one after the other.

    The standard executors are waited for when the interpreter ends; a request that hangs would then hang Ctrl-C.

    Args:
        name: name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    async def call(self, function: Callable[[], T]) -> T:
        """Make a blocking call; its result, or its exception."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - handed to who waits
                failure = error  # the name `error` ends with this block
                _settle(loop, future, lambda: future.set_exception(failure))
            else:
                _settle(loop, future, lambda: future.set_result(result))

        self._calls.put(run)
        return await future

    def close(self) -> None:
        """End the thread after the calls that wait."""
        self._calls.put(None)


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    def if_awaited() -> None:
        if not future.done():
            settle()

    try:
        loop.call_soon_threadsafe(if_awaited)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more
