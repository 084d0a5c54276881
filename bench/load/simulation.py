"""Workflows at work without commands: controllers and wrappers that tell the server what real ones would.

A *controller* creates the run of its workflow, asks for attempts, says that the cluster took them, listens to its feed and
queues what has become ready. A *wrapper* tells that its command began, gives signs of life, and tells its end. Both use
the real messages over the real interface; nothing is run, and the cluster takes no time.

Each workflow consists of ``lanes`` chains, of which every one has a task running at any time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.load.client import Client, path_with
from bench.load.definition import Registered, register_graph, register_workflow
from bench.load.run import BATCH, Run, event_of_end, event_of_heartbeat, event_of_start
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent, TaskStatus, WorkflowRunEvent
from jobmon.serializers.swarm import FeedResponse
from jobmon.serializers.worker import WorkerResponse
from jobmon.testing.journal import Journal

POLL_SECONDS = 20


@dataclass(frozen=True)
class Shape:
    """How much there is to simulate.

    Attributes:
        workflows: that run at once.
        lanes: chains of each, and so its tasks that run at once.
        links: tasks of a chain.
        seconds: a task takes, on average; the first ones of the lanes end one after the other within that time.
        heartbeat_seconds: between two signs of life of a wrapper; 0: it gives none.
    """

    workflows: int = 10
    lanes: int = 50
    links: int = 3
    seconds: float = 1.0
    heartbeat_seconds: float = 0.0

    @property
    def tasks(self) -> int:
        """Of all workflows."""
        return self.workflows * self.lanes * self.links


@dataclass
class Outcome:
    """What became of a simulation.

    Attributes:
        seconds: from the first run to the end.
        ended: tasks whose end was acknowledged.
        events: events of wrappers that were acknowledged.
        event_seconds: time each of them took, from the moment at which it was due.
        step_seconds: from the end of each task to the start of the one that waited for it.
        finished: workflows that are done.
        void: attempts that were told to stop when they began.
        statuses: answers by their HTTP status; 0: connections that broke.
    """

    seconds: float = 0.0
    ended: int = 0
    events: int = 0
    event_seconds: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    finished: int = 0
    void: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def forget_times(self) -> None:
        """Begin to measure: what was counted so far was the way there."""
        self.event_seconds.clear()
        self.step_seconds.clear()
        self.ended = self.events = 0


class Simulation:
    """Controllers and wrappers of so many workflows.

    Args:
        shape: how many.
        urls: addresses of the servers, which are asked in turn.
        num_connections: for everything but long polls.
        journal: is told of every change that was acknowledged.
        token: bearer token.
        seed: of the times tasks take.
    """

    def __init__(
        self,
        shape: Shape,
        urls: Sequence[str],
        *,
        num_connections: int = 64,
        journal: Journal | None = None,
        token: str = "",
        seed: int = 0,
    ) -> None:
        self.shape, self.outcome = shape, Outcome()
        self._urls, self._num_connections, self._journal, self._token = urls, num_connections, journal, token
        self._random = random.Random(seed)

    async def run(self, for_seconds: float | None = None) -> Outcome:
        """Register the workflows and run them, to the end or for so long after all lanes have begun."""
        client = Client(self._urls, self._num_connections, self._journal, self._token)
        wrappers = Wrappers(client, self.shape, self.outcome, self._random)
        if for_seconds is None:
            wrappers.begin_to_end()
        try:
            graph = await register_graph(client, self.shape.lanes, self.shape.links)
            workflows = [
                await register_workflow(client, graph, f"simulated {number}")
                for number in range(self.shape.workflows)
            ]
            started = time.perf_counter()
            sending = [asyncio.create_task(wrappers.work()) for _ in range(self._num_connections)]
            controllers = [Controller(client, wrappers, each, self.shape.links) for each in workflows]
            running = [asyncio.create_task(each.run()) for each in controllers]
            working = running
            if for_seconds is not None:
                working = [asyncio.create_task(self._measure(controllers, wrappers, for_seconds))]
            await _until_done(working, [*running, *sending])
            self.outcome.seconds = time.perf_counter() - started if for_seconds is None else for_seconds
            await _cancel([*running, *sending])
        finally:
            self.outcome.statuses = dict(client.statuses)
            await client.close()
        return self.outcome

    async def _measure(
        self, controllers: Sequence[Controller], wrappers: Wrappers, for_seconds: float
    ) -> None:
        await asyncio.gather(*(each.has_begun.wait() for each in controllers))
        await wrappers.all_started.wait()
        wrappers.begin_to_end()
        await asyncio.sleep(WARM_UP_SECONDS)
        self.outcome.forget_times()
        await asyncio.sleep(for_seconds)


WARM_UP_SECONDS = 10.0
"""After a hundred thousand attempts were told to end one after the other, which takes the simulation a while itself."""


async def _until_done(working: Sequence[asyncio.Task[None]], others: Sequence[asyncio.Task[None]]) -> None:
    """Wait until all of this is done, or anything fails."""
    waiting = {*working, *others}
    while not all(each.done() for each in working):
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


# -- wrappers ---------------------------------------------------------------------------------------------
class Wrappers:
    """What the wrappers of all attempts have to tell, in the order in which it is due."""

    def __init__(self, client: Client, shape: Shape, outcome: Outcome, rng: random.Random) -> None:
        self._client, self._shape, self._outcome, self._random = client, shape, outcome, rng
        self._later: list[tuple[float, int, InstanceEvent]] = []
        self._due: asyncio.Queue[tuple[float, InstanceEvent]] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._numbers = itertools.count()
        self._num_starting = shape.workflows * shape.lanes
        self._is_ending = False
        self._held: list[int] = []
        self.all_started = asyncio.Event()
        self._ended_at: dict[int, float] = {}
        self._ends: dict[int, float] = {}

    def start(self, task_instance_id: int) -> None:
        """An attempt begins now."""
        self._put(time.perf_counter(), event_of_start(task_instance_id))

    def note_step(self, task_instance_id: int) -> None:
        """What waited for this attempt has an attempt of its own now."""
        self._outcome.step_seconds.append(time.perf_counter() - self._ended_at.pop(task_instance_id))

    def workflow_finished(self) -> None:
        """A workflow is done."""
        self._outcome.finished += 1

    def begin_to_end(self) -> None:
        """All lanes have begun: from now on attempts end."""
        self._is_ending = True
        held, self._held = self._held, []
        now = time.perf_counter()
        for task_instance_id in held:
            self._plan(task_instance_id, now, self._random.random() * self._shape.seconds)

    async def work(self) -> None:
        """Tell what is due, one after the other, for ever."""
        while True:
            due, event = await self._due.get()
            if event.event is TaskInstanceEvent.FINISH:
                self._ended_at[event.task_instance_id] = due
            path = f"/worker/task_instance/{event.task_instance_id}/event"
            answer = await self._client.send("POST", path, event, WorkerResponse)
            self._told(due, event, answer)

    def _told(self, due: float, event: InstanceEvent, answer: WorkerResponse) -> None:
        now = time.perf_counter()
        self._outcome.events += 1
        self._outcome.event_seconds.append(now - due)
        if event.event is TaskInstanceEvent.FINISH:
            self._outcome.ended += 1
        elif event.event is not TaskInstanceEvent.START:
            return  # a sign of life may overtake the end, and is told to stop then
        elif not answer.is_live:
            self._outcome.void += 1
        else:
            self._num_starting -= 1
            if self._num_starting == 0:
                self.all_started.set()
            if self._is_ending:
                self._plan(event.task_instance_id, due, self._shape.seconds * self._random.uniform(0.5, 1.5))
            else:
                self._held.append(event.task_instance_id)

    def _plan(self, task_instance_id: int, begun: float, seconds: float) -> None:
        """Signs of life, then the end."""
        interval = self._shape.heartbeat_seconds
        if interval:
            self._ends[task_instance_id] = begun + seconds
            self._plan_beat(task_instance_id, begun + interval * self._random.random())
        self._put(begun + seconds, event_of_end(task_instance_id))

    def _plan_beat(self, task_instance_id: int, due: float) -> None:
        """The next sign of life, unless the attempt ends before."""
        if due < self._ends[task_instance_id]:
            self._put(due, event_of_heartbeat(task_instance_id))
        else:
            del self._ends[task_instance_id]

    def _put(self, due: float, event: InstanceEvent) -> None:
        heapq.heappush(self._later, (due, next(self._numbers), event))
        if self._later[0][2] is event:
            self._release()

    def _release(self) -> None:
        """Hand out what is due, and come back when the next is."""
        if self._timer is not None:
            self._timer.cancel()
        now = time.perf_counter()
        while self._later and self._later[0][0] <= now:
            due, _, event = heapq.heappop(self._later)
            self._due.put_nowait((due, event))
            if event.event is TaskInstanceEvent.HEARTBEAT:
                self._plan_beat(event.task_instance_id, due + self._shape.heartbeat_seconds)
        if self._later:
            self._timer = asyncio.get_running_loop().call_later(self._later[0][0] - now, self._release)


# -- controllers -----------------------------------------------------------------------------------------
class Controller:
    """The controller of one workflow on a batch cluster that takes everything at once."""

    def __init__(self, client: Client, wrappers: Wrappers, workflow: Registered, links: int) -> None:
        self._client, self._wrappers, self._workflow, self._links = client, wrappers, workflow, links
        self._run = Run(client, workflow)
        self._places = {task_id: place for place, task_id in enumerate(workflow.task_ids)}
        self._attempts: dict[int, int] = {}
        self._done: set[int] = set()
        self.has_begun = asyncio.Event()

    async def run(self) -> None:
        """Run the workflow to its end."""
        await self._run.begin()
        await self._queue([self._workflow.task_ids[i] for i in range(0, len(self._places), self._links)])
        self.has_begun.set()
        while len(self._done) < len(self._places):
            query = {"after": self._run.cursor, "known_status": "R", "wait_seconds": POLL_SECONDS}
            path = path_with(f"{self._run.path}/feed", **query)
            news = await self._client.send("GET", path, None, FeedResponse, is_poll=True)
            self._run.cursor = news.cursor
            done = [
                task_id
                for task_id, status in zip(news.tasks.task_ids, news.tasks.statuses, strict=True)
                if status == TaskStatus.DONE and task_id not in self._done
            ]
            self._done.update(done)
            ready = [
                self._workflow.task_ids[p + 1]
                for p in map(self._places.__getitem__, done)
                if self._goes_on(p)
            ]
            if ready:
                await self._queue(ready)
        await self._run.tell([WorkflowRunEvent.FINISH])
        self._wrappers.workflow_finished()

    def _goes_on(self, place: int) -> bool:
        return (place + 1) % self._links != 0

    async def _queue(self, task_ids: Sequence[int]) -> None:
        """Have attempts created, hand them to the cluster, say that it took them, and let them begin."""
        for start in range(0, len(task_ids), BATCH):
            created = await self._run.create(task_ids[start : start + BATCH])
            self._note_steps(created.task_ids)
            for task_id, attempt in zip(created.task_ids, created.task_instance_ids, strict=True):
                self._attempts[task_id] = attempt
                self._wrappers.start(attempt)
            await self._run.launched(created.task_instance_ids)

    def _note_steps(self, task_ids: Sequence[int]) -> None:
        """How long the tasks before these have been over."""
        for task_id in task_ids:
            place = self._places[task_id]
            if place % self._links:
                before = self._attempts[self._workflow.task_ids[place - 1]]
                self._wrappers.note_step(before)
