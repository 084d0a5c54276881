"""When a workflow may be done: the formula, on simulated runs, and from the database."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import LAUNCH_AND_START, Scene
from sqlalchemy import event as listeners
from sqlalchemy import text

from jobmon.core.exceptions import NotFoundError
from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import Cause, TaskInstanceEvent, WorkflowRunEvent
from jobmon.serializers.swarm import SyncRequest
from jobmon.server.web import dialect
from jobmon.server.web.analysis.eta import Recent, TemplateWork, estimate, recent_of, stages
from jobmon.server.web.store import monitor
from jobmon.server.web.store.eta import workflow_read_run_times
from jobmon.server.web.store.overview import workflow_read_overview
from jobmon.testing.factory import attempts_make, run_make, workflow_make

seconds = st.floats(0.001, 1e5)
templates = st.lists(
    st.builds(
        TemplateWork,
        st.sampled_from("abc"),
        st.integers(0, 1000),
        st.lists(seconds, max_size=5),
        st.lists(seconds, max_size=5),
        st.integers(1, 500),
        st.integers(0, 2),
    ),
    max_size=3,
    unique_by=lambda template: template.name,
)
recents = st.builds(Recent, seconds, st.integers(0, 100), st.just(0.0) | st.floats(1e-3, 1e6))


# -- the formula ----------------------------------------------------------------------------------------
@given(templates, st.integers(0, 100), recents)
def test_an_estimate_is_in_order(works: list[TemplateWork], limit: int, recent: Recent) -> None:
    eta = estimate(100, 40, works, limit, recent)
    assert eta.percent_done == 40
    assert eta.how
    if eta.remaining_seconds is None:
        assert (eta.low_seconds, eta.high_seconds) == (None, None)
    else:
        assert eta.low_seconds is not None
        assert eta.high_seconds is not None
        assert 0 <= eta.low_seconds <= eta.remaining_seconds <= eta.high_seconds < float("inf")


@given(templates, st.integers(1, 100), recents, st.data())
def test_less_to_do_never_takes_longer(
    works: list[TemplateWork], limit: int, recent: Recent, data: st.DataObject
) -> None:
    fewer = [replace(work, num_waiting=data.draw(st.integers(0, work.num_waiting))) for work in works]
    before = estimate(100, 40, works, limit, recent).remaining_seconds
    after = estimate(100, 40, fewer, limit, recent).remaining_seconds
    if before is not None and after is not None:
        assert after <= before * (1 + 1e-9)


@given(templates, st.integers(0, 100), recents)
def test_nothing_left_takes_no_time(works: list[TemplateWork], limit: int, recent: Recent) -> None:
    done = [replace(work, num_waiting=0, running=[]) for work in works]
    assert estimate(9, 9, done, limit, recent).remaining_seconds == 0


def work(waiting: int, finished: Sequence[float] = (), name: str = "fit", **values: object) -> TemplateWork:
    return replace(TemplateWork(name, waiting, [], finished, 10**9), **values)  # type: ignore[arg-type]


BUSY = Recent(300, 300, 3000)
"""Ten at once, a second for each ten tasks."""


def test_work_is_divided_by_what_ran_at_once() -> None:
    eta = estimate(1300, 300, [work(1000, [10.0] * 300)], 10**9, BUSY)
    assert eta.remaining_seconds == pytest.approx(1004.5)
    assert eta.rate_per_minute == pytest.approx(60)
    assert eta.how == "from the mean run time of 300 finished tasks and 10 running at once"
    assert estimate(1300, 300, [work(1000, [10.0] * 300)], 5, BUSY).remaining_seconds == pytest.approx(2004)


def test_the_limit_of_a_template_holds() -> None:
    eta = estimate(1300, 300, [work(100, [10.0] * 300, limit=2)], 10**9, BUSY)
    assert eta.remaining_seconds == pytest.approx(500)


def test_stages_follow_each_other() -> None:
    """The one task at the end takes its time, however many could run at once."""
    works = [work(100, [10.0] * 300), work(1, [50.0], "last", stage=1)]
    assert estimate(401, 300, works, 10**9, BUSY).remaining_seconds == pytest.approx(150, rel=0.1)


def test_what_runs_has_begun() -> None:
    some = estimate(9, 1, [work(0, [100.0], running=[90.0, 40.0, 400.0])], 9, Recent(60, 0, 0))
    assert some.remaining_seconds == pytest.approx(60)


def test_templates_that_have_not_begun_are_guessed_and_named() -> None:
    works = [work(10, [10.0] * 300), work(10, name="tail")]
    eta = estimate(320, 300, works, 10**9, BUSY)
    assert eta.how.endswith("none of tail has finished yet, they are taken to be like the others")
    known = estimate(320, 300, [works[0], work(10, [10.0] * 300, "tail")], 10**9, BUSY)
    assert eta.remaining_seconds == known.remaining_seconds
    assert (eta.high_seconds or 0) > (known.high_seconds or 0)


@pytest.mark.parametrize(
    ("works", "limit", "how"),
    [
        ([work(5)], 9, "not known yet: no task has finished"),
        ([work(5, [1.0])], 0, "not known: the limit of the workflow is 0"),
        ([work(5, [1.0], limit=0)], 9, "not known: the limit of a template is 0"),
    ],
)
def test_too_little_is_known(works: list[TemplateWork], limit: int, how: str) -> None:
    eta = estimate(9, 1, works, limit, Recent(60, 1, 60))
    assert (eta.remaining_seconds, eta.how) == (None, how)


def test_nothing_runs() -> None:
    assert estimate(9, 1, [work(5, [1.0])], 9, Recent(60, 0, 0)).how == "not known: nothing has run of late"


def test_the_window() -> None:
    """As long as the run at most, long enough for long tasks, and no longer than what was read."""
    assert recent_of([], 50) == Recent(50, 0, 0)
    assert recent_of([(10, 5), (40, 30)], 50) == Recent(50, 2, 15)
    assert recent_of([(10, 5), (400, 5)], 1000) == Recent(300, 1, 5)
    assert recent_of([(10, 1000), (900, 1000)], 5000) == Recent(2000, 2, 2000)
    assert recent_of([(10, 5), (100, 5)], 1000, is_cut=True) == Recent(100, 2, 5)


def test_stages_of_templates() -> None:
    assert stages({1: set(), 2: {1}, 3: {1, 2}, 4: {9}}) == {1: 0, 2: 1, 3: 2, 4: 0}
    assert set(stages({1: {2}, 2: {1}, 3: {3}})) == {1, 2, 3}
    deep = {n: {n - 1} for n in range(1, 3000)} | {0: set()}
    assert stages(deep)[2999] == 2999


# -- simulated runs -------------------------------------------------------------------------------------
class Simulation:
    """Two templates, one after the other, on some slots; tasks take random times."""

    def __init__(self, seed: int, slots: int, counts: tuple[int, int], means: tuple[float, float]) -> None:
        self.random, self.slots, self.counts, self.means = random.Random(seed), slots, counts, means
        self.attempts: list[tuple[int, float, float]] = []
        now = 0.0
        for stage in (0, 1):
            free = [now] * slots
            for _ in range(counts[stage]):
                begin = heapq.heappop(free)
                end = begin + self.random.uniform(0.5, 1.5) * means[stage]
                self.attempts.append((stage, begin, end))
                heapq.heappush(free, end)
            now = max(free)
        self.end = now

    def estimate_at(self, now: float) -> float:
        works = []
        for stage in (0, 1):
            mine = [(begin, end) for which, begin, end in self.attempts if which == stage]
            finished = [end - begin for begin, end in mine if end <= now]
            running = [now - begin for begin, end in mine if begin <= now < end]
            waiting = len(mine) - len(finished) - len(running)
            works.append(TemplateWork(str(stage), waiting, running, finished, 10**9, stage))
        ended = [(now - end, end - begin) for _, begin, end in self.attempts if end <= now]
        remaining = estimate(
            sum(self.counts), len(ended), works, 10**9, recent_of(ended, now)
        ).remaining_seconds
        assert remaining is not None
        return remaining


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("slots", "counts", "means"),
    [(10, (500, 200), (20.0, 20.0)), (64, (1000, 300), (600.0, 500.0)), (4, (2000, 100), (0.5, 0.6))],
    ids=["usual", "long", "short"],
)
def test_estimates_of_simulated_runs(
    seed: int, slots: int, counts: tuple[int, int], means: tuple[float, float]
) -> None:
    simulation = Simulation(seed, slots, counts, means)
    for share in (0.2, 0.5, 0.7, 0.9):
        now = share * simulation.end
        assert simulation.estimate_at(now) == pytest.approx(simulation.end - now, rel=0.35)


# -- from the database ----------------------------------------------------------------------------------
@pytest.fixture
def running(bound: Scene) -> Scene:
    """Of the chain of four one task is done, after a minute; the second runs. The run is two minutes old."""
    bound.start_run()
    done = bound.attempt(0, *LAUNCH_AND_START, TaskInstanceEvent.FINISH, wallclock=60.0)
    bound.attempt(1, *LAUNCH_AND_START)

    def age(connection: object) -> None:
        now = dialect.utcnow(connection)  # type: ignore[arg-type]
        connection.execute(  # type: ignore[attr-defined]
            text("UPDATE workflow_run SET created_date = :then"), {"then": str(now - timedelta(seconds=120))}
        )
        connection.execute(  # type: ignore[attr-defined]
            text("UPDATE task_instance SET status_date = :then WHERE id = :id"),
            {"then": str(now - timedelta(seconds=30)), "id": done},
        )

    bound.write(age)
    return bound


def test_status_of_a_running_workflow_has_an_estimate(running: Scene) -> None:
    def read(connection: object) -> object:
        now = dialect.utcnow(connection)  # type: ignore[arg-type]
        return monitor.workflows_read_status(connection, [running.workflow_id], [], None, now)  # type: ignore[arg-type]

    (row,) = running.read(read)  # type: ignore[misc]
    assert row.tasks_by_status == {"D": 1, "R": 1, "G": 2}
    assert row.eta.percent_done == 25
    assert row.eta.rate_per_minute == pytest.approx(0.5, rel=0.1)
    assert row.eta.remaining_seconds == pytest.approx(180, rel=0.1)
    running.run_events(WorkflowRunEvent.STOP)
    (row,) = running.read(read)  # type: ignore[misc]
    assert row.eta is None


def test_a_workflow_at_a_glance(running: Scene) -> None:
    overview = running.read(
        lambda c: workflow_read_overview(
            c, running.workflow_id, num_failures=5, num_running=5, now=dialect.utcnow(c)
        )
    )
    assert (overview.name, overview.status, overview.failures) == ("chain", "R", [])
    assert overview.elapsed_seconds == pytest.approx(120, rel=0.1)
    (template,) = overview.templates
    assert (template.name, template.tasks_by_status, template.mean_seconds) == (
        "fit",
        {"D": 1, "R": 1, "G": 2},
        60.0,
    )
    assert [row.task_name for row in overview.running] == ["fit_1"]
    assert overview.eta is not None
    with pytest.raises(NotFoundError, match="no workflow 99"):
        running.read(
            lambda c: workflow_read_overview(c, 99, num_failures=1, num_running=1, now=dialect.utcnow(c))
        )


def test_a_glance_after_the_end(running: Scene) -> None:
    event = InstanceEvent(2, TaskInstanceEvent.FAIL, Cause.CODE, "no")
    running.sync(SyncRequest([event], []))
    running.run_events(WorkflowRunEvent.STOP)
    overview = running.read(
        lambda c: workflow_read_overview(
            c, running.workflow_id, num_failures=2, num_running=5, now=dialect.utcnow(c)
        )
    )
    assert (overview.eta, overview.running) == (None, [])
    assert [(row.task_name, row.description, row.attempt_number) for row in overview.failures] == [
        ("fit_1", "no", 1)
    ]
    assert overview.elapsed_seconds == pytest.approx(120, rel=0.1)


def test_a_template_that_finished_long_ago_keeps_its_run_times(
    running: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when none of its attempts is among the latest."""
    monkeypatch.setattr("jobmon.server.web.store.eta.SAMPLE", 0)
    times = running.read(
        lambda c: workflow_read_run_times(c, running.workflow_id, [running.ids["array"]], dialect.utcnow(c))
    )
    assert times.finished == {running.ids["array"]: [60.0]}
    assert times.recent.num_finished == 0


def test_a_glance_at_many_tasks_takes_one_look(scene: Scene) -> None:
    """However many tasks: the number of statements is the same."""

    def statements(num_tasks: int) -> int:
        def make(connection: object) -> int:
            now = dialect.utcnow(connection)  # type: ignore[arg-type]
            made = workflow_make(connection, [()] * num_tasks, now=now)  # type: ignore[arg-type]
            run_id = run_make(connection, made.workflow_id, now=now)  # type: ignore[arg-type]
            attempts_make(connection, made, run_id, range(num_tasks), batch_num=1, now=now)  # type: ignore[arg-type]
            return made.workflow_id

        workflow_id = scene.write(make)
        seen: list[str] = []
        with scene.database.read() as connection:
            listeners.listen(
                connection, "before_cursor_execute", lambda *arguments: seen.append(arguments[2])
            )
            workflow_read_overview(
                connection, workflow_id, num_failures=5, num_running=5, now=dialect.utcnow(connection)
            )
        return len(seen)

    assert statements(3) == statements(300)
