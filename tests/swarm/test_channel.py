"""Blocking calls beside an event loop."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from jobmon.swarm.channel import Channel


@pytest.fixture
def channel() -> Iterator[Channel]:
    """A channel, closed afterwards."""
    channel = Channel("test-channel")
    yield channel
    channel.close()


def test_results_and_errors_come_back(channel: Channel) -> None:
    """In the order of the calls, from one thread."""

    async def main() -> None:
        names = await asyncio.gather(
            *(channel.call(lambda: threading.current_thread().name) for _ in range(3))
        )
        assert names == ["test-channel"] * 3
        with pytest.raises(ZeroDivisionError):
            await channel.call(lambda: 1 / 0)
        assert await channel.call(lambda: 5) == 5

    asyncio.run(main())


def test_the_loop_goes_on_meanwhile(channel: Channel) -> None:
    """That is what it is for."""
    gate = threading.Event()

    async def main() -> None:
        call = asyncio.create_task(channel.call(lambda: gate.wait(10)))
        await asyncio.sleep(0.01)
        assert not call.done()
        gate.set()
        assert await call

    asyncio.run(main())


def test_who_does_not_wait_any_more_is_not_told(channel: Channel) -> None:
    """Neither after a cancellation nor after the loop was closed."""
    gate, done = threading.Event(), threading.Event()

    async def main() -> None:
        call = asyncio.create_task(channel.call(lambda: gate.wait(10)))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    gate.set()

    async def later() -> None:
        await channel.call(done.set)

    asyncio.run(later())
    assert done.is_set()
    gc.collect()


def test_a_call_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    """The interpreter does not wait for it."""
    program = (
        "import asyncio, time\n"
        "from jobmon.swarm.channel import Channel\n"
        "async def main():\n"
        "    asyncio.create_task(Channel('x').call(lambda: time.sleep(60)))\n"
        "    await asyncio.sleep(0.05)\n"
        "asyncio.run(main())\n"
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    assert time.monotonic() - started < 20
