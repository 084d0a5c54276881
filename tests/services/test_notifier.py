"""The notifier: nothing that goes wrong beyond it reaches who asked, and nothing goes on for ever."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from jobmon.core.notify_target import NotifyChannel, parse_target
from jobmon.server.services.notify import notifier as module
from jobmon.server.services.notify.channels import NotifySettings
from jobmon.server.services.notify.notice import Channel, DeliveryError, Notice
from jobmon.server.services.notify.notifier import LONGEST_PAUSE_SECONDS, Notifier, pause_after
from processes import wait_until


class FakeChannel:
    """Keeps what it is to tell; fails as often as it is told to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.tries: list[str] = []
        self.errors: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()

    def send(self, notice: Notice) -> None:
        self.tries.append(notice.delivery_id)
        assert self.gate.wait(30)
        if self.errors:
            raise self.errors.pop(0)
        self.told.append(notice.delivery_id)


@pytest.fixture
def channels() -> dict[NotifyChannel, FakeChannel]:
    return {channel: FakeChannel() for channel in NotifyChannel}


@pytest.fixture
def notifier(channels: dict[NotifyChannel, FakeChannel]) -> Iterator[Notifier]:
    def maker(channel: NotifyChannel) -> Callable[[], Channel]:
        return lambda: channels[channel]

    notifier = Notifier(NotifySettings(), {c: maker(c) for c in channels}, pause=lambda tries, wait: 0.0)
    yield notifier
    for channel in channels.values():
        channel.gate.set()
    notifier.stop(10)


def notice(number: int, target: str = "#a", max_tries: int = 3, ends: list[object] | None = None) -> Notice:
    kept: list[object] = [] if ends is None else ends
    return Notice(str(number), parse_target(target), "s", "t", {}, max_tries, on_end=kept.append)


def test_it_is_tried_again_and_then_told(
    notifier: Notifier, channels: dict[NotifyChannel, FakeChannel]
) -> None:
    slack = channels[NotifyChannel.SLACK]
    slack.errors = [DeliveryError("away"), RuntimeError("hunter2")]
    ends: list[object] = []
    assert notifier.put(notice(1, ends=ends))
    wait_until(lambda: ends, "the end")
    assert (slack.tries, slack.told, ends) == (["1"] * 3, ["1"], [None])
    assert notifier.counters == {"slack_failed": 2, "slack_told": 1}


@pytest.mark.parametrize(
    ("error", "num_tries"),
    [(DeliveryError("away"), 3), (DeliveryError("no such channel", is_final=True), 1)],
)
def test_it_is_given_up(
    notifier: Notifier, channels: dict[NotifyChannel, FakeChannel], error: DeliveryError, num_tries: int
) -> None:
    slack = channels[NotifyChannel.SLACK]
    slack.errors = [error] * 9
    ends: list[object] = []
    notifier.put(notice(1, ends=ends))
    wait_until(lambda: ends, "the end")
    assert (len(slack.tries), slack.told, ends) == (num_tries, [], [error])


def test_one_channel_that_hangs_holds_up_nobody(
    notifier: Notifier,
    channels: dict[NotifyChannel, FakeChannel],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its queue is bounded, what is too much is dropped and logged once; others go on, and so does the end."""
    monkeypatch.setattr(module, "QUEUE_LENGTH", 5)
    slack, mail = channels[NotifyChannel.SLACK], channels[NotifyChannel.MAIL]
    slack.gate.clear()
    taken = [notifier.put(notice(number)) for number in range(50)]
    assert taken.count(True) <= 6
    assert taken[0]
    assert not taken[-1]
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) <= 2
    notifier.put(notice(99, "mail:a@b.c"))
    wait_until(lambda: mail.told == ["99"], "the mail")
    assert notifier.room() <= 1
    notifier.stop(0.05)
    assert not notifier.put(notice(100))


def test_a_listener_that_fails_does_no_harm(
    notifier: Notifier, channels: dict[NotifyChannel, FakeChannel]
) -> None:
    """The database may be away when it is to be noted that somebody was told."""

    def fail(_: DeliveryError | None) -> None:
        raise OSError("away")

    notifier.put(Notice("1", parse_target("#a"), "s", "t", {}, on_end=fail))
    notifier.put(notice(2))
    wait_until(lambda: channels[NotifyChannel.SLACK].told == ["1", "2"], "both")


def test_what_is_due_is_told_before_the_end(channels: dict[NotifyChannel, FakeChannel]) -> None:
    """Later tries are given up."""
    slack = channels[NotifyChannel.SLACK]
    slack.errors = [DeliveryError("away")]
    notifier = Notifier(
        NotifySettings(), {NotifyChannel.SLACK: lambda: slack}, pause=lambda tries, wait: 3600.0
    )
    for number in range(20):
        notifier.put(notice(number))
    notifier.stop(10)
    assert slack.told == [str(number) for number in range(1, 20)]


def test_pauses_grow_and_are_bounded() -> None:
    pauses = [pause_after(tries) for tries in range(1, 40)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 2
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert pause_after(1, 60) == 60
