"""Two servers on one database: what one commits wakes the long polls of the other, and only those it is news for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import event, update

from jobmon.core.configuration import JobmonConfig
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.server.web import dialect
from jobmon.server.web.api import get_app
from jobmon.server.web.database import Database
from jobmon.server.web.feed_poller import FeedPoller
from jobmon.server.web.models import WorkflowRun
from jobmon.server.web.state import CONTROLLER, ServerState
from jobmon.server.web.store.attempts import attempts_apply_events
from jobmon.server.web.store.feed import RunPosition, runs_positions
from jobmon.testing.factory import attempts_make, run_make, workflow_make

BOUND_SECONDS = 20.0
NUM_RUNS = 3


class Site:
    """Runs of several workflows, each with an attempt that has started."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.attempts: dict[int, int] = {}
        with database.write() as connection:
            now = dialect.utcnow(connection)
            for _ in range(NUM_RUNS):
                workflow = workflow_make(connection, now=now)
                run_id = run_make(connection, workflow.workflow_id, now=now)
                (attempt,) = attempts_make(connection, workflow, run_id, [0], batch_num=1, now=now)
                self.attempts[run_id] = attempt

    @property
    def positions(self) -> dict[int, RunPosition]:
        with self.database.read() as connection:
            return runs_positions(connection, list(self.attempts))

    def tell(self, run_id: int, actor: str) -> None:
        """Have somebody tell of the attempt of a run, as another process would."""
        with self.database.write() as connection:
            attempts_apply_events(
                connection,
                [InstanceEvent(self.attempts[run_id], TaskInstanceEvent.START)],
                now=dialect.utcnow(connection),
                actor=actor,
                max_infrastructure_losses=3,
            )


@pytest.fixture
def site(database: Database) -> Site:
    return Site(database)


class Woken:
    """Waits for runs to be woken."""

    def __init__(self, database: Database) -> None:
        self.runs: set[int] = set()
        self.poller = FeedPoller(database, CONTROLLER, self.runs.update)

    async def until(self, run_id: int) -> None:
        deadline = asyncio.get_running_loop().time() + BOUND_SECONDS
        while run_id not in self.runs:
            assert asyncio.get_running_loop().time() < deadline, "nobody was woken"
            await asyncio.sleep(0.01)


def test_only_whom_it_concerns_is_woken(site: Site) -> None:
    """A wrapper's word wakes the controller of its run; its own words do not, a change of the run's status does."""

    async def work() -> None:
        woken = Woken(site.database)
        for run_id, position in site.positions.items():
            woken.poller.watch(run_id, position)
        own, others, ordered = site.attempts
        await asyncio.to_thread(site.tell, own, CONTROLLER)
        await asyncio.to_thread(site.tell, others, "worker")
        await woken.until(others)
        with site.database.write() as connection:
            connection.execute(update(WorkflowRun).where(WorkflowRun.id == ordered).values(status="C"))
        await woken.until(ordered)
        with site.database.write() as connection:
            connection.execute(update(WorkflowRun).where(WorkflowRun.id == ordered).values(status="R"))
        assert woken.runs == {others, ordered}
        for run_id in site.attempts:
            woken.poller.forget(run_id)

    asyncio.run(work())


def test_news_from_before_the_first_look_are_not_missed(site: Site) -> None:
    """What was committed between the long poll's own look and the poller's first."""

    async def work() -> None:
        woken = Woken(site.database)
        run_id = next(iter(site.attempts))
        seen = site.positions[run_id]
        await asyncio.to_thread(site.tell, run_id, "worker")
        woken.poller.watch(run_id, seen)
        await woken.until(run_id)
        woken.poller.stop()

    asyncio.run(work())


def test_one_statement_for_all_runs(site: Site) -> None:
    """While nothing happens; and none at all while nobody listens."""
    statements: list[str] = []

    async def work() -> None:
        woken = Woken(site.database)
        for run_id, position in site.positions.items():
            woken.poller.watch(run_id, position)
        event.listen(
            site.database.engine,
            "before_cursor_execute",
            lambda *details: statements.append(details[2]) if "last_cursor" in details[2] else None,
        )
        for _ in range(3):
            await woken.poller._look()
        assert len(statements) == 3
        for run_id in site.attempts:
            woken.poller.forget(run_id)
        polling = woken.poller._polling
        assert polling is not None
        await asyncio.wait_for(polling, BOUND_SECONDS)

    asyncio.run(work())


@pytest.fixture
def states(database_uri: str) -> Iterator[list[ServerState]]:
    config = JobmonConfig(
        dict_config={
            "db": {"sqlalchemy_database_uri": database_uri},
            "server": {"workers": 2},
            "reaper": {"enabled": False},
        }
    )
    states = [get_app(config).state.jobmon for _ in range(2)]
    yield states
    for state in states:
        state.stop()


def test_a_long_poll_of_one_server_hears_of_an_event_of_the_other(
    states: list[ServerState], site: Site
) -> None:
    """Though it would look again by itself only much later."""
    here, there = states
    run_id, attempt = next(iter(site.attempts.items()))

    async def work() -> None:
        news = here.feed.listen(run_id)
        waiting = asyncio.create_task(here.feed.wait(run_id, news, BOUND_SECONDS, site.positions[run_id]))
        await there.group_commit.submit(InstanceEvent(attempt, TaskInstanceEvent.START))
        await waiting
        assert news.is_set()
        here.feed.forget(run_id, news)

    asyncio.run(work())
