"""As much as a server takes: events one by one, events and signs of life in batches, a bind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from bench.load.client import Client
from bench.load.connection import Target, flood, paced
from bench.load.definition import register_graph, register_workflow
from bench.load.run import (
    BATCH,
    Run,
    event_of_end,
    event_of_heartbeat,
    event_of_launch,
    event_of_start,
)
from jobmon.core.instance_event import InstanceEvent
from jobmon.serializers.swarm import SyncRequest

EventOf = Callable[[int], InstanceEvent]


class Attempts(NamedTuple):
    """Attempts of a run that wait for what is told of them."""

    run: Run
    ids: list[int]


async def created_attempts(client: Client, num_runs: int, num_attempts: int) -> list[Attempts]:
    """Have attempts of several runs created, so many of each."""
    graph = await register_graph(client, num_attempts, 1)
    created = []
    for number in range(num_runs):
        run = Run(client, await register_workflow(client, graph, f"load {number}"))
        await run.begin()
        ids: list[int] = []
        for start in range(0, num_attempts, BATCH):
            ids += (await run.create(run.workflow.task_ids[start : start + BATCH])).task_instance_ids
        created.append(Attempts(run, ids))
    return created


async def launched_attempts(client: Client, num_runs: int, num_attempts: int) -> list[Attempts]:
    """The same, and the cluster took them."""
    created = await created_attempts(client, num_runs, num_attempts)
    for run, ids in created:
        for start in range(0, num_attempts, BATCH):
            await run.launched(ids[start : start + BATCH])
    return created


def requests_of(target: Target, attempt: int, *kinds: EventOf) -> list[bytes]:
    """What a wrapper tells of its attempt, as requests."""
    path = f"/worker/task_instance/{attempt}/event"
    return [target.request(path, msgspec.json.encode(kind(attempt))) for kind in kinds]


async def singles(urls: Sequence[str], num_attempts: int, num_connections: int) -> float:
    """Beginnings and ends of attempts, each by a request of its own: events per second.

    With several servers each gets its share of the attempts, and of the connections.
    """
    attempts = await _attempts_of_runs(urls, num_attempts)
    targets = [Target(url) for url in urls]
    shares = [attempts[number :: len(targets)] for number in range(len(targets))]
    floods = [
        flood(
            target,
            [requests_of(target, attempt, event_of_start, event_of_end) for attempt in share],
            num_connections // len(targets),
        )
        for target, share in zip(targets, shares, strict=True)
    ]
    seconds = max(await asyncio.gather(*floods))
    return 2 * len(attempts) / seconds


async def _attempts_of_runs(urls: Sequence[str], num_attempts: int, num_runs: int = 4) -> list[int]:
    """Launched attempts of several runs, mixed."""
    client = Client(urls)
    try:
        created = await launched_attempts(client, num_runs, num_attempts // num_runs)
    finally:
        await client.close()
    return [each for row in zip(*(ids for _, ids in created), strict=True) for each in row]


async def at_a_pace(
    urls: Sequence[str], num_attempts: int, per_second: float, num_connections: int
) -> list[float]:
    """Beginnings and ends that come at a fixed pace: the seconds each took from its time on, ascending."""
    attempts = await _attempts_of_runs(urls, num_attempts)
    target = Target(urls[0])
    told = [requests_of(target, attempt, event_of_start, event_of_end) for attempt in attempts]
    requests = [each[0] for each in told] + [each[1] for each in told]
    return sorted(await paced(target, requests, per_second, num_connections))


async def in_batches(urls: Sequence[str], num_runs: int, num_attempts: int) -> float:
    """Events of attempts in messages of 500, the runs side by side: events per second."""
    client = Client(urls)
    try:
        created = await created_attempts(client, num_runs, num_attempts)
        kinds: Sequence[EventOf] = (event_of_launch, event_of_start, event_of_end)
        seconds = await _side_by_side(client, created, kinds)
    finally:
        await client.close()
    return len(kinds) * num_runs * num_attempts / seconds


async def heartbeats(urls: Sequence[str], num_runs: int, num_attempts: int, times: int) -> float:
    """Signs of life of running attempts in messages of 500, the runs side by side: signs per second."""
    client = Client(urls)
    try:
        created = await launched_attempts(client, num_runs, num_attempts)
        await _side_by_side(client, created, [event_of_start])
        seconds = await _side_by_side(client, created, [event_of_heartbeat] * times)
    finally:
        await client.close()
    return times * num_runs * num_attempts / seconds


async def _side_by_side(client: Client, created: Sequence[Attempts], kinds: Sequence[EventOf]) -> float:
    """Tell one kind of event after the other of all attempts; the seconds it took."""
    messages = [
        (
            f"{run.path}/sync",
            [
                msgspec.json.encode(SyncRequest([kind(each) for each in part]))
                for kind in kinds
                for part in (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
            ],
        )
        for run, ids in created
    ]

    async def tell(path: str, contents: Sequence[bytes]) -> None:
        for content in contents:
            await client.send_encoded("POST", path, content)

    before = time.perf_counter()
    await asyncio.gather(*(tell(path, contents) for path, contents in messages))
    return time.perf_counter() - before
