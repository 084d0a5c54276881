"""Group commit: what comes close together is committed together, and nobody waits without need."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import pytest

from jobmon.core.exceptions import NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.server.web import group_commit
from jobmon.server.web.group_commit import CROWD, GroupCommit
from jobmon.server.web.identity import Identity
from jobmon.server.web.store.attempts import Applied

BOUND_SECONDS = 20
LONG_SECONDS = 600.0


class Noted(GroupCommit):
    """Stores nothing, so that every attempt is unknown; notes the size of each commit."""

    def __init__(self) -> None:
        super().__init__(None, lambda runs: None, 3)  # type: ignore[arg-type]
        self.sizes: list[int] = []
        self.failures: list[Exception] = []

    def _store(self, events: list[InstanceEvent], senders: Mapping[int, Identity]) -> Applied:
        self.sizes.append(len(events))
        if self.failures:
            raise self.failures.pop()
        return Applied()

    async def take(self, count: int) -> Sequence[BaseException | Any]:
        """Submit so many events at once; the answers, which are errors here."""
        events = [InstanceEvent(number, TaskInstanceEvent.START) for number in range(count)]
        return await asyncio.gather(*map(self.submit, events), return_exceptions=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, BOUND_SECONDS))


@pytest.fixture
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for others waits too long for the test."""
    monkeypatch.setattr(group_commit, "SPACING_SECONDS", LONG_SECONDS)


@pytest.mark.usefixtures("_long")
def test_the_first_two_events_after_a_pause_wait_for_no_other():
    """The start and the end of a lone attempt are committed at once, though the next commit would be put off."""

    async def work() -> None:
        intake = Noted()
        assert [type(each) for each in await intake.take(1)] == [NotFoundError]
        assert [type(each) for each in await intake.take(1)] == [NotFoundError]
        assert intake.sizes == [1, 1]

    run(work())


@pytest.mark.usefixtures("_long")
def test_a_crowd_is_not_put_off():
    """As many events as are worth a commit get it at once, and none is left behind."""

    async def work() -> None:
        intake = Noted()
        await intake.take(1)
        await intake.take(1)
        few = asyncio.ensure_future(intake.take(CROWD - 1))
        await asyncio.sleep(0)
        assert not (await asyncio.wait([few], timeout=0.05))[0]
        await intake.take(1)
        await few
        assert intake.sizes == [1, 1, CROWD]

    run(work())


def test_what_comes_close_together_is_committed_together():
    """Events between two commits share the second, which comes by itself."""

    async def work() -> None:
        intake = Noted()
        await intake.take(1)
        await intake.take(1)
        await asyncio.gather(*(intake.take(1) for _ in range(CROWD // 2)))
        assert intake.sizes == [1, 1, CROWD // 2]

    run(work())


def test_a_commit_that_failed_puts_nobody_off_for_ever():
    """Its waiters get the error, the next event its answer."""

    async def work() -> None:
        intake = Noted()
        intake.failures.append(OSError("disk"))
        assert [type(each) for each in await intake.take(2)] == [OSError, OSError]
        assert [type(each) for each in await intake.take(1)] == [NotFoundError]

    run(work())
