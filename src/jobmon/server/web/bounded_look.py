"""Blocking work that is done by one thread at a time and waited for no longer than so long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class BoundedLook(Generic[T]):
    """A look at something that may hang, such as a database.

    Whoever asks while a look is under way waits for that one: however long it hangs and however many ask, it costs one thread.
    The thread does not keep the process from ending.

    Args:
        work: what blocks.
        name: of the thread.
    """

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work, self._name = work, name
        self._future: Future[T] | None = None
        self._lock = threading.Lock()
        self._began = 0.0

    @property
    def running_seconds(self) -> float:
        """How long the look has been under way that was begun last."""
        return time.monotonic() - self._began

    async def result(self, timeout_seconds: float) -> T | None:
        """What a look that ends by now or within so long finds; ``None``: none does.

        Raises:
            Exception: what the work raised.
        """
        waited = asyncio.wrap_future(self._current())
        done, _ = await asyncio.wait({waited}, timeout=timeout_seconds)
        return waited.result() if done else None

    def _current(self) -> Future[T]:
        with self._lock:
            if self._future is None or self._future.done():
                future: Future[T] = Future()
                self._future = future
                self._began = time.monotonic()
                threading.Thread(target=self._run, args=[future], name=self._name, daemon=True).start()
            return self._future

    def _run(self, future: Future[T]) -> None:
        try:
            future.set_result(self._work())
        except Exception as error:  # noqa: BLE001 - it is the answer
            future.set_exception(error)
