"""What is told, to whom, and what may go wrong: values that all channels share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from jobmon.core.exceptions import JobmonError
from jobmon.core.notify_target import NotifyTarget


class DeliveryError(JobmonError):
    """Somebody could not be told.

    Args:
        message: why; without secrets.
        is_final: trying again is of no use.
        retry_after_seconds: the other side asked to be left alone for so long.
    """

    def __init__(
        self, message: str = "", *, is_final: bool = False, retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(message)
        self.is_final, self.retry_after_seconds = is_final, retry_after_seconds


@dataclass(frozen=True)
class Notice:
    """One thing to tell one address.

    Attributes:
        delivery_id: the same for every try, so that the other side can see that it has it already.
        target: whom to tell.
        subject: one line.
        text: some lines of plain text.
        data: the same for programs; JSON.
        max_tries: how often it is tried here before it counts as failed.
        on_end: called once at the end, from the channel's thread: with no error when it was told.
    """

    delivery_id: str
    target: NotifyTarget
    subject: str
    text: str
    data: dict[str, Any]
    max_tries: int = 1
    on_end: Callable[[DeliveryError | None], None] = field(default=lambda _: None, compare=False)


class Channel(Protocol):
    """A way to tell somebody."""

    def send(self, notice: Notice) -> None:
        """Tell it once, within the configured time.

        Raises:
            DeliveryError: it was not told, as far as can be known.
        """
