"""Clocks that are set: a controller that is seen to live is not taken for lost, one that is dead is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime

import pytest

from jobmon.core.states import WorkflowRunStatus
from jobmon.server.services.reaper import Reaper
from jobmon.server.web.database import Database
from processes import Place

pytestmark = pytest.mark.e2e

LONG_AGO, FAR_AWAY = datetime(2001, 1, 1), datetime(2101, 1, 1)  # noqa: DTZ001 - the database stores UTC as such


def set_heartbeat(place: Place, when: datetime) -> None:
    """What the database holds after its clock was set."""
    with closing(sqlite3.connect(place.files.database, timeout=10)) as database:
        database.execute("UPDATE workflow_run SET heartbeat_date = ?", (when.isoformat(" ", "microseconds"),))
        database.commit()


def reap(place: Place) -> dict[int, str]:
    """Two looks of a reaper, an hour apart by the clock that nobody can set."""
    database = Database(place.uri)
    try:
        reaper = Reaper(database, 10)
        for monotonic in (0.0, 3600.0):
            result = reaper.run_once(monotonic=monotonic)
        return result.runs
    finally:
        database.dispose()


def test_the_reaper_leaves_a_live_controller_alone(place: Place) -> None:
    script = place.start_flow([place.task("a", gate="go")])
    place.wait_started("a")
    set_heartbeat(place, LONG_AGO)
    assert reap(place) == {}
    assert place.runs() == "R"
    place.open("go")
    assert script.result()["status"] == "D"
    assert place.num_starts("a") == [1]


def test_another_script_is_refused_and_a_resume_asks_it_to_hand_over(place: Place) -> None:
    tasks = [place.task("a", gate="go")]
    script = place.start_flow(tasks)
    place.wait_started("a")
    set_heartbeat(place, LONG_AGO)
    assert "resume=True" in place.start_flow(tasks).error()["message"]
    assert place.runs() == "R"
    again = place.start_flow(tasks, run={"resume": True})
    assert script.result()["status"] == "T"
    place.wait_started("a", times=2)
    place.open("go")
    assert again.result()["status"] == "D"


def test_the_reaper_ends_the_run_of_a_dead_controller(place: Place) -> None:
    script = place.start_flow([place.task("a", gate="go")])
    place.wait_started("a")
    script.kill()
    script.end()
    set_heartbeat(place, LONG_AGO)
    assert reap(place) == {1: WorkflowRunStatus.ERROR}
    place.assert_no_task_runs()
    place.open("go")
    assert place.run_flow([place.task("a", gate="go")], run={"resume": True})["status"] == "D"


def test_a_dead_controller_due_in_a_century_does_not_stand_in_the_way(place: Place) -> None:
    tasks = [place.task("a", gate="go")]
    script = place.start_flow(tasks)
    place.wait_started("a")
    script.kill()
    script.end()
    set_heartbeat(place, FAR_AWAY)
    place.open("go")
    assert place.run_flow(tasks, run={"resume": True})["status"] == "D"
    assert place.num_starts("a") == [2]
