"""Servers under load: simulated controllers and wrappers, a real control script, and what must be true of them in the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from bench.load import Outcome, Shape, Simulation
from sqlalchemy import create_engine, select

from jobmon.core.states import TaskStatus, WorkflowStatus
from jobmon.server.web.models import Task, Workflow
from jobmon.testing.history import assert_history
from jobmon.testing.journal import Journal
from processes import Script, wait_until
from server_place import RealServer, Servers

SHAPE = Shape(workflows=2, lanes=15, links=8, seconds=0.25, heartbeat_seconds=0.2)
"""Some 1 000 requests within two or three seconds."""
NUM_CONNECTIONS = 16
END_SECONDS = 100
"""A bound against hanging, for machines that are busy with much else."""
OK = 200
BROKEN = 0
"""What counts as the status of a request whose connection broke."""


class Load:
    """Simulated workflows at work, in a thread of this process.

    Args:
        urls: addresses of the servers.
        shape: how much.
        num_connections: of wrappers and controllers, but for long polls.
    """

    def __init__(
        self, urls: Sequence[str], shape: Shape = SHAPE, num_connections: int = NUM_CONNECTIONS
    ) -> None:
        self.shape, self.journal = shape, Journal()
        self._simulation = Simulation(shape, urls, num_connections=num_connections, journal=self.journal)
        self._result: Future[Outcome] = Future()
        self._loop = asyncio.new_event_loop()
        self._work: asyncio.Task[Outcome] | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._work = self._loop.create_task(self._simulation.run())
        try:
            self._result.set_result(self._loop.run_until_complete(self._work))
        except BaseException as error:  # noqa: BLE001 - told to who waits for it
            self._result.set_exception(error)
        finally:
            self._loop.close()

    def wait_ended(self, part: float) -> None:
        """Wait until this part of all tasks has ended; the load must not be over then."""
        enough = int(part * self.shape.tasks)
        wait_until(
            lambda: self._result.done() or self._simulation.outcome.ended >= enough,
            f"the end of {enough} of {self.shape.tasks} tasks",
            END_SECONDS,
        )
        assert not self._result.done(), f"the load was over too soon: {self._result.exception()}"

    def outcome(self) -> Outcome:
        """Wait for the end."""
        try:
            return self._result.result(END_SECONDS)
        except TimeoutError:
            ended = self._simulation.outcome
            raise AssertionError(
                f"{ended.ended} of {self.shape.tasks} tasks ended, {ended.finished} workflows finished"
            ) from None

    def close(self) -> None:
        """Stop it, if it is not over."""
        if not self._result.done() and self._work is not None:
            self._loop.call_soon_threadsafe(self._work.cancel)
        self._thread.join(20)


class Flow:
    """A real control script whose commands leave traces; the last task waits until it is let go.

    Args:
        servers: start it.
        urls: addresses its requests are spread over, with the route prefix.
        num_tasks: before the last one.
    """

    def __init__(self, servers: Servers, urls: Sequence[str], num_tasks: int = 12) -> None:
        self.work = servers.directory / "flow"
        self.work.mkdir()
        names = [f"t{number}" for number in range(num_tasks)]
        tasks: list[dict[str, Any]] = [
            {"name": name, "command": f"echo >> {self.work}/{name}; sleep 0.2"} for name in names
        ]
        gate = f"until [ -e {self.work}/gate ]; do sleep 0.05; done"
        tasks.append({"name": "last", "command": f"echo >> {self.work}/last; {gate}", "upstream": names})
        self.names = [*names, "last"]
        self.script: Script = servers.start_flow(urls, tasks, "flow")

    def wait_running(self) -> None:
        """Wait until its first command has begun."""
        wait_until(lambda: (self.work / "t0").exists() or self.script.process.poll(), "a task that runs", 60)

    def let_go(self) -> None:
        """Let the last task end."""
        (self.work / "gate").touch()

    def check(self) -> None:
        """Wait for its end: all is done, each command was run once."""
        self.let_go()
        result = self.script.result(END_SECONDS)
        assert (result["status"], result["done"]) == ("D", len(self.names)), self.script.text
        assert {name: (self.work / name).read_text() for name in self.names} == dict.fromkeys(
            self.names, "\n"
        )


class Scene:
    """Servers over a database, with a load and a control script at work.

    Args:
        servers: start servers.
        uri: how the test reaches the database.
        server_uri: how the servers reach it.
        running: the servers.
        load, flow: what is at work.
    """

    def __init__(
        self,
        servers: Servers,
        uri: str,
        server_uri: str,
        running: Sequence[RealServer],
        load: Load,
        flow: Flow | None,
    ) -> None:
        self.servers, self.uri, self.server_uri = servers, uri, server_uri
        self.running, self.load, self.flow = list(running), load, flow

    @property
    def text(self) -> str:
        """What the servers have written."""
        return "".join(server.text for server in self.running)

    def kill_server(self) -> None:
        """End the first server and its workers by SIGKILL, and start another one at the same address."""
        old = self.running[0]
        old.kill()
        self.running[0] = self.servers.launch(self.server_uri, port=old.port)
        self.running[0].wait_serving()

    def check(self, seen: Collection[int], must_see: bool = False) -> Outcome:
        """Wait for the end: all is done, and the database holds what was acknowledged, once.

        Args:
            seen: the statuses of answers that the fault explains, beside success.
            must_see: one of them must have been seen.
        """
        if self.flow is not None:
            self.flow.let_go()
        outcome = self.load.outcome()
        if self.flow is not None:
            self.flow.check()
        assert outcome.statuses.keys() <= {OK, *seen}, (outcome.statuses, self.text[-4000:])
        if must_see:
            assert outcome.statuses.keys() & set(seen), outcome.statuses
        check_done(self.uri, self.load, outcome)
        return outcome


def check_done(uri: str, load: Load, outcome: Outcome) -> None:
    """Every workflow of a database is done, its history is legal, and all of a load is there once."""
    assert outcome.finished == load.shape.workflows
    assert (
        outcome.ended <= load.shape.tasks
    )  # a controller may hear of the last end before its wrapper is answered
    load.journal.assert_kept(uri)
    assert_history(uri)
    engine = create_engine(uri)
    try:
        with engine.connect() as connection:
            assert set(connection.scalars(select(Workflow.status).distinct())) == {WorkflowStatus.DONE}
            assert set(connection.scalars(select(Task.status).distinct())) == {TaskStatus.DONE}
    finally:
        engine.dispose()


@contextmanager
def scene(
    servers: Servers, uri: str, *, shape: Shape = SHAPE, server_uri: str = "", **settings: object
) -> Iterator[Scene]:
    """A server at work, with its first tasks done.

    Args:
        servers: start it.
        uri: of a database with tables.
        shape: of the load.
        server_uri: how the server reaches the database, where that is another way.
        settings: configuration of the server.
    """
    running = servers.start(server_uri or uri, **settings)
    with at_work(servers, uri, [running], shape=shape, server_uri=server_uri) as found:
        yield found


@contextmanager
def at_work(
    servers: Servers,
    uri: str,
    running: Sequence[RealServer],
    *,
    shape: Shape = SHAPE,
    num_connections: int = NUM_CONNECTIONS,
    flow_url: str | None = None,
    server_uri: str = "",
) -> Iterator[Scene]:
    """Servers at work, with their first tasks done.

    Args:
        servers: started them.
        uri: of the database.
        running: the servers.
        shape: of the load.
        num_connections: of the load.
        flow_url: address the control script is told, with the route prefix, instead of the servers'; empty: no script.
        server_uri: how the servers reach the database, where that is another way.
    """
    urls = [server.url for server in running] if flow_url is None else [flow_url]
    flow = Flow(servers, urls) if urls != [""] else None
    if flow is not None:
        flow.wait_running()
    load = Load([server.address for server in running], shape, num_connections)
    try:
        load.wait_ended(0.1)
        yield Scene(servers, uri, server_uri or uri, running, load, flow)
    finally:
        load.close()
