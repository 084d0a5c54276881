"""Turns of a controller, one by one, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobmon.core.states import TaskStatus
from jobmon.serializers.swarm import SerializeSwarmTask, TaskChanges
from jobmon.swarm.outcome import RunOptions
from jobmon.swarm.resources import ResourceRequests, TaskHooks
from jobmon.swarm.situation import Situation
from jobmon.swarm.state import SwarmState
from jobmon.swarm.turns import Turns


def page(letter: str) -> SerializeSwarmTask:
    """The one task of a workflow."""
    return SerializeSwarmTask([1], letter, [1], [1], [1], [1], [0], [[]], [""], [""])


class Server:
    """Reads the task; something may happen before the answer arrives."""

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.meanwhile: Callable[[], None] = lambda: None

    def tasks(self) -> Iterator[SerializeSwarmTask]:
        yield page(self.letter)
        self.meanwhile()


class Direct:
    """A channel without a thread."""

    async def call(self, function: Callable[[], Any]) -> Any:
        return function()


@pytest.mark.parametrize("is_told", [False, True])
def test_what_the_feed_tells_is_not_undone_by_an_older_look(is_told: bool) -> None:
    """A task that is set done while all tasks are read stays done: the feed tells it once."""
    state, situation, server = SwarmState([page("G")], 10, {1: 10}), Situation(cursor=5), Server("F")

    def tell() -> None:
        situation.cursor = 6
        state.apply(TaskChanges([1], "D", [0]))

    if is_told:
        server.meanwhile = tell
    resources = ResourceRequests(server, TaskHooks(), pytest.fail)  # type: ignore[arg-type]
    turns = Turns(server, RunOptions(), situation, state, resources, {}, {}, 1, 0.0)  # type: ignore[arg-type]
    asyncio.run(turns._reconcile(Direct()))  # type: ignore[arg-type]
    assert state.status_of(0) is (TaskStatus.DONE if is_told else TaskStatus.ERROR_FATAL)
