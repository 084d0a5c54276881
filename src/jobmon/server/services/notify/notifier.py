"""The notifier: takes notices without ever waiting, and tells them from threads of its own.

Each channel has a queue that is bounded and one thread: a Slack that hangs holds up no mail, and nothing that goes wrong there
reaches who asked. A notice that cannot be told is tried again, later each time; then it is given up and logged, once.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError, JobmonError
from jobmon.core.notify_target import NotifyChannel
from jobmon.server.services.notify.channels import NotifySettings, make_channel
from jobmon.server.services.notify.notice import Channel, DeliveryError, Notice

logger = logging.getLogger("jobmon.server.notify")

QUEUE_LENGTH = 1000
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 1800.0


def pause_after(num_tries: int, retry_after_seconds: float = 0.0) -> float:
    """Seconds until the next try, after so many; never before the other side wants it."""
    usual = FIRST_PAUSE_SECONDS * 2.0 ** min(max(num_tries, 1) - 1, 20)
    return max(min(usual, LONGEST_PAUSE_SECONDS), retry_after_seconds)


class _Worker:
    """The queue and the thread of one channel; the thread begins with the first notice."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Channel],
        counters: Counter[str],
        pause: Callable[[int, float], float],
    ) -> None:
        self.name, self._make, self._counters, self._pause = name, make, counters, pause
        self._channel: Channel | None = None
        self._queue: list[tuple[float, int, int, Notice]] = []  # when, order, tries so far
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._is_stopped = False
        self._thread: threading.Thread | None = None
        self._busy = 0
        self._is_full = False

    def room(self) -> int:
        with self._wake:
            return QUEUE_LENGTH - len(self._queue) - self._busy

    def put(self, notice: Notice) -> bool:
        with self._wake:
            if self._is_stopped or len(self._queue) + self._busy >= QUEUE_LENGTH:
                if not self._is_full:
                    logger.error("%s: too much to tell, %s is not told", self.name, notice.delivery_id)
                self._is_full = True
                self._counters[f"{self.name}_dropped"] += 1
                return False
            self._is_full = False
            heapq.heappush(self._queue, (time.monotonic(), next(self._order), 0, notice))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"jobmon-notify-{self.name}", daemon=True
                )
                self._thread.start()
            self._wake.notify_all()
            return True

    def stop(self) -> None:
        with self._wake:
            self._is_stopped = True
            self._wake.notify_all()

    def join(self, deadline: float) -> None:
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _next(self) -> tuple[int, Notice] | None:
        """Wait for the next notice that is due; ``None`` at the end, when only later tries are left."""
        with self._wake:
            while True:
                now = time.monotonic()
                if self._queue and self._queue[0][0] <= now:
                    _, _, tries, notice = heapq.heappop(self._queue)
                    self._busy = 1
                    return tries, notice
                if self._is_stopped:
                    return None
                self._wake.wait(self._queue[0][0] - now if self._queue else None)

    def _work(self) -> None:
        while (found := self._next()) is not None:
            tries, notice = found
            try:
                error = self._try(notice)
                self._note(notice, tries + 1, error)
            except Exception:
                logger.exception("%s: the end of %s could not be noted", self.name, notice.delivery_id)
            finally:
                with self._wake:
                    self._busy = 0

    def _try(self, notice: Notice) -> DeliveryError | None:
        try:
            if self._channel is None:
                self._channel = self._make()
            self._channel.send(notice)
        except DeliveryError as error:
            return error
        except JobmonError as error:  # the configuration is at fault
            return DeliveryError(str(error), is_final=True)
        except Exception as error:  # noqa: BLE001 - whatever a channel does must stay here; its text may hold secrets
            return DeliveryError(f"{self.name} failed ({type(error).__name__}).")
        return None

    def _note(self, notice: Notice, tries: int, error: DeliveryError | None) -> None:
        if error is None:
            self._counters[f"{self.name}_told"] += 1
            notice.on_end(None)
            return
        self._counters[f"{self.name}_failed"] += 1
        if error.is_final or tries >= notice.max_tries:
            self._counters[f"{self.name}_given_up"] += 1
            notice.on_end(error)
            return
        due = time.monotonic() + self._pause(tries, error.retry_after_seconds)
        with self._wake:
            heapq.heappush(self._queue, (due, next(self._order), tries, notice))


class Notifier:
    """Tells people.

    Args:
        settings: what is configured.
        channels: makes each channel when it is first used.
        pause: seconds until the next try, after so many tries and what the other side asked for.
    """

    def __init__(
        self,
        settings: NotifySettings,
        channels: Mapping[NotifyChannel, Callable[[], Channel]],
        pause: Callable[[int, float], float] = pause_after,
    ) -> None:
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self._workers = {
            channel: _Worker(channel.value, make, self.counters, pause) for channel, make in channels.items()
        }

    @classmethod
    def from_config(cls, config: JobmonConfig) -> Notifier:
        """As configured; where that is not understood the log says so, and only the log is told."""
        try:
            settings = NotifySettings.from_config(config)
        except ConfigError as error:
            logger.error("nobody is told of anything until this is mended: %s", error)
            settings = NotifySettings()
        makers = {channel: partial(make_channel, config, channel) for channel in NotifyChannel}
        return cls(settings, makers)

    def put(self, notice: Notice) -> bool:
        """Have a notice told; whether there was room for it. Never waits."""
        return self._workers[notice.target.channel].put(notice)

    def room(self) -> int:
        """How many notices every channel has room for."""
        return min((worker.room() for worker in self._workers.values()), default=0)

    def stop(self, timeout_seconds: float) -> None:
        """Tell what is due and end; later tries are given up, and a channel that hangs is left behind."""
        for worker in self._workers.values():
            worker.stop()
        deadline = time.monotonic() + timeout_seconds
        for worker in self._workers.values():
            worker.join(deadline)
