"""Figures that take long: worked out in one thread beside the requests, shared by all who look, shown with their age.

A page never waits for them. It shows what is known; where nothing is, it says so and asks again in a moment. Figures of a
workflow that is over are worked out once; of one that goes on again, when somebody looks and they are old: the longer they take,
the older they may become.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

logger = logging.getLogger("jobmon.server")

T = TypeVar("T")

LEAST_SECONDS = 5.0
"""So old figures may be at least."""
SHARE = 0.1
"""Share of one core that a figure may take for itself: it may be as old as its cost divided by this."""
KEPT = 500
PATIENCE_SECONDS = 0.1
"""A request waits so long for a figure that nobody has worked out yet: of small workflows it is there by then."""


@dataclass(frozen=True)
class Figure(Generic[T]):
    """What is known.

    Attributes:
        value: the figures; ``None``: they are being worked out.
        age_seconds: how old they are.
        error: why they could not be worked out; empty: they could.
    """

    value: T | None
    age_seconds: float = 0.0
    error: str = ""


@dataclass
class _Entry:
    stamp: Hashable = None
    value: Any = None
    error: str = ""
    at: float = 0.0
    cost: float = 0.0
    is_known: bool = False
    is_running: bool = False


class Computed:
    """Keeps figures by key."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Condition()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobmon-figures")
        self._is_stopped = False

    def get(
        self,
        key: Hashable,
        stamp: Hashable,
        work: Callable[[], T],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Figure[T]:
        """Figures under a key; has them worked out where they are missing or old.

        Args:
            key: what they are.
            stamp: changes when they may have changed; the same: what is known is still true.
            work: works them out.
            patience_seconds: how long to wait for figures that nobody has worked out yet.
        """
        now = time.monotonic()
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > KEPT:
                self._entries.popitem(last=False)
            is_stale = entry.stamp != stamp and now - entry.at >= max(LEAST_SECONDS, entry.cost / SHARE)
            if (not entry.is_known or is_stale) and not entry.is_running and not self._is_stopped:
                entry.is_running = True
                self._thread.submit(self._run, entry, stamp, work)
            if not entry.is_known:
                self._lock.wait_for(lambda: entry.is_known, patience_seconds)
            if not entry.is_known:
                return Figure(None)
            return Figure(entry.value, max(0.0, time.monotonic() - entry.at), entry.error)

    def _run(self, entry: _Entry, stamp: Hashable, work: Callable[[], Any]) -> None:
        began = time.monotonic()
        value, error = None, ""
        try:
            value = work()
        except Exception as failure:
            logger.warning("figures for a page could not be worked out", exc_info=failure)
            error = str(failure) or type(failure).__name__
        with self._lock:
            entry.at = time.monotonic()
            entry.cost = entry.at - began
            entry.stamp, entry.value, entry.error = stamp, value, error
            entry.is_known, entry.is_running = True, False
            self._lock.notify_all()

    def stop(self) -> None:
        """Begin nothing more and wait for what is being worked out."""
        with self._lock:
            self._is_stopped = True
        self._thread.shutdown(wait=True, cancel_futures=True)
