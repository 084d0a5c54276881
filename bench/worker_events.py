"""How many single events of wrappers does one server process take, each answered after its commit?"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import cache

import msgspec
import uvloop

from bench.costs import Meter
from bench.load.connection import Target, flood, flood_by_new_connections, paced
from bench.place import measure
from bench.row import Row
from bench.workflows import independent
from jobmon.core.configuration import JobmonConfig
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.local_server import find_or_start
from jobmon.core.requester import current_user
from jobmon.core.states import TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.swarm import BatchRequest, SyncRequest
from jobmon.swarm.gateway import Gateway

NUM_ATTEMPTS = 6000
BATCH = 1000
CONNECTIONS = 64
PER_SECOND = 1000
LEASE_SECONDS = 600


class Load(msgspec.Struct):
    """What became of a load.

    Attributes:
        per_second: events answered per second.
        server_cpu: CPU seconds of the server per event.
        latencies: seconds each event took, ascending; empty where they were not taken.
    """

    per_second: float
    server_cpu: float
    latencies: list[float] = []


def launched_attempts(num_attempts: int) -> list[int]:
    """Have so many attempts wait for their wrappers, as on a batch system; their ids."""
    workflow = independent(num_attempts, "dummy")
    workflow.bind()
    gateway = Gateway(workflow.requester, workflow.workflow_id)
    gateway.create_run(uuid.uuid4().hex, current_user(), LEASE_SECONDS)
    gateway.reset_tasks(adopt=False)
    beginning = (
        WorkflowRunEvent.BIND,
        WorkflowRunEvent.INSTANTIATE,
        WorkflowRunEvent.LAUNCH,
        WorkflowRunEvent.START,
    )
    gateway.run_events(beginning)
    attempts: list[int] = []
    for page in gateway.tasks():
        for start in range(0, len(page.task_ids), BATCH):
            tasks = page.task_ids[start : start + BATCH]
            batch = BatchRequest(page.array_ids[0], start, page.task_resources_ids[0], tasks)
            created = gateway.sync(SyncRequest(batches=[batch])).batches[0].task_instance_ids
            gateway.sync(SyncRequest([launch(attempt) for attempt in created]))
            attempts += created
    return attempts


def launch(attempt: int) -> InstanceEvent:
    """The cluster has taken an attempt."""
    return InstanceEvent(attempt, TaskInstanceEvent.LAUNCH, distributor_id=str(attempt))


def story(target: Target, attempt: int) -> list[bytes]:
    """What a wrapper tells of its attempt: that it began, and how it ended."""
    began = InstanceEvent(
        attempt,
        TaskInstanceEvent.START,
        nodename="node-0123.cluster.example.org",
        process_group_id=4711,
        next_report_increment=LEASE_SECONDS,
    )
    ended = InstanceEvent(
        attempt,
        TaskInstanceEvent.FINISH,
        stdout_log="fitted 1 000 rows\n" * 10,
        stderr_log="",
        exit_code=0,
        wallclock=12.3,
        maxrss=123_456_789,
        cpu=11.1,
        io=1_000_000,
    )
    path = f"/worker/task_instance/{attempt}/event"
    return [target.request(path, msgspec.json.encode(each)) for each in (began, ended)]


def stories(num_attempts: int) -> tuple[Target, list[list[bytes]]]:
    """A server, and what the wrappers of its attempts will tell it."""
    config = JobmonConfig()
    attempts = launched_attempts(num_attempts)
    record = find_or_start(config)
    target = Target(record.url, str(config.get("http", "route_prefix")), record.token)
    return target, [story(target, attempt) for attempt in attempts]


def flooded(num_attempts: int, over_new_connections: bool) -> Load:
    """As many events as the server takes."""
    target, told = stories(num_attempts)
    send = flood_by_new_connections if over_new_connections else flood
    with Meter() as meter:
        seconds = uvloop.run(send(target, told, CONNECTIONS))
    return Load(2 * num_attempts / seconds, meter.costs.server / (2 * num_attempts))


def at_a_pace(num_attempts: int, per_second: float) -> Load:
    """Events that come at a fixed pace: first all beginnings, then all ends."""
    target, told = stories(num_attempts)
    requests = [each[0] for each in told] + [each[1] for each in told]
    with Meter() as meter:
        taken = uvloop.run(paced(target, requests, per_second, CONNECTIONS))
    return Load(len(taken) / meter.costs.wall, meter.costs.server / len(taken), sorted(taken))


@cache
def flood_load(over_new_connections: bool) -> Load:
    """The load of a flood."""
    return measure(flooded, NUM_ATTEMPTS, over_new_connections)


@cache
def paced_load() -> Load:
    """The load at a pace."""
    return measure(at_a_pace, NUM_ATTEMPTS // 2, PER_SECOND)


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


ROWS = (
    Row(
        "worker events, one server process, durable, connections kept",
        "/s",
        lambda: flood_load(False).per_second,
        3000,
        at_least=True,
    ),
    Row("  server CPU per event", "ms", lambda: flood_load(False).server_cpu * 1e3, None, "peer 1.3–3.7 ms"),
    Row("  with a new connection for each", "/s", lambda: flood_load(True).per_second),
    Row(
        "worker events at 1 000/s: p99",
        "ms",
        lambda: percentile(paced_load().latencies, 0.99) * 1e3,
        150,
    ),
    Row("  median", "ms", lambda: percentile(paced_load().latencies, 0.5) * 1e3),
)
